"""The command line in this process, which is quick."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from kalepool.__main__ import main


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    output: str
    errors: str


Run = Callable[..., Done]


@contextmanager
def command_line(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs commands in `folder`, on a data folder and with variables of the test's own."""
    for name in os.environ:
        if name.startswith(("KALEPOOL_", "DATABASE_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KALEPOOL_DATA_DIR", str(folder / "data"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str, **variables: str) -> Done:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", ["kalepool", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    yield run
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
