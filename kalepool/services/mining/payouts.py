"""Pays miners from the treasury: who has enough, asks for it, or has waited long; up to fifty in a transaction.

A payout is claimed in the books before it is sent, and settled by the journal, so it is paid once, whatever dies in
between. Payees are looked at first: one that cannot be paid waits with its reason, and the others are paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Destination, Payee, Signer
from kalepool.config import Settings
from kalepool.database import Database, Session, new_id
from kalepool.errors import ChainError, ConflictError, DuplicateRowError, NotFoundError, TransactionFailedError
from kalepool.policy import bookkeeping, paying
from kalepool.policy.paying import PayoutReason, PayoutTerms
from kalepool.services import postings
from kalepool.services.books.held import require_even
from kalepool.services.context import Context
from kalepool.services.journal.carry import carry
from kalepool.services.journal.gaps import require_whole
from kalepool.services.journal.intents import Intent, Item

log = structlog.get_logger()

MOST = 50
"""Payments in one transaction. It takes a hundred; but with a fee bump those are more operations than a whole ledger
has room for, where a network allows it a hundred."""

RETRY_SECONDS = 3600.0
"""When a miner that could not be paid is looked at again."""


class PayeeError(ConflictError):
    """The miner's wallet cannot be paid. `reason` says why."""

    code = "payee-refused"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NothingDueError(ConflictError):
    """Less is due than the least that is paid."""

    code = "nothing-due"


class PayoutOpenError(ConflictError):
    """A payout is on its way to the miner: one at a time."""

    code = "payout-open"


@dataclass(frozen=True, slots=True)
class MinerDue:
    """What a miner is due, with where it goes. `since`: the oldest of it was earned."""

    miner_id: UUID
    due_stroops: int
    payout_wallet: str | None
    payout_memo: str | None
    payout_threshold_stroops: int | None
    since: datetime | None

    @property
    def destination(self) -> Destination | None:
        return Destination(self.payout_wallet, self.payout_memo) if self.payout_wallet is not None else None


@dataclass(frozen=True, slots=True)
class Begun:
    """A payout that was claimed and is to be sent."""

    payout_id: UUID
    miner_id: UUID
    amount_stroops: int
    destination: str
    memo: str | None

    @property
    def to(self) -> Destination:
        return Destination(self.destination, self.memo)


@dataclass(frozen=True, slots=True)
class Payout:
    """A miner's payout. `status`: open (to be sent, or on its way), paid, or failed: `code` and `message` say why, and
    the amount is due again."""

    payout_id: UUID
    miner_id: UUID
    amount_stroops: int
    destination: str
    memo: str | None
    reason: PayoutReason
    created_at: datetime
    status: Literal["open", "paid", "failed"]
    transaction_hash: str | None
    ledger: int | None
    code: str | None
    message: str | None


def refusal(to: Destination | None, payee: Payee | None, stroops: int) -> PayeeError | None:
    """Why so much cannot be paid there; None: it can. Pure."""
    if to is None:
        return PayeeError("payout-wallet-missing", "no payout wallet is set: PATCH /miner/me")
    name = to.address
    if to.account is None or payee is None or not payee.exists:
        return PayeeError("payee-account-missing", f"{name} is not on the ledger")
    if not payee.trusts:
        return PayeeError("payee-trustline-missing", f"{name} has no KALE trustline: add it")
    if not payee.authorised:
        return PayeeError("payee-not-authorised", f"the trustline of {name} is not authorised by KALE's issuer")
    if payee.room_stroops < stroops:
        return PayeeError("payee-line-full", f"the trustline of {name} has room for {payee.room_stroops} stroops more")
    if payee.memo_required and not to.tells_whose:
        return PayeeError(
            "payee-memo-required", f"{name} takes nothing without a memo (SEP-29): set one, or an M… address"
        )
    return None


# ----------------------------------------------------------------------------------------------------------------------
# A round


async def pay(ctx: Context) -> int:
    """Claims what is to be paid and sends everything that was claimed. Returns how many were paid now.

    Raises BooksOffError, JournalBehindError, ChainError, DatabaseError: nothing is begun then, or goes on next time.
    """
    async with ctx.lock("payouts"):
        await ctx.database.execute("close_paid_payouts")
        await ctx.database.execute("take_next_wallets")
        treasury = ctx.accounts.treasury
        if treasury is None:
            return 0
        await require_whole(ctx.journal)
        await require_even(ctx.database)
        await _claim_dues(ctx)
        paid = 0
        begun = await ctx.database.fetch_all("select_payouts_to_send", row=Begun)
        ready = await _payable(ctx, begun)
        for batch in paying.batches([(each, each.memo is not None) for each in ready], MOST):
            paid += await _send(ctx, treasury, batch)
        await ctx.database.execute("close_paid_payouts")
    return paid


async def _claim_dues(ctx: Context) -> None:
    now, terms = datetime.now(UTC), terms_of(ctx.settings)
    dues = await ctx.database.fetch_all("select_dues", row=MinerDue, miner_id=None)
    wanted: list[tuple[MinerDue, PayoutReason]] = []
    for due in dues:
        reason = paying.reason_of(due.due_stroops, due.payout_threshold_stroops, due.since, terms, now)
        if reason is not None:
            wanted.append((due, reason))
    if not wanted:
        return
    payees = await _payees(ctx, [due.destination for due, _ in wanted])
    good: list[tuple[MinerDue, PayoutReason]] = []
    refused: list[tuple[UUID, PayeeError]] = []
    for due, reason in wanted:
        error = refusal(due.destination, _payee(payees, due.destination), due.due_stroops)
        if error is None:
            good.append((due, reason))
        else:
            refused.append((due.miner_id, error))
    await ctx.database.execute_many("note_payee", [_noted(miner_id, error) for miner_id, error in refused])
    row = await ctx.database.fetch_one("select_treasury")
    assert row is not None
    count = paying.affordable([due.due_stroops for due, _ in good], row["treasury_stroops"] - row["paying_stroops"])
    if count < len(good):
        log.warning("treasury_short", payouts=len(good) - count)
    for start in range(0, count, MOST):
        async with ctx.database.transaction() as session:
            await _claim(session, [(due, reason, None) for due, reason in good[start : min(start + MOST, count)]])


async def _claim(session: Session, claims: Sequence[tuple[MinerDue, PayoutReason, str | None]]) -> list[UUID]:
    """From now on these are on their way, and nothing else pays the same."""
    rows = [
        {
            "payout_id": new_id(),
            "miner_id": due.miner_id,
            "amount_stroops": due.due_stroops,
            "destination": due.payout_wallet,
            "memo": due.payout_memo,
            "reason": reason,
            "idempotency_key": key,
        }
        for due, reason, key in claims
    ]
    await session.execute_many("insert_payout", rows)
    await session.execute_many("note_payee", [_noted(row["miner_id"], None) for row in rows])
    transfers = [
        each for row in rows for each in bookkeeping.claimed(row["payout_id"], row["miner_id"], row["amount_stroops"])
    ]
    await postings.post(session, transfers)
    return [row["payout_id"] for row in rows]


def _noted(miner_id: UUID, error: PayeeError | None) -> dict[str, Any]:
    code, message = (error.reason, str(error)) if error is not None else (None, None)
    return {"miner_id": miner_id, "code": code, "message": message, "retry_seconds": RETRY_SECONDS}


async def _payees(ctx: Context, destinations: Sequence[Destination | None]) -> dict[str, Payee]:
    accounts = {to.account for to in destinations if to is not None and to.account is not None}
    return await ctx.chain.read_payees(sorted(accounts))


def _payee(payees: dict[str, Payee], to: Destination | None) -> Payee | None:
    return payees.get(to.account or "") if to is not None else None


async def _payable(ctx: Context, begun: Sequence[Begun]) -> list[Begun]:
    """Those of them that can be paid. The others are given up: they are due again, and wait with their reason."""
    payees = await _payees(ctx, [each.to for each in begun])
    ready: list[Begun] = []
    room = {account: payee.room_stroops for account, payee in payees.items()}
    for each in begun:
        error = refusal(each.to, _payee(payees, each.to), each.amount_stroops)
        account = each.to.account or ""
        if error is None and room[account] < each.amount_stroops:  # two miners may have one wallet
            error = PayeeError("payee-line-full", f"the trustline of {each.destination} has too little room")
        if error is None:
            room[account] -= each.amount_stroops
            ready.append(each)
        else:
            await _give_up(ctx.database, each, error)
    return ready


async def _give_up(database: Database, begun: Begun, error: PayeeError) -> None:
    async with database.transaction() as session:
        if await session.execute("give_payout_up", payout_id=begun.payout_id, code=error.reason, message=str(error)):
            await session.execute("note_payee", **_noted(begun.miner_id, error))
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


WAITING = {"PAYMENT_UNDERFUNDED"}
"""The treasury has less than its books say, which the next look at the chain finds."""


async def _submit(ctx: Context, treasury: Signer, batch: Sequence[Begun]) -> None:
    items = [
        Item(
            amount_stroops=each.amount_stroops,
            destination=each.destination,
            asset="KALE",
            payout_id=each.payout_id,
            miner_id=each.miner_id,
        )
        for each in batch
    ]
    payees = [(each.to, each.amount_stroops) for each in batch]
    timeout = ctx.settings.plant_timeout_seconds
    deadline = await ctx.chain.now() + timedelta(seconds=timeout)
    await carry(
        ctx.journal,
        Intent(ActionName.PAYOUT, None, items),
        lambda attempt: ctx.chain.prepare_payouts(
            treasury, payees, pool=ctx.accounts.payer, deadline=deadline, attempt=attempt
        ),
        deadline=deadline,
        timeout_seconds=timeout,
    )


def terms_of(settings: Settings) -> PayoutTerms:
    return PayoutTerms(settings.payout_threshold_stroops, settings.payout_days)


@dataclass(frozen=True, slots=True)
class PayoutTrouble:
    """`stuck`: payouts that were begun long ago. `short_stroops`: what the treasury will lack, once what farmers owe is
    collected, for what miners are due."""

    stuck: int
    short_stroops: int


NO_TROUBLE = PayoutTrouble(0, 0)

STUCK_SECONDS = 3600.0
"""A payout that was begun so long ago and is not paid is told of."""


async def payout_trouble(database: Database) -> PayoutTrouble:
    """What is wrong with payouts. Raises DatabaseError."""
    stuck = await database.fetch_one("select_stuck_payouts", seconds=STUCK_SECONDS)
    row = await database.fetch_one("select_treasury")
    assert stuck is not None and row is not None
    lacks = row["due_stroops"] + row["paying_stroops"] - row["treasury_stroops"] - row["owed_stroops"]
    return PayoutTrouble(stuck["payouts"], max(lacks, 0))


# ----------------------------------------------------------------------------------------------------------------------
# By miners


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
        standing = await balance(ctx.database, miner_id)
        if standing["paying_stroops"]:
            raise PayoutOpenError("a payout is on its way: see GET /miner/payouts")
        to = standing["payout_wallet"]
        due = MinerDue(miner_id, standing["due_stroops"], to, standing["payout_memo"], None, None)
        least = ctx.settings.payout_wish_stroops
        if due.due_stroops < least:
            raise NothingDueError(f"{due.due_stroops} stroops are due; from {least} on they are paid when you ask")
        payees = await _payees(ctx, [due.destination])
        if error := refusal(due.destination, _payee(payees, due.destination), due.due_stroops):
            raise error
        row = await ctx.database.fetch_one("select_treasury")
        if row is None or not paying.affordable([due.due_stroops], row["treasury_stroops"] - row["paying_stroops"]):
            raise PayoutOpenError("the treasury is waiting for fees to be collected: ask again in some minutes")
        try:
            async with ctx.database.transaction() as session:
                [payout_id] = await _claim(session, [(due, PayoutReason.WISH, idempotency_key)])
        except DuplicateRowError:
            raise PayoutOpenError("a payout is on its way: see GET /miner/payouts") from None
    return await read(ctx.database, miner_id, payout_id)


async def read(database: Database, miner_id: UUID, payout_id: UUID) -> Payout:
    """A payout of the miner. Raises NotFoundError."""
    found = await database.fetch_one(
        "select_payout", row=Payout, payout_id=payout_id, miner_id=None, idempotency_key=None
    )
    if found is None or found.miner_id != miner_id:
        raise NotFoundError(f"no payout {payout_id} of miner {miner_id}")
    return found


async def payouts_of(database: Database, miner_id: UUID, *, after: UUID | None, limit: int) -> list[Payout]:
    """A page of a miner's, the newest first."""
    return await database.fetch_all("select_payouts", row=Payout, miner_id=miner_id, after=after, limit=limit)


async def balance(database: Database, miner_id: UUID) -> dict[str, Any]:
    """How a miner stands. Raises NotFoundError."""
    found = await database.fetch_one("select_miner_balance", miner_id=miner_id)
    if found is None:
        raise NotFoundError(f"no miner {miner_id}")
    return found


async def statement(database: Database, miner_id: UUID, *, after: int, limit: int) -> list[dict[str, Any]]:
    """A page of the entries of a miner's, in their order, after a number."""
    return await database.fetch_all("select_miner_statement", miner_id=str(miner_id), after=after, limit=limit)


async def change(
    database: Database,
    settings: Settings,
    miner_id: UUID,
    *,
    wallet: Destination | None,
    signed_by: str | None,
    threshold_stroops: int | None,
    set_threshold: bool,
) -> None:
    """Sets the miner's own threshold, and where it is paid: at once where it had no wallet, or the old one signed in
    (`signed_by`); else after some hours, in which the old one's owner may notice. Raises NotFoundError."""
    standing = await balance(database, miner_id)
    old = standing["payout_wallet"]
    at_once = wallet is not None and (old is None or signed_by == Destination(old).account)
    await database.execute(
        "update_miner_payouts",
        miner_id=miner_id,
        set_threshold=set_threshold,
        threshold_stroops=threshold_stroops,
        wallet=wallet.address if wallet else None,
        memo=wallet.memo if wallet else None,
        at_once=at_once,
        wait_seconds=settings.payout_change_hours * 3600,
    )
    if wallet is not None:
        log.info("payout_wallet_changed", miner=str(miner_id), at_once=at_once)
