"""Faults on demand, as they are written and used up."""

from __future__ import annotations

import time

import pytest

from kalepool.devnet.faults import FaultKind, Faults, parse_fault
from kalepool.errors import InputError


def test_a_fault_happens_as_often_as_asked_to_the_method_asked_for() -> None:
    faults = Faults()
    faults.add(parse_fault("kind=drop,method=getHealth,count=2"))
    assert faults.take(FaultKind.DROP, "getNetwork") is None
    assert faults.take(FaultKind.DELAY, "getHealth") is None
    assert [faults.take(FaultKind.DROP, "getHealth") is not None for _ in range(3)] == [True, True, False]
    faults.add({"kind": "delay", "seconds": 2, "count": 0})
    for method in ("getHealth", "getNetwork"):
        fault = faults.take(FaultKind.DELAY, method)
        assert fault is not None and fault.seconds == 2
    assert faults.describe() == [{"kind": "delay", "method": "", "count": 0, "seconds": 2.0}]
    faults.clear()
    assert faults.describe() == []


def test_lasting_faults_end_by_time_or_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    faults.add({"kind": "stuck", "seconds": 10})
    assert faults.is_active(FaultKind.STUCK)
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not faults.is_active(FaultKind.STUCK)
    faults.add({"kind": "stuck"})
    assert faults.is_active(FaultKind.STUCK)
    faults.clear()
    assert not faults.is_active(FaultKind.STUCK)


def test_only_lasting_faults_end_by_time_and_each_is_of_its_method(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    faults.add({"kind": "lie", "method": "getTransaction", "seconds": 5})
    faults.add({"kind": "hang", "seconds": 5})
    assert faults.is_active(FaultKind.LIE, "getTransaction")
    assert not faults.is_active(FaultKind.LIE, "getLedgerEntries")
    later = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not faults.is_active(FaultKind.LIE, "getTransaction")
    assert [fault["kind"] for fault in faults.describe()] == ["hang"]


@pytest.mark.parametrize("text", ["drop", "kind=flood", "kind=delay,seconds=soon", "kind=drop,count=x"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Faults().add(parse_fault(text))
