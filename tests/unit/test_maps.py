"""The map in a package's docstring names every file and folder that is there, and nothing that is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE_BY_TOOLS = re.compile(r"\.|__pycache__$|.*\.egg-info$")
LINE = re.compile(r"^(?P<name>[\w.-]+\.\w+|[\w-]+/)  +\S")
PACKAGES = sorted(
    path.parent
    for top in ("kalepool", "kernels", "tests", "tools", "benchmarks")
    for path in (ROOT / top).rglob("__init__.py")
)


def named(package: Path) -> list[str]:
    """What the map names, in its order: files, and folders with a slash behind."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()), clean=False) or ""
    return [found["name"] for line in text.splitlines() if (found := LINE.match(line))]


def must_be_named(package: Path) -> set[str]:
    """Python files and folders; other files may be named."""
    there = [path for path in package.iterdir() if not MADE_BY_TOOLS.match(path.name)]
    files = {path.name for path in there if path.suffix == ".py" and path.name != "__init__.py"}
    return files | {f"{path.name}/" for path in there if path.is_dir() and any(path.rglob("*.*"))}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_a_map_is_complete_and_true(package: Path) -> None:
    names = named(package)
    assert len(names) == len(set(names)), "named twice"
    assert must_be_named(package) - set(names) == set(), "not on the map"
    assert [name for name in names if not (package / name).exists()] == [], "on the map, but not there"


def test_no_line_of_a_map_is_read_as_prose() -> None:
    """A name without `.py` or a slash, or behind spaces, would be overlooked."""
    for package in PACKAGES:
        text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()), clean=False) or ""
        assert re.findall(r"(?m)^ *\w+ {2,}\S.*$", text) == [], package
