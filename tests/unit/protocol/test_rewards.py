"""The contract's reward arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.contract_errors import BlockInvalidError, WorkMissingError
from kalepool.protocol.model import I128_MAX, I128_MIN, ZERO_ENTROPY, Block, Pail, TrapError
from kalepool.protocol.rewards import block_reward, forecast, normalise, reward, scale

BLOCK = Block(0, 10, 0, 4, 58, 10**10, 8, ZERO_ENTROPY, 0, 3 * 10**10)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    small = st.integers(0, 70)
    stakes = st.integers(0, 2**80)
    gaps, zeros, stake = (
        sorted([draw(small), draw(small)]),
        sorted([draw(small), draw(small)]),
        [draw(stakes), draw(stakes)],
    )
    return Block(
        0, gaps[0], min(stake), zeros[0], gaps[1], max(stake), zeros[1], ZERO_ENTROPY, draw(stakes), draw(stakes)
    )


values = st.tuples(st.integers(0, 90), st.integers(0, 2**81), st.integers(0, 64))


@given(blocks(), values)
def test_every_kind_earns_1_to_the_scale(block: Block, pail: tuple[int, int, int]) -> None:
    assert all(1 <= points <= scale(block) for points in normalise(block, *pail))


@given(blocks(), values, st.integers(0, 2), st.integers(0, 10))
def test_more_of_anything_never_earns_less(block: Block, pail: tuple[int, int, int], kind: int, more: int) -> None:
    better = [value + more * (which == kind) for which, value in enumerate(pail)]
    assert sum(normalise(block, *better)) >= sum(normalise(block, *pail))


@given(blocks(), values)
def test_what_is_out_of_bounds_counts_as_the_bound(block: Block, pail: tuple[int, int, int]) -> None:
    bounds = [(block.min_gap, block.max_gap), (block.min_stake, block.max_stake), (block.min_zeros, block.max_zeros)]
    inside = [min(max(value, low), high) for value, (low, high) in zip(pail, bounds, strict=True)]
    assert normalise(block, *inside) == normalise(block, *pail)


@given(blocks(), st.lists(values, min_size=1, max_size=6))
def test_pails_worked_once_share_out_no_more_than_the_pot(block: Block, pails: list[tuple[int, int, int]]) -> None:
    block = replace(block, normalized_total=sum(sum(normalise(block, *pail)) for pail in pails))
    paid = [reward(block, Pail(0, gap, stake, zeros), 40_000) for gap, stake, zeros in pails]
    pot = block_reward(40_000) + block.staked_total
    assert pot - len(pails) < sum(paid) <= pot


@pytest.mark.parametrize(
    ("index", "stroops"),
    [
        (0, 25_050_000_000),
        (30_558, 25_050_000_000),
        (39_197, 25_050_000_000),
        (39_198, 23_797_500_000),  # the first with decay
        (47_838, 22_607_625_000),
        (2**32 - 1, 0),
    ],
)
def test_block_reward(index: int, stroops: int) -> None:
    assert block_reward(index) == stroops


def test_a_forecast_is_final_once_the_block_is_over() -> None:
    pail = Pail(0, 34, 5 * 10**9, 6)
    expected = 3 * 5 * 10**9 * 25_050_000_000 // (3 * 10**10)
    assert reward(BLOCK, pail, 100) == expected
    assert (forecast(BLOCK, pail, 100, 100).reward_stroops, forecast(BLOCK, pail, 100, 100).final) == (expected, False)
    assert forecast(BLOCK, pail, 100, 101).final


@pytest.mark.parametrize("missing", [{"gap": None}, {"zeros": None}])
def test_no_work_no_reward(missing: dict[str, None]) -> None:
    with pytest.raises(WorkMissingError):
        reward(BLOCK, replace(Pail(0, 1, 1, 1), **missing), 100)


@pytest.mark.parametrize("wrong", [{"max_gap": 9}, {"max_stake": -1}, {"max_zeros": 3}])
def test_contradicting_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(BlockInvalidError):
        normalise(replace(BLOCK, **wrong), 20, 5, 5)


def test_arithmetic_beyond_i128_traps() -> None:
    with pytest.raises(TrapError):
        normalise(replace(BLOCK, min_stake=I128_MIN, max_stake=I128_MAX), 20, 5, 5)
    with pytest.raises(TrapError):
        reward(replace(BLOCK, staked_total=I128_MAX), Pail(0, 20, 5, 5), 100)
