"""What workers say, as bytes: read back as it was, or refused."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.cluster import worker as worker_module
from kalepool.cluster.claims import doubt_report, read_hello, read_report
from kalepool.cluster.messages import MOST_BYTES, MOST_FINDS, Find, Hello, WorkerFailure, WorkerReport
from kalepool.cluster.worker import WorkerActor

HELLO = Hello("0.1.0+abc", "host-1", 7, "avx512", 2)
REPORT = WorkerReport(3, (Find(b"a" * 32, 5, 2**64 - 1),), 1000, 1.0, 0.9, 0.8, needs_serial=False)


def test_what_a_worker_says_arrives_as_it_was() -> None:
    assert read_hello(HELLO.pack()) == HELLO
    assert read_report(REPORT.pack()) == REPORT
    said = WorkerFailure.of(RuntimeError("the card fell off the bus"))
    assert read_hello(said.pack()) == read_report(said.pack()) == said
    assert said.failure == "RuntimeError: the card fell off the bus"


def test_the_longest_report_is_read() -> None:
    finds = tuple(Find(number.to_bytes(32, "big"), 64, 2**64 - 1) for number in range(MOST_FINDS))
    packed = WorkerReport(3, finds, 1000, 1.0, 0.9, 0.8, needs_serial=False).pack()
    assert len(packed) < MOST_BYTES
    report = read_report(packed)
    assert isinstance(report, WorkerReport) and report.finds == finds


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(REPORT.pack()), **fields}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"\x80\x05cposix\nsystem\n.",  # a pickle
        b"[" * 100_000,
        b'{"index": ' + b"1" * 5000 + b"}",
        REPORT.pack() + b" " * MOST_BYTES,
        HELLO.pack(),
        changed(more=1),
        changed(seconds=float("nan")),
        changed(hashes=float("inf")),
        changed(finds=None),
        changed(finds=[None]),
        changed(finds=[["aa" * 32, 5]]),
        changed(finds=[["aa" * 31, 5, "1"]]),
        changed(finds=[["AA" * 32, 5, "1"]]),
        changed(finds=[["aa" * 32, 5, 1]]),
        changed(finds=[["aa" * 32, 5, "١"]]),
        b'{"failure": 1}',
        b'{"failure": "x", "index": 1}',
    ],
    ids=lambda data: repr(data)[:40],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_report(data)


@pytest.mark.parametrize("fields", [{"seconds": 1e999}, {"hashes": 1.5}, {"index": "3"}, {"needs_serial": 1}])
def test_what_has_the_form_of_a_report_is_doubted(fields: dict[str, Any]) -> None:
    text = changed(**fields).replace(b"Infinity", b"1e999")
    assert doubt_report(read_report(text), 1) is not None


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_hello, read_report):
        with pytest.raises(ValueError):
            read(data)


def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_BACKEND", "abacus")
    actor = WorkerActor(1, 1)
    for said in (read_hello(actor.hello()), read_report(actor.exchange(None, None, 0.0))):
        assert isinstance(said, WorkerFailure) and "KernelError" in said.failure and "abacus" in said.failure


def test_a_search_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = WorkerActor(1, 1)
    worker: Any = actor._made
    try:
        assert isinstance(read_report(actor.exchange(None, None, 0.0)), WorkerReport)
        worker._error, worker._ended = RuntimeError("x" * 1000), True
        said = read_report(actor.exchange(None, None, 0.0))
        assert isinstance(said, WorkerFailure) and len(said.failure) == 300
    finally:
        worker.end()


def test_a_worker_that_nobody_asks_any_more_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a coordinator which is frozen; not one that was not asked yet, or is being asked."""
    left = threading.Event()
    monkeypatch.setattr(worker_module, "_leave", left.set)
    monkeypatch.setattr(worker_module, "FORGOTTEN_SECONDS", 0.2)
    actor = WorkerActor(1, 1)
    worker: Any = actor._made
    try:
        actor.leave_when_forgotten()
        assert not left.wait(0.4)
        actor.exchange(None, None, 1.0)
        assert not left.wait(1.0), "its reports are asked for every second: it waits for three"
        for _ in range(2):
            actor.exchange(None, None, 0.4)
            assert not left.is_set()
        assert left.wait(30)
    finally:
        worker.end()
