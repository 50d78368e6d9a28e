"""What goes wrong for one farmer stays with it: told with a reason, attributed, and owed where a stake is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status
from kalepool.contract_errors import HarvestNotReadyError
from kalepool.errors import ConflictError, Fault, NotFoundError
from kalepool.policy.turns import in_turn
from kalepool.services import farmers, operators, poolers, upkeep
from kalepool.services.failures import BlockNotOpenError, BlockOverError
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.harvest import Target
from kalepool.services.farming.work import Submission
from kalepool.services.journal.recovery import recover
from kalepool.services.keys import Role, create_key
from kalepool.services.owed import read_claims
from tests.integration.conftest import ISSUER, KALE

pytestmark = pytest.mark.anyio


async def test_an_underfunded_farmer_stops_nobody(farm) -> None:
    poor, rich = await farm.add_farmers(2)
    chain = farm.ctx.chain
    signer = farm.ctx.custody.signer(poor.binding, poor.secret_sealed)
    account = (await chain.read_accounts([poor.custodial_wallet]))[poor.custodial_wallet]
    prepared = await chain.prepare_payment(
        signer,
        farm.ctx.accounts.payer.public_key,
        native_stroops=account.spendable_stroops - 1_000_000,
        pool=farm.ctx.accounts.payer,
        deadline=await chain.now() + timedelta(seconds=30),
    )
    await chain.submit(prepared)

    result = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert [item.farmer_id for item in result.planted] == [rich.farmer_id]
    (failure,) = result.failed
    assert (failure.farmer_id, failure.code, failure.fault) == (poor.farmer_id, "underfunded", Fault.FARMER)
    assert "lacks 0.89" in failure.message
    assert "XLM" in failure.message
    assert await farm.rows("SELECT code, fault FROM plantings WHERE outcome = 'failed'") == [("underfunded", "farmer")]


async def test_whom_to_plant_for(farm) -> None:
    made = await farm.add_farmers(3, kale_stroops=0)
    await farmers.register(farm.ctx, farm.pooler_id, Keypair.random().public_key, made[0].stake_percentage)
    other = await poolers.add_pooler(farm.ctx.database, "another", 100)
    assert not (await plant.plant(farm.ctx, 0, other.pooler_id)).planted
    by_wallet = {farmer.custodial_wallet: farmer.farmer_id for farmer in made}
    *first, last = (by_wallet[wallet] for wallet in in_turn(by_wallet, {}, bytes(8)))
    two = await plant.plant(farm.ctx, 0, farm.pooler_id, max_farmers=2)
    assert [item.farmer_id for item in two.planted] == first
    assert {item.stake_stroops for item in two.planted} == {0}
    rest = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert [item.farmer_id for item in rest.planted if not item.already] == [last]


async def test_whose_reward_is_far_behind_is_planted_earliest(farm) -> None:
    """Though all three have the same zeros: what differs is their gap."""
    made = await farm.add_farmers(3, kale_stroops=0)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.rows(
        "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, "
        "min_zeros, max_zeros, staked_total_stroops, normalized_total) "
        "VALUES (0, sha256('x'), now(), 1, 9, 0, 0, 5, 5, 0, 0)"
    )
    for farmer, gap in zip(made, (9, 1, 5), strict=True):
        await farm.rows(
            "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, zeros, gap) "
            f"SELECT gen_random_uuid(), 0, pooler_id, farmer_id, 'worked', 5, {gap} FROM farmers "
            f"WHERE farmer_id = '{farmer.farmer_id}'"
        )
    await farm.end_block()
    farm.ctx.settings = farm.ctx.settings.model_copy(update={"plant_batch": 1})
    await plant.plant(farm.ctx, 1, farm.pooler_id)
    rows = await farm.rows("SELECT farmer_id FROM plantings WHERE block_index = 1 ORDER BY event_id")
    assert [farmer_id for (farmer_id,) in rows] == [made[1].farmer_id, made[2].farmer_id, made[0].farmer_id]


async def test_the_most_owed_is_planted_first_and_who_cannot_be_takes_no_place(farm) -> None:
    """Three farmers, one place: two are owed as much, and one of them has nothing left."""
    lucky, owed, poor = await farm.add_farmers(3, kale_stroops=0)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    nonce = await farm.nonce(lucky, 0, zeros=1)
    assert (await work.work(farm.ctx, 0, farm.pooler_id, [Submission(lucky.farmer_id, nonce)])).accepted
    await farm.rows(
        "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, "
        "min_zeros, max_zeros, staked_total_stroops, normalized_total) "
        "VALUES (0, decode(repeat('00', 32), 'hex'), now(), 0, 9, 0, 9, 0, 1, 0, 0)"
    )
    claims = await read_claims(farm.ctx.database, 1, 10)
    assert claims[owed.farmer_id] == claims[poor.farmer_id] > 0 > claims[lucky.farmer_id]
    await farm.end_block()
    accounts = await farm.ctx.chain.read_accounts([poor.custodial_wallet])
    signer = farm.ctx.custody.signer(poor.binding, poor.secret_sealed)
    prepared = await farm.ctx.chain.prepare_payment(
        signer,
        farm.ctx.accounts.payer.public_key,
        native_stroops=accounts[poor.custodial_wallet].spendable_stroops,
        pool=farm.ctx.accounts.payer,
        deadline=await farm.ctx.chain.now() + timedelta(seconds=30),
    )
    await farm.ctx.chain.submit(prepared)
    for _ in range(2):
        result = await plant.plant(farm.ctx, 1, farm.pooler_id, max_farmers=1)
        assert [item.farmer_id for item in result.planted] == [owed.farmer_id]
        assert {failure.farmer_id for failure in result.failed} <= {poor.farmer_id}


async def test_two_calls_at_once_plant_once(farm) -> None:
    await farm.add_farmers(2)
    results = await asyncio.gather(*(plant.plant(farm.ctx, 0, farm.pooler_id) for _ in range(3)))
    assert all(len(result.planted) == 2 and not result.failed for result in results)
    assert sum(not item.already for result in results for item in result.planted) == 2
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'plant'") == [(2,)]


async def test_a_block_at_its_time(farm) -> None:
    await farm.add_farmers(1)
    with pytest.raises(BlockNotOpenError) as early:
        await plant.plant(farm.ctx, 1, farm.pooler_id)
    assert early.value.opens_at is not None
    with pytest.raises(BlockNotOpenError):
        await work.work(farm.ctx, 1, farm.pooler_id, [])
    await farm.end_block()
    with pytest.raises(BlockOverError):
        await plant.plant(farm.ctx, 0, farm.pooler_id)
    started = await plant.plant(farm.ctx, 1, farm.pooler_id)
    assert len(started.planted) == 1
    assert await farm.current_index() == 1
    with pytest.raises(BlockOverError):
        await work.work(farm.ctx, 0, farm.pooler_id, [])
    with pytest.raises(HarvestNotReadyError):
        await harvest.harvest(farm.ctx, farm.pooler_id, 1)


async def test_a_plant_a_little_early_waits_for_its_block(farm) -> None:
    await farm.add_farmers(1)
    ends_at = (await farm.ctx.chain.read_farm()).farm_block.timestamp + farm.settings.chain.block_seconds
    ledger = await farm.ctx.chain.read_ledger()
    await farm.pass_time(ends_at - int(ledger.closed_at.timestamp()) - 1)
    task = asyncio.create_task(plant.plant(farm.ctx, 1, farm.pooler_id))
    await farm.wait_ledger()
    assert not task.done()
    await farm.pass_time(1)
    assert len((await task).planted) == 1
    assert await farm.current_index() == 1


async def test_work_is_checked_and_improved(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    worst, better, best = [await farm.nonce(farmer, 0, zeros) for zeros in (0, 1, 2)]
    first = await work.work(
        farm.ctx,
        0,
        farm.pooler_id,
        [
            Submission(farmer.farmer_id, better),
            Submission(farmer.farmer_id, best, hash=bytes(32)),
            Submission(farm.pooler_id, best),
            Submission(farmer.farmer_id, better),
        ],
    )
    assert [item.nonce for item in first.accepted] == [better]
    assert {item.failure.code for item in first.refused} == {"hash-mismatch", "unknown-farmer", "not-best"}
    assert len(first.refused) == 3

    improved = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, best)])
    assert [item.zeros for item in improved.accepted] == [2]
    worse = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, worst)])
    assert [(item.failure.code, item.failure.fault) for item in worse.refused] == [("zero-count-too-low", Fault.POOLER)]
    again = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, best)])
    assert [item.already for item in again.accepted] == [True]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'work'") == [(2,)]
    pail = (await farm.ctx.chain.read_pails([(farmer.custodial_wallet, 0)]))[farmer.custodial_wallet, 0]
    assert pail.zeros == 2


async def test_a_lost_stake_is_owed_once(farm) -> None:
    idle, misled = await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(misled.farmer_id, 0, hash=bytes(32))])
    await farm.end_block()
    await farm.start_block(1)
    for _ in range(2):
        result = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
        assert {item.code for item in result.failed} == {"work-missing"}
    owed = await farm.rows("SELECT farmer_id, fault, code, stake_stroops FROM pooler_compensations ORDER BY code")
    assert owed == [
        (misled.farmer_id, "pooler", "hash-mismatch", 100_000_000),
        (idle.farmer_id, "pooler", "work-missing", 100_000_000),
    ]


async def test_a_stake_is_booked_as_lost_when_its_block_is_over(farm) -> None:
    worked, _ = await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(worked.farmer_id, await farm.nonce(worked, 0))])
    assert await upkeep.record_losses(farm.ctx) == 0
    await farm.end_block()
    await farm.start_block(1)
    assert [await upkeep.record_losses(farm.ctx) for _ in range(2)] == [1, 0]
    idle = farm.farmers[1].farmer_id
    assert await farm.rows("SELECT farmer_id, standing, code FROM pooler_compensations") == [
        (idle, "owed", "work-missing")
    ]


async def test_harvests_what_only_the_chain_knows(farm) -> None:
    """Planted and worked, and then the database is put back to a state before."""
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    await farm.end_block()
    await farm.start_block(1)
    async with AsyncExitStack() as stack:
        await farm.forget_events()
        ctx = await farm.restart(stack)
        await ctx.accounts.ensure()
        result = await harvest.harvest(ctx, farm.pooler_id)
        assert [item.farmer_id for item in result.harvested] == [farmer.farmer_id]
        assert result.harvested[0].reward_stroops == result.harvested[0].forecast_stroops


async def test_a_planted_pail_only_the_chain_knows(farm) -> None:
    await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.forget_events()
    found = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert [(item.already, item.transaction_hash) for item in found.planted] == [(True, None)]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'plant'") == [(0,)]


async def test_somebody_else_harvests_for_us(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    await farm.end_block()
    await farm.start_block(1)
    chain = farm.ctx.chain
    stranger = Keypair.random()
    await chain.fund(stranger.public_key)
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain.prepare_harvest([(farmer.custodial_wallet, 0)], channel=stranger, deadline=deadline)
    reward = (await chain.submit(prepared)).return_value
    (found,) = (await harvest.harvest(farm.ctx, farm.pooler_id, 0)).harvested
    assert (found.reward_stroops, found.transaction_hash, found.already) == (reward, None, True)
    assert await farm.rows("SELECT count(*) FROM pooler_compensations") == [(0,)]


async def test_several_blocks_of_a_farmer_share_a_transaction(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    for index in range(3):
        await plant.plant(farm.ctx, index, farm.pooler_id)
        if index != 1:  # the one in the middle is lost
            await work.work(
                farm.ctx, index, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, index))]
            )
        await farm.end_block()
    await farm.start_block(3)
    result = await harvest.harvest(farm.ctx, farm.pooler_id)
    assert sorted(item.block_index for item in result.harvested) == [0, 2]
    assert len({item.transaction_hash for item in result.harvested}) == 1
    assert [(item.block_index, item.code) for item in result.failed] == [(1, "work-missing")]
    assert result.forecast_differences == 0
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id)).failed, "what is settled is not tried again"


async def test_forgotten_pails_are_swept(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    for index in range(1, 1 + upkeep.FORGOTTEN_BLOCKS):
        assert await upkeep.sweep(farm.ctx) == 0
        await farm.end_block()
        await farm.start_block(index)
    assert await upkeep.sweep(farm.ctx) == 1
    assert await farm.rows("SELECT outcome FROM harvests") == [("harvested",)]


async def test_a_wallet_that_the_pool_keeps_is_nobody_s_payout_wallet(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    with pytest.raises(ConflictError, match="keeps for a farmer"):
        await farmers.register(farm.ctx, farm.pooler_id, farmer.custodial_wallet, farmer.stake_percentage)
    assert await farm.rows("SELECT count(*) FROM farmers") == [(1,)]


async def test_targets_of_others_are_refused(farm) -> None:
    with pytest.raises(NotFoundError):
        await harvest.harvest(farm.ctx, farm.pooler_id, targets=[Target(0, farm.pooler_id)])


async def test_the_same_work_twice_at_once_is_submitted_once(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    found = [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))]
    results = await asyncio.gather(*(work.work(farm.ctx, 0, farm.pooler_id, found) for _ in range(3)))
    assert sorted(item.already for result in results for item in result.accepted) == [False, True, True]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'work'") == [(1,)]


async def test_what_is_in_flight_is_no_failure_and_not_tried_again(farm) -> None:
    """The network closes no ledger for a while: the outcome is told as unknown, and recorded when it is known."""
    await farm.add_farmers(1)
    farm.ctx.settings = farm.settings.model_copy(update={"plant_timeout_seconds": 0.5})
    farm.devnet.node.faults.add({"kind": "stuck"})
    for _ in range(2):
        stuck = await plant.plant(farm.ctx, 0, farm.pooler_id)
        assert [item.code for item in stuck.failed] == ["in-flight"]
    assert await farm.rows("SELECT count(*) FROM plantings") == [(0,)]
    farm.devnet.node.faults.clear()
    await farm.wait_ledger()
    assert await recover(farm.ctx.journal) == 0
    (planted,) = (await plant.plant(farm.ctx, 0, farm.pooler_id)).planted
    assert planted.already
    assert await farm.rows("SELECT count(*), min(outcome) FROM plantings") == [(1, "planted")]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'plant'") == [(1,)]


async def test_a_plant_survives_a_bad_network(farm) -> None:
    await farm.add_farmers(2)
    farm.devnet.node.faults.add({"kind": "try_again_later", "count": 2})
    farm.devnet.node.faults.add({"kind": "lose"})
    result = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert len(result.planted) == 2
    assert not result.failed


async def test_a_stake_is_part_of_what_is_there_when_it_is_planted(farm) -> None:
    """A withdrawal is under way when the plant begins: the stake is that of the balance it leaves."""
    (farmer,) = await farm.add_farmers(1, kale_stroops=100 * KALE, stake="1")
    chain = farm.ctx.chain
    async with farm.ctx.wallet(farmer.farmer_id):
        planting = asyncio.create_task(plant.plant(farm.ctx, 0, farm.pooler_id))
        for _ in range(3):
            await farm.wait_ledger()
        signer = farm.ctx.custody.signer(farmer.binding, farmer.secret_sealed)
        prepared = await chain.prepare_payment(
            signer,
            ISSUER.public_key,
            kale_stroops=60 * KALE,
            pool=farm.ctx.accounts.payer,
            deadline=await chain.now() + timedelta(seconds=30),
        )
        assert (await chain.submit(prepared)).status is Status.APPLIED
    result = await planting
    assert [item.stake_stroops for item in result.planted] == [40 * KALE], result.failed


async def test_a_worked_pail_that_went_with_its_block_is_owed_only_once_checked(
    farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have harvested it before. Of one that was never worked it is clear: it is owed."""
    worked, idle = await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(worked.farmer_id, await farm.nonce(worked, 0))])
    await farm.end_block()
    await farm.start_block(1)
    key_id = (await create_key(farm.ctx.database, Role.OPERATOR)).key_id

    async def gone(_: object) -> dict:
        return {}

    monkeypatch.setattr(farm.ctx.chain, "read_blocks", gone)
    monkeypatch.setattr(farm.ctx.chain, "read_pails", gone)
    for _ in range(2):
        result = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
        assert {item.code for item in result.failed} == {"block-missing"}
    rows = "SELECT farmer_id, standing, code, fault, stake_stroops FROM pooler_compensations ORDER BY standing DESC"
    assert await farm.rows(rows) == [
        (worked.farmer_id, "to-check", "may-be-harvested", "backend", 100_000_000),
        (idle.farmer_id, "owed", "work-missing", "pooler", 100_000_000),
    ]
    at = {"pooler_id": farm.pooler_id, "after": None, "limit": 1}
    summary = await farm.ctx.database.fetch_one("select_pooler_summary", **at)
    assert (summary["unpaid"], summary["owed_stroops"], summary["to_check"]) == (1, 100_000_000, 1)

    [(checked,)] = await farm.rows("SELECT compensation_id FROM pooler_compensations WHERE standing = 'to-check'")
    [(clear,)] = await farm.rows("SELECT compensation_id FROM pooler_compensations WHERE standing = 'owed'")
    with pytest.raises(operators.NotOwedError):
        await operators.pay_compensation(farm.ctx, key_id, checked, "ab" * 32)
    with pytest.raises(ConflictError, match="not to be checked"):
        await operators.check_compensation(farm.ctx, key_id, clear, owed=False)
    for _ in range(2):
        assert (await operators.check_compensation(farm.ctx, key_id, checked, owed=True)).standing == "owed"
    with pytest.raises(ConflictError):
        await operators.check_compensation(farm.ctx, key_id, checked, owed=False)
    summary = await farm.ctx.database.fetch_one("select_pooler_summary", **at)
    assert (summary["unpaid"], summary["owed_stroops"], summary["to_check"]) == (2, 200_000_000, 0)
    assert await farm.rows("SELECT action FROM operator_actions") == [("check-compensation",)]
