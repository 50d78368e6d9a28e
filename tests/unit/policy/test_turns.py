"""The order among equals, and what it does to their luck."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.search import pick
from kalepool.policy.turns import FIRST, ONE, at_once, gap_had, in_turn, owed, zeros_had
from kalepool.protocol.model import ZERO_ENTROPY, Block
from kalepool.protocol.rewards import normalise


def blocks_of(farmers: str, most: int) -> st.SearchStrategy[dict[int, dict[str, int]]]:
    """Block 0 and those after it: who counts in each, with its paying zeros."""
    block = st.dictionaries(st.sampled_from(farmers), st.integers(0, 9), max_size=len(farmers))
    return st.lists(block, max_size=most).map(lambda blocks: dict(enumerate(blocks)))


@given(st.integers(0, 90), st.integers(0, 90), st.integers(1, 90))
def test_gap_counts_as_the_contract_gives_points(gap: int, least: int, span: int) -> None:
    """Of bounds whose range is the largest, which is the scale, and so is not rounded."""
    block = Block(0, least, 0, 0, least + span, 0, 0, ZERO_ENTROPY, 0, 0)
    points, _, _ = normalise(block, gap, 0, 0)
    assert gap_had(gap, least, least + span) == (points if gap > least else 0) / span


def test_zeros_count_that_pay_and_the_first_a_half_more() -> None:
    assert [zeros_had(zeros, 5, 8) for zeros in (None, 3, 5, 6, 7, 8, 9)] == [0, 0, 0, 1.5, 2.5, 3.5, 3.5]


def test_without_work_or_range_nothing_is_had() -> None:
    for had in (zeros_had, gap_had):
        assert had(None, 0, 9) == had(7, 4, 4) == had(7, 9, 4) == 0


@given(blocks_of("abcde", 20))
def test_debts_cancel_out(blocks: dict[int, dict[str, int]]) -> None:
    debts = owed(blocks, 20, 20)
    assert abs(sum(debts.values())) <= len(debts), "but for rounding"
    for farmer in debts:
        assert debts[farmer] == 0 or any(len(block) > 1 for block in blocks.values() if farmer in block)


def test_a_block_weighs_the_less_the_older_it_is() -> None:
    block = {5: {"a": 0, "b": 2}}
    debts = [owed(block, index, 4).get("a", 0) / ONE for index in (5, 6, 7, 9, 10)]
    assert debts == [0, 1, 0.75, 0.25, 0]


@given(blocks_of("abcde", 20), blocks_of("bcde", 200))
def test_who_is_away_is_owed_no_more_when_it_comes_back(
    before: dict[int, dict[str, int]], away: dict[int, dict[str, int]]
) -> None:
    """However much the others farm meanwhile, and however long."""
    index = len(before)
    everything = before | {index + at: block for at, block in away.items()}
    later = index + len(away)
    back = owed(everything, later, 288).get("a", 0)
    assert back == owed(before, later, 288).get("a", 0)
    assert abs(back) <= sum(9 * ONE for block in before.values() if "a" in block)


@given(st.integers(2, 9), st.data())
def test_places_that_are_fewer_than_farmers_go_round(farmers: int, data: st.DataObject) -> None:
    """Whom the pool leaves out is owed its part of what the others earn."""
    places = data.draw(st.integers(1, farmers - 1))
    names = [str(number) for number in range(farmers)]
    pails = dict.fromkeys(names, 0)
    past: dict[int, dict[str, int]] = {}
    for block in range(3 * farmers):
        planted = in_turn(names, owed(past, block, 288), block.to_bytes(8, "big"))[:places]
        for name in planted:
            pails[name] += 1
        past[block] = {name: 3 * (name in planted) for name in names}
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


def test_equals_with_scarce_power_get_the_same_over_days() -> None:
    """Eight farmers, and on average five finds a block: by position in a list, the last would get next to none."""
    dice = random.Random(1)
    farmers = list("abcdefgh")
    zeros_of, blocks_of_any = dict.fromkeys(farmers, 0), dict.fromkeys(farmers, 0)
    past: dict[int, dict[str, float]] = {}
    for block in range(1000):
        turns = in_turn(farmers, owed(past, block, 288), block.to_bytes(4, "big"))
        zeros = [5] * len(turns)
        for _ in range(dice.choice((1, 3, 5, 7, 9))):
            zeros[pick(zeros, dice.randrange(4), 5, hashes=1e5)] += 1
        past[block] = {farmer: zeros_had(z, 5, 8) for farmer, z in zip(turns, zeros, strict=True)}
        for farmer, z in zip(turns, zeros, strict=True):
            zeros_of[farmer] += z - 5
            blocks_of_any[farmer] += z > 5
        both = [zeros_of[farmer] + FIRST * blocks_of_any[farmer] for farmer in farmers]
        assert max(both) - min(both) <= 2
        for count, apart in ((zeros_of, 7), (blocks_of_any, 12)):
            assert max(count.values()) - min(count.values()) <= (5 if block < 100 else apart)
