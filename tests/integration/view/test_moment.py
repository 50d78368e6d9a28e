"""One moment of the pool, read with the chain and without it."""

from __future__ import annotations

import pytest

from kalepool.services.farming import plant
from kalepool.view.moment import read_view

pytestmark = pytest.mark.anyio


async def test_without_the_chain_the_database_is_shown(farm) -> None:
    await farm.add_farmers(2)
    await farm.start_block(0)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    farm_now = await farm.ctx.chain.read_farm()
    await farm.ctx.database.execute(
        "open_block_operation",
        block_index=0,
        pooler_id=farm.pooler_id,
        entropy=farm_now.block.entropy,
        started_at=await farm.ctx.chain.now(),
    )
    both = await read_view(farm.ctx.database, farm.ctx.chain, None)
    alone = await read_view(farm.ctx.database, None, None)
    assert both.ledger is not None and both.planted == 2 and alone.ledger is None
    assert alone.index == both.index == 0 and alone.blocks == both.blocks and alone.blocks[0].planted == 2
    assert [farmer.name for farmer in alone.farmers] == ["farmer 1", "farmer 2"]
    assert all(farmer.balance_stroops is None and farmer.stake_stroops is None for farmer in alone.farmers)
