"""The order among equals, and what it does to their luck."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.search import pick
from kalepool.policy.turns import BEST, at_once, in_turn, owed, zero_points


def test_only_zeros_within_the_bounds_earn_points() -> None:
    assert [zero_points(zeros, 5, 8) for zeros in (None, 3, 5, 6, 8, 9)] == [0, 0, 0, BEST // 3, BEST, BEST]
    assert zero_points(7, 4, 4) == 0


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(0, BEST), max_size=5), max_size=20))
def test_debts_cancel_out(blocks: list[dict[str, int]]) -> None:
    debts = owed(blocks)
    assert abs(sum(debts.values())) <= len(debts), "but for rounding"
    assert all(debts[farmer] == 0 for farmer in debts if all(b.keys() == {farmer} for b in blocks if farmer in b))


@given(
    st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(0, BEST), max_size=5), max_size=20),
    st.lists(st.dictionaries(st.sampled_from("bcde"), st.integers(0, BEST), max_size=4), max_size=200),
)
def test_who_is_away_is_owed_no_more_when_it_comes_back(
    before: list[dict[str, int]], away: list[dict[str, int]]
) -> None:
    """However much the others farm meanwhile, and however long."""
    assert owed([*before, *away]).get("a", 0) == owed(before).get("a", 0)


@given(st.integers(2, 9), st.data())
def test_places_that_are_fewer_than_farmers_go_round(farmers: int, data: st.DataObject) -> None:
    """Whom the pool leaves out is owed its part of what the others earn."""
    places = data.draw(st.integers(1, farmers - 1))
    names = [str(number) for number in range(farmers)]
    pails = dict.fromkeys(names, 0)
    past: list[dict[str, int]] = []
    for block in range(3 * farmers):
        planted = in_turn(names, owed(past), block.to_bytes(8, "big"))[:places]
        for name in planted:
            pails[name] += 1
        past.append({name: BEST * (name in planted) for name in names})
        assert max(pails.values()) - min(pails.values()) <= 1


def test_the_most_owed_is_first_and_the_rest_changes_with_every_block() -> None:
    assert in_turn("abc", {"a": -1, "b": 2}, b"") == ["b", "c", "a"]
    assert {in_turn("abc", {}, bytes([block]))[0] for block in range(30)} == set("abc")
    assert in_turn("cab", {}, b"x") == in_turn("abc", {}, b"x"), "where somebody stands in a list decides nothing"


@given(st.integers(1, 1000), st.floats(0, 1e15), st.integers(0, 12))
def test_at_least_one_and_at_most_all_are_served(equals: int, hashes: float, zeros: int) -> None:
    served = at_once(equals, hashes, zeros)
    assert 1 <= served <= equals
    wasted = hashes * 16.0 ** -(zeros + 1) / served
    assert served == equals or wasted <= 0.1 + 1e-9


def test_equals_with_scarce_power_get_the_same_over_a_day() -> None:
    """Eight farmers, and on average five finds a block: by position in a list, the last would get next to none."""
    dice = random.Random(1)
    farmers = list("abcdefgh")
    had = dict.fromkeys(farmers, 0)
    past: list[dict[str, int]] = []
    for block in range(284):
        turns = in_turn(farmers, owed(past), block.to_bytes(4, "big"))
        zeros = [5] * len(turns)
        for _ in range(dice.choice((1, 3, 5, 7, 9))):
            zeros[pick(zeros, dice.randrange(4), 5, hashes=1e5)] += 1
        past.append({farmer: zero_points(z, 5, 8) for farmer, z in zip(turns, zeros, strict=True)})
        for farmer, z in zip(turns, zeros, strict=True):
            had[farmer] += z - 5
        assert max(had.values()) - min(had.values()) <= 2
