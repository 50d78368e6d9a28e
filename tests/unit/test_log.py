"""Every event of our own log is one word_like_this: found by one search, in the source and in the logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "kalepool"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def events() -> Iterator[tuple[str, str]]:
    """(place, event) of each call of a module's `log`; a part that is filled in stands as x."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[said, *_]):
                    place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                    if level in LEVELS and isinstance(said, ast.Constant):
                        yield place, str(said.value)
                    elif level in LEVELS and isinstance(said, ast.JoinedStr):
                        yield place, "".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in said.values)


def test_events_are_in_snake_case() -> None:
    found = list(events())
    assert len(found) > 50
    assert not [(place, event) for place, event in found if not re.fullmatch(r"[a-z]+(_[a-z]+)*", event)]
