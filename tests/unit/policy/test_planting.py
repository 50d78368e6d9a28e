"""What a block should bring, the stake of all, and how many are planted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.foresight import PAST_BLOCKS, PRIOR_GAP, PastBlock, Rivals, _served, paying_zeros
from kalepool.policy.planting import PlantingQuestion, SitOut, budget_left, plan_block
from kalepool.policy.price_gate import UNPRICED, PailFees, PriceGate
from kalepool.policy.stake import WORTH_LESS, StakeQuestion, _Worth, ceiling_of, common_stake, stake_of
from kalepool.protocol.model import ZERO_ENTROPY, Block, Pail
from kalepool.protocol.rewards import normalise, scale
from kalepool.view.sitting_out import in_words

KALE = 10**7
LIMIT = st.none() | st.integers(0, 20_000 * KALE)
BOUNDS = Block(0, 2, 0, 5, 55, 6_500_000, 8, ZERO_ENTROPY, 0, 0)
RIVALS = Rivals(fixed=1430.0, staked=468 * KALE, most=6_500_000)
FEES = PailFees(plant=35_000, work=30_000, harvest=15_000)
QUESTION = PlantingQuestion(
    203_000, BOUNDS, [10 * KALE] * 50, RIVALS, PriceGate(FEES, 0.01), 40e6 * 275, 0.001, 900 * KALE
)


# What a block should bring


def block_with(bound: int, ours: list[Pail], others_points: float, staked: int) -> PastBlock:
    """In which others have so many points for gap and zeros, and staked so much in all."""
    block = replace(BOUNDS, max_stake=bound)
    points = sum(sum(normalise(block, pail.gap or 0, pail.stake, pail.zeros or 0)) for pail in ours)
    total = round((others_points + staked / bound) * scale(block)) + points
    return PastBlock(replace(block, normalized_total=total), ours, staked)


def test_rivals_are_what_is_not_ours() -> None:
    ours = [Pail(0, 55, 5_000_000, 8), Pail(0, 28, 0, 6)]
    past = [block_with(6_500_000, ours, 1000.0, 300 * KALE) for _ in range(5)]
    rivals = Rivals.foresee(past)
    assert rivals.fixed == pytest.approx(1000, rel=1e-6) and rivals.staked == 300 * KALE and rivals.following == 0
    assert rivals.points(6_500_000) == pytest.approx(1000 + 300 / 0.65, rel=1e-6)
    assert rivals.points(30 * KALE) == pytest.approx(1010, rel=1e-6) and rivals.points(1) == rivals.fixed
    assert rivals.our_gap == pytest.approx((1 + 26 / 53) / 2)
    assert rivals.most == 6_500_000, "more than any stake of ours"
    assert Rivals.foresee([]).are_none and Rivals.foresee([]).our_gap == PRIOR_GAP and not rivals.are_none


def test_who_follows_the_bounds_is_told_by_what_they_did() -> None:
    past = [block_with(bound, [], 1000.0, 100 * KALE + 40 * bound) for bound in (KALE, 3 * KALE, 2 * KALE) * 5]
    rivals = Rivals.foresee(past)
    assert rivals.following == pytest.approx(40, rel=1e-3) and rivals.staked == pytest.approx(100 * KALE, rel=1e-3)
    assert rivals.points(3 * KALE) == pytest.approx(1000 + 40 + 100 / 3, rel=1e-3)
    assert rivals.points(30 * KALE) == pytest.approx(1000 + 40 + 100 / 30, rel=1e-3), "they go on: it is no gain"


def test_what_nobody_saw_is_not_made_up() -> None:
    past = [replace(block_with(6_500_000, [], 1000.0, 300 * KALE), others_staked=None)]
    rivals = Rivals.foresee(past)
    assert rivals.staked == 0 and rivals.fixed == pytest.approx(1000 + 300 / 0.65, rel=1e-6)


def test_what_rivals_stake_at_most_stays_known_while_ours_hides_it() -> None:
    hidden = [block_with(9 * KALE, [Pail(0, 5, 9 * KALE, 6)], 1.0, 3 * KALE)] * PAST_BLOCKS
    assert Rivals.foresee(hidden).most == 9 * KALE, "the bound is our own: no more than it"
    told = [block_with(bound, [Pail(0, 5, 0, 6)], 1.0, 3 * KALE) for bound in (2 * KALE, 3 * KALE)]
    assert Rivals.foresee([*told, *hidden]).most == 9 * KALE, "somebody staked 9 in the block before ours did"
    raising = block_with(3 * KALE, [Pail(0, 5, 9 * KALE, 6)], 1.0, 3 * KALE)
    assert Rivals.foresee([*told, raising, *hidden]).most == 3 * KALE


def zeros_from(min_zeros: int, max_zeros: int, others_points: float) -> PastBlock:
    bounds = replace(BOUNDS, min_zeros=min_zeros, max_zeros=max_zeros)
    return PastBlock(replace(bounds, normalized_total=round(others_points * scale(bounds))))


def test_rivals_are_foreseen_from_blocks_with_the_same_bounds_of_zeros() -> None:
    """The lower the least zeros, the more of everybody's zeros count."""
    past = [zeros_from(5, 8, 1400), zeros_from(0, 8, 2200), zeros_from(5, 9, 1300)] * 20
    for min_zeros, max_zeros, points in ((5, 8, 1400), (0, 8, 2200), (5, 9, 1300), (3, 7, 4900 / 3)):
        rivals = Rivals.foresee(past, replace(BOUNDS, min_zeros=min_zeros, max_zeros=max_zeros))
        assert rivals.fixed == pytest.approx(points, rel=1e-3), "where none was like it, of the last ones"
        assert rivals.lower == (None if min_zeros == 0 else pytest.approx(2200, rel=1e-3)) and rivals.lower_zeros == 0
    assert Rivals.foresee(past).fixed == pytest.approx(4900 / 3, rel=1e-3)
    assert Rivals.foresee([zeros_from(4, 8, 1500)], BOUNDS).lower is None, "too little lower to tell"


def test_zeros_are_reached_by_the_schedule() -> None:
    everybody_once = 50 * 16.0**6
    assert paying_zeros(0, 50, BOUNDS) == 0
    # One zero each is a third of the best, a little more with hits that have more zeros than were looked for.
    assert 50 / 3 < paying_zeros(everybody_once, 50, BOUNDS) < 1.1 * 50 / 3
    assert paying_zeros(1e15, 50, BOUNDS) == pytest.approx(50)
    assert paying_zeros(1e9, 50, replace(BOUNDS, max_zeros=5)) == 0
    assert paying_zeros(1e9, 10, BOUNDS) / 10 > paying_zeros(1e9, 100, BOUNDS) / 100


@given(st.floats(0.01, 2000), st.floats(0, 5000))
def test_no_more_are_served_than_want_or_than_there_are_finds(wanting: float, finds: float) -> None:
    served = _served(wanting, finds)
    assert 0 <= served <= min(wanting, finds)
    assert _served(wanting, finds + 1) >= served - 1e-9


@pytest.mark.parametrize(("wanting", "finds"), [(1, 1), (3, 2), (10, 12), (40, 38)])
def test_finds_come_by_chance(wanting: int, finds: float) -> None:
    drawn = np.minimum(np.random.default_rng(1).poisson(finds, 100_000), wanting).mean()
    assert _served(wanting, finds) == pytest.approx(drawn, rel=0.01)
    assert _served(wanting, finds) < min(wanting, finds)


# One stake

AMOUNTS = st.integers(0, 2_000 * KALE)
QUESTIONS = st.builds(
    StakeQuestion,
    ceilings=st.lists(AMOUNTS, min_size=1, max_size=40),
    rivals=st.builds(
        Rivals,
        fixed=st.floats(0, 2000),
        staked=st.floats(0, 1e11),
        following=st.floats(0, 500),
        most=AMOUNTS,
    ),
    other_points=st.floats(0.1, 90),
    pot=st.just(900 * KALE),
    miss=st.floats(0, 0.2),
    bound=AMOUNTS,
)


@given(QUESTIONS)
def test_nobody_stakes_more_than_its_ceiling_and_all_the_same_below(question: StakeQuestion) -> None:
    common = common_stake(question)
    assert 0 <= common <= max(question.ceilings)
    stakes = [stake_of(common, ceiling) for ceiling in question.ceilings]
    assert all(stake <= ceiling for stake, ceiling in zip(stakes, question.ceilings, strict=True))
    assert {stake for stake, ceiling in zip(stakes, question.ceilings, strict=True) if ceiling >= common} <= {common}


@given(QUESTIONS)
def test_no_simpler_stake_is_worth_more(question: StakeQuestion) -> None:
    """Neither each its part, nor what counts now, nor nothing; but for what a change must be worth."""
    if question.rivals.are_none:
        most = max(question.ceilings)
        assert common_stake(question) == min(question.bound or most, most)
        return
    worth, most = _Worth(question), max(question.ceilings)
    chosen = worth(common_stake(question))
    for simpler in (0, most, min(question.bound, most)):
        assert chosen >= worth(simpler) - 1.01 * WORTH_LESS * abs(chosen) - 1e-6


def test_one_rich_farmer_does_not_raise_the_bar_for_the_others() -> None:
    ceilings = [1_000 * KALE, *[10 * KALE] * 49]
    question = StakeQuestion(ceilings, RIVALS, 65.0, 900 * KALE, 0.001, 1_000 * KALE)
    assert common_stake(question) == 10 * KALE
    assert _Worth(question)(10 * KALE) > 1.3 * _Worth(question)(1_000 * KALE)
    careful = common_stake(replace(question, miss=0.2))
    assert careful < 5 * KALE, "where much is lost, little is staked"
    assert common_stake(replace(question, ceilings=[])) == 0


@given(QUESTIONS)
def test_more_is_staked_for_any_gain_and_less_only_for_a_clear_one(question: StakeQuestion) -> None:
    if question.rivals.are_none:
        return
    worth, most = _Worth(question), max(question.ceilings)
    common, kept = common_stake(question), min(question.bound, most)
    assert worth(common) >= max(worth(kept), worth(most)) - 1e-6
    if common < kept:
        assert worth(common) > worth(kept) + 0.99 * WORTH_LESS * abs(worth(kept))


def test_a_bound_is_not_left_downwards_for_little() -> None:
    question = StakeQuestion([100 * KALE] * 50, RIVALS, 65.0, 900 * KALE, 0.001, 25 * KALE)
    worth = _Worth(question)
    best = common_stake(replace(question, bound=0))
    assert 10 * KALE < best < 20 * KALE and worth(best) > worth(25 * KALE)
    assert common_stake(question) == 25 * KALE
    assert common_stake(replace(question, bound=100 * KALE)) == best, "which costs more than a hundredth"


# How many


def test_below_what_any_pail_costs_nobody_is_planted_and_far_above_all() -> None:
    plans = {price: plan_block(replace(QUESTION, gate=PriceGate(FEES, price))) for price in (0.002, 0.05)}
    assert (plans[0.002].places, plans[0.002].reason, plans[0.002].sat_out) == (0, SitOut.PRICE, 50)
    assert in_words(plans[0.002]) == (
        "nobody is planted: at 0.002 XLM for a KALE a pail brings less than the 0.008 XLM it costs"
    )
    assert (plans[0.05].places, plans[0.05].reason) == (50, None) and in_words(plans[0.05]) == ""
    assert plans[0.05].reward_stroops / 50 / KALE == pytest.approx(1.4, abs=0.1)


@given(st.floats(0.0005, 0.05), st.floats(1e5, 1e10), st.integers(1, 60))
def test_no_other_number_would_leave_more(price: float, speed: float, farmers: int) -> None:
    question = replace(QUESTION, gate=PriceGate(FEES, price), hashes=speed * 275, ceilings=[10 * KALE] * farmers)
    plan = plan_block(question)
    net = plan.reward_stroops * price - plan.places * FEES.pail
    assert net >= 0
    for places in range(farmers + 1):
        limited = plan_block(replace(question, gate=UNPRICED, budget_stroops=places * UNPRICED.fees.pail))
        assert limited.places == places
        assert net >= limited.reward_stroops * price - places * FEES.pail - 1


def test_all_are_raised_where_the_pool_is_better_off_with_a_high_min_zeros() -> None:
    """Ours are among the best here, who has most: what is added to all makes the difference less."""
    slow = replace(QUESTION, gate=UNPRICED, hashes=1e6 * 275)
    with_more = replace(RIVALS, lower=RIVALS.fixed + 0.43 * 1800, lower_zeros=0)
    assert plan_block(slow).least_zeros == 0, "nobody knows what it means"
    plan = plan_block(replace(slow, rivals=with_more))
    assert plan.places == 50 and plan.least_zeros == 5
    assert plan_block(replace(slow, rivals=with_more, hashes=1e5 * 275)).least_zeros == 4, "as far as power goes"
    assert plan_block(replace(slow, rivals=with_more, ceilings=[])).least_zeros == 0
    # Few others, each as good in gap and stake and better in zeros: what is added to all makes the difference less.
    few = replace(RIVALS, fixed=40 * 1.5, staked=40 * 6_500_000, lower=40 * 1.8, lower_zeros=0)
    assert plan_block(replace(slow, rivals=few)).least_zeros == 0


def test_between_some_sit_out() -> None:
    """Where power is scarce: the first pails get the zeros, more pails only share them."""
    plans = [plan_block(replace(QUESTION, gate=PriceGate(FEES, price))) for price in (0.0055, 0.006, 0.0065, 0.007)]
    places = [plan.places for plan in plans]
    assert places == sorted(places) and any(0 < number < 50 for number in places)
    some = next(plan for plan in plans if 0 < plan.places < 50)
    assert in_words(some).startswith(f"{some.sat_out} of 50 farmers sit it out, by turns: at 0.0")
    assert in_words(some).endswith("another pail brings less than the 0.008 XLM it costs")


def test_a_budget_ends_plants_whatever_they_would_bring() -> None:
    for left, places in ((7 * FEES.pail + 5, 7), (0, 0), (-1, 0), (10**9, 50)):
        plan = plan_block(replace(QUESTION, gate=PriceGate(FEES, 0.05), budget_stroops=left))
        assert plan.places == places and plan.reason == (None if places == 50 else SitOut.BUDGET)
    assert in_words(plan_block(replace(QUESTION, gate=PriceGate(FEES, 0.05), budget_stroops=0))) == (
        "nobody is planted: what 24 hours may cost is spent (KALEPOOL_XLM_PER_DAY)"
    )
    free = replace(QUESTION, gate=PriceGate(PailFees(0, 0, 0), 0.01), budget_stroops=0)
    assert plan_block(free).places == 50, "what costs nothing needs no budget"


@given(st.integers(0, 60 * 80_000), st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_a_day_costs_no_more_than_its_budget(budget: int, farmers: list[int]) -> None:
    """What is planted is worked and harvested in the blocks that follow, whatever is left."""
    spent, unharvested, places = 0, 0, 0
    for count in farmers:
        left = budget_left(budget, spent, 0, unharvested, FEES)
        plan = plan_block(
            replace(QUESTION, gate=PriceGate(FEES, 0.05), ceilings=[10 * KALE] * count, budget_stroops=left)
        )
        spent += plan.places * FEES.plant
        assert budget_left(budget, spent, plan.places, unharvested + plan.places, FEES) >= 0
        spent += plan.places * FEES.work + unharvested * FEES.harvest
        unharvested = places = plan.places
        assert (plan.reason == SitOut.BUDGET) == (plan.places < count)
    assert spent + unharvested * FEES.harvest <= budget
    assert budget_left(budget, spent, 0, unharvested, FEES) < FEES.pail or places == farmers[-1]


def test_without_a_price_all_are_planted() -> None:
    plan = plan_block(replace(QUESTION, gate=UNPRICED))
    assert plan.places == 50 and plan.price is None and plan.reason is None
    assert plan_block(replace(QUESTION, gate=UNPRICED, ceilings=[])).places == 0


@given(
    farmers=st.lists(st.tuples(st.integers(0, 10**5 * KALE), st.integers(0, 10**6), LIMIT), min_size=1, max_size=8),
    of_all=LIMIT,
    bound=st.integers(0, 30 * KALE),
)
def test_nobody_stakes_more_than_its_part_or_its_most(
    farmers: list[tuple[int, int, int | None]], of_all: int | None, bound: int
) -> None:
    ceilings = [ceiling_of(held, Decimal(millionths) / 10**6, most, of_all) for held, millionths, most in farmers]
    plan = plan_block(replace(QUESTION, ceilings=ceilings, block=replace(BOUNDS, max_stake=bound)))
    for (held, millionths, most), ceiling in zip(farmers, ceilings, strict=True):
        stake = stake_of(plan.stake_stroops, ceiling)
        assert 0 <= stake <= held * millionths // 10**6
        assert all(stake <= limit for limit in (most, of_all) if limit is not None)
