"""What the API process does by itself: settles what a crash left open, keeps its accounts funded, makes farmers
active, pays what is to be paid to them, records lost stakes, harvests what nobody asked for, and tells operators of
trouble.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog

from kalepool.errors import ChainError, DatabaseError, KalepoolError
from kalepool.services import farmers, leaving, own_wallets, presence, seals, webhook_sending, withdrawals
from kalepool.services.alerts import LOOK_SECONDS, TELL_SECONDS, Alerts
from kalepool.services.books import collecting, compensating, held
from kalepool.services.context import Context
from kalepool.services.farming import harvest
from kalepool.services.journal import gaps
from kalepool.services.journal.imports import import_missing
from kalepool.services.journal.recovery import recover
from kalepool.services.mining import claimables, payouts, suspicion
from kalepool.services.mining.closing import close_blocks
from kalepool.services.mining.credits import Credits, fix_terms
from kalepool.services.mining.hashrates import SAMPLE_SECONDS, sample_miners
from kalepool.services.own_alerts import OwnAlerts
from kalepool.services.retention import PRUNE_SECONDS, prune
from kalepool.services.settling import SETTLE_SECONDS, settle
from kalepool.tasks import end_tasks

log = structlog.get_logger()

START_SECONDS = 10.0
"""What a start waits for the chain. Without it the API serves all the same, and pays nothing before it has looked."""

FORGOTTEN_BLOCKS = 3
"""A pail that nobody harvested for this many blocks is harvested by the pool itself."""

SWEPT_BLOCKS = 300
"""So many blocks before those are read whole; of older ones what was open when they were settled."""

LOSSES_SECONDS = 10.0
"""How often the blocks that are over are looked at for pails that were never worked."""

REFILL_SECONDS = 30.0
"""How often the pool's accounts are looked at once they all work."""


@asynccontextmanager
async def running(ctx: Context, shape: webhook_sending.Shape) -> AsyncIterator[None]:
    """Does the chores in the background, each in its own time, until the block ends. `shape`: what webhooks are sent of
    the records behind events.

    What was left open is looked up once before: then nothing is done again that is done already. Raises ConfigError for
    a webhook that cannot work.
    """
    alerts = Alerts(ctx) if ctx.settings.alert_webhook is not None else None
    try:
        await presence.beat(ctx.database)
        await farmers.fix_fees(ctx)  # before anything is harvested
        async with asyncio.timeout(START_SECONDS):
            await ctx.chain.read_limits()  # and with them how fast ledgers are
            await recover(ctx.journal, resend=False)
            await gaps.look(ctx.journal)  # before anything is paid
    except (ChainError, DatabaseError, TimeoutError) as error:
        log.warning("recovery_waits", reason=str(error) or "the RPC server does not answer in time")
    ledger = ctx.chain.network.ledger_seconds
    credits = Credits(ctx.database, ctx.settings)
    tasks = [
        asyncio.create_task(_repeat("recovery", lambda: recover(ctx.journal), ledger)),
        asyncio.create_task(_repeat("presence", lambda: presence.beat(ctx.database), presence.BEAT_SECONDS)),
        asyncio.create_task(_repeat("gaps", lambda: look_for_gaps(ctx), gaps.LOOK_SECONDS)),
        asyncio.create_task(_repeat("accounts", lambda: _ensure_accounts(ctx), ledger)),
        asyncio.create_task(_repeat("treasury", ctx.accounts.ensure_treasury, ledger)),
        asyncio.create_task(_repeat("activation", lambda: farmers.activate(ctx), ledger)),
        asyncio.create_task(_repeat("own wallets", lambda: own_wallets.admit(ctx), ledger)),
        asyncio.create_task(_repeat("own plants", lambda: own_wallets.note_plants(ctx), 2 * ledger)),
        asyncio.create_task(_repeat("withdrawals", lambda: withdrawals.resume(ctx), ledger)),
        asyncio.create_task(_repeat("leaving", lambda: leaving.advance(ctx), ledger)),
        asyncio.create_task(_repeat("terms", lambda: fix_terms(ctx.database, ctx.settings), ledger)),
        asyncio.create_task(
            _repeat("withholding", lambda: suspicion.look_for_withholding(ctx.database), suspicion.LOOK_SECONDS)
        ),
        asyncio.create_task(_repeat("samples", lambda: sample_miners(ctx.database), SAMPLE_SECONDS)),
        asyncio.create_task(_repeat("retention", lambda: prune(ctx.database, ctx.settings), PRUNE_SECONDS)),
        asyncio.create_task(_repeat("settling", lambda: settle(ctx.database), SETTLE_SECONDS)),
        asyncio.create_task(_repeat("books", lambda: held.look(ctx), held.LOOK_LEDGERS * ledger)),
        asyncio.create_task(_repeat("fees", lambda: collecting.collect(ctx), 4 * ledger)),
        asyncio.create_task(_repeat("closing", lambda: close_blocks(ctx.database, credits), 4 * ledger)),
        asyncio.create_task(_repeat("payouts", lambda: payouts.pay(ctx), 2 * ledger)),
        asyncio.create_task(_repeat("claimables", lambda: claimables.look(ctx), claimables.LOOK_LEDGERS * ledger)),
        asyncio.create_task(_repeat("compensation", lambda: compensating.compensate(ctx), 6 * ledger)),
        asyncio.create_task(_repeat("losses", lambda: record_losses(ctx), LOSSES_SECONDS)),
        asyncio.create_task(_repeat("seals", lambda: seals.look(ctx), seals.LOOK_SECONDS)),
        asyncio.create_task(_repeat("sweep", lambda: sweep(ctx), ctx.settings.chain.block_seconds)),
    ]
    own = OwnAlerts(ctx)
    tasks.append(asyncio.create_task(_repeat("own alerts", own.look, LOOK_SECONDS)))
    tasks.append(asyncio.create_task(_repeat("own telling", own.tell, TELL_SECONDS)))
    hooks = webhook_sending.Webhooks(ctx, shape)
    tasks.append(asyncio.create_task(_repeat("webhook events", hooks.look, webhook_sending.LOOK_SECONDS)))
    tasks.append(asyncio.create_task(_repeat("webhooks", hooks.send_due, webhook_sending.LOOK_SECONDS)))
    tasks.append(asyncio.create_task(_repeat("old webhook events", hooks.give_up, webhook_sending.GIVE_UP_SECONDS)))
    if alerts is not None:
        tasks.append(asyncio.create_task(_repeat("alerts", alerts.look, LOOK_SECONDS)))
        tasks.append(asyncio.create_task(_repeat("telling", alerts.tell, TELL_SECONDS)))
    try:
        yield
    finally:
        await end_tasks(tasks)
        await hooks.end()


async def _repeat(name: str, chore: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Does a chore again and again, whatever comes of it. The same trouble is logged once."""
    said = ""
    while True:
        try:
            await chore()
            said = ""
        except KalepoolError as error:
            if error.code != said:
                log.warning("chore_failed", chore=name, code=error.code, reason=str(error))
            said = error.code
        except Exception:
            log.exception("chore_broken", chore=name)
        await asyncio.sleep(seconds)


async def _ensure_accounts(ctx: Context) -> None:
    """Every ledger until all accounts work, then now and then: fees empty them slowly."""
    await ctx.accounts.ensure()
    if ctx.accounts.needs is None and len(ctx.accounts.channels) == ctx.settings.channel_accounts:
        await asyncio.sleep(REFILL_SECONDS)


async def look_for_gaps(ctx: Context) -> int:
    """Holds our accounts against the journal, and imports what is missing as far as it can be had. Returns how many
    transactions that were."""
    await gaps.look(ctx.journal)
    if not ctx.journal.gaps:
        return 0
    imported = await import_missing(ctx.journal)
    await gaps.look(ctx.journal)
    return imported


async def sweep(ctx: Context) -> int:
    """Harvests what was planted FORGOTTEN_BLOCKS ago or earlier and not harvested: its pooler may be gone for good.

    Stakes that were lost are recorded on the way. Returns how many pails it tried.
    """
    farm_index = (await ctx.chain.read_farm()).index or 0
    newest = farm_index - FORGOTTEN_BLOCKS
    return await _harvest_all(
        ctx, await ctx.database.fetch_all("select_forgotten", newest_index=newest, blocks=SWEPT_BLOCKS)
    )


async def record_losses(ctx: Context) -> int:
    """Records the stakes of pails that were never worked once their block is over: nobody else asks for them until they
    count as forgotten. Returns how many pails it tried, each of them once."""
    farm_index = (await ctx.chain.read_farm()).index or 0
    rows = await ctx.database.fetch_all(
        "select_never_worked", oldest_index=farm_index - FORGOTTEN_BLOCKS, newest_index=farm_index - 1
    )
    return await _harvest_all(ctx, rows)


async def _harvest_all(ctx: Context, rows: Sequence[Mapping[str, Any]]) -> int:
    targets: dict[UUID, list[harvest.Target]] = defaultdict(list)
    for row in rows:
        targets[row["pooler_id"]].append(harvest.Target(row["block_index"], row["farmer_id"]))
    for pooler_id, wanted in targets.items():
        await harvest.harvest(ctx, pooler_id, targets=wanted, by_pool=True)
    return len(rows)
