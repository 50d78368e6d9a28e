"""What others say reaches a terminal as text: it gives no orders there, and brackets in a name are brackets."""

from __future__ import annotations

import io
import logging
import re
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kalepool import log
from kalepool.endings import _explain
from kalepool.errors import RpcUnavailableError
from kalepool.units import plain, plain_lines
from kalepool.up.follow import Voice
from kalepool.up.report import Movement, close, farmers_table
from kalepool.view.moment import ActiveSearcher
from kalepool.view.screen import workers_table

ORDERS = "\x1b]0;taken\x07\x1b[2J\x9b2J\r\b"
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def drawn(*parts: object) -> str:
    console = Console(file=io.StringIO(), width=200, no_color=True)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(st.text())
def test_nothing_is_left_to_obey(text: str) -> None:
    assert not OBEYED.search(plain(text)) and "\n" not in plain(text)
    assert not OBEYED.search(plain_lines(text))
    assert plain_lines(text).count("\n") == text.count("\n")


def test_an_rpc_servers_words_in_an_error() -> None:
    said = _explain(RpcUnavailableError(f"the server says {ORDERS}"), "kalepool")
    assert said is not None and not OBEYED.search(said[0]) and "the server says" in said[0]


def test_a_pools_and_a_childs_words(capsys: pytest.CaptureFixture[str]) -> None:
    Voice().say(f"api ended: {ORDERS}\nsecond line")
    shown = capsys.readouterr().out
    assert not OBEYED.search(shown) and shown.endswith("\nsecond line\n")


def test_names_with_brackets_and_orders_do_not_end_the_tables() -> None:
    movement = Movement(UUID(int=1), "G" * 56, f"a[/b]{ORDERS}", 0, 0, 0, 0, 0, 0, 0, None)
    report = close([], [movement], {}, {"G" * 56: 5})
    shown = drawn(farmers_table(report))
    assert "a[/b]" in shown and not OBEYED.search(shown)
    searcher = ActiveSearcher(UUID(int=1), "cpu", "w", 1.0, 1, f"[red]{ORDERS}", "avx512", 1, 1)
    shown = drawn(workers_table([searcher]))
    assert "[red]" in shown and not OBEYED.search(shown)


def test_a_log_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, root = Terminal(), logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr("sys.stderr", terminal)
    try:
        log.configure("info")
        structlog.get_logger().info("rpc_failed", reason=ORDERS)
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
    assert "rpc_failed" in terminal.getvalue()
    assert "taken\x07" not in terminal.getvalue() and "\x1b[2J" not in terminal.getvalue()
