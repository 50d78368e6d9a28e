"""What to do when, with a made-up clock."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalepool.actions import ActionName
from kalepool.policy.planting import PlantingPlan, SitOut
from kalepool.policy.price_gate import UNPRICED, PailFees, PriceGate
from kalepool.policy.retries import HOPELESS, LEDGER_SAID_NO, UNFIT
from kalepool.policy.schedule import (
    Action,
    Harvest,
    Plant,
    ScheduleSettings,
    Submit,
    decide,
    last_works,
    ledger_now,
    miss_probability,
)
from kalepool.policy.snapshot import ChainState, FailureState, FarmerState, Found, HarvestState, Snapshot
from kalepool.protocol.lifecycle import new_farm_block
from kalepool.protocol.model import ZERO_ENTROPY, Block, Pail
from tests.support.pace import slowness

START = 1_800_000_000
INDEX = 100_000
KALE = 10**7
BLOCK = Block(START, 12, KALE, 4, 60, 500 * KALE, 8, ZERO_ENTROPY, 0, 0)
RULES = ScheduleSettings(landing_probability=0.999, works_per_ledger=20, insurance=True)
SHARES = (Found(0, 10), Found(3, 11), Found(6, 12))
PROMPT = (1,) * 300  # every work landed in the next ledger


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def chain(seconds: float, **changes: object) -> ChainState:
    """The chain as read that long into the block: a ledger every 5 s, ledger 1000 started the block."""
    ledgers = int(seconds // 5)
    state = ChainState(
        ledger=1000 + ledgers,
        ledger_closed_at=at(5 * ledgers),
        index=INDEX,
        farm_block=new_farm_block(START),
        block=BLOCK,
        paused=False,
        ledger_seconds=5.0,
        block_seconds=300,
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def farmer(name: str = "F", **changes: object) -> FarmerState:
    state = FarmerState(name, pail=Pail(1000, None, 100 * KALE, None), shares=SHARES)
    return replace(state, **changes)  # type: ignore[arg-type]


def run(
    seconds: float,
    *farmers: FarmerState,
    rules: ScheduleSettings = RULES,
    samples: tuple[int, ...] = PROMPT,
    harvests: tuple[HarvestState, ...] = (),
    works: tuple[int, int] = (0, 0),
    speed: float = 40e6,
    plan: PlantingPlan | None = None,
    gate: PriceGate = UNPRICED,
    **changes: object,
) -> list[Action]:
    snapshot = Snapshot(chain(seconds, **changes), farmers, harvests, speed, samples, *works, plan=plan, gate=gate)
    return decide(snapshot, at(seconds), rules)


def costing(stroops: int) -> PriceGate:
    """Where one work costs so much, in stroops of KALE, and nothing else costs anything."""
    return PriceGate(PailFees(0, stroops, 0), 1.0)


def meaning(places: int, index: int = INDEX) -> PlantingPlan:
    return PlantingPlan(index, 9, places, 5 * KALE, 0, 80_000, 0.01, None if places == 9 else SitOut.PRICE)


def submits(actions: list[Action]) -> list[Submit]:
    return [action for action in actions if isinstance(action, Submit)]


def plants(actions: list[Action]) -> list[Plant]:
    return [action for action in actions if isinstance(action, Plant)]


def first_submit(*farmers: FarmerState, **options: object) -> tuple[float, Submit]:
    """The second at which the first work is handed in, looking four times a second."""
    for quarter in range(4 * 300):
        found = submits(run(quarter / 4, *farmers, **options))  # type: ignore[arg-type]
        if found:
            return quarter / 4, found[0]
    raise AssertionError("nothing was ever handed in")


# What is worth its fees


def test_a_plan_has_places_and_one_stake() -> None:
    bare = farmer(pail=None, shares=())
    farmers = [replace(bare, farmer=name) for name in "abc"]
    assert run(0.25, *farmers, plan=meaning(2)) == [Plant(INDEX, ("a", "b", "c"), 2, 5 * KALE)]
    assert run(0.25, *farmers, plan=meaning(0)) == []
    assert run(0.25, *farmers, plan=meaning(0, INDEX - 1)) == [Plant(INDEX, ("a", "b", "c"))], "of another block"
    taken = [farmer("planted"), replace(bare, farmer="in flight", planting=True)]
    assert plants(run(0.25, *farmers, *taken, plan=meaning(2))) == []
    assert len(plants(run(0.25, *farmers, *taken, plan=meaning(3)))) == 1
    assert plants(run(301, *farmers, plan=meaning(0, INDEX + 1))) == []
    assert plants(run(301, *farmers, plan=meaning(1, INDEX + 1)))[0].places == 1


def test_a_pail_is_not_worked_for_less_than_it_costs() -> None:
    """And nobody waits for it when the block is over."""
    small = farmer(pail=Pail(1000, None, KALE, None))
    many = replace(BLOCK, normalized_total=10**15)
    cheap, dear = costing(KALE // 2), costing(2 * KALE)
    assert [work.reason for work in submits(run(292, small, block=many, gate=cheap))] == ["final"]
    assert submits(run(292, small, block=many, gate=dear)) == []
    bare = replace(small, farmer="new", pail=None, shares=())
    assert plants(run(301, small, bare, block=many, gate=cheap)) == []
    assert [plant.index for plant in plants(run(301, small, bare, block=many, gate=dear))] == [INDEX + 1]


# Planting


def test_a_new_block_is_planted_at_once_by_everybody_not_planted() -> None:
    bare = farmer(pail=None, shares=())
    farmers = [
        replace(bare, farmer="new"),
        replace(bare, farmer="in flight", planting=True),
        replace(bare, farmer="not funded", may_plant=False),
        farmer("planted"),
    ]
    assert run(0.25, *farmers) == [Plant(INDEX, ("new",))]
    # A block found late is planted all the same,
    assert run(120, *farmers) == [Plant(INDEX, ("new",))]
    # but not when the work could no longer land.
    assert not any(isinstance(a, Plant) for a in run(285, *farmers))


def test_the_next_block_is_started_when_the_time_is_over() -> None:
    done = farmer(pail=Pail(1000, 57, KALE, 6))
    assert run(299.75, done) == []
    assert run(300, done) == [Plant(INDEX + 1, ("F",))]
    assert run(320, done) == [Plant(INDEX + 1, ("F",))]
    lead = replace(RULES, plant_lead_seconds=3)
    assert run(297, done, rules=lead) == [Plant(INDEX + 1, ("F",))]
    # A shorter block.
    assert run(60, done, block_seconds=60) == [Plant(INDEX + 1, ("F",))]


def test_the_time_counts_from_the_farm_block() -> None:
    """Its timestamp can differ from the block's."""
    done = farmer(pail=Pail(1000, 57, KALE, 6))
    assert run(250, done, farm_block=new_farm_block(START - 60)) == [Plant(INDEX + 1, ("F",))]


def test_the_next_block_waits_for_a_stake_that_may_still_be_saved() -> None:
    never = replace(RULES, hold_start_ledgers=0)
    done = farmer("done", pail=Pail(1000, 57, KALE, 6))
    late = farmer("late", working=True)
    assert run(302, late, done) == run(330, late, done) == []
    assert run(302, late, done, rules=never) == [Plant(INDEX + 1, ("late", "done"))]
    # One that a ledger refused before gets a ledger.
    again = farmer("late", work_failure=FailureState(INDEX, "transaction-failed", at(301.5), 1))
    assert run(302, again, done) == []
    assert plants(run(305, again, done)) == [Plant(INDEX + 1, ("late", "done"))]


UNANSWERED = (
    "api-unavailable",
    "database-unavailable",
    "rpc-unavailable",
    "timeout",
    "in-flight",
    "transaction-expired",
)


@pytest.mark.parametrize("code", [*UNANSWERED, "internal", "still-working", "fee-too-high", "bad-sequence"])
def test_plants_never_overtake_works_that_no_ledger_refused(code: str) -> None:
    """API or database come back late in a block: plants that left beside the works turned the block over under them."""
    done = farmer("done", pail=Pail(1000, 57, KALE, 6))
    failed = farmer("late", work_failure=FailureState(INDEX, code, at(310), 3))
    assert plants(run(320, failed, done)) == plants(run(900, failed, done)) == []
    assert submits(run(320, failed, done)), "it is handed in once more"
    # While a call is under way nobody knows what comes of it, whatever came of the one before.
    for before in (code, "transaction-failed", "gap-count-too-low"):
        under_way = replace(failed, working=True, work_failure=FailureState(INDEX, before, at(290), 1))
        assert plants(run(330, under_way, done)) == []


@pytest.mark.parametrize("code", sorted(LEDGER_SAID_NO))
def test_a_work_that_the_ledger_refused_holds_nobody_up(code: str) -> None:
    failed = farmer("late", work_failure=FailureState(INDEX, code, at(310), 3))
    assert plants(run(320, failed)) == [Plant(INDEX + 1, ("late",))]


def test_a_pool_that_was_away_works_before_it_plants() -> None:
    left = farmer("left")
    [work] = run(900, left)
    assert isinstance(work, Submit) and work.farmer == "left"
    assert run(900, replace(left, working=True)) == []
    assert run(900, replace(left, pail=Pail(1000, 57, KALE, 6))) == [Plant(INDEX + 1, ("left",))]
    # Without a share, or with a work that was refused, there is nothing to wait for.
    assert run(900, replace(left, shares=())) == [Plant(INDEX + 1, ("left",))]
    refused = replace(left, work_failure=FailureState(INDEX, "hash-invalid", at(899), 1))
    assert run(900, refused) == [Plant(INDEX + 1, ("left",))]


def test_a_pool_that_stops_hands_in_what_saves_a_stake() -> None:
    saved = farmer("saved", pail=Pail(1000, 57, KALE, 5))
    others = farmer("empty", shares=()), farmer("in flight", working=True), farmer("none", pail=None), saved
    snapshot = Snapshot(chain(100), (farmer("left"), *others))
    assert last_works(snapshot) == [Submit(INDEX, "left", 12, 6, "final")]


@pytest.mark.parametrize(
    ("index", "block", "planted_in"), [(None, None, 0), (0, BLOCK, 0), (0, None, 0), (INDEX, None, INDEX + 1)]
)
def test_the_first_block_and_an_evicted_one(index: int | None, block: Block | None, planted_in: int) -> None:
    """Block 0 comes from the first plant; an evicted block is followed by the next."""
    actions = run(10, farmer(pail=None, shares=()), index=index, block=block)
    assert actions == [Plant(planted_in, ("F",))]


def test_nothing_is_planted_in_a_farm_that_is_paused_or_not_there() -> None:
    bare = farmer(pail=None, shares=())
    assert run(10, bare, paused=True) == []
    assert run(310, bare, paused=True) == []
    assert run(10, bare, farm_block=None, block=None, index=None) == []


# The last work


def test_the_work_leaves_late_with_the_best_share() -> None:
    second, work = first_submit(farmer())
    assert work == Submit(INDEX, "F", 12, 6, "final")
    assert 285 <= second <= 290  # ledger 1059 closes at 295 s and is the last of the block


@pytest.mark.parametrize("late", [0.05, 0.2])
def test_slow_inclusion_leaves_earlier(late: float) -> None:
    slow = (1,) * round(300 * (1 - late)) + (2, 3, 4) * round(100 * late)
    assert first_submit(farmer(), samples=slow)[0] < first_submit(farmer())[0]


def test_works_that_once_landed_very_late_do_not_end_the_search_before_half_way() -> None:
    outages = (1,) * 20 + (50,) * 20
    assert first_submit(farmer(), samples=outages)[0] == 145  # 30 ledgers before the last that is surely the block's
    assert first_submit(farmer(), samples=outages, rules=replace(RULES, works_from=0.2))[0] < 145


def test_a_large_stake_leaves_earlier() -> None:
    small = farmer(pail=Pail(1000, None, KALE // 100, None))
    large = farmer(pail=Pail(1000, None, 100_000 * KALE, None))
    assert first_submit(large)[0] < first_submit(small)[0]


def test_full_gap_leaves_earlier() -> None:
    """Beyond the block's max_gap and max_zeros another ledger earns nothing, so safety is all that counts."""
    full = replace(BLOCK, max_gap=30)
    best = farmer(shares=(Found(2, 1), Found(8, 2)))
    assert first_submit(best, block=full)[0] < first_submit(best)[0]
    assert first_submit(best, block=full)[0] > 240  # but no more than sure
    # Zeros that are likely to come are worth waiting for.
    assert first_submit(farmer(), block=full)[0] > first_submit(best, block=full)[0]


def test_a_wanted_probability_is_kept() -> None:
    sure = replace(RULES, landing_probability=0.99999)
    assert first_submit(farmer(), rules=sure)[0] < first_submit(farmer())[0]


def test_more_works_than_a_ledger_takes_start_earlier_with_those_that_have_most() -> None:
    few = replace(RULES, works_per_ledger=10)
    shares = [(Found(0, 0), Found(zeros, 1)) for zeros in range(3, 8) for _ in range(10)]
    farmers = [farmer(f"F{number:02}", shares=share) for number, share in enumerate(shares)]
    alone = first_submit(farmer(), rules=few)[0]
    second, work = first_submit(*farmers, rules=few)
    assert second == alone - 4 * 5
    assert work.zeros == 7
    assert len(submits(run(second, *farmers, rules=few))) == 10
    assert len(submits(run(second + 5, *farmers, rules=few))) == 20


def test_of_equals_those_start_earlier_whose_turn_it_is_least() -> None:
    """Farmers come in the order of their turns."""
    one = replace(RULES, works_per_ledger=1)
    farmers = [farmer(name) for name in ("first", "second", "third", "last")]
    seconds, work = first_submit(*farmers, rules=one)
    assert work.farmer == "last"
    assert [work.farmer for work in submits(run(seconds + 5, *farmers, rules=one))] == ["third", "last"]


def test_nothing_is_handed_in_twice() -> None:
    assert run(292, farmer(working=True)) == []
    assert run(292, farmer(pail=Pail(1000, 57, KALE, 6))) == []
    assert run(292, farmer(shares=())) == []


def test_a_stake_is_never_given_up_while_the_block_stands() -> None:
    """Work is open until somebody plants."""
    for seconds in (291, 296, 299.9, 301, 400):
        assert [work.reason for work in submits(run(seconds, farmer()))] == ["final"]


def test_ledgers_are_foreseen_when_the_chain_cannot_be_read() -> None:
    stale = chain(100)
    snapshot = Snapshot(stale, (farmer(),), (), 40e6, PROMPT)
    assert submits(decide(snapshot, at(270), RULES)) == []
    assert len(submits(decide(snapshot, at(292), RULES))) == 1
    assert ledger_now(stale, at(104.9)) == 1020
    assert ledger_now(stale, at(105)) == 1021


# Retries


def failed(code: str, seconds: float, count: int = 1, index: int = INDEX) -> FailureState:
    return FailureState(index, code, at(seconds), count)


def test_a_failed_work_is_tried_again_after_a_growing_wait() -> None:
    once = farmer(work_failure=failed("rpc-unavailable", 290))
    assert submits(run(290.75, once)) == []
    assert len(submits(run(291, once))) == 1
    often = farmer(work_failure=failed("rpc-unavailable", 290, count=3))
    assert submits(run(293.75, often)) == []
    assert len(submits(run(294, often))) == 1
    # Never longer than a ledger.
    assert len(submits(run(295, farmer(work_failure=failed("rpc-unavailable", 290, count=30))))) == 1


@pytest.mark.parametrize("code", sorted(HOPELESS[ActionName.WORK]))
def test_what_cannot_be_mended_is_not_tried_again(code: str) -> None:
    assert submits(run(299, farmer(work_failure=failed(code, 290)))) == []


@pytest.mark.parametrize("code", sorted(UNFIT))
def test_a_plant_that_somebody_can_mend_is_tried_again_slowly(code: str) -> None:
    bare = farmer(pail=None, shares=())
    for began, index in ((10, INDEX), (300, INDEX + 1)):
        unfit = replace(bare, plant_failure=failed(code, began, count=9, index=index))
        assert run(began + 19.75, unfit) == []
        assert run(began + 20, unfit) == [Plant(index, ("F",))]
    hopeless = replace(bare, plant_failure=failed("pail-exists", 10))
    assert run(200, hopeless) == []


def test_an_earlier_blocks_failure_does_not_count() -> None:
    old = failed("underfunded", 0, index=INDEX - 1)
    assert run(1, farmer(pail=None, shares=(), plant_failure=old)) == [Plant(INDEX, ("F",))]
    hopeless = failed("underfunded", 0)
    assert run(1, farmer(pail=None, shares=(), plant_failure=hopeless)) == []
    # The next block may be started with it.
    assert run(300, farmer(pail=None, shares=(), plant_failure=hopeless)) == [Plant(INDEX + 1, ("F",))]


# Insurance


RICH = farmer(pail=Pail(1000, None, 50_000 * KALE, None))


def test_a_large_stake_is_saved_half_way_with_a_weak_share() -> None:
    second, work = first_submit(RICH)
    assert second == 150
    assert work == Submit(INDEX, "F", 11, 3, "insurance")  # the second best


def test_a_small_stake_is_not_worth_the_fee() -> None:
    assert first_submit(farmer())[1].reason == "final"
    assert first_submit(farmer(), gate=costing(0))[1].reason == "insurance"
    assert first_submit(RICH, gate=costing(200 * KALE))[1].reason == "final"
    assert first_submit(RICH, rules=replace(RULES, insurance=False))[1].reason == "final"


def test_losses_make_insurance_worth_it() -> None:
    assert first_submit(farmer(), works=(5_000, 5))[1].reason == "final"
    assert first_submit(farmer(), works=(5_000, 1_000))[1].reason == "insurance"
    assert miss_probability(0, 0, RULES) == pytest.approx(0.002)
    assert miss_probability(10**9, 10**7, RULES) == pytest.approx(0.01, rel=1e-3)


def test_the_only_share_is_risked_when_a_better_one_is_sure() -> None:
    weak, strong = replace(RICH, shares=(Found(2, 1),)), replace(RICH, shares=(Found(9, 1),))
    assert first_submit(weak)[1].reason == "insurance"
    assert first_submit(strong)[1].reason == "final"
    assert first_submit(weak, speed=10.0)[1].reason == "final"


def test_after_insurance_the_best_share_follows() -> None:
    saved = replace(RICH, pail=Pail(1000, 30, 50_000 * KALE, 3))
    second, work = first_submit(saved)
    assert work == Submit(INDEX, "F", 12, 6, "improvement")
    assert second >= first_submit(RICH, rules=replace(RULES, insurance=False))[0]  # no stake is at risk any more
    # Strictly more zeros are needed,
    assert submits(run(292, replace(saved, pail=Pail(1000, 30, KALE, 6)))) == []
    # it must be worth the fee,
    many = replace(BLOCK, normalized_total=2_000 * KALE)
    assert len(submits(run(292, saved, block=many))) == 1
    assert submits(run(292, saved, block=many, gate=costing(1_000 * KALE))) == []
    # and after the last safe ledger it is too late.
    assert submits(run(297, saved)) == []


# Harvests


def test_past_pails_are_harvested_outside_the_rush() -> None:
    past = (HarvestState(INDEX - 1, "A"), HarvestState(INDEX - 2, "B"), HarvestState(INDEX - 1, "C", harvesting=True))
    expected = Harvest(((INDEX - 1, "A"), (INDEX - 2, "B")))
    assert run(1, harvests=past) == [expected]
    assert run(200, harvests=past) == [expected]
    assert run(288, harvests=past) == []
    old = (*past, HarvestState(INDEX - 250, "D"))
    assert run(288, harvests=old) == [Harvest(((INDEX - 250, "D"),))]
    assert run(305, harvests=past) == [expected]


def test_this_blocks_pail_is_not_ripe() -> None:
    assert run(1, harvests=(HarvestState(INDEX, "A"),)) == []


def test_one_failed_harvest_hides_nothing() -> None:
    again = failed("rpc-unavailable", 0, index=INDEX - 1)
    lost = failed("work-missing", 0, index=INDEX - 1)
    states = (HarvestState(INDEX - 1, "A", failure=again), HarvestState(INDEX - 1, "B", failure=lost))
    assert run(0.5, harvests=(*states, HarvestState(INDEX - 2, "A"))) == [Harvest(((INDEX - 2, "A"),))]
    assert run(2, harvests=states) == [Harvest(((INDEX - 1, "A"),))]


# Whatever the state


pails = st.one_of(
    st.none(),
    st.builds(Pail, st.integers(1000, 1059), st.none(), st.integers(0, 10**12), st.none()),
    st.builds(Pail, st.just(1000), st.integers(1, 59), st.integers(0, 10**12), st.integers(0, 8)),
)
ladders = st.sets(st.integers(0, 12), max_size=4).map(lambda zs: tuple(Found(z, 100 + z) for z in sorted(zs)))
codes = st.sampled_from(["rpc-unavailable", "pail-missing", "timeout"])
failures = st.one_of(st.none(), st.builds(failed, codes, st.floats(0, 400), st.integers(1, 9)))
states = st.builds(
    FarmerState,
    farmer=st.just("F"),
    may_plant=st.booleans(),
    pail=pails,
    shares=ladders,
    planting=st.booleans(),
    working=st.booleans(),
    plant_failure=failures,
    work_failure=failures,
)
bounds = st.builds(
    lambda gap, zeros, stake: replace(BLOCK, max_gap=12 + gap, max_zeros=4 + zeros, max_stake=KALE + stake),
    st.integers(0, 50),
    st.integers(0, 6),
    st.integers(0, 10**12),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(states, max_size=5),
    st.floats(0, 500),
    st.one_of(st.none(), bounds),
    st.lists(st.integers(1, 9), max_size=40),
)
def test_every_action_is_one_the_contract_could_take(
    found: list[FarmerState], seconds: float, block: Block | None, samples: list[int]
) -> None:
    farmers = {f"F{n}": replace(state, farmer=f"F{n}") for n, state in enumerate(found)}
    actions = run(seconds, *farmers.values(), block=block, samples=tuple(samples))
    acted: list[str] = []
    for action in actions:
        if isinstance(action, Plant):
            acted.extend(action.farmers)
            for name in action.farmers:
                assert farmers[name].may_plant and not farmers[name].planting
                assert action.index == INDEX + 1 or farmers[name].pail is None
            assert action.index == INDEX or seconds >= 300 or block is None
        elif isinstance(action, Submit):
            acted.append("work " + action.farmer)
            state = farmers[action.farmer]
            assert state.pail is not None and not state.working and block is not None
            assert Found(action.zeros, action.nonce) in state.shares
            assert state.pail.zeros is None or action.zeros > state.pail.zeros
            assert (action.reason == "improvement") == (state.pail.zeros is not None)
            if action.reason == "insurance":
                assert len(state.shares) == 1 or action.zeros < state.shares[-1].zeros
    assert len(acted) == len(set(acted))


def test_it_is_quick() -> None:
    """Every tick for 50 farmers in the rush and the insurance window; the bound leaves room for a busy machine."""
    farmers = tuple(farmer(f"F{number}") for number in range(50))
    fastest = {}
    for seconds in (10, 200, 288):
        taken = []
        for _ in range(5):
            began = time.thread_time()
            run(seconds, *farmers)
            taken.append(time.thread_time() - began)
        fastest[seconds] = min(taken)
    assert max(fastest.values()) < 0.005 * slowness()


def test_times_are_compared_in_any_zone() -> None:
    from datetime import timezone

    elsewhere = at(300).astimezone(timezone(timedelta(hours=9)))
    snapshot = Snapshot(chain(300), (farmer(pail=None, shares=()),))
    assert decide(snapshot, elsewhere, RULES) == decide(snapshot, at(300), RULES) != []


DEAR = PriceGate(PailFees(plant=10**9, work=10**9, harvest=10**9), price=0.0001)


def works(actions: list[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Submit)]


def test_who_plants_itself_is_worked_once_whatever_a_kale_is_worth():
    """Its price was agreed on: the gate weighs what the pool earns, and it earns nothing of that. It is neither insured
    nor improved."""
    own = farmer("OWN", may_plant=False, plants_itself=True)
    assert works(run(295, own, gate=DEAR)) == ["final"]
    assert works(run(295, farmer("OURS"), gate=DEAR)) == []
    large = Pail(1000, None, 100_000 * KALE, None)
    assert works(run(200, replace(own, pail=large))) == []
    assert works(run(200, farmer("OURS", pail=large))) == ["insurance"]
    worked = replace(own, pail=Pail(1000, 1, 100 * KALE, 0))
    free = PriceGate(PailFees(plant=1, work=1, harvest=1), price=1.0)
    assert works(run(290, worked, gate=free)) == []
    assert works(run(290, replace(worked, plants_itself=False), gate=free)) == ["improvement"]


def test_who_plants_itself_takes_no_place():
    plan = PlantingPlan(
        index=INDEX,
        farmers=2,
        places=1,
        stake_stroops=KALE,
        reward_stroops=0,
        pail_fee_stroops=0,
        price=None,
        reason=None,
    )
    own = farmer("OWN", may_plant=False, plants_itself=True)
    [plant] = [each for each in run(10, own, farmer("OURS", pail=None), plan=plan) if isinstance(each, Plant)]
    assert plant.farmers == ("OURS",)


def test_where_there_is_a_relayer_works_leave_six_ledgers_before_the_last():
    rules = replace(RULES, relayer_ledgers=6)
    alone = next(second for second in range(150, 300) if "final" in works(run(second, farmer(), rules=RULES)))
    relayed = next(second for second in range(150, 300) if "final" in works(run(second, farmer(), rules=rules)))
    assert 265 <= relayed <= 270 and relayed < alone
