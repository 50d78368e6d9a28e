"""A database that was put back to an older state pays nothing twice, and says so: sequence numbers tell."""

from __future__ import annotations

from contextlib import AsyncExitStack
from decimal import Decimal

import pytest
from stellar_sdk import Keypair

from kalepool.errors import NotFoundError, RpcUnavailableError
from kalepool.postgres import Postgres
from kalepool.services import alerts, farmers, leaving, operators, upkeep, wallets, withdrawals
from kalepool.services.context import Context
from kalepool.services.failures import JournalBehindError
from kalepool.services.farmers import Farmer
from kalepool.services.health import Health
from kalepool.services.journal import gaps
from kalepool.services.keys import Role, create_key
from tests.integration.conftest import KALE
from tests.integration.services.test_crashes import do
from tests.integration.services.test_paying_farmers import add_farmer, kale_of, withdraw

pytestmark = pytest.mark.anyio


async def back_up(farm, postgres: Postgres) -> str:
    """The database as it is now, under another name. Nobody asks the pool's own connections meanwhile."""
    name = farm.database_url.partition("@/")[2].partition("?")[0]
    await farm.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    return postgres.create_database(f"{name}_backup", template=name)


async def restored(farm, stack: AsyncExitStack, backup: str) -> Context:
    farm.database_url = backup
    ctx = await farm.restart(stack)
    assert await ctx.accounts.ensure() is None
    return ctx


async def open_withdrawal(farm, farmer: Farmer) -> None:
    """A wish that is written down and not paid yet."""

    async def fails(*_: object) -> None:
        raise RpcUnavailableError("not now")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(withdrawals, "_send", fails)
        assert (await withdraw(farm, farmer)).status == "open"


async def test_a_restored_database_pays_nothing_twice_and_learns_what_it_missed(farm, postgres: Postgres) -> None:
    farmer = await add_farmer(farm)
    await open_withdrawal(farm, farmer)
    await gaps.look(farm.ctx.journal)
    assert farm.ctx.journal.gaps == []
    backup = await back_up(farm, postgres)
    await withdrawals.resume(farm.ctx)
    await do(farm, "plant", 0, farmer.farmer_id, 0)
    nonce = await farm.nonce(farmer, 0)
    await do(farm, "work", 0, farmer.farmer_id, nonce)
    await farm.end_block()
    await farm.start_block(1)
    await do(farm, "harvest", 0, farmer.farmer_id, nonce)
    stranger = await farmers.register(farm.ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
    known = await farm.rows("SELECT action, sequence, ledger, fee_stroops FROM submissions ORDER BY transaction_hash")
    events = "SELECT transaction_hash, ledger FROM {} WHERE ledger IS NOT NULL"
    happened = [await farm.rows(events.format(table)) for table in ("plantings", "works", "harvests")]
    await gaps.look(farm.ctx.journal)
    assert farm.ctx.journal.gaps == []
    assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE

    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        key_id = (await create_key(ctx.database, Role.OPERATOR)).key_id
        await withdrawals.resume(ctx)  # also before anybody has looked
        assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE
        with pytest.raises(JournalBehindError, match=r"transactions of .* accounts of ours"):
            await farmers.register(ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
        await farm.rows("UPDATE farmers SET status = 'leaving', leaving_at = now()")
        assert await leaving.advance(ctx) == 0
        await farm.rows("UPDATE farmers SET status = 'active', leaving_at = NULL")
        health = (await Health(ctx).report()).components["journal"]
        assert health.state == "down"
        assert "GET /operator/gaps" in health.detail
        (said,) = alerts.conditions(alerts.Observation(gaps=ctx.journal.gaps or ()))
        assert said.kind == "journal-behind"

        assert await upkeep.look_for_gaps(ctx) == 4
        assert ctx.journal.gaps is not None
        assert sum(gap.imported for gap in ctx.journal.gaps) == sum(gap.transactions for gap in ctx.journal.gaps) == 4
        again = await farm.rows(
            "SELECT action, sequence, ledger, fee_stroops FROM submissions ORDER BY transaction_hash"
        )
        assert again == known
        assert [await farm.rows(events.format(table)) for table in ("plantings", "works", "harvests")] == happened
        await withdrawals.resume(ctx)
        assert await farm.rows("SELECT code, closed_at IS NULL FROM withdrawals") == [(None, False)], "it is paid"

        with pytest.raises(JournalBehindError):  # until somebody has looked, whatever was found
            await farmers.register(ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
        assert len(await operators.acknowledge_gaps(ctx, key_id, "restored from Monday's backup")) == len(
            {row[0] for row in await farm.rows("SELECT account FROM journal_gaps")}
        )
        assert await operators.acknowledge_gaps(ctx, key_id, "again") == []
        assert await farm.rows("SELECT action, detail->>'reason' FROM operator_actions") == [
            ("acknowledge-gaps", "restored from Monday's backup")
        ]
        assert (await Health(ctx).report()).components["journal"].state == "up"
        new = await farmers.register(ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
        assert new.farmer.custodial_wallet != stranger.farmer.custodial_wallet, "though nobody has paid to it yet"
        assert new.farmer.custodial_wallet in ctx.custody.addresses(f"farmer/{2 + wallets.SKIPPED}")
        await do(farm, "plant", 1, farmer.farmer_id, 0)
        await gaps.look(ctx.journal)
        assert ctx.journal.gaps == []


async def test_what_the_server_forgot_an_operator_tells(farm, postgres: Postgres) -> None:
    farmer = await add_farmer(farm)
    await open_withdrawal(farm, farmer)
    backup = await back_up(farm, postgres)
    await withdrawals.resume(farm.ctx)
    await farm.wait_ledger()
    farm.devnet.node.faults.add({"kind": "forget"})
    await farm.wait_ledger()
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        key_id = (await create_key(ctx.database, Role.OPERATOR)).key_id
        assert await upkeep.look_for_gaps(ctx) == 0
        [(withdrawal_id,)] = await farm.rows("SELECT withdrawal_id FROM withdrawals")
        assert await operators.open_gaps(ctx) != []
        with pytest.raises(NotFoundError):
            await operators.acknowledge_gaps(ctx, key_id, "looked", [key_id])
        assert await operators.open_gaps(ctx) != []
        assert len(await operators.acknowledge_gaps(ctx, key_id, "looked", [withdrawal_id])) == 1
        await withdrawals.resume(ctx)
        assert await farm.rows("SELECT code FROM withdrawals") == [("paid-before",)]
        assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE


async def test_a_payment_is_held_against_the_ledger_itself(farm, postgres: Postgres) -> None:
    """Between two looks at all accounts, too: its own sequence number must be the journal's next."""
    farmer = await add_farmer(farm)
    await open_withdrawal(farm, farmer)
    await gaps.look(farm.ctx.journal)
    backup = await back_up(farm, postgres)
    await withdrawals.resume(farm.ctx)
    async with AsyncExitStack() as stack:
        ctx = await restored(farm, stack, backup)
        ctx.journal.gaps = []  # as if nothing had been missing a moment ago
        await withdrawals.resume(ctx)
        assert [gap.account for gap in ctx.journal.gaps] == [farmer.custodial_wallet]
        assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE


async def test_entries_brought_back_are_no_gap(farm) -> None:
    """The one transaction that is not journalled uses up a sequence number of the account that pays for it."""
    ctx = farm.ctx
    pool = ctx.accounts.payer
    deadline = (await ctx.chain.read_ledger()).closed_at.replace(year=2100)
    sequence = await ctx.chain._next_sequence(pool.public_key)
    assert ctx.chain.note_restore is not None
    await ctx.chain.note_restore(pool.public_key, sequence)
    prepared = await ctx.chain.prepare_payment(pool, pool.public_key, native_stroops=1, deadline=deadline)
    assert prepared.sequence == sequence
    await ctx.chain.submit(prepared)
    await gaps.look(ctx.journal)
    assert ctx.journal.gaps == []
    await ctx.chain.submit(await ctx.chain.prepare_payment(pool, pool.public_key, native_stroops=1, deadline=deadline))
    await gaps.look(ctx.journal)
    assert [gap.transactions for gap in ctx.journal.gaps] == [1]


def test_an_account_made_anew_is_not_ahead() -> None:
    made = 5000 << 32
    assert list(gaps.missing(made, 0)) == []
    assert list(gaps.missing(made + 2, made + 2)) == []
    assert list(gaps.missing(made + 2, 0)) == [made + 1, made + 2]
    assert list(gaps.missing(made + 3, made + 1)) == [made + 2, made + 3]
    assert list(gaps.missing(made, (4000 << 32) + 7)) == []
    assert list(gaps.missing((4000 << 32) + 7, made)) == []
