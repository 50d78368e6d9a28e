"""Plant, work and harvest against a devnet: what is done, what is recorded, and that both agree to the stroop."""

from __future__ import annotations

import pytest

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
