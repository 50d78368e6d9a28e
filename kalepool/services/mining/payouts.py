"""Pays miners from the treasury: who has enough, asks for it, or has waited long; up to fifty in a transaction.

A payout is claimed in the books before it is sent, and settled by the journal, so it is paid once, whatever dies in
between. Payees are looked at first: one that cannot be paid waits with its reason, and the others are paid. Who wishes
it is put its KALE down to be claimed where its wallet cannot take it: see claimables.py. A contract is paid by
`transfer` of the asset's, in a transaction of its own, from the pool's threshold on: a call costs more than a payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from kalepool import tracing
from kalepool.actions import ActionName
from kalepool.chain import CLAIMABLE_RESERVE_STROOPS, Destination, Share, Signer
from kalepool.config import Settings
from kalepool.database import Database, Session, new_id
from kalepool.errors import AssetContractError, ChainError, TransactionFailedError
from kalepool.policy import bookkeeping, paying
from kalepool.policy.paying import PayoutReason, PayoutTerms
from kalepool.services import postings
from kalepool.services.books.held import require_even
from kalepool.services.books.treasury import read_treasury
from kalepool.services.context import Context
from kalepool.services.journal.carry import carry_within
from kalepool.services.journal.gaps import require_whole
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.mining import payout_wallets
from kalepool.services.mining.payees import (
    NO_LINE,
    MinerDue,
    PayeeError,
    lies_down,
    noted,
    payee_of,
    read_payees,
    refusal,
    too_little,
    unsealed,
)

log = structlog.get_logger()

MOST = 50
"""Payments in one transaction. It takes a hundred; but with a fee bump those are more operations than a whole ledger
has room for, where a network allows it a hundred."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payout that can be made. `until`: what is due is put down to be claimed before then."""

    due: MinerDue
    reason: PayoutReason
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A payout that was claimed and is to be sent, with the miner's wallets as they are now. `until`: as in Wanted."""

    payout_id: UUID
    miner_id: UUID
    amount_stroops: int
    destination: str
    memo: str | None
    until: datetime | None
    payout_wallet: str | None
    payout_memo: str | None
    next_wallet: str | None
    next_memo: str | None
    next_wallet_at: datetime | None
    payout_seal: bytes | None

    @property
    def to(self) -> Destination:
        return Destination(self.destination, self.memo)

    @property
    def goes_alone(self) -> bool:
        """A memo is the whole transaction's, and a contract's call is its only operation."""
        return self.memo is not None or self.to.is_contract


def terms_of(settings: Settings) -> PayoutTerms:
    return PayoutTerms(settings.payout_threshold_stroops, settings.payout_days)


# ----------------------------------------------------------------------------------------------------------------------
# A round


async def pay(ctx: Context) -> int:
    """Claims what is to be paid and sends everything that was claimed. Returns how many were paid now.

    Raises BooksOffError, JournalBehindError, ChainError, DatabaseError: nothing is begun then, or goes on next time.
    """
    async with ctx.lock("payouts"):
        await ctx.database.execute("close_paid_payouts")
        await payout_wallets.take_next(ctx)
        treasury = ctx.accounts.treasury
        if treasury is None:
            return 0
        await require_whole(ctx.journal)
        await require_even(ctx.database)
        with tracing.span("payout") as whole:
            claimed = await _claim_dues(ctx)
            paid = 0
            begun = await ctx.database.fetch_all("select_payouts_to_send", row=Begun)
            ready = await _payable(ctx, begun)
            await ctx.accounts.give_treasury(_reserve_of([each.until for each in ready]))
            for batch in paying.batches([(each, each.goes_alone) for each in ready], MOST):
                paid += await _send(ctx, treasury, batch)
            whole.note(claimed=claimed, sent=len(ready), paid=paid)
            if not claimed and not begun:
                whole.forget()
        await ctx.database.execute("close_paid_payouts")
    return paid


async def _claim_dues(ctx: Context) -> int:
    """Returns how many."""
    now, terms = datetime.now(UTC), terms_of(ctx.settings)
    dues = await ctx.database.fetch_all("select_dues", row=MinerDue, miner_id=None)
    wanted: list[tuple[MinerDue, PayoutReason]] = []
    for due in dues:
        reason = paying.reason_of(due.due_stroops, due.payout_threshold_stroops, due.since, terms, now)
        if reason is not None:
            wanted.append((due, reason))
    if not wanted:
        return 0
    good, refused = await judged(ctx, wanted)
    await ctx.database.execute_many("note_payee", [noted(miner_id, error) for miner_id, error in refused])
    treasury = await read_treasury(ctx.database)
    count = paying.affordable([each.due.due_stroops for each in good], treasury.free_stroops)
    if count < len(good):
        log.warning("treasury_short", payouts=len(good) - count)
    for start in range(0, count, MOST):
        with tracing.span("claim", payouts=min(MOST, count - start)):
            async with ctx.database.transaction() as session:
                await claim(session, good[start : min(start + MOST, count)])
    return count


async def judged(
    ctx: Context, wanted: Sequence[tuple[MinerDue, PayoutReason]]
) -> tuple[list[Wanted], list[tuple[UUID, PayeeError]]]:
    """Which of these can be paid, or put down, and why the others cannot. Raises ChainError."""
    payees = await read_payees(ctx, [due.destination for due, _ in wanted])
    until = (await ctx.chain.now() + timedelta(days=ctx.settings.claimable_days)).replace(microsecond=0)
    good: list[Wanted] = []
    refused: list[tuple[UUID, PayeeError]] = []
    for due, reason in wanted:
        to = due.destination
        error = (
            unsealed(ctx.custody, asdict(due))
            or refusal(to, payee_of(payees, to), due.due_stroops)
            or too_little(to, due.due_stroops, ctx.settings.payout_threshold_stroops)
        )
        if error is None:
            good.append(Wanted(due, reason, None))
        elif to is not None and (error := lies_down(to, error, due, ctx.settings.payout_threshold_stroops)) is None:
            good.append(Wanted(due, reason, until))
        else:
            refused.append((due.miner_id, error))
    return await _within_reserve(ctx, good, refused)


async def _within_reserve(
    ctx: Context, good: list[Wanted], refused: list[tuple[UUID, PayeeError]]
) -> tuple[list[Wanted], list[tuple[UUID, PayeeError]]]:
    """Without those for which the pool has no XLM to be locked."""
    reserve = _reserve_of([each.until for each in good])
    if not reserve or (spare := await ctx.accounts.give_treasury(reserve)) >= reserve:
        return good, refused
    left, kept = spare // CLAIMABLE_RESERVE_STROOPS, list[Wanted]()
    for each in good:
        if each.until is None or left > 0:
            kept.append(each)
            left -= each.until is not None
        else:
            said = "the pool has no XLM to spare that would be locked until you have claimed: it waits"
            refused.append((each.due.miner_id, PayeeError("claimable-reserve-missing", said)))
    return kept, refused


def _reserve_of(untils: Sequence[datetime | None]) -> int:
    return CLAIMABLE_RESERVE_STROOPS * sum(until is not None for until in untils)


async def claim(session: Session, wanted: Sequence[Wanted], idempotency_key: str | None = None) -> list[UUID]:
    """From now on these are on their way, and nothing else pays the same."""
    rows = [
        {
            "payout_id": new_id(),
            "miner_id": each.due.miner_id,
            "amount_stroops": each.due.due_stroops,
            "destination": each.due.payout_wallet,
            "memo": each.due.payout_memo,
            "reason": each.reason,
            "idempotency_key": idempotency_key,
            "until": each.until,
        }
        for each in wanted
    ]
    await session.execute_many("insert_payout", rows)
    await session.execute_many("note_payee", [noted(row["miner_id"], None) for row in rows])
    transfers = [
        each for row in rows for each in bookkeeping.claimed(row["payout_id"], row["miner_id"], row["amount_stroops"])
    ]
    await postings.post(session, transfers)
    return [row["payout_id"] for row in rows]


async def _payable(ctx: Context, begun: Sequence[Begun]) -> list[Begun]:
    """Those of them that can be paid. The others are given up: they are due again, and wait with their reason."""
    payees = await read_payees(ctx, [each.to for each in begun])
    latest = await ctx.chain.now() + timedelta(days=ctx.settings.claimable_days / 2)
    ready: list[Begun] = []
    room = {account: payee.room_stroops for account, payee in payees.items()}
    for each in begun:
        error = _stale(ctx, each, latest) or refusal(each.to, payee_of(payees, each.to), each.amount_stroops)
        if each.until is not None:
            error = None if error is None or error.reason in NO_LINE else error
        else:
            credited = each.to.credited
            if error is None and room[credited] < each.amount_stroops:  # two miners may have one wallet
                error = PayeeError("payee-line-full", f"the trustline of {each.destination} has too little room")
            if error is None:
                room[credited] -= each.amount_stroops
        if error is None:
            ready.append(each)
        else:
            await _give_up(ctx.database, each, error)
    return ready


def _stale(ctx: Context, each: Begun, latest: datetime) -> PayeeError | None:
    """What has changed since the payout was claimed, so that it is to be claimed anew."""
    if (each.payout_wallet, each.payout_memo) != (each.destination, each.memo):
        return PayeeError("payee-changed", f"the payout wallet is no more {each.to}")
    if each.until is not None and each.until < latest:
        return PayeeError("claimable-late", "too little of its time would be left to claim it")
    return unsealed(ctx.custody, asdict(each))


async def _give_up(database: Database, begun: Begun, error: PayeeError) -> None:
    async with database.transaction() as session:
        if await session.execute("give_payout_up", payout_id=begun.payout_id, code=error.reason, message=str(error)):
            await session.execute("note_payee", **noted(begun.miner_id, error))
            await postings.post(
                session, bookkeeping.returned(begun.payout_id, begun.miner_id, begun.amount_stroops, error.reason)
            )
            log.warning("payout_refused", payout=str(begun.payout_id), code=error.reason, reason=str(error))


async def _send(ctx: Context, treasury: Signer, batch: Sequence[Begun]) -> int:
    """Pays them in one transaction. Where one makes it fail, that one waits and the rest is built anew."""
    try:
        await _submit(ctx, treasury, batch)
    except TransactionFailedError as error:
        return await _without_the_bad(ctx, treasury, batch, error)
    except AssetContractError as error:  # of a contract, which is paid alone
        if error.number == BALANCE_TOO_LOW:
            log.warning("payouts_wait", payouts=len(batch), code=error.code, reason=str(error))
        else:
            await _give_up(ctx.database, batch[0], PayeeError("payee-refused", str(error)))
        return 0
    except ChainError as error:  # not known yet, or not sent: it goes on
        log.warning("payouts_wait", payouts=len(batch), code=error.code, reason=str(error))
        return 0
    log.info("miners_paid", payouts=len(batch), stroops=sum(each.amount_stroops for each in batch))
    return len(batch)


async def _without_the_bad(
    ctx: Context, treasury: Signer, batch: Sequence[Begun], error: TransactionFailedError
) -> int:
    if (error.result_code or "").startswith("tx") or error.result_code in WAITING:
        log.warning("payouts_wait", payouts=len(batch), code=error.code, reason=str(error))
        return 0  # of the transaction as a whole: nothing is wrong with any payee
    if len(batch) == 1:
        await _give_up(ctx.database, batch[0], PayeeError("payee-refused", str(error)))
        return 0
    good = await _payable(ctx, batch)
    if len(good) < len(batch):
        return await _send(ctx, treasury, good) if good else 0
    half = len(batch) // 2
    return await _send(ctx, treasury, batch[:half]) + await _send(ctx, treasury, batch[half:])


WAITING = {"PAYMENT_UNDERFUNDED", "CREATE_CLAIMABLE_BALANCE_UNDERFUNDED", "CREATE_CLAIMABLE_BALANCE_LOW_RESERVE"}
"""The treasury has less KALE than its books say, which the next look at the chain finds, or too little XLM."""


BALANCE_TOO_LOW = 10
"""The same, of the asset's contract: nothing is wrong with who is paid."""


async def _submit(ctx: Context, treasury: Signer, batch: Sequence[Begun]) -> None:
    items = [
        Item(
            amount_stroops=each.amount_stroops,
            destination=each.destination,
            asset="KALE",
            payout_id=each.payout_id,
            miner_id=each.miner_id,
            until=each.until,
        )
        for each in batch
    ]
    pool, first = ctx.accounts.payer, batch[0]
    if first.to.is_contract:
        prepare = partial(
            ctx.chain.prepare_payment,
            treasury,
            first.to,
            kale_stroops=first.amount_stroops,
            pool=pool,
            action=ActionName.PAYOUT,
        )
    else:
        shares = [Share(each.to, each.amount_stroops, each.until) for each in batch]
        prepare = partial(ctx.chain.prepare_shares, treasury, shares, pool=pool)
    intent = Intent(ActionName.PAYOUT, None, items)
    await carry_within(ctx.journal, intent, prepare, ctx.settings.plant_timeout_seconds)
