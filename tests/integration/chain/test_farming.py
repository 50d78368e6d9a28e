"""Plants, works and harvests on the devnet, by the same client that serves mainnet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Chain, Channels, Destination, Outcome, Prepared, Status, building
from kalepool.contract_errors import (
    GapCountTooLowError,
    HarvestNotReadyError,
    HashInvalidError,
    PailExistsError,
    PailMissingError,
    WorkMissingError,
    ZeroCountTooLowError,
)
from kalepool.errors import (
    AccountMissingError,
    AssetContractError,
    ConfigError,
    DeadlinePassedError,
    FeeTooHighError,
    FootprintStaleError,
    InputError,
    InsufficientBalanceError,
    NothingHarvestableError,
)
from kalepool.networks import DEVNET
from kalepool.policy.rpc_servers import Sending
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.rewards import reward

pytestmark = pytest.mark.anyio

KALE = 10_000_000
Village = Any  # conftest's


async def test_a_whole_cycle_adds_up(village: Village):
    chain, farmers = village.chain, village.farmers
    before = await chain.read_accounts([farmer.public_key for farmer in farmers])
    pool_before = (await chain.read_accounts([village.pool.public_key]))[village.pool.public_key].native_stroops
    assert {account.kale_stroops for account in before.values()} == {1000 * KALE}

    await village.pass_block()
    planted = await village.drive(asyncio.gather(*(village.plant(f, (n + 1) * KALE) for n, f in enumerate(farmers))))
    assert [outcome.status for outcome in planted] == [Status.APPLIED] * 4
    ledger = await chain.read_ledger()
    farm = await chain.read_farm()
    index = farm.index
    assert farm.block is not None and farm.block.staked_total == 10 * KALE
    assert (farm.ledger, farm.closed_at) == (ledger.sequence, ledger.closed_at)

    # more works than channels: they queue
    worked = await village.drive(asyncio.gather(*(village.work(f, 7 + n) for n, f in enumerate(farmers))))
    assert [outcome.status for outcome in worked] == [Status.APPLIED] * 4
    pails = await chain.read_pails([(f.public_key, index) for f in farmers])
    for number, (farmer, outcome) in enumerate(zip(farmers, worked, strict=True)):
        pail = pails[farmer.public_key, index]
        assert pail.gap == outcome.return_value and pail.gap > 0
        assert pail.zeros == count_zeros(hash_work(index, 7 + number, farm.block.entropy, farmer.public_key))

    await village.pass_block()
    await village.drive(village.plant(farmers[0], KALE))
    block = (await chain.read_blocks([index]))[index]
    items = [(farmer.public_key, index) for farmer in farmers]
    plan = await chain.plan_harvests(items)
    assert plan.batches == tuple((item,) for item in items) and plan.refused == {}
    harvested = await village.drive(asyncio.gather(*(village.harvest(batch) for batch in plan.batches)))
    after = await chain.read_accounts([farmer.public_key for farmer in farmers])
    for number, (farmer, (prepared, outcome)) in enumerate(zip(farmers, harvested, strict=True)):
        assert outcome.status is Status.APPLIED
        expected = reward(block, pails[farmer.public_key, index], index)
        assert outcome.return_value == expected == prepared.forecast
        kale = after[farmer.public_key].kale_stroops
        assert kale == 1000 * KALE + expected - (KALE if number == 0 else 0)  # farmer 0 planted again
        # the pool paid every fee
        assert after[farmer.public_key].native_stroops == before[farmer.public_key].native_stroops
    pool_after = (await chain.read_accounts([village.pool.public_key]))[village.pool.public_key].native_stroops
    fees = sum(outcome.fee_stroops or 0 for outcome in planted)
    assert 0 < fees < pool_before - pool_after < 2 * fees  # one more plant
    assert await chain.read_pails(items) == {}


async def test_what_the_contract_refuses_is_named_and_costs_nothing(village: Village):
    chain = village.chain
    rich, poor, late, idle = village.farmers
    await village.pass_block()
    deadline = await village.until(600)

    async def refused(error: type[Exception], prepare: Any) -> Any:
        with pytest.raises(error) as caught:
            await prepare
        return caught.value

    def plant(farmer: Keypair, stake: int) -> Any:
        return chain.prepare_plant(farmer, stake, pool=village.pool, deadline=deadline)

    def work(farmer: Keypair, digest: bytes, nonce: int) -> Any:
        return chain.prepare_work(farmer.public_key, digest, nonce, channel=village.pool, deadline=deadline)

    def harvest(farmer: Keypair, *indexes: int) -> Any:
        items = [(farmer.public_key, index) for index in indexes]
        return chain.prepare_harvest(items, channel=village.pool, deadline=deadline)

    error = await refused(AssetContractError, plant(poor, 1001 * KALE))
    assert (error.number, error.fault) == (10, "farmer")
    await refused(AccountMissingError, plant(Keypair.random(), 0))
    await village.drive(village.plant(rich, KALE))
    await refused(PailExistsError, plant(rich, KALE))
    farm = await chain.read_farm()
    index, entropy = farm.index, farm.block.entropy
    await refused(HashInvalidError, work(rich, bytes(32), 1))
    await refused(PailMissingError, work(late, hash_work(index, 1, entropy, late.public_key), 1))
    await refused(HarvestNotReadyError, harvest(rich, index))
    await refused(PailMissingError, harvest(idle, index))
    assert (await village.drive(village.work(rich, 1))).status is Status.APPLIED
    again = await refused(ZeroCountTooLowError, work(rich, hash_work(index, 1, entropy, rich.public_key), 1))
    assert again.fault == "pooler"
    await village.drive(village.plant(idle, KALE))
    await village.pass_block()
    await village.drive(village.plant(rich, KALE))
    await refused(WorkMissingError, harvest(idle, index))
    await refused(NothingHarvestableError, harvest(idle, index, index + 1))
    with pytest.raises(InputError, match="2 farmers"):
        await chain.prepare_harvest(
            [(rich.public_key, index), (idle.public_key, index)], channel=village.pool, deadline=deadline
        )
    with pytest.raises(DeadlinePassedError):
        await chain.prepare_plant(late, KALE, pool=village.pool, deadline=await village.until(0))


async def test_a_farmer_without_trustline_is_told_from_one_without_balance(village: Village):
    stranger = Keypair.random()
    await village.drive(village.chain.fund(stranger.public_key))
    account = (await village.chain.read_accounts([stranger.public_key]))[stranger.public_key]
    assert (account.kale_stroops, account.native_stroops - account.spendable_stroops) == (None, 10_000_000)
    await village.chain.fund(stranger.public_key)  # a second time is no error
    with pytest.raises(AssetContractError) as caught:
        await village.chain.prepare_plant(stranger, KALE, pool=village.pool, deadline=await village.until(600))
    assert caught.value.number == 13


async def test_the_tractor_is_packed_and_one_bad_pail_does_not_hide_the_others(village: Village):
    """Six blocks of one farmer, one never worked; another farmer has a single pail."""
    chain = village.chain
    farmer, other = village.farmers[:2]
    indexes = []
    for number in range(6):
        await village.pass_block()
        assert (await village.drive(village.plant(farmer, KALE))).status is Status.APPLIED
        indexes.append((await chain.read_farm()).index)
        if number == 0:
            await village.drive(village.plant(other, KALE))
            await village.drive(village.work(other, 1))
        if number != 3:
            await village.drive(village.work(farmer, 1))
    await village.pass_block()
    await village.drive(village.plant(village.farmers[2], 0))
    items = [(farmer.public_key, index) for index in indexes]
    plan = await chain.plan_harvests([*items, (other.public_key, indexes[0]), items[0], (farmer.public_key, 10**6)])
    good = tuple(item for item in items if item != items[3])
    assert sorted(plan.batches, key=len) == [((other.public_key, indexes[0]),), good]
    assert {item: type(error).__name__ for item, error in plan.refused.items()} == {
        items[3]: "WorkMissingError",
        (farmer.public_key, 10**6): "BlockMissingError",
    }
    pails = await chain.read_pails(good)
    blocks = await chain.read_blocks(indexes)
    prepared, outcome = await village.drive(village.harvest(good))
    assert outcome.status is Status.APPLIED
    expected = tuple(reward(blocks[index], pails[farmer_, index], index) for farmer_, index in good)
    assert outcome.return_value == expected == prepared.forecast
    assert set(await chain.read_pails(items)) == {items[3]}


async def test_pails_that_do_not_fit_one_transaction_are_split(village: Village):
    chain = village.chain
    farmer = village.farmers[0]
    indexes = []
    for _ in range(3):
        await village.pass_block()
        await village.drive(village.plant(farmer, KALE))
        indexes.append((await chain.read_farm()).index)
        await village.drive(village.work(farmer, 1))
    await village.pass_block()
    await village.drive(village.plant(village.farmers[2], 0))
    limits = await chain.read_limits()
    assert limits.footprint_entries >= 100  # as the devnet says
    pair = chain._harvest_call([(farmer.public_key, index) for index in indexes[:2]])
    data, _, _ = await chain._simulated(pair, await chain._simulate(pair, farmer.public_key))
    room = data.resources.instructions.uint32
    chain._limits = time.monotonic(), replace(limits, instructions=room)
    plan = await chain.plan_harvests([(farmer.public_key, index) for index in indexes])
    assert sorted(len(batch) for batch in plan.batches) in ([1, 2], [1, 1, 1])
    assert plan.refused == {}


class Journal:
    def __init__(self) -> None:
        self.prepared: list[Prepared] = []
        self.outcomes: list[Outcome] = []

    async def record(self, prepared: Prepared) -> None:
        self.prepared.append(prepared)

    async def close(self, _: Prepared, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


async def retry(chain: Chain, ready: list[Prepared], prepare: Any, deadline: datetime, journal: Journal) -> Outcome:
    """Submit what is ready, then what `prepare` makes."""

    async def following(attempt: int) -> Prepared:
        return ready.pop() if ready else await prepare(attempt)

    return await chain.submit_retrying(following, deadline=deadline, record=journal.record, close=journal.close)


async def overtaken(village: Village, farmer: Keypair) -> tuple[int, Prepared]:
    """A block's index and a plant that was simulated in its last seconds; the block is over now."""
    await village.pass_block()
    await village.drive(village.plant(village.farmers[0], KALE))
    farm = await village.chain.read_farm()
    ledger = await village.chain.read_ledger()
    await village.devnet.close_ledger(farm.block.timestamp + 298 - int(ledger.closed_at.timestamp()))
    prepared = await village.chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=await village.until(600))
    await village.devnet.close_ledger(2)
    return farm.index, prepared


async def test_a_plant_overtaken_by_the_next_block_is_simulated_again(village: Village):
    chain, farmer = village.chain, village.farmers[1]
    index, stale = await overtaken(village, farmer)
    journal, ready, deadline = Journal(), [stale], await village.until(300)

    async def prepare(attempt: int) -> Prepared:
        return await chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=deadline, attempt=attempt)

    outcome = await village.drive(retry(chain, ready, prepare, deadline, journal), seconds=0)
    assert outcome.status is Status.APPLIED
    items = [(farmer.public_key, index), (farmer.public_key, index + 1)]
    assert set(await chain.read_pails(items)) == {items[1]}
    failed = journal.outcomes[0]
    assert isinstance(failed.error, FootprintStaleError)
    assert failed.status is Status.FAILED and failed.ledger is not None and failed.fee_stroops
    assert journal.outcomes[1:] == [outcome]


async def test_a_plant_overtaken_by_the_deadline_is_given_up(village: Village):
    chain, farmer = village.chain, village.farmers[1]
    index, stale = await overtaken(village, farmer)
    journal, ready, deadline = Journal(), [stale], await village.until(0)

    async def prepare(attempt: int) -> Prepared:
        return await chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=deadline, attempt=attempt)

    outcome = await village.drive(retry(chain, ready, prepare, deadline, journal), seconds=0)
    assert isinstance(outcome.error, FootprintStaleError)
    assert journal.outcomes == [outcome]
    assert await chain.read_pails([(farmer.public_key, index), (farmer.public_key, index + 1)]) == {}


async def test_a_work_overtaken_by_the_next_block_fails_for_good(village: Village):
    """Its hash is of a block that is over: simulated again, the contract says no."""
    chain, farmer = village.chain, village.farmers[0]
    await village.pass_block()
    await village.drive(village.plant(farmer, KALE))
    await village.devnet.close_ledger(1)
    farm = await chain.read_farm()
    digest = hash_work(farm.index, 1, farm.block.entropy, farmer.public_key)
    ledger = await chain.read_ledger()
    await village.devnet.close_ledger(farm.block.timestamp + 298 - int(ledger.closed_at.timestamp()))
    journal, deadline = Journal(), await village.until(60)

    async def prepare(attempt: int) -> Prepared:
        async with village.channels.lend() as channel:
            return await chain.prepare_work(
                farmer.public_key, digest, 1, channel=channel, deadline=deadline, attempt=attempt
            )

    stale = await prepare(1)
    await village.devnet.close_ledger(2)
    await village.drive(village.plant(village.farmers[1], KALE), seconds=0)
    with pytest.raises(PailMissingError):
        await village.drive(retry(chain, [stale], prepare, deadline, journal), seconds=0)
    (failed,) = journal.outcomes
    assert isinstance(failed.error, FootprintStaleError)


async def test_a_lost_plant_is_given_up_at_the_deadline(village: Village):
    chain = village.chain
    first, second = village.farmers[:2]
    await village.pass_block()
    await village.drive(village.plant(first, KALE))
    await village.pass_block()
    journal = Journal()
    deadline = await village.until(4)

    async def prepare(attempt: int) -> Prepared:
        return await chain.prepare_plant(second, KALE, pool=village.pool, deadline=deadline, attempt=attempt)

    village.devnet.node.faults.add({"kind": "lose", "count": 0})
    outcome = await village.drive(
        chain.submit_retrying(prepare, deadline=deadline, record=journal.record, close=journal.close)
    )
    assert outcome.status is Status.EXPIRED
    assert len(journal.outcomes) == 1


async def test_a_moved_sequence_number_is_read_again(village: Village):
    """Another process uses the same account."""
    chain, farmer = village.chain, village.farmers[0]
    await village.pass_block()
    async with Chain(village.network, fee_cap_stroops=10_000_000) as other:
        deadline = await village.until(600)
        stolen = await chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=deadline)
        await village.drive(
            other.submit(
                await other.prepare_payment(
                    farmer, village.pool.public_key, native_stroops=1, pool=village.pool, deadline=deadline
                )
            )
        )
    journal = Journal()

    async def prepare(attempt: int) -> Prepared:
        until = await village.until(600)
        return await chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=until, attempt=attempt)

    outcome = await village.drive(retry(chain, [stolen], prepare, deadline, journal))
    assert outcome.status is Status.APPLIED
    assert [closed.result_code for closed in journal.outcomes] == ["txBAD_SEQ", "txSUCCESS"]
    assert journal.prepared[1].fee_bid_stroops > journal.prepared[0].fee_bid_stroops


async def test_payments_and_closing_an_account(village: Village):
    chain, farmer, payout = village.chain, village.farmers[0], village.farmers[1].public_key
    deadline = await village.until(900)
    outcome = await village.drive(
        chain.submit(
            await chain.prepare_payment(
                farmer, payout, kale_stroops=5 * KALE, native_stroops=7, pool=village.pool, deadline=deadline
            )
        )
    )
    assert outcome.status is Status.APPLIED
    accounts = await chain.read_accounts([farmer.public_key, payout])
    assert accounts[payout].kale_stroops == 1005 * KALE
    assert accounts[payout].native_stroops == 50_000_007
    too_much = await village.drive(
        chain.submit(
            await chain.prepare_payment(
                farmer, payout, kale_stroops=10_000 * KALE, pool=village.pool, deadline=deadline
            )
        )
    )
    assert isinstance(too_much.error, InsufficientBalanceError)
    assert (too_much.result_code, too_much.status) == ("PAYMENT_UNDERFUNDED", Status.FAILED)
    closed = await village.drive(
        chain.submit(
            await chain.prepare_close(
                farmer,
                Destination(payout),
                kale_stroops=995 * KALE,
                native_stroops=49_999_993,
                pool=village.pool,
                deadline=deadline,
            )
        )
    )
    assert closed.status is Status.APPLIED
    accounts = await chain.read_accounts([farmer.public_key, payout])
    assert set(accounts) == {payout}
    assert accounts[payout].kale_stroops == 2000 * KALE
    assert accounts[payout].native_stroops == 100_000_000


async def test_health_names_the_latest_ledger(village: Village):
    health = await village.chain.read_health()
    assert health.ledger.sequence == village.devnet.node.ledger.header.sequence
    assert 0 < health.latency_seconds < 1
    async with Chain(village.network, fee_cap_stroops=150) as careful:
        with pytest.raises(FeeTooHighError):
            await careful.prepare_plant(village.farmers[0], KALE, pool=village.pool, deadline=await village.until(600))
    other = type(village.network)(
        **{
            name: getattr(village.network, name) if name != "passphrase" else "another"
            for name in DEVNET.__dataclass_fields__
        }
    )
    async with Chain(other, fee_cap_stroops=10_000_000) as wrong:
        with pytest.raises(ConfigError, match="kalepool Devnet"):
            await wrong.read_health()


async def test_what_a_full_ledger_asks_for_is_bid_at_once(village: Village):
    """Others bid more than the statistics say: the network refuses the plant and names its price, which is paid."""
    chain, farmer, queue = village.chain, village.farmers[0], village.devnet.node.ledger.queue
    await village.pass_block()
    chain._fees = time.monotonic() + 600, await chain.read_fees()  # as they were before the others came
    deadline = await village.until(600)
    queue.capacity = 1
    for rival in [*village.farmers[1:], village.pool]:  # the queue holds four times what a ledger takes
        call = building.plant_call(chain.network.contract_id, rival.public_key, 0)
        data, auth, _ = await chain._simulated(call, await chain._simulate(call, rival.public_key))
        inner = building.envelope(
            rival.public_key,
            (await chain.read_accounts([rival.public_key]))[rival.public_key].sequence + 1,
            [call.operation(auth)],
            chain.network.passphrase,
            valid_until=deadline,
            soroban_data=data,
        )
        high = building.signed(
            inner, rival, action="plant", payer=None, bid_stroops=5_000, ledger=0, valid_until=deadline
        )
        assert (await chain._send(high))[0] is Sending.TAKEN
    journal, refused = Journal(), asyncio.Event()

    async def prepare(attempt: int) -> Prepared:
        if attempt == 2:
            refused.set()
        return await chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=deadline, attempt=attempt)

    trying = asyncio.create_task(
        chain.submit_retrying(prepare, deadline=deadline, record=journal.record, close=journal.close)
    )
    async with asyncio.timeout(30):
        await refused.wait()  # no ledger closes before
    assert (await village.drive(trying)).status is Status.APPLIED
    first, second = journal.prepared
    assert first.fee_bid_stroops < 10_000 < second.fee_bid_stroops <= 10_002 + 2


async def test_work_in_the_ledger_of_the_plant_is_too_early(village: Village):
    """GapCountTooLow is for the caller to wait out: it is not tried again by itself."""
    chain, farmer = village.chain, village.farmers[0]
    await village.pass_block()
    outcome = await village.drive(village.plant(farmer, KALE))
    farm = await chain.read_farm()
    if farm.ledger == outcome.ledger:
        digest = hash_work(farm.index, 1, farm.block.entropy, farmer.public_key)
        with pytest.raises(GapCountTooLowError):
            await chain.prepare_work(
                farmer.public_key, digest, 1, channel=village.pool, deadline=await village.until(60)
            )


async def test_one_channel_carries_one_transaction_at_a_time(village: Village):
    await village.pass_block()
    await village.drive(asyncio.gather(*(village.plant(farmer, KALE) for farmer in village.farmers)))
    await village.devnet.close_ledger(1)
    single = Channels(village.chain, [village.pool])
    outcomes = await village.drive(asyncio.gather(*(village.work(farmer, 1, single) for farmer in village.farmers)))
    assert [outcome.status for outcome in outcomes] == [Status.APPLIED] * 4
    ledgers = [outcome.ledger for outcome in outcomes]
    assert len(set(ledgers)) == 4
    assert timedelta(0) < outcomes[-1].closed_at - outcomes[0].closed_at
