"""What was put down on the ledger for miners to claim: whether they have; and taken back where not in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Signer
from kalepool.database import Database
from kalepool.errors import TransactionFailedError
from kalepool.policy import bookkeeping
from kalepool.services import postings
from kalepool.services.context import Context
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.gaps import require_whole
from kalepool.services.journal.intents import Intent, Item

log = structlog.get_logger()

LOOK_LEDGERS = 12
"""How often it is looked: once in so many ledgers."""

MOST = 50
"""Balances that are taken back in one transaction."""


@dataclass(frozen=True, slots=True)
class Lying:
    """A claimable balance that is not known to be gone. `until`: then its miner can claim it no more, and only the
    treasury can. `in_flight`: it is being taken back."""

    balance_id: bytes
    payout_id: UUID
    miner_id: UUID
    amount_stroops: int
    until: datetime
    made_ledger: int | None
    in_flight: bool


async def look(ctx: Context) -> int:
    """Books what miners have claimed, and takes back what they have not in time. Returns how many are settled now.

    Raises ChainError, JournalBehindError, DatabaseError.
    """
    treasury = ctx.accounts.treasury
    if treasury is None:
        return 0
    async with ctx.lock("payouts"):
        await require_whole(ctx.journal)  # else one that we have taken back might count as claimed
        rows = await ctx.database.fetch_all("select_lying", row=Lying)
        rows = [row for row in rows if not row.in_flight]
        if not rows:
            return 0
        there, ledger = await ctx.chain.read_claimables([row.balance_id for row in rows])
        settled, over = 0, list[Lying]()
        now = await ctx.chain.now()
        for row in rows:
            if row.balance_id in there:
                ctx.absences.found(row.balance_id)
                if row.until <= now:
                    over.append(row)
            elif ledger >= (row.made_ledger or 0) and ctx.absences.miss(row.balance_id):
                settled += await _claimed(ctx.database, row)
        for start in range(0, len(over), MOST):
            settled += await _take_back(ctx, treasury, over[start : start + MOST])
    return settled


async def _claimed(database: Database, row: Lying) -> int:
    """Gone, and not by us: nobody but its miner could claim it."""
    async with database.transaction() as session:
        claimed = await session.execute("note_claimed", balance_id=row.balance_id)
        if claimed:
            transfers = bookkeeping.fetched(row.payout_id, row.miner_id, row.amount_stroops)
            await postings.post(session, transfers)
            log.info("payout_claimed", payout=str(row.payout_id), stroops=row.amount_stroops)
    return claimed


async def _take_back(ctx: Context, treasury: Signer, batch: Sequence[Lying]) -> int:
    items = [
        Item(
            amount_stroops=row.amount_stroops,
            destination=treasury.public_key,
            asset="KALE",
            miner_id=row.miner_id,
            balance_id=row.balance_id,
        )
        for row in batch
    ]
    balances = [row.balance_id for row in batch]
    prepare = partial(ctx.chain.prepare_take_back, treasury, balances, pool=ctx.accounts.payer)
    intent = Intent(ActionName.TAKE_BACK, None, items)
    try:
        await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)
    except TransactionFailedError as error:
        log.warning("claimables_wait", balances=len(batch), code=error.code, reason=str(error))
        if len(batch) == 1 or (error.result_code or "").startswith("tx"):
            return 0
        half = len(batch) // 2
        return await _take_back(ctx, treasury, batch[:half]) + await _take_back(ctx, treasury, batch[half:])
    log.info("claimables_taken_back", balances=len(batch), stroops=sum(row.amount_stroops for row in batch))
    return len(batch)
