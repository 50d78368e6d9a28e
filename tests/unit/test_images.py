"""What the images install: exactly what is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "deploy" / "locks").glob("*.lock"))


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.M))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda file: file.stem)
def test_an_image_installs_the_versions_that_are_tested(lock: Path) -> None:
    tested, installed = pins(ROOT / "requirements.lock"), pins(lock)
    assert installed and installed.items() <= tested.items(), "run `make lock`"


def test_the_pools_image_has_no_tools_of_developers() -> None:
    assert (
        not {"pytest", "ruff", "basedpyright", "hypothesis", "playwright"}
        & pins(ROOT / "deploy/locks/pool.lock").keys()
    )
    assert pins(ROOT / "deploy/locks/worker.lock").keys() < pins(ROOT / "deploy/locks/pool.lock").keys()
