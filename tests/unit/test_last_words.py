"""What is told of a child that ended: why, in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kalepool.up.supervisor import last_words

SENTENCE = "/k/master.key holds the master key and is open to others: chmod 600 /k/master.key"
TRACEBACK = f"Traceback (most recent call last):\n  File {'x' * 6000}\nkalepool.errors.CustodyError: {SENTENCE}\n"


def record(event: str, **more: object) -> str:
    return json.dumps({"event": event, "level": "error", "at": "2026-11-22T06:06:07Z", **more})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "it said nothing"),
        (["started", "", "kalepool: no database"], "kalepool: no database"),
        ([record("first"), record("lost", error="gone", farms=3)], "lost error=gone farms=3"),
        ([record("lost", error="gone\n\tfor good\n")], "lost error=gone for good"),
        ([record("ended", exception="Traceback (most recent call last):\nValueError: 7")], "ValueError: 7"),
        ([record(TRACEBACK), record("Application startup failed. Exiting.")], SENTENCE),
        ([TRACEBACK], SENTENCE),
    ],
)
def test_the_last_words_are_the_reason(lines: list[str], said: str, tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    assert last_words(log) == said
