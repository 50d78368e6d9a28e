"""The built wheel, installed once for all workers of a run."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installed import Home, Installed


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Installed:
    """The first worker that asks installs it, and the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # a worker's own folder lies in that of the whole run
        shared = shared.parent
    made = Installed(shared / "installed")
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made if made.program.exists() else Installed.install(made.folder)


@pytest.fixture
def home(tmp_path: Path, installed: Installed) -> Iterator[Home]:
    """A data folder of the test's own."""
    with Home.opened(tmp_path, installed) as opened:
        yield opened
