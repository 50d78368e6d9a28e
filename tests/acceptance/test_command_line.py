"""The installed program says what it is: help at once, its version, and each command's own help."""

from __future__ import annotations

import re
import subprocess

import pytest

from kalepool.__main__ import COMMANDS
from tests.support.installed import Home

pytestmark = pytest.mark.acceptance

HEAVY = {"ray", "numba", "numpy", "stellar_sdk", "psycopg", "fastapi", "pydantic", "aiohttp", "kalepool.config"}


def test_help_imports_nothing_heavy(home: Home) -> None:
    command = [str(home.installed.python), "-X", "importtime", str(home.installed.program), "--help"]
    done = subprocess.run(
        command, env=home.environment(), cwd=home.data.parent, capture_output=True, text=True, check=False
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "kalepool.__main__" in imported and not imported & HEAVY
    for name, _, _ in COMMANDS:
        assert re.search(rf"│ {name} ", done.stdout), name


def test_version(home: Home) -> None:
    assert re.fullmatch(r"kalepool \d+\.\d+\S*\n", home.kalepool("--version"))


@pytest.mark.parametrize("command", [name for name, _, _ in COMMANDS])
def test_every_command_explains_itself(home: Home, command: str) -> None:
    assert f"kalepool {command}" in home.kalepool(command, "--help")


def test_the_program_is_the_wheels(home: Home) -> None:
    """Else all of this would test the checkout."""
    command = [str(home.installed.python), "-c", "import kalepool, kernels; print(kalepool.__file__, kernels.__file__)"]
    printed = subprocess.run(
        command, env=home.environment(), cwd=home.data.parent, capture_output=True, text=True, check=True
    ).stdout
    assert all(path.startswith(f"{home.installed.folder}/lib/") for path in printed.split()), printed
