"""What `make audit` says of pip-audit's findings: no all-clear for what was not looked at."""

from __future__ import annotations

from typing import Any

import pytest

from tools.audit import verdict

CLEAN: dict[str, Any] = {"name": "numpy", "version": "2.0", "vulns": []}
VULNERABLE = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"], "aliases": [], "description": "it escapes"}],
}
SKIPPED = {"name": "ray", "version": "2.60.0", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "said", "status"),
    [
        ([CLEAN], "no known vulnerability in 1 packages", 0),
        ([CLEAN, VULNERABLE], "jinja2 3.1.0: PYSEC-1, fixed in 3.1.6", 1),
        ([CLEAN, SKIPPED], "1 of 2 packages could not be audited", 2),
        ([VULNERABLE, SKIPPED], "jinja2 3.1.0", 1),
        ([], "nothing was audited", 2),
    ],
)
def test_what_an_audit_says(packages: list[dict[str, Any]], said: str, status: int) -> None:
    lines, found = verdict({"dependencies": packages, "fixes": []})
    assert said in lines[0] and found == status
