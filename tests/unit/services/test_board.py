"""What the page says of the pool in one word."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from kalepool.services.board import Board, FarmerRow, Lost, judge

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
