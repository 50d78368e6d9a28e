"""Hashrates as series for the chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from kalepool.view.history import BIN_SECONDS, GONE_SECONDS, make_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BINS = 10


def history(*rows: dict[str, object]):
    return make_history(rows, NOW - timedelta(seconds=BIN_SECONDS * BINS), NOW)


def row(*bins_ago: int, **who: object) -> dict[str, object]:
    """Hashes at 5 a second in these bins."""
    bins = sorted(BINS - each for each in bins_ago)
    known = {"miner_id": None, "name": None, "kind": None, "number": None, "newest": bins[-1]}
    return known | {"rates": " ".join(f"{each}:5" for each in bins)} | who


def test_who_has_gone_is_named_no_more() -> None:
    miner = uuid4()
    gone = int(GONE_SECONDS / BIN_SECONDS) + 1
    theirs = [row(gone, kind="cpu", number=2), row(gone)]
    here = history(row(gone, 1, kind="cpu", number=1), row(gone, miner_id=miner, name="rig"), *theirs)
    assert {one.label for one in here.series} == {"cpu worker 1", "earlier workers", "earlier miners"}
    back = history(row(gone, kind="cpu", number=1), row(gone, 1, miner_id=miner, name="rig"), *theirs)
    assert {(one.label, one.miner_id) for one in back.series} == {("earlier workers", None), ("rig", miner)}
    assert sum(one.values[0] for one in back.series) == 4 * 5.0


def test_whole_bins_alone_from_the_first_on() -> None:
    found = history(row(4, 2, 0, kind="cpu", number=1), row(0, kind="cpu", number=2))
    assert found.times[0] == NOW - timedelta(seconds=4 * BIN_SECONDS) and len(found.times) == 4
    assert [one.values for one in found.series] == [(5.0, 0.0, 5.0, 0.0)], "the open one is not full yet"
    assert history().times == ()
