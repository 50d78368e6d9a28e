"""The order among equals, and what it does to their luck."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.search import pick
from kalepool.policy.turns import FIRST, ONE, at_once, claim, in_turn, owed, rewards_had, zeros_had
from kalepool.protocol.model import ZERO_ENTROPY, Block, Pail
from kalepool.protocol.rewards import reward


def blocks_of(farmers: str, most: int) -> st.SearchStrategy[dict[int, dict[str, int]]]:
    """Block 0 and those after it: who counts in each, with its paying zeros."""
    block = st.dictionaries(st.sampled_from(farmers), st.integers(0, 9), max_size=len(farmers))
    return st.lists(block, max_size=most).map(lambda blocks: dict(enumerate(blocks)))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=5), st.integers(1, 50))
def test_equal_stakes_have_what_the_contract_pays_them(found: list[tuple[int, int]], gaps: int) -> None:
    """Who has more by it is paid more by it: what the stake brings is the same for all."""
    block = Block(0, 5, 0, 5, 5 + gaps, 0, 8, ZERO_ENTROPY, 10_000, 0)
    pails = {str(number): Pail(0, gap, 0, zeros) for number, (gap, zeros) in enumerate(found)}
    had = rewards_had(block, pails)
    paid = {farmer: reward(block, pail, 0) for farmer, pail in pails.items()}
    stakes = (sum(paid.values()) - sum(had.values()) * sum(paid.values()) / len(paid)) / len(paid)
    for farmer, part in had.items():
        assert part * sum(paid.values()) / len(paid) + stakes == pytest.approx(paid[farmer], rel=1e-3)


def test_who_stakes_less_has_no_claim_for_it_and_who_has_no_work_has_nothing() -> None:
    block = Block(0, 5, 0, 5, 15, 100, 8, ZERO_ENTROPY, 0, 0)
    had = rewards_had(block, {"poor": Pail(0, 10, 0, 7), "rich": Pail(0, 10, 100, 7), "idle": Pail(0, None, 100, None)})
    assert had["poor"] == had["rich"] > 0 and had["idle"] == 0
    assert rewards_had(block, {"idle": Pail(0, None, 100, None)}) == {"idle": 0}


def test_zeros_decide_until_rewards_are_far_apart() -> None:
    assert claim(3 * ONE, ONE // 2) == claim(3 * ONE, -ONE // 2) == 3 * ONE
    assert claim(0, ONE) == -claim(0, -ONE) == 4 * ONE


@given(st.integers(-9 * ONE, 9 * ONE), st.integers(-9 * ONE, 9 * ONE), st.integers(0, ONE), st.integers(0, ONE))
def test_more_is_owed_to_whom_more_of_either_is(zeros: int, reward: int, more_zeros: int, more_reward: int) -> None:
    assert claim(zeros + more_zeros, reward + more_reward) >= claim(zeros, reward)


def test_zeros_count_that_pay_and_the_first_more() -> None:
    assert [zeros_had(zeros, 5, 8) for zeros in (None, 3, 5, 6, 7, 8, 9)] == [0, 0, 0, 3, 4, 5, 5]


def test_without_work_or_range_nothing_is_had() -> None:
    assert zeros_had(None, 0, 9) == zeros_had(7, 4, 4) == zeros_had(7, 9, 4) == 0


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
        assert max(both) - min(both) <= FIRST + 2
        for count, apart in ((zeros_of, 15), (blocks_of_any, 8)):
            assert max(count.values()) - min(count.values()) <= (5 if block < 100 else apart)


@pytest.mark.parametrize("seed", range(10))
def test_luck_with_gap_evens_out(seed: int) -> None:
    """Eight farmers without rivals: a zero that is found late comes with twice the gap, so with twice the reward."""
    dice = random.Random(seed)
    block = Block(0, 7, 0, 5, 13, 0, 6, ZERO_ENTROPY, 0, 0)
    farmers = list("abcdefgh")
    kale = dict.fromkeys(farmers, 0.0)
    zeros: dict[int, dict[str, float]] = {}
    rewards: dict[int, dict[str, float]] = {}
    for index in range(30):
        turns = _by_debts(farmers, zeros, rewards, index)
        pails = dict.fromkeys(farmers, Pail(0, 7, 0, 5))
        for farmer in turns[: dice.choice((2, 3, 4, 5))]:
            pails[farmer] = Pail(0, dice.choice((7, 13)), 0, 6)
        zeros[index] = {farmer: zeros_had(pail.zeros, 5, 6) for farmer, pail in pails.items()}
        rewards[index] = rewards_had(block, pails)
        for farmer, had in rewards[index].items():
            kale[farmer] += had
    assert max(kale.values()) / min(kale.values()) < 1.15


def test_blocks_with_a_zero_that_pays_even_out_beside_rewards() -> None:
    """Who had luck with more zeros or late ones is not to be without any for block after block."""
    played = [_alone(seed) for seed in range(50)]
    assert sum(blocks for blocks, _ in played) / 50 < 2.5 and max(blocks for blocks, _ in played) <= 5
    assert sum(rewards for _, rewards in played) / 50 < 0.1


def _alone(seed: int) -> tuple[int, float]:
    """Eight farmers without rivals, for 30 blocks: in every other all have zeros that pay, some by luck more, and in
    the next only whose turn it is. How far the least and the most favoured are apart: in blocks with a zero that
    pays, and as a part of their rewards."""
    dice = random.Random(seed)
    farmers = list("abcdefgh")
    paid, kale = dict.fromkeys(farmers, 0), dict.fromkeys(farmers, 0.0)
    zeros: dict[int, dict[str, float]] = {}
    rewards: dict[int, dict[str, float]] = {}
    for index in range(30):
        scarce = index % 2 == 1
        block = Block(0, 7, 0, 5 if scarce else 0, 13, 0, 6, ZERO_ENTROPY, 0, 0)
        turns = _by_debts(farmers, zeros, rewards, index)
        pails = dict.fromkeys(farmers, Pail(0, 7, 0, 5))
        for farmer in turns[: dice.choice((2, 3, 4, 5))]:
            pails[farmer] = Pail(0, dice.choice((7, 13)), 0, dice.choice((6, 6, 6, 7)))
        if not scarce:
            for farmer in farmers:
                if dice.random() < 0.2:
                    pails[farmer] = Pail(0, dice.choice((7, 7, 7, 13)), 0, 6)
        zeros[index] = {farmer: zeros_had(pail.zeros, block.min_zeros, 6) for farmer, pail in pails.items()}
        rewards[index] = rewards_had(block, pails)
        for farmer, had in zeros[index].items():
            paid[farmer] += had > 0
            kale[farmer] += rewards[index][farmer]
    return max(paid.values()) - min(paid.values()), max(kale.values()) / min(kale.values()) - 1


def _by_debts(
    farmers: list[str],
    zeros: dict[int, dict[str, float]],
    rewards: dict[int, dict[str, float]],
    index: int,
) -> list[str]:
    """The order in block `index`, after what all had of both in the blocks before."""
    debts = [owed(had, index, 288) for had in (zeros, rewards)]
    claims = {farmer: claim(debts[0].get(farmer, 0), debts[1].get(farmer, 0)) for farmer in farmers}
    return in_turn(farmers, claims, index.to_bytes(4, "big"))
