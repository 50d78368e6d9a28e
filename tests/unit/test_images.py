"""What the images install: exactly what is tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

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


def test_compose_starts_as_many_coordinators_as_it_says_there_are() -> None:
    """One of them leads; operators are told when one is missing. Each has a name of its own among Ray's nodes."""
    composed, on_devnet = (
        yaml.safe_load((ROOT / "deploy" / name).read_text())["services"]
        for name in ("compose.yaml", "compose.devnet.yaml")
    )
    coordinators = {name: each for name, each in composed.items() if "coordinate" in each.get("entrypoint", [])}
    assert len(coordinators) == 2
    for told in (composed["api"], *coordinators.values()):
        assert told["environment"]["KALEPOOL_COORDINATORS"] == str(len(coordinators))
    for each in coordinators.values():
        assert each["networks"]["search"]["aliases"] == [each["environment"]["RAY_NODE_HOST"]]
    assert len({each["environment"]["RAY_NODE_HOST"] for each in coordinators.values()}) == len(coordinators)
    told = {name for name, each in on_devnet.items() if each.get("environment", {}).get("KALEPOOL_NETWORK") == "devnet"}
    assert {*coordinators, "api", "setup"} <= told
