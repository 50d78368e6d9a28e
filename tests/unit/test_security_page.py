"""SECURITY.md names a test for each promise, and each is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_row_names_tests_that_are_there() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    table = page[page.index("| against | by |") : page.index("## What is not")].strip().splitlines()[2:]
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in table:
        tests, files = re.findall(r"`(test_\w+)`", row), re.findall(r"`(tests/[\w/.]+)`", row)
        assert tests or files or "without a test" in row, row
        assert all(f"def {name}(" in sources for name in tests), row
        assert all((ROOT / name).exists() for name in files), row
