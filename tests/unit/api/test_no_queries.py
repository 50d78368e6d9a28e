"""Routers ask services: no query is run from kalepool/api."""

from __future__ import annotations

import ast
from pathlib import Path

import kalepool.api

FOLDER = Path(kalepool.api.__file__).parent
METHODS = {"fetch_one", "fetch_all", "execute", "execute_many", "transaction", "listen", "notify"}


def test_the_api_runs_no_query() -> None:
    found = [
        f"{path.relative_to(FOLDER)}:{node.lineno}: {node.func.attr}"
        for path in sorted(FOLDER.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
    ]
    assert not found, "a service should do this: " + ", ".join(found)
