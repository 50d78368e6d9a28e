"""The contract's rules against recordings of the contract itself."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from kalepool.errors import InputError
from kalepool.protocol.replay import TraceDifferenceError, read_trace, replay

TRACES = sorted((Path(__file__).parents[2] / "conformance" / "traces").glob("*.json.gz"))


def test_there_are_traces() -> None:
    assert len(TRACES) >= 26


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_trace_replays_without_a_difference(path: Path) -> None:
    trace = read_trace(path)
    assert replay(trace) == len(trace["calls"])


def _first(trace: dict[str, Any], method: str, ok: bool = True) -> dict[str, Any]:
    return next(c for c in trace["calls"] if c["method"] == method and ("ok" in c["expect"]) == ok)


def _bump(holder: dict[str, Any], key: str) -> None:
    holder[key] = str(int(holder[key]) + 1)


@pytest.mark.parametrize(
    ("tamper", "path"),
    [
        (lambda t: _bump(_first(t, "harvest")["expect"], "ok"), r"expect\.ok"),
        (lambda t: _bump(_first(t, "work")["expect"], "ok"), r"expect\.ok"),
        (lambda t: _first(t, "plant")["auth"].append(t["strangers"][0]), "auth"),
        (lambda t: _first(t, "plant")["auth"].clear(), "auth"),
        (lambda t: _first(t, "harvest")["token"].clear(), "token"),
        (lambda t: _bump(_first(t, "plant")["state"], "balance"), r"state\.balance"),
        (lambda t: _bump(_first(t, "plant")["state"], "supply"), r"state\.supply"),
        (lambda t: _bump(_first(t, "work")["state"]["block"], "normalized_total"), r"state\.block\.normalized_total"),
        (lambda t: _bump(_first(t, "work")["state"]["farm_block"], "max_gap"), r"state\.farm_block\.max_gap"),
        (lambda t: _bump(_first(t, "work")["state"]["pail"], "zeros"), r"state\.pail\.zeros"),
        (lambda t: _bump(_first(t, "plant", ok=False)["expect"]["error"], "code"), r"expect\.error\.code"),
        (lambda t: _bump(t["final"]["pails"][0], "live_until"), r"pails\.by_key\..*\.live_until"),
        (lambda t: t["final"]["pails"].pop(), r"pails\.by_key\."),
        (lambda t: t["final"]["blocks"].popitem(), r"blocks\."),
        (lambda t: _bump(t["final"]["balances"], t["farmers"][0]), r"balances\."),
        (lambda t: _bump(t, "min_temp_entry_ttl"), "live_until"),
    ],
)
def test_any_difference_is_found_and_named(tamper: Any, path: str) -> None:
    trace = copy.deepcopy(read_trace(next(p for p in TRACES if p.name.startswith("t031"))))
    tamper(trace)
    with pytest.raises(TraceDifferenceError, match=r"expected .*, got ") as caught:
        replay(trace, name="FILE")
    assert re.search(path, caught.value.path)
    assert str(caught.value).startswith("FILE: ")


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"[]", b"\x1f\x8bnot gzip", b'{"format": "kale-oracle-trace/1"}'):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.json"):
            read_trace(tmp_path / "x.json")
    with pytest.raises(InputError, match="missing"):
        read_trace(tmp_path / "missing.json")
