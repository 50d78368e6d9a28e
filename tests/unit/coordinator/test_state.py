"""What the coordinator knows, and what it makes of it for the policy and the workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from stellar_sdk import Keypair

from kalepool.actions import ActionName
from kalepool.chain import Farm, Ledger
from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.coordinator.state import FINDS_PER_SECOND, CoordinatedFarmer, State, report_zeros
from kalepool.policy.planting import PlantingPlan
from kalepool.policy.schedule import Plant, decide
from kalepool.policy.snapshot import FarmerState, Found, Snapshot
from kalepool.protocol.model import Block, Pail

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BLOCK = Block(int(NOW.timestamp()), 0, 0, 0, 10, 0, 6, bytes(32), 0, 0)
FARMERS = [CoordinatedFarmer(UUID(int=number), Keypair.random().public_key, True) for number in range(3)]
WALLETS = [farmer.wallet for farmer in FARMERS]
PAIL = Pail(101, None, 5, None)


def farm(index: int, entropy: int = 0, seconds: int = 0) -> Farm:
    block = replace(BLOCK, entropy=bytes([entropy]) * 32, timestamp=BLOCK.timestamp + seconds)
    return Farm(100, None, index, block, block, False)


@pytest.fixture
def state() -> State:
    made = State(block_seconds=300, nominal_ledger_seconds=5)
    made.saw_ledger(Ledger(100, NOW))
    made.saw_farmers(FARMERS)
    assert made.saw_farm(farm(7))
    return made


def farmer_of(snapshot: Snapshot, wallet: str) -> FarmerState:
    return next(farmer for farmer in snapshot.farmers if farmer.farmer == wallet)


def planted_by(state: State, at: datetime) -> set[str]:
    """Whom the policy would plant now."""
    snapshot = state.snapshot(1e6)
    assert snapshot is not None
    plants = [
        action for action in decide(snapshot, at, rules_of(Settings.model_construct())) if isinstance(action, Plant)
    ]
    return {wallet for plant in plants for wallet in plant.farmers}


def test_nothing_is_decided_before_the_chain_was_read() -> None:
    assert State(block_seconds=300, nominal_ledger_seconds=5).snapshot(0) is None
    assert State(block_seconds=300, nominal_ledger_seconds=5).job(0) is None


def test_another_block_forgets_the_old_one(state: State) -> None:
    state.planted(WALLETS[0], 7, PAIL)
    state.saw_share(WALLETS[0], Found(3, 1))
    assert not state.saw_farm(farm(7))
    assert state.pails and state.records
    assert state.saw_farm(farm(8, 1))
    assert (state.pails, state.records) == ({}, {})
    assert state.stale_pails == set(WALLETS)


def test_another_chains_block_of_the_same_index_is_another_block(state: State) -> None:
    assert state.saw_farm(farm(7, 9))


def test_only_records_count(state: State) -> None:
    wallet = WALLETS[0]
    assert [state.saw_share(wallet, Found(zeros, zeros)) for zeros in (0, 3, 2, 3, 5)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    snapshot = state.snapshot(0)
    assert snapshot and [share.zeros for share in farmer_of(snapshot, wallet).shares] == [0, 3, 5]


def test_the_job_says_what_the_pool_has(state: State) -> None:
    state.saw_share(WALLETS[1], Found(4, 1))
    first, second = state.job(40e6), state.job(40e6)
    assert first and second and second.version == first.version + 1
    assert dict(first.farmers) == {FARMERS[0].key: 0, FARMERS[1].key: 4, FARMERS[2].key: 0}
    assert first.block == BLOCK and first.index == 7


def test_the_job_says_what_all_are_raised_to_in_its_block(state: State) -> None:
    for index, least in ((7, 5), (8, 0)):
        state.plan = PlantingPlan(index, 3, 3, 0, 0, 0, None, least_zeros=5)
        job = state.job(1e6)
        assert job is not None and job.least_zeros == least


def test_a_plant_in_flight_or_done_is_not_repeated(state: State) -> None:
    now = NOW + timedelta(seconds=1)
    assert planted_by(state, now) == set(WALLETS)
    state.planting[WALLETS[0]] = 7
    state.planted(WALLETS[1], 7, PAIL)
    assert planted_by(state, now) == {WALLETS[2]}


def test_a_plant_that_started_the_next_block_is_not_repeated_until_it_is_seen(state: State) -> None:
    over = NOW + timedelta(seconds=301)
    assert planted_by(state, over) == set(WALLETS)
    for wallet in WALLETS:
        state.planted(wallet, 8, PAIL)
    assert planted_by(state, over) == set()
    state.saw_farm(farm(8, 1, seconds=301))
    state.saw_pails(dict.fromkeys(WALLETS[:2], PAIL))
    assert planted_by(state, over + timedelta(seconds=1)) == {WALLETS[2]}  # the chain's word is what counts


def test_an_answer_that_comes_when_its_block_is_past_holds_up_nothing(state: State) -> None:
    state.planting[WALLETS[0]] = 7
    state.saw_farm(farm(8, 1, seconds=301))
    now = NOW + timedelta(seconds=302)
    assert planted_by(state, now) == set(WALLETS)  # nor does the call that is still on its way
    state.planted(WALLETS[0], 7, PAIL)
    state.planting.clear()
    assert planted_by(state, now) == set(WALLETS)
    assert state.pails == {}


def test_who_cannot_be_planted_is_not_searched_for(state: State) -> None:
    state.failed(ActionName.PLANT, WALLETS[0], 7, "underfunded", NOW)
    state.failed(ActionName.PLANT, WALLETS[1], 7, "rpc-unavailable", NOW)
    assert {farmer.wallet for farmer in state.searched()} == set(WALLETS[1:])
    assert planted_by(state, NOW + timedelta(seconds=5)) == set(WALLETS[1:])
    state.job_is_old = False
    state.saw_pails({WALLETS[0]: PAIL})  # but who has a pail is, whatever was said
    assert state.job_is_old
    assert {farmer.wallet for farmer in state.searched()} == set(WALLETS)
    state.saw_farm(farm(8, 1))
    assert len(state.searched()) == 3


def test_who_is_planted_after_all_is_searched_for_again(state: State) -> None:
    state.failed(ActionName.PLANT, WALLETS[0], 7, "custody", NOW)
    assert planted_by(state, NOW + timedelta(seconds=19)) == set(WALLETS[1:])
    assert planted_by(state, NOW + timedelta(seconds=20)) == set(WALLETS)
    state.job_is_old = False
    state.planted(WALLETS[0], 7, PAIL)
    assert state.job_is_old and len(state.searched()) == 3


def test_a_next_block_that_nobody_could_start_is_tried_again(state: State) -> None:
    """Where nobody else plants there is no other block to wait for."""
    over = NOW + timedelta(seconds=301)
    for wallet in WALLETS:
        state.failed(ActionName.PLANT, wallet, 7, "underfunded", NOW)
    assert planted_by(state, over) == set(WALLETS)  # another block's failure does not count
    for wallet in WALLETS:
        state.failed(ActionName.PLANT, wallet, 8, "custody", over)
    assert planted_by(state, over + timedelta(seconds=19)) == set()
    assert planted_by(state, over + timedelta(seconds=20)) == set(WALLETS)


def test_failures_are_counted_until_it_works(state: State) -> None:
    for count in (1, 2):
        state.failed(ActionName.WORK, WALLETS[0], 7, "timeout", NOW)
        snapshot = state.snapshot(0)
        failure = snapshot and farmer_of(snapshot, WALLETS[0]).work_failure
        assert failure and failure.count == count
    state.saw_pails({WALLETS[0]: PAIL})
    state.worked(WALLETS[0], 7, 4, 9)
    snapshot = state.snapshot(0)
    assert snapshot and farmer_of(snapshot, WALLETS[0]).work_failure is None
    assert farmer_of(snapshot, WALLETS[0]).pail == replace(PAIL, zeros=4, gap=9)


def test_a_farmer_who_leaves_is_searched_for_to_the_end_of_the_block(state: State) -> None:
    state.saw_pails({WALLETS[0]: PAIL})
    state.saw_farmers(replace(farmer, may_plant=False) for farmer in FARMERS)
    assert [farmer.wallet for farmer in state.searched()] == WALLETS[:1]


def test_ledger_seconds_are_measured(state: State) -> None:
    assert state.ledger_seconds == 5
    for number in range(1, 21):
        state.saw_ledger(Ledger(100 + number, NOW + timedelta(seconds=6 * number)))
    assert state.ledger_seconds == 6


@pytest.mark.parametrize("speed", [0, 1e3, 4e7, 2e11])
def test_few_finds_are_told_at_once_at_any_speed(speed: float) -> None:
    zeros = report_zeros(speed)
    assert speed * 16.0**-zeros <= FINDS_PER_SECOND
    assert zeros == 0 or speed * 16.0 ** -(zeros - 1) > FINDS_PER_SECOND


def test_whom_most_is_owed_is_first_everywhere(state: State) -> None:
    first, second, third = (farmer.farmer_id for farmer in FARMERS)
    state.saw_claims({third: 5, first: 1, second: -6, UUID(int=99): 0})
    turns = [WALLETS[2], WALLETS[0], WALLETS[1]]
    state.saw_unharvested((index, wallet) for wallet in WALLETS for index in (4, 5))
    snapshot, job = state.snapshot(1e6), state.job(1e6)
    assert snapshot is not None and job is not None
    assert [farmer.farmer for farmer in snapshot.farmers] == turns
    assert [(h.index, h.farmer) for h in snapshot.harvests] == [(i, wallet) for i in (4, 5) for wallet in turns]
    assert [key for key, _ in job.farmers] == [state.farmers[wallet].key for wallet in turns]


def test_what_is_owed_may_be_known_before_the_farmers_are() -> None:
    state = State(block_seconds=300, nominal_ledger_seconds=5)
    state.saw_claims({FARMERS[2].farmer_id: 5, FARMERS[0].farmer_id: 1})
    state.saw_farmers(FARMERS)
    assert list(state.farmers) == [WALLETS[2], WALLETS[0], WALLETS[1]]


def test_where_nothing_is_owed_every_block_has_another_order(state: State) -> None:
    first = set()
    for block in range(30):
        state.saw_farm(farm(8 + block, entropy=block))
        first.add(next(iter(state.farmers)))
    assert first == set(WALLETS)


def test_who_plants_itself_is_searched_for_once_it_has(state: State) -> None:
    """Until then it holds nothing up: neither the stakes that are known, nor what others have staked."""
    own = CoordinatedFarmer(UUID(int=9), Keypair.random().public_key, False, plants_itself=True)
    state.saw_farmers([*FARMERS, own])
    state.recalled = True
    state.saw_pails(dict.fromkeys(WALLETS, PAIL))
    state.stale_pails -= set(WALLETS)
    assert own.wallet in state.stale_pails and not state.unread_pails and state.knows_stakes
    assert own not in state.searched()
    assert own.wallet not in planted_by(state, NOW)
    assert state.job(1e6) is not None and not state.job_is_old
    state.saw_pails({own.wallet: PAIL})
    assert own in state.searched() and state.job_is_old
    snapshot = state.snapshot(1e6)
    assert snapshot is not None and farmer_of(snapshot, own.wallet).plants_itself
