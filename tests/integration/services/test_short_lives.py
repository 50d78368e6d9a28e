"""On a network whose temporary entries live an hour, as testnet's: what is gone first is harvested first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kalepool.chain import Limits
from kalepool.devnet.testing import running_devnet
from kalepool.networks import TESTNET
from kalepool.policy.timing import living_blocks, urgent_blocks
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from tests.integration.conftest import FarmUnderTest, open_farm

pytestmark = pytest.mark.anyio

TTL = 720
BLOCK_LEDGERS = 60
"""A block of 300 s has 60 ledgers of 5 s; here both are 50 times shorter."""


@pytest.fixture
async def farm(database_url: str, tmp_path: Path) -> AsyncIterator[FarmUnderTest]:
    async with AsyncExitStack() as stack:
        network = running_devnet(ledger_seconds=0.1, block_seconds=6, temporary_ttl=TTL)
        yield await open_farm(
            stack, database_url, tmp_path, network, block_seconds=6, channel_accounts=1, harvest_batch=1
        )


async def pass_ledgers(farm, count: int) -> None:
    """So many ledgers, in which the ledger's clock stands still."""
    for _ in range(count):
        await farm.devnet.close_ledger(0)
    await farm.ctx.chain.read_ledger()


async def test_the_networks_own_ttl_says_how_long_a_pail_lives(farm) -> None:
    """Not a constant of a day: 12 blocks here, as on testnet, where mainnet has 288."""
    assert (await farm.ctx.chain.read_limits()).temporary_ttl == TTL
    assert await harvest.living_blocks(farm.ctx) == living_blocks(TTL, TESTNET) == 16
    assert urgent_blocks(TTL, TESTNET) == 8
    assert (living_blocks(Limits().temporary_ttl, TESTNET), urgent_blocks(Limits().temporary_ttl, TESTNET)) == (
        361,
        192,
    )
    await farm.add_farmers(1)
    planted = await plant.plant(farm.ctx, 0, farm.pooler_id)
    place, ledger = (planted.planted[0].custodial_wallet, 0), planted.planted[0].ledger
    assert ledger is not None
    assert (await farm.ctx.chain.read_pails_with_ends([place]))[place][1] == ledger + TTL - 1


@pytest.mark.slow(12, "five blocks, and 360 ledgers without the pool")
async def test_nothing_is_lost_over_a_stop_of_half_the_ttl(farm) -> None:
    """Five blocks of two farmers are not harvested, and the pool is away for half a pail's life. One channel carries a
    pail at a time: the oldest go first, whoever's they are."""
    made = await farm.add_farmers(2)
    for index in range(5):
        begun = farm.devnet.node.ledger.header.sequence
        assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
        nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, index)) for farmer in made]
        assert not (await work.work(farm.ctx, index, farm.pooler_id, nonces)).refused
        await pass_ledgers(farm, max(BLOCK_LEDGERS - (farm.devnet.node.ledger.header.sequence - begun), 0))
        await farm.end_block()
    await pass_ledgers(farm, TTL // 2)
    await farm.start_block(5)
    done = await harvest.harvest(farm.ctx, farm.pooler_id)
    assert not done.failed, done.failed
    assert len(done.harvested) == 10
    rows = await farm.rows(
        "SELECT i.block_index FROM submissions s JOIN submission_items i USING (submission_id) "
        "WHERE s.action = 'harvest' ORDER BY s.ledger, s.created_at"
    )
    order = [index for (index,) in rows]
    assert order == sorted(order), "what was planted first is gone first"
    assert await farm.rows("SELECT count(*) FROM pooler_compensations") == [(0,)]
