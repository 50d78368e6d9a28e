"""Pays farmers for lost stakes from the operator's part of the treasury: by itself up to a limit, else after a yes.

The transaction's memo is the block's index: a database that was put back to an older state knows by it what was paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Destination, Share, Signer
from kalepool.errors import ChainError, CustodyError, Fault, TransactionFailedError
from kalepool.services.books.held import require_even
from kalepool.services.books.treasury import read_treasury
from kalepool.services.context import Context
from kalepool.services.farmers import find_farmer
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.gaps import require_whole
from kalepool.services.journal.intents import Intent, Item

log = structlog.get_logger()

MOST = 50
"""Farmers in one transaction, all for the same block."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a lost stake is not paid now."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class OwedStake:
    """What is owed for a lost stake, and not paid or on its way. `wallet`: the farmer's, on the chain."""

    compensation_id: UUID
    block_index: int
    farmer_id: UUID
    wallet: str
    farmer_status: str
    owed_stroops: int
    fault: Fault
    is_approved: bool
    wait_code: str | None
    wait_message: str | None

    def waits(self, limit_stroops: int) -> Waits | None:
        """Why it waits whatever the treasury has; None: it does not. Pure."""
        if self.farmer_status == "departed":
            return Waits("farmer-departed", "its wallet is closed: pay the farmer by hand, then mark it as paid")
        if self.is_approved:
            return None
        if self.fault != Fault.BACKEND:
            return Waits("approval-needed", f"the fault was the {self.fault}'s: it takes an operator's yes")
        if self.owed_stroops > limit_stroops:
            said = f"more than {limit_stroops} stroops (KALEPOOL_COMPENSATION_LIMIT_STROOPS) take an operator's yes"
            return Waits("approval-needed", said)
        return None


async def compensate(ctx: Context) -> int:
    """Pays what is owed and need not wait, the oldest first. Returns how many.

    Raises BooksOffError, JournalBehindError, ChainError, DatabaseError: nothing is begun then, or goes on next time.
    """
    treasury = ctx.accounts.treasury
    if treasury is None:
        return 0
    async with ctx.lock("payouts"):
        rows = await ctx.database.fetch_all("select_owed_stakes", row=OwedStake)
        if not rows:
            return 0
        await require_whole(ctx.journal)
        await require_even(ctx.database)
        ready = await _ready(ctx, rows)
        return sum([await _send(ctx, treasury, batch) for batch in batches(ready)])


def batches(ready: Sequence[OwedStake]) -> Iterator[list[OwedStake]]:
    """What may share a transaction: of one block, at most so many. Pure."""
    for _, of_block in groupby(sorted(ready, key=lambda row: row.block_index), lambda row: row.block_index):
        rows = list(of_block)
        yield from (rows[start : start + MOST] for start in range(0, len(rows), MOST))


async def _ready(ctx: Context, rows: Sequence[OwedStake]) -> list[OwedStake]:
    """Those that are paid now. Why the others wait is written down."""
    left, short = (await read_treasury(ctx.database)).operators_stroops, False
    ready: list[OwedStake] = []
    for row in rows:
        waits = row.waits(ctx.settings.compensation_limit_stroops) or await _changed(ctx, row)
        if waits is None and (short := short or row.owed_stroops > left):  # the oldest first
            said = f"the operator's part of the treasury has {left} stroops, and {row.owed_stroops} are owed"
            waits = Waits("operator-part-short", said)
        if waits is None:
            left -= row.owed_stroops
            ready.append(row)
        else:
            await _note(ctx, row, waits)
    return ready


async def _changed(ctx: Context, row: OwedStake) -> Waits | None:
    """Whether the wallet is the farmer's still: nothing goes to one that was changed past us."""
    farmer = await find_farmer(ctx.database, row.farmer_id)
    assert farmer is not None
    try:
        ctx.custody.signer(farmer.binding, farmer.secret_sealed).check()
    except CustodyError as error:
        return Waits(error.code, str(error))
    return None


async def _note(ctx: Context, row: OwedStake, waits: Waits) -> None:
    if (row.wait_code, row.wait_message) == (waits.code, waits.message):
        return
    log.info("compensation_waits", compensation=str(row.compensation_id), code=waits.code, reason=waits.message)
    await ctx.database.execute(
        "note_compensation_waits", compensation_id=row.compensation_id, code=waits.code, message=waits.message
    )


async def _send(ctx: Context, treasury: Signer, batch: Sequence[OwedStake]) -> int:
    """Pays them in one transaction. Where one makes it fail the others go without it."""
    try:
        await _submit(ctx, treasury, batch)
    except TransactionFailedError as error:
        if len(batch) == 1:
            await _note(ctx, batch[0], Waits("compensation-refused", str(error)))
            return 0
        half = len(batch) // 2
        return await _send(ctx, treasury, batch[:half]) + await _send(ctx, treasury, batch[half:])
    except ChainError as error:  # not known yet, or not sent: it goes on
        log.warning("compensations_wait", compensations=len(batch), code=error.code, reason=str(error))
        return 0
    log.info("stakes_compensated", farmers=len(batch), stroops=sum(row.owed_stroops for row in batch))
    return len(batch)


async def _submit(ctx: Context, treasury: Signer, batch: Sequence[OwedStake]) -> None:
    items = [
        Item(
            block_index=row.block_index,
            farmer_id=row.farmer_id,
            amount_stroops=row.owed_stroops,
            destination=row.wallet,
            asset="KALE",
            action=ActionName.COMPENSATE,
        )
        for row in batch
    ]
    shares = [Share(Destination(row.wallet, f"id:{row.block_index}"), row.owed_stroops) for row in batch]
    prepare = partial(ctx.chain.prepare_shares, treasury, shares, pool=ctx.accounts.payer, action=ActionName.COMPENSATE)
    intent = Intent(ActionName.COMPENSATE, None, items)
    await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)
