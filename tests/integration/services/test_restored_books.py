"""A database that was put back to an hour ago: none of the pool's KALE is paid twice, and nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from stellar_sdk import Keypair

from kalepool import dumps
from kalepool.database import migrate
from kalepool.errors import RpcUnavailableError
from kalepool.postgres import Postgres, bundled_programs
from kalepool.services import operators, postings, upkeep
from kalepool.services.books import collecting, compensating
from kalepool.services.context import Context
from kalepool.services.failures import JournalBehindError
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import claimables, payouts

from ..conftest import KALE
from .test_claimables import DAY, claim, only_payout, standing, wished
from .test_compensating import fund, lose, lost_stakes, owed, wallets
from .test_double_entry import right
from .test_gaps import back_up, restored
from .test_payouts import farmed, kale_of

pytestmark = pytest.mark.anyio


async def refused(ctx: Context) -> None:
    """Nothing moves before an operator has looked, and it says why."""
    await ctx.accounts.ensure_treasury()
    for move in (payouts.pay, claimables.look):
        with pytest.raises(JournalBehindError, match="It was put back to an older state"):
            await move(ctx)


async def looked(ctx: Context, transactions: int) -> None:
    """What is missing is imported, and the operator lets the pool go on."""
    assert await upkeep.look_for_gaps(ctx) == transactions
    key = (await create_key(ctx.database, Role.OPERATOR)).key_id
    assert await operators.acknowledge_gaps(ctx, key, "restored")


async def test_a_pool_that_was_lost_mines_on_elsewhere_with_books_that_are_true(
    farm, postgres: Postgres, tmp_path: Path
) -> None:
    """A dump and the master key are all that is left, in the middle of a block."""
    first, second = await farm.add_farmers(2)
    ctx = farm.ctx
    assert len((await plant.plant(ctx, 0, farm.pooler_id)).planted) == 2
    await farm.pass_time(5)
    await work.work(ctx, 0, farm.pooler_id, [Submission(first.farmer_id, await farm.nonce(first, 0))])
    assert await right(farm) == []
    programs, kept = bundled_programs(), tmp_path / "kept"
    kept.mkdir()
    await asyncio.to_thread(dumps.dump, farm.database_url, kept / "pool.dump", programs)
    key = farm.settings.data_dir / "master.key"
    key.rename(kept / "master.key")
    elsewhere = tmp_path / "another" / "path"
    elsewhere.mkdir(parents=True)
    (kept / "master.key").rename(elsewhere / "master.key")
    async with AsyncExitStack() as stack:
        farm.settings = farm.settings.model_copy(update={"data_dir": elsewhere})
        farm.database_url = postgres.create_database("elsewhere")
        await asyncio.to_thread(dumps.restore, farm.database_url, kept / "pool.dump", programs)
        assert await migrate(farm.database_url) == []  # gives each process its rights
        ctx = await farm.restart(stack)
        assert await ctx.accounts.ensure() is None
        assert await upkeep.look_for_gaps(ctx) == 0
        await work.work(ctx, 0, farm.pooler_id, [Submission(second.farmer_id, await farm.nonce(second, 0))])
        for index in (0, 1):
            await farm.end_block()
            await farm.start_block(index + 1)
            done = await harvest.harvest(ctx, farm.pooler_id, block_index=index)
            assert len(done.harvested) == 2, done
            if index == 0:
                assert len((await plant.plant(ctx, 1, farm.pooler_id)).planted) == 2
                await farm.pass_time(5)
                nonces = [Submission(each.farmer_id, await farm.nonce(each, 1)) for each in (first, second)]
                await work.work(ctx, 1, farm.pooler_id, nonces)
        assert await right(farm) == []
        assert await farm.rows("SELECT count(*) FROM harvests WHERE outcome = 'harvested'") == [(4,)]


async def test_a_fee_is_not_collected_again(farm, postgres: Postgres) -> None:
    (one,) = await farm.add_farmers(1)
    assert await right(farm) == []
    fees = await farmed(farm)
    treasury = await farm.ctx.accounts.ensure_treasury()
    backup = await back_up(farm, postgres)
    assert await collecting.collect_from(farm.ctx, [one.farmer_id]) == 1
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        await refused(ctx)
        with pytest.raises(JournalBehindError):
            await collecting.collect_from(ctx, [one.farmer_id])
        await looked(ctx, 1)
        assert await postings.owed_by(ctx.database, one.farmer_id) == 0
        assert await collecting.collect_from(ctx, [one.farmer_id]) == 0
        assert await kale_of(farm, Keypair.from_public_key(treasury.public_key)) == [fees]
        assert await right(farm) == []


@pytest.mark.parametrize("begun", [False, True])
async def test_what_was_put_down_is_not_put_down_again(farm, begun: bool, postgres: Postgres, monkeypatch) -> None:
    """`begun`: the database knows that it was to be."""
    miner, wallet = await wished(farm)
    if begun:
        with monkeypatch.context() as patch:
            patch.setattr(payouts, "_submit", _not_now)
            assert await payouts.pay(farm.ctx) == 0
    await farm.ctx.accounts.give_treasury(2 * KALE)
    backup = await back_up(farm, postgres)
    assert await payouts.pay(farm.ctx) == 1
    put_down = await only_payout(farm, miner)
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        await refused(ctx)
        await looked(ctx, 1)
        again = await only_payout(farm, miner)
        assert (again.status, again.balance_id) == ("claimable", put_down.balance_id)
        assert again.claimable_until == put_down.claimable_until
        assert await standing(farm, miner) == (0, 0, 20 * KALE, 0)
        assert await payouts.pay(ctx) == 0 and await right(farm) == []
        await claim(farm, wallet, again.balance_id)
        assert await claimables.look(ctx) == 1
        assert await standing(farm, miner) == (0, 0, 0, 20 * KALE)
        assert await payouts.pay(ctx) == 0 and await right(farm) == []
        assert await kale_of(farm, wallet) == [20 * KALE]


async def _not_now(*_: object) -> None:
    raise RpcUnavailableError("not now")


async def test_what_was_taken_back_is_owed_and_not_taken_for_claimed(farm, postgres: Postgres) -> None:
    miner, _ = await wished(farm)
    assert await payouts.pay(farm.ctx) == 1
    await farm.pass_time(90 * DAY + 60)
    backup = await back_up(farm, postgres)
    assert await claimables.look(farm.ctx) == 1
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        await refused(ctx)
        await looked(ctx, 1)
        assert await standing(farm, miner) == (20 * KALE, 0, 0, 0)
        assert await claimables.look(ctx) == 0
        assert await right(farm) == []


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_lost_stake_is_not_paid_again(farm, recorded: bool, postgres: Postgres) -> None:
    """`recorded`: the database knows that it was lost. Else it finds out once more."""
    made = await lost_stakes(farm)
    await fund(farm, 300 * KALE)
    if not recorded:
        assert await compensating.compensate(farm.ctx) == 1
        backup = await back_up(farm, postgres)
        await lose(farm)
    else:
        backup = await back_up(farm, postgres)
    assert await compensating.compensate(farm.ctx) == 1
    has = await wallets(farm, made)
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        await refused(ctx)
        await looked(ctx, 1 if recorded else 2)
        await upkeep.record_losses(ctx)
        assert len(await owed(farm)) == 1
        assert await farm.rows("SELECT count(*) FROM pooler_compensations WHERE paid_at IS NULL") == [(0,)]
        assert await compensating.compensate(ctx) == 0
        assert await wallets(farm, made) == has
        assert await right(farm) == []
