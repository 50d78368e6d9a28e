"""Hashrates as series for the chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from kalepool.view.history import BIN_SECONDS, GONE_SECONDS, make_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_who_has_gone_is_named_no_more() -> None:
    miner = uuid4()

    def row(bins_ago: float, **who: object) -> dict[str, object]:
        at = NOW - timedelta(seconds=BIN_SECONDS * bins_ago)
        return {"at": at, "hashes_per_second": 5.0, "miner_id": None, "name": None, "kind": None, "number": None, **who}

    gone = GONE_SECONDS / BIN_SECONDS + 1
    here = {"kind": "cpu", "number": 1}
    rows = [row(gone, **here), row(gone, kind="cpu", number=2), row(gone), row(gone, miner_id=miner, name="rig")]
    assert {one.label for one in make_history([*rows, row(1, **here)], NOW).series} == {
        "cpu worker 1",
        "earlier workers",
        "earlier miners",
    }
    back = make_history([*rows, row(1, miner_id=miner, name="rig")], NOW)
    assert {(one.label, one.miner_id) for one in back.series} == {("earlier workers", None), ("rig", miner)}
    assert sum(one.values[0] for one in back.series) == 4 * 5.0
