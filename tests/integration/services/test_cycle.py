"""Plant, work and harvest against a devnet: what is done, what is recorded, and that both agree to the stroop."""

from __future__ import annotations

import asyncio

import pytest

from kalepool.chain import Chain
from kalepool.contract_errors import HashInvalidError
from kalepool.policy.turns import in_turn
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.harvest import Target
from kalepool.services.farming.work import Submission

pytestmark = pytest.mark.anyio


async def test_a_whole_block(farm) -> None:
    made = await farm.add_farmers(3)
    index = await farm.current_index()

    planted = await plant.plant(farm.ctx, index, farm.pooler_id)
    assert not planted.failed
    assert {item.stake_stroops for item in planted.planted} == {10 * 10_000_000}
    assert not any(item.already for item in planted.planted)

    again = await plant.plant(farm.ctx, index, farm.pooler_id)
    assert all(item.already for item in again.planted)
    assert {i.transaction_hash for i in again.planted} == {i.transaction_hash for i in planted.planted}

    submissions = [Submission(farmer.farmer_id, await farm.nonce(farmer, index, zeros=1)) for farmer in made]
    worked = await work.work(farm.ctx, index, farm.pooler_id, submissions)
    assert not worked.refused
    assert len(worked.accepted) == 3
    assert all(item.gap >= 1 for item in worked.accepted)
    assert set(worked.ready_for_harvest) == {farmer.farmer_id for farmer in made}

    before = await farm.ctx.chain.read_accounts([farmer.custodial_wallet for farmer in made])
    await farm.end_block()
    await plant.plant(farm.ctx, index + 1, farm.pooler_id, max_farmers=1)
    stakes = {i.farmer_id: i.stake_stroops for i in (await plant.plant(farm.ctx, index + 1, farm.pooler_id, 1)).planted}
    done = await harvest.harvest(farm.ctx, farm.pooler_id, index)
    assert not done.failed
    assert done.forecast_differences == 0
    after = await farm.ctx.chain.read_accounts([farmer.custodial_wallet for farmer in made])
    for item in done.harvested:
        wallet = next(farmer.custodial_wallet for farmer in made if farmer.farmer_id == item.farmer_id)
        gained = after[wallet].kale_stroops - before[wallet].kale_stroops + stakes.get(item.farmer_id, 0)
        assert gained == item.reward_stroops + item.stake_stroops
        assert item.reward_stroops == item.forecast_stroops
        assert item.reward_stroops > 0

    repeated = await harvest.harvest(farm.ctx, farm.pooler_id, index)
    assert all(item.already for item in repeated.harvested)
    assert len(repeated.harvested) == 3
    assert await farm.rows("SELECT count(*) FROM submissions WHERE status = 'open'") == [(0,)]


async def test_harvests_go_in_the_callers_order_or_in_turn(farm) -> None:
    """Not by the farmers' ids, which would let the same be last in every block."""
    made = await farm.add_farmers(4)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    submissions = [Submission(farmer.farmer_id, await farm.nonce(farmer, 0)) for farmer in made]
    assert len((await work.work(farm.ctx, 0, farm.pooler_id, submissions)).accepted) == 4
    await farm.end_block()
    await plant.plant(farm.ctx, 1, farm.pooler_id, max_farmers=1)
    by_wallet = {farmer.custodial_wallet: farmer.farmer_id for farmer in made}
    turns = [by_wallet[wallet] for wallet in in_turn(by_wallet, {}, (1).to_bytes(8, "big"))]
    living = await farm.ctx.chain.read_pails_with_ends([(wallet, 0) for wallet in by_wallet])
    ends = {by_wallet[wallet]: end for (wallet, _), (_, end) in living.items()}
    # On a busy machine plants land in several ledgers: what is gone first comes first.
    asked = sorted([turns[2], turns[0]], key=ends.__getitem__)
    done = await harvest.harvest(farm.ctx, farm.pooler_id, targets=[Target(0, farmer_id) for farmer_id in asked])
    assert [item.farmer_id for item in done.harvested] == asked
    rest = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
    assert [item.farmer_id for item in rest.harvested if not item.already] == sorted(
        [turns[1], turns[3]], key=ends.__getitem__
    )


async def test_works_of_a_block_are_simulated_once_for_all(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for all that make a pail grow, one for all that do it again; the network takes each as it is."""
    made = await farm.add_farmers(4)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    simulated, simulate = [], Chain._simulate

    async def counted(chain: Chain, call, source: str):
        simulated.append(call.function)
        return await simulate(chain, call, source)

    monkeypatch.setattr(Chain, "_simulate", counted)

    async def works(farmers, zeros: int):
        nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, 0, zeros=zeros)) for farmer in farmers]
        simulated.clear()
        done = await work.work(farm.ctx, 0, farm.pooler_id, nonces)
        assert not done.refused
        return done.accepted

    first = await works(made[:3], 1)
    assert len(first) == 3 and simulated == ["work"]
    all_of_them = await works(made, 2)
    assert len(all_of_them) == 4 and len(simulated) <= 2, simulated
    pails = await farm.ctx.chain.read_pails([(farmer.custodial_wallet, 0) for farmer in made])
    by_farmer = {farmer.farmer_id: pails[farmer.custodial_wallet, 0] for farmer in made}
    assert all(by_farmer[each.farmer_id].gap == each.gap for each in all_of_them)
    assert await farm.rows("SELECT max(attempt), count(*) FROM submissions WHERE action = 'work'") == [(1, 7)]


async def test_one_works_refusal_is_not_the_others(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose simulation fails has that failure; the others go on by their own."""
    made = await farm.add_farmers(3)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    simulate, failed = Chain._simulate, []

    async def first_fails(chain: Chain, call, source: str):
        if not failed:
            failed.append(call.function)
            await asyncio.sleep(0.1)
            raise HashInvalidError("as if it were")
        return await simulate(chain, call, source)

    monkeypatch.setattr(Chain, "_simulate", first_fails)
    nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, 0, zeros=1)) for farmer in made]
    done = await work.work(farm.ctx, 0, farm.pooler_id, nonces)
    assert len(done.accepted) == 2 and [each.failure.code for each in done.refused] == ["hash-invalid"]
