"""A miner asks to be paid now."""

from __future__ import annotations

from uuid import UUID

from kalepool.errors import ConflictError, DuplicateRowError
from kalepool.marking import mark
from kalepool.policy import paying
from kalepool.policy.paying import PayoutReason
from kalepool.services.books.held import require_even
from kalepool.services.books.treasury import read_treasury
from kalepool.services.context import Context
from kalepool.services.journal.gaps import require_whole
from kalepool.services.mining import payout_records, payouts
from kalepool.services.mining.payees import MinerDue
from kalepool.services.mining.payout_records import Payout
from kalepool.units import amount


class NothingDueError(ConflictError):
    """Less is due than the least that is paid."""

    code = "nothing-due"

    def __init__(self, due_stroops: int, least_stroops: int) -> None:
        super().__init__(
            f"{amount(due_stroops)} KALE are due; from {amount(least_stroops)} KALE on they are paid when you ask"
        )
        self.due_stroops, self.least_stroops = due_stroops, least_stroops


class PayoutOpenError(ConflictError):
    """A payout is on its way to the miner: one at a time."""

    code = "payout-open"


async def wish(ctx: Context, miner_id: UUID, idempotency_key: str) -> Payout:
    """A payout of all that is due, which is sent with the next round. The same key again gives the same payout.

    Raises NothingDueError, PayoutOpenError, PayeeError, BooksOffError, JournalBehindError, ChainError.
    """
    named = {"miner_id": miner_id, "idempotency_key": idempotency_key}
    async with ctx.lock("payouts"):
        found = await ctx.database.fetch_one("select_payout", row=Payout, payout_id=None, **named)
        if found is not None:
            return found
        await require_whole(ctx.journal)
        await require_even(ctx.database)
        if (await payout_records.balance(ctx.database, miner_id))["paying_stroops"]:
            raise PayoutOpenError("a payout is on its way: see GET /miner/payouts")
        due = await ctx.database.fetch_one("select_dues", row=MinerDue, miner_id=miner_id)
        least, stroops = ctx.settings.payout_wish_stroops, due.due_stroops if due is not None else 0
        if due is None or stroops < least:
            raise NothingDueError(stroops, least)
        wanted, refused = await payouts.judged(ctx, [(due, PayoutReason.WISH)])
        for _, error in refused:
            raise error
        treasury = await read_treasury(ctx.database)
        if not paying.affordable([stroops], treasury.free_stroops):
            raise PayoutOpenError(mark("the treasury is waiting for fees to be collected: ask again in some minutes"))
        try:
            async with ctx.database.transaction() as session:
                [payout_id] = await payouts.claim(session, wanted, idempotency_key)
        except DuplicateRowError:
            raise PayoutOpenError("a payout is on its way: see GET /miner/payouts") from None
    return await payout_records.read(ctx.database, miner_id, payout_id)
