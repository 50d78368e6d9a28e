"""Whom to hash for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.search import RAISED_PART, next_ones, pick, raised_to

many_zeros = st.lists(st.integers(0, 12), min_size=1, max_size=30)


@given(many_zeros, st.integers(0, 100), st.integers(0, 12))
def test_the_next_zero_that_pays_is_the_cheapest(zeros: list[int], offset: int, floor: int) -> None:
    """It costs 16^(zeros + 1) hashes, and what does not pay must be found as well."""
    cost = [16 ** (max(z, floor) + 1) for z in zeros]
    assert cost[pick(zeros, offset, floor)] == min(cost)


@given(many_zeros, st.integers(0, 12))
def test_offsets_spread_threads_evenly_over_equals(zeros: list[int], floor: int) -> None:
    equals = sum(z <= max(min(zeros), floor) for z in zeros)
    assert len({pick(zeros, offset, floor) for offset in range(equals)}) == equals


def test_a_thread_stays_until_its_farmer_is_past_the_floor() -> None:
    zeros = [1, 0, 2, 0]
    assert pick(zeros, 1, floor=4) == 1
    zeros[1] = 4
    assert pick(zeros, 1, floor=4) == 1
    zeros[1] = 5
    assert pick(zeros, 1, floor=4) == 2
    assert pick([5, 5, 6], 1, floor=4) == 1


def test_the_first_in_turn_has_all_threads_while_finds_are_rare() -> None:
    zeros = [6, 5, 2, 5]
    assert {pick(zeros, offset, 5, hashes=1e6) for offset in range(9)} == {1}
    assert {pick(zeros, offset, 5, hashes=16**6 * 0.15) for offset in range(9)} == {1, 2}
    assert {pick(zeros, offset, 5, hashes=1e12) for offset in range(9)} == {1, 2, 3}


@given(many_zeros, st.integers(0, 12), st.integers(0, 12))
def test_all_are_raised_first_and_then_the_next_zero_that_pays_is_the_cheapest(
    zeros: list[int], floor: int, least: int
) -> None:
    position = pick(zeros, 0, floor, least=least)
    if min(zeros) < least:
        assert position == next(at for at, z in enumerate(zeros) if z < least), "the first in turn that has too few"
    else:
        assert position == pick(zeros, 0, floor)
    positions, fewest = next_ones(zeros, floor, least)
    assert set(positions) == {at for at, z in enumerate(zeros) if z <= fewest}


@given(st.integers(0, 12), st.integers(1, 2000), st.floats(0, 1e13))
def test_all_are_raised_as_far_as_a_part_of_the_hashes_goes(floor: int, farmers: int, hashes: float) -> None:
    zeros = raised_to(floor, farmers, hashes)
    assert 0 <= zeros <= floor
    assert zeros == 0 or farmers * 16.0**zeros <= RAISED_PART * hashes
    assert zeros == floor or farmers * 16.0 ** (zeros + 1) > RAISED_PART * hashes


def test_left_over_power_goes_on_with_the_fewest() -> None:
    assert pick([8, 7, 9]) == 1


def test_nobody_to_hash_for() -> None:
    with pytest.raises(ValueError, match="empty"):
        pick([])
