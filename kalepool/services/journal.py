"""Write before send. Every transaction is in the database, with its hash and time bound, before it is on the network.

`carry` takes an intent to the chain: claim and envelope in one database transaction, then send, follow, and settle:
the submission closed and its events written, in one transaction again. A process that dies in between leaves the row
open; `recover` looks every open row up by its hash, sends the same again if it may still apply, and settles it the
same way. What the RPC server has forgotten is decided by what the ledger holds, see forgotten.py, or waits for an
operator who looks it up elsewhere, see `settle_by_hand`. While a row is open the database refuses a second claim on the
same (block, farmer, action), so a plant, work, harvest or payment happens once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from kalepool.chain import Outcome, Prepared, Status
from kalepool.database import Session, new_id
from kalepool.errors import (
    ChainError,
    ConflictError,
    DuplicateRowError,
    Fault,
    HistoryGoneError,
    KalepoolError,
    NotFoundError,
)
from kalepool.services import events, forgotten
from kalepool.services.context import Context
from kalepool.services.events import Item
from kalepool.services.results import CallTimeoutError, Failure, FarmerLeavesError, InFlightError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Intent:
    """What one transaction is to do: a claim on every item's (action, block, farmer) while it is open.

    `action`: plant, work, harvest, payment, trustline, create_account or merge.
    """

    action: str
    pooler_id: UUID | None
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Open:
    """A submission whose outcome is not known yet."""

    submission_id: UUID
    action: str
    pooler_id: UUID | None
    source_account: str
    sequence: int
    transaction_hash: bytes
    envelope_xdr: str = field(repr=False)
    valid_until: datetime
    created_at: datetime

    def prepared(self) -> Prepared:
        """The transaction as it can be sent again. It is the same one: it applies once, however often it is sent."""
        return Prepared(
            action=self.action,
            source=self.source_account,
            transaction_hash=self.transaction_hash.hex(),
            inner_hash=None,
            envelope_xdr=self.envelope_xdr,
            sequence=self.sequence,
            valid_until=self.valid_until,
            ledger=0,
            fee_bid_stroops=0,
        )


async def carry(
    ctx: Context,
    intent: Intent,
    prepare: Callable[[int], Awaitable[Prepared]],
    *,
    deadline: datetime,
    timeout_seconds: float,
) -> Outcome:
    """Carries the intent out and returns what was applied; its events are written then.

    `prepare` gets the attempt's number, from 1.
    Raises what refused it (a ChainError), CallTimeoutError when nothing was sent in time, and InFlightError when it was
    and the outcome is not known yet, or another transaction has a claim on the same.
    """
    open_id: UUID | None = None
    attempt = 0

    async def prepare_bounded(number: int) -> Prepared:
        nonlocal attempt
        attempt = number
        async with ctx.calls:
            return await prepare(number)

    async def record(prepared: Prepared) -> None:
        nonlocal open_id
        # Set before the insert: broken off inside it, the row may be there or not.
        open_id = new_id()
        ctx.following.add(open_id)
        try:
            await _insert(ctx, open_id, intent, prepared, attempt)
        except DuplicateRowError as error:
            ctx.following.discard(open_id)
            open_id = None
            if error.constraint == "farmer_leaves":
                raise FarmerLeavesError("the farmer leaves the pool") from None
            raise InFlightError(f"a {intent.action} for the same block and farmer is under way or done") from None

    async def close(_: Prepared, outcome: Outcome) -> None:
        nonlocal open_id
        if outcome.status is Status.UNKNOWN or open_id is None:
            return
        try:
            await settle(ctx, open_id, intent, outcome)
        except Exception as error:  # it has happened all the same: recovery tries again to record it
            log.error("not_settled", action=intent.action, transaction=outcome.transaction_hash, exc_info=error)
            raise InFlightError(f"transaction {outcome.transaction_hash} cannot be recorded now") from None
        ctx.following.discard(open_id)
        open_id = None

    try:
        async with asyncio.timeout(timeout_seconds):
            outcome = await ctx.chain.submit_retrying(prepare_bounded, deadline=deadline, record=record, close=close)
    except TimeoutError:
        if open_id is None:
            raise CallTimeoutError(f"{intent.action} was not sent within {timeout_seconds:g} s") from None
        raise InFlightError(f"{intent.action} has no known outcome after {timeout_seconds:g} s") from None
    finally:
        if open_id is not None:
            ctx.following.discard(open_id)
    if outcome.status is Status.APPLIED:
        return outcome
    raise failure_of(outcome)


def failure_of(outcome: Outcome) -> KalepoolError:
    """The error that stands for a transaction that was not applied."""
    if outcome.status is Status.UNKNOWN:
        return InFlightError(f"transaction {outcome.transaction_hash} was sent and has no known outcome yet")
    if outcome.error is not None:
        return outcome.error
    return ChainError(f"transaction {outcome.transaction_hash} {outcome.status}: {outcome.result_code}")


async def _insert(ctx: Context, submission_id: UUID, intent: Intent, prepared: Prepared, attempt: int) -> None:
    async with ctx.database.transaction() as session:
        await session.execute(
            "insert_submission",
            submission_id=submission_id,
            action=intent.action,
            pooler_id=intent.pooler_id,
            source_account=prepared.source,
            sequence=prepared.sequence,
            transaction_hash=bytes.fromhex(prepared.transaction_hash),
            envelope_xdr=prepared.envelope_xdr,
            valid_until=prepared.valid_until,
            attempt=attempt,
        )
        rows = [
            {"submission_id": submission_id, "item_number": number, "action": intent.action, **asdict(item)}
            for number, item in enumerate(intent.items)
        ]
        await session.execute_many("insert_submission_item", rows)


async def settle(ctx: Context, submission_id: UUID, intent: Intent, outcome: Outcome) -> bool:
    """Closes a submission with its final outcome and, where it was applied, writes its events.

    False: it was closed already, and nothing was done.
    """
    async with ctx.database.transaction() as session:
        return await _close(session, submission_id, intent, outcome)


async def _close(session: Session, submission_id: UUID, intent: Intent, outcome: Outcome) -> bool:
    closed = await session.execute(
        "close_submission",
        submission_id=submission_id,
        status=outcome.status,
        ledger=outcome.ledger,
        result_code=outcome.result_code,
        fee_stroops=outcome.fee_stroops,
    )
    done = [True] * len(intent.items)
    if closed and outcome.status is Status.APPLIED:
        done = await events.insert_applied(
            session, intent.action, submission_id, intent.pooler_id, intent.items, outcome
        )
    if closed:
        statuses = [outcome.status if each else Status.FAILED for each in done]
        rows = [
            {"submission_id": submission_id, "item_number": number, "status": status}
            for number, status in enumerate(statuses)
        ]
        await session.execute_many("close_submission_item", rows)
    return bool(closed)


async def recover(ctx: Context, *, resend: bool = True) -> int:
    """Looks up every open submission that nobody follows, by its hash, and settles those whose outcome is final.

    `resend`: what is not known and may still apply is sent again, the very same transaction, and followed to its end:
    it may have been recorded and never sent. Returns how many are still open. Raises ChainError, DatabaseError when
    there was no answer for one of them; the others are settled all the same.
    """
    rows = await ctx.database.fetch_all("select_open_submissions", row=Open)
    orphans = [row for row in rows if row.submission_id not in ctx.following]
    settled = await asyncio.gather(*(_recover_one(ctx, row, resend) for row in orphans), return_exceptions=True)
    for failed in settled:
        if isinstance(failed, BaseException):
            raise failed
    return settled.count(False)


async def _recover_one(ctx: Context, row: Open, resend: bool) -> bool:
    outcome = await ctx.chain.look_up(row.transaction_hash.hex(), row.valid_until)
    if outcome.status is Status.UNKNOWN and resend and await ctx.chain.now() < row.valid_until:
        outcome = await ctx.chain.submit(row.prepared())
    items = await ctx.database.fetch_all("select_submission_items", row=Item, submission_id=row.submission_id)
    if isinstance(outcome.error, HistoryGoneError):
        decided = await forgotten.decide(ctx, row, items)
        if decided is None:
            _leave_to_operator(ctx, row, outcome.error)
            return False
        outcome = decided
    if outcome.status is Status.UNKNOWN:
        return False
    settled = await settle(ctx, row.submission_id, Intent(row.action, row.pooler_id, items), outcome)
    await _after(ctx, row, items, outcome, settled)
    return True


def _leave_to_operator(ctx: Context, row: Open, error: HistoryGoneError) -> None:
    """It has used its sequence number, so its account may go on; what it did, an explorer of all ledgers knows."""
    if row.submission_id not in ctx.undecided:
        log.error(
            "outcome_to_be_looked_up",
            action=row.action,
            transaction=row.transaction_hash.hex(),
            reason=str(error),
            then=f"PUT /operator/submissions/{row.submission_id}/outcome",
        )
    ctx.undecided[row.submission_id] = (row.action, row.transaction_hash.hex())


async def settle_by_hand(
    ctx: Context,
    submission_id: UUID,
    status: Literal["applied", "failed"],
    ledger: int,
    note: Callable[[Session], Awaitable[object]],
) -> None:
    """Closes a submission that only an operator can settle, with what was found elsewhere; `note` is written with it.

    Raises NotFoundError, and ConflictError for one whose outcome is known, or is still to be found out by itself.
    """
    row = await ctx.database.fetch_one("select_open_submission", row=Open, submission_id=submission_id)
    if row is None:
        if await ctx.database.fetch_one("select_submission", submission_id=submission_id) is None:
            raise NotFoundError(f"no submission {submission_id}")
        raise ConflictError(f"the outcome of submission {submission_id} is known")
    if submission_id not in ctx.undecided:
        raise ConflictError(f"the pool itself finds out what became of transaction {row.transaction_hash.hex()}: wait")
    items = await ctx.database.fetch_all("select_submission_items", row=Item, submission_id=submission_id)
    outcome = await forgotten.by_hand(ctx, row, items, status, ledger)
    async with ctx.database.transaction() as session:
        settled = await _close(session, submission_id, Intent(row.action, row.pooler_id, items), outcome)
        if settled:
            await note(session)
    await _after(ctx, row, items, outcome, settled)


async def _after(ctx: Context, row: Open, items: Sequence[Item], outcome: Outcome, settled: bool) -> None:
    """What follows once an orphan is closed: nobody waits for it any more, and its failures are events."""
    ctx.undecided.pop(row.submission_id, None)
    log.info("submission_recovered", action=row.action, transaction=outcome.transaction_hash, status=outcome.status)
    if not settled or outcome.status is Status.APPLIED or row.pooler_id is None or row.action not in events.FAILURES:
        return
    # What our own crash left behind is our fault, whatever the network made of it.
    ours = row.created_at < ctx.started_at
    error = failure_of(outcome)
    failures = [
        Failure(item.block_index, item.farmer_id, error.code, str(error), Fault.BACKEND if ours else error.fault)
        for item in items
        if item.block_index is not None and item.farmer_id is not None
    ]
    await events.insert_failures(ctx.database, row.action, row.pooler_id, failures)
