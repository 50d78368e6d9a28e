"""What services decide before they do anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Keypair

from kalepool.chain import BASE_RESERVE_STROOPS, Account, Farm, Outcome, Status
from kalepool.contract_errors import (
    BlockMissingError,
    FarmBlockMissingError,
    FarmPausedError,
    HarvestNotReadyError,
    PailExistsError,
    PailMissingError,
    WorkMissingError,
    ZeroCountTooLowError,
)
from kalepool.errors import AccountMissingError, DatabaseError, Fault, InputError
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import block_reward, reward
from kalepool.services import farmers, pool_accounts
from kalepool.services.failures import BlockNotOpenError, BlockOverError, Failure, InFlightError, UnderfundedError
from kalepool.services.farmers import Farmer
from kalepool.services.farming import compensation, harvest, plant, work
from kalepool.services.farming.harvest import Ripe, Target
from kalepool.services.farming.opening import Opening, plan_opening
from kalepool.services.farming.work import Candidate, Submission
from kalepool.services.journal import events
from kalepool.services.journal.intents import Item

WALLET = Keypair.from_raw_ed25519_seed(bytes(32)).public_key
START = datetime(2026, 1, 1, tzinfo=UTC)
SPARE = 10_000_000


def block(**changes: int) -> Block:
    values = {
        "timestamp": int(START.timestamp()),
        "min_gap": 1,
        "min_stake": 0,
        "min_zeros": 4,
        "max_gap": 40,
        "max_stake": 1_000_000_000,
        "max_zeros": 7,
        "staked_total": 500_000_000,
        "normalized_total": 5_000_000_000,
    }
    return Block(**(values | changes), entropy=bytes(range(32)))


def farm(**changes: object) -> Farm:
    values = {"ledger": 9, "closed_at": START, "index": 7, "farm_block": block(), "block": block(), "paused": False}
    return Farm(**(values | changes))  # pyright: ignore[reportArgumentType]


def account(kale: int | None = 1000, spendable: int = SPARE) -> Account:
    return Account(WALLET, 1, spendable + 3 * BASE_RESERVE_STROOPS, spendable, kale, 1)


def farmer(percentage: str = "0.1") -> Farmer:
    return Farmer(uuid4(), uuid4(), WALLET, WALLET, Decimal(percentage), "active", {}, START, START, b"")


# --- which block


@pytest.mark.parametrize(
    ("index", "seconds", "expected"),
    [
        (7, 0, "open"),
        (7, 299, "open"),
        (7, 300, BlockOverError),
        (6, 0, BlockOverError),
        (8, 0, "wait"),
        (8, 299, "wait"),
        (8, 300, "start"),
        (8, 4000, "start"),
        (9, 300, BlockNotOpenError),
    ],
)
def test_when_a_block_can_be_planted_in(index: int, seconds: int, expected: object) -> None:
    closed_at = START + timedelta(seconds=seconds)
    if isinstance(expected, type):
        with pytest.raises(expected):
            plan_opening(farm(), index, 300, closed_at)
        return
    found = plan_opening(farm(), index, 300, closed_at)
    if expected == "wait":
        assert found == START + timedelta(seconds=300)
    else:
        assert isinstance(found, Opening)
        assert found.started is (expected == "open")
        assert found.closes_at == (START if expected == "open" else closed_at) + timedelta(seconds=300)


def test_no_block_of_a_farm_that_is_paused_or_missing() -> None:
    with pytest.raises(FarmPausedError):
        plan_opening(farm(paused=True), 7, 300, START)
    with pytest.raises(FarmBlockMissingError):
        plan_opening(farm(farm_block=None), 7, 300, START)
    assert isinstance(plan_opening(farm(index=None, block=None), 0, 300, START), Opening)


# --- funds and stakes


@given(
    balance=st.integers(0, 2**63 - 1),
    millionths=st.integers(0, 1_000_000),
)
def test_a_stake_is_that_part_of_the_balance_rounded_down(balance: int, millionths: int) -> None:
    percentage = str(Decimal(millionths) / 1_000_000)
    assert farmer(percentage).stake_of(balance) == balance * millionths // 1_000_000


def test_what_a_wallet_lacks() -> None:
    assert farmers.missing_funds(None, 10_000_000) == farmers.Lacking(25_000_000, True)
    assert farmers.missing_funds(account(None, 14_999_999), 10_000_000) == farmers.Lacking(1, True)
    assert farmers.missing_funds(account(None, 15_000_000), 10_000_000) == farmers.Lacking(0, True)
    assert farmers.missing_funds(account(None, 15_000_000), 10_000_000, 7) == farmers.Lacking(0, True, 7)
    fee = farmers.OWN_FEE_STROOPS
    assert not farmers.missing_funds(account(0, 10_000_000 - fee), SPARE), "it may have paid its trustline's fee"
    assert farmers.missing_funds(account(0, 10_000_000 - fee - 1), SPARE).native_stroops == 1
    assert farmers.missing_funds(account(5, 10_000_000), SPARE, 7) == farmers.Lacking(0, False, 2)
    assert not farmers.missing_funds(account(7, 10_000_000), SPARE, 7)


def test_who_can_stake() -> None:
    assert plant.stake_for(farmer("0.5"), account(1001), 10_000_000) == 500
    with pytest.raises(AccountMissingError):
        plant.stake_for(farmer(), None, 10_000_000)
    with pytest.raises(UnderfundedError):
        plant.stake_for(farmer(), account(spendable=SPARE - farmers.OWN_FEE_STROOPS - 1), 10_000_000)
    with pytest.raises(UnderfundedError):
        plant.stake_for(farmer(), account(kale=None), 10_000_000)


@pytest.mark.parametrize("address", ["", "G", WALLET[:-1] + "A", "C" + WALLET[1:], "S" * 56, "G" * 56])
def test_what_is_no_account(address: str) -> None:
    with pytest.raises(InputError):
        farmers.require_account_address(address)


# --- the pool's own accounts


def test_what_the_pools_accounts_need() -> None:
    channels = ["a", "b"]
    both = 2 * (pool_accounts.CHANNEL_STROOPS + pool_accounts.RESERVE)
    fresh = pool_accounts.plan(None, channels, {})
    assert fresh.needed == both + pool_accounts.POOL_SPARE_STROOPS + pool_accounts.RESERVE
    assert list(fresh.create) == channels
    funded = pool_accounts.plan(account(None, both + pool_accounts.POOL_SPARE_STROOPS), channels, {})
    assert funded.needed == 0

    low = Account("b", 1, 0, pool_accounts.CHANNEL_LOW_STROOPS - 1, None, 0)
    full = Account("a", 1, 0, pool_accounts.CHANNEL_LOW_STROOPS, None, 0)
    later = pool_accounts.plan(account(None, 10**9), channels, {"a": full, "b": low})
    assert (later.needed, list(later.create)) == (0, [])
    assert list(later.fill) == [("b", pool_accounts.CHANNEL_STROOPS - low.spendable_stroops)]


# --- work


def submissions_of(farmer_id: UUID, nonces: list[int]) -> list[Submission]:
    return [Submission(farmer_id, nonce) for nonce in nonces]


@given(nonces=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_the_best_nonce_is_chosen_and_every_other_told_why(nonces: list[int]) -> None:
    farmer_id, entropy = uuid4(), bytes(range(32))
    best, refused = work.choose(7, entropy, {farmer_id: WALLET}, submissions_of(farmer_id, nonces))
    scores = [count_zeros(hash_work(7, nonce, entropy, WALLET)) for nonce in nonces]
    chosen = best[farmer_id]
    assert chosen.zeros == max(scores)
    assert chosen.nonce == nonces[scores.index(max(scores))]
    assert sorted([chosen.nonce, *(item.nonce for item in refused)]) == sorted(nonces)
    assert {item.failure.code for item in refused} <= {"not-best"}


def test_what_is_not_work() -> None:
    known, unknown = uuid4(), uuid4()
    wrong = [Submission(known, 1, bytes(32)), Submission(unknown, 1)]
    best, refused = work.choose(7, bytes(32), {known: WALLET}, wrong)
    assert not best
    assert [(item.failure.code, item.failure.fault) for item in refused] == [
        ("hash-mismatch", Fault.POOLER),
        ("unknown-farmer", Fault.POOLER),
    ]
    assert refused[1].hash is None


def test_whose_reserve_another_pays_lacks_no_xlm() -> None:
    deposit, ours = 100_000_000, Account(WALLET, 1, 0, 0, 40_000_000, 1, sponsored=3)
    assert farmers.missing_funds(ours, 10_000_000, deposit) == farmers.Lacking(
        0, trustline=False, kale_stroops=60_000_000
    )
    assert farmers.missing_funds(None, 10_000_000, deposit, sponsored=True) == farmers.Lacking(0, True, deposit)
    bare = Account(WALLET, 1, 0, 0, None, 0, sponsored=2)  # made by somebody else
    assert farmers.missing_funds(bare, 10_000_000, sponsored=True) == farmers.Lacking(0, trustline=True)
    assert farmers.missing_funds(bare, 10_000_000) == farmers.Lacking(5_100_000, trustline=True)
    rich = Account(WALLET, 1, 6_000_000, 6_000_000, None, 0, sponsored=2)
    assert farmers.missing_funds(rich, 10_000_000) == farmers.Lacking(0, trustline=True), "its trustline is its own"


def test_work_must_be_better_than_what_is_there() -> None:
    candidate = Candidate(uuid4(), WALLET, 1, bytes(32), 5)
    assert work.require_better(candidate, Pail(9, None, 0, None)).sequence == 9
    assert work.require_better(candidate, Pail(9, 3, 0, 4)).sequence == 9
    with pytest.raises(ZeroCountTooLowError):
        work.require_better(candidate, Pail(9, 3, 0, 5))
    with pytest.raises(PailMissingError):
        work.require_better(candidate, None)


# --- harvest


def test_what_is_ripe() -> None:
    target = Target(6, uuid4())
    pail = Pail(9, 20, 100, 5)
    assert harvest.ripe(target, WALLET, 7, block(), pail) == Ripe(target, WALLET, 100, reward(block(), pail, 6))
    for farm_index, found, held, error in (
        (6, block(), pail, HarvestNotReadyError),
        (7, None, pail, BlockMissingError),
        (7, block(), None, PailMissingError),
        (7, block(), Pail(9, None, 100, None), WorkMissingError),
    ):
        with pytest.raises(error):
            harvest.ripe(target, WALLET, farm_index, found, held)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), unique=True), st.integers(1, 5))
def test_packs_are_of_one_farmer_and_not_too_large(pails: list[tuple[int, int]], most: int) -> None:
    ids = [uuid4() for _ in range(4)]
    items = [Ripe(Target(index, ids[who]), f"wallet {who}", 0, 1) for who, index in pails]
    packs = harvest.pack(items, most)
    assert sorted(item.place for one in packs for item in one) == sorted(item.place for item in items)
    assert all(len(one) <= most and len({item.wallet for item in one}) == 1 for one in packs)


def test_rewards_of_a_transaction() -> None:
    items = [Item(forecast_stroops=forecast) for forecast in (5, 6, 0)]
    applied = Outcome("00", Status.APPLIED, return_value=(5, 0, 0))
    assert events.rewards_of(applied, items) == [5, None, 0]
    assert events.rewards_of(Outcome("00", Status.APPLIED, return_value=5), items[:1]) == [5]
    with pytest.raises(ValueError, match="harvests 3 pails"):
        events.rewards_of(Outcome("00", Status.APPLIED, return_value=5), items)


# --- losses and failures


def test_the_missed_reward_is_what_working_would_have_brought() -> None:
    """Had the pail been worked, its points were in the total and its stake not in the pot."""
    before = block()
    stake, zeros = 400_000_000, 6
    pail = Pail(0, before.max_gap, stake, zeros)
    points = sum(compensation.normalise(before, before.max_gap, stake, zeros))
    worked = block(normalized_total=before.normalized_total + points, staked_total=before.staked_total - stake)
    lost = compensation.Unworked(stake, zeros)
    assert compensation.missed_reward(before, 6, lost) == reward(worked, pail, 6) > 0
    assert compensation.missed_reward(block(min_gap=50), 6, lost) == 0, "bounds that contradict each other"


def test_what_can_be_had_once_is_promised_once() -> None:
    """Ten lost in a block where nobody worked: together they missed its reward, and not each of them all of it."""
    lost = compensation.Unworked(400_000_000, 6)
    nobody = block(normalized_total=0, staked_total=10 * lost.stake)
    missed = compensation.missed_reward(nobody, 6, lost, [lost] * 9)
    assert 0 <= block_reward(6) - 10 * missed < 10


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([], (Fault.POOLER, "work-missing")),
        ([("refused", "hash-mismatch", "pooler", 99)], (Fault.POOLER, "hash-mismatch")),
        (
            [("refused", "x", "pooler", 99), ("failed", "rpc-unavailable", "network", 50)],
            (Fault.NETWORK, "rpc-unavailable"),
        ),
        # in time, and what is tried too late or is no work afterwards takes nothing back
        (
            [
                ("failed", "accounts-not-ready", "backend", 10),
                ("failed", "rpc-unavailable", "network", 9.9),
                ("refused", "hash-mismatch", "pooler", 50),
            ],
            (Fault.BACKEND, "accounts-not-ready"),
        ),
        ([("failed", "transaction-expired", "network", 9.9)], (Fault.POOLER, "transaction-expired")),
        ([("failed", "transaction-expired", "network", None)], (Fault.NETWORK, "transaction-expired")),
        (
            [("worked", None, None, None), ("refused", "zero-count-too-low", "pooler", 9)],
            (Fault.BACKEND, "block-missing"),
        ),
    ],
)
def test_whose_fault_a_lost_stake_is(attempts: list[tuple], expected: tuple[Fault, str]) -> None:
    names = ["outcome", "code", "fault", "seconds_left"]
    rows: list[dict[str, Any]] = [dict(zip(names, each, strict=True)) for each in attempts]
    assert compensation.fault_of(rows, BlockMissingError(), 5.0) == expected
    ours = compensation.fault_of(rows, BlockMissingError(), 5.0, away=True)
    assert ours == ((Fault.BACKEND, "pool-away") if expected[0] is Fault.POOLER else expected)


def test_failures_tell_what_is_meant_for_others_and_no_more() -> None:
    farmer_id = uuid4()
    told = Failure.of(PailExistsError(), 7, farmer_id)
    assert (told.code, told.fault) == ("pail-exists", Fault.BACKEND)
    for hidden in (RuntimeError("secret"), DatabaseError("postgres://user:secret@host")):
        failure = Failure.of(hidden, 7, farmer_id)
        assert failure.code == "internal"
        assert "secret" not in failure.message
    assert Failure.of(InFlightError("x"), 7, farmer_id).fault is Fault.NETWORK
