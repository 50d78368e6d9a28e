"""What the page says of the pool in one word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from kalepool.services.board import BIN_SECONDS, GONE_SECONDS, Board, FarmerRow, Lost, judge, make_history
from kalepool.services.farmers import Lacking

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def farmer(worked_zeros: int | None = 6) -> FarmerRow:
    return FarmerRow(
        uuid4(), "G", "active", 1_000, 6, worked_zeros, 10, None, None, None, b"plant", b"work", None, None
    )


def board(**known: object) -> Board:
    made = Board(NOW, 9, None, NOW + timedelta(seconds=200), 300, 5.0, False, False, (farmer(), farmer()), (), (), ())
    return replace(made, **known)


def test_a_loss_shows_until_the_next_block_is_over() -> None:
    assert judge(board()).title == "Safe"
    lost = judge(board(lost=Lost(8, 10, 16_214_200_000)))
    assert (lost.level, lost.title) == ("bad", "Block 8 lost 10 stakes, 1,621.42 KALE")
    assert "This block: Safe" in lost.detail
    assert judge(board(lost=Lost(8, 1, 1), chain_problem=True)).title == "Chain does not answer"


@pytest.mark.parametrize("farmers", [(), (farmer(),), (farmer(None), farmer())])
def test_the_operator_s_pause_is_told(farmers: tuple[FarmerRow, ...]) -> None:
    idle = replace(farmer(None), stake_stroops=None)
    told = judge(board(planting_paused=True, farmers=(*farmers, idle)))
    assert (told.level, told.title) == ("warn", "Paused by the operator")
    assert judge(board(planting_paused=True, paused=True)).title == "Farm paused"


def test_what_a_farmer_waits_for_is_told_and_it_is_not_counted() -> None:
    idle = replace(farmer(None), status="registered", stake_stroops=None, gap=None)
    assert idle.waits_for == "waits for XLM"
    assert replace(idle, missing=Lacking(45_000_000, trustline=True)).waits_for == "waits for 4.5 XLM"
    assert replace(idle, missing=Lacking(0, trustline=True)).waits_for == "is let in"
    assert judge(board(farmers=(idle,))).detail == "1 farmer registered; below is what each waits for."
    assert judge(board(farmers=())).detail == "Nobody takes part yet."
    assert board(farmers=(farmer(), idle)).active == 1


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
