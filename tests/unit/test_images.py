"""What the images install: exactly what is tested."""

from __future__ import annotations

import re
import tomllib
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


@pytest.mark.parametrize(("lock", "project"), [("pool", "pyproject.toml"), ("miner", "miner/pyproject.toml")])
def test_an_image_installs_all_that_is_imported(lock: str, project: str) -> None:
    asked = tomllib.loads((ROOT / project).read_text())["project"]["dependencies"]
    names = {re.match(r"[\w.-]+", one)[0].lower() for one in asked}  # type: ignore[index]
    assert names <= pins(ROOT / f"deploy/locks/{lock}.lock").keys(), "run `make lock`"


def test_the_pools_image_has_no_tools_of_developers() -> None:
    assert (
        not {"pytest", "ruff", "basedpyright", "hypothesis", "playwright"}
        & pins(ROOT / "deploy/locks/pool.lock").keys()
    )
    assert "opentelemetry-sdk" in pins(ROOT / "deploy/locks/pool.lock"), "docs/traces.md promises it"
    assert pins(ROOT / "deploy/locks/worker.lock").keys() < pins(ROOT / "deploy/locks/pool.lock").keys()
