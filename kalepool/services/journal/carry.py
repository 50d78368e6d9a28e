"""Write before send. Every transaction is in the database, with its hash and time bound, before it is on the network.

`carry` takes an intent to the chain: claim and envelope in one database transaction, then send, follow, and settle:
the submission closed and its events written, in one transaction again. A process that dies in between leaves the row
open; `recover` looks every open row up by its hash, sends the same again if it may still apply, and settles it the
same way. What the RPC server has forgotten is decided by what the ledger holds, see forgotten.py, or waits for an
operator who looks it up elsewhere, see `settle_by_hand`. While a row is open the database refuses a second claim on the
same (block, farmer, action), so a plant, work, harvest or payment happens once.

The hash of what a relayer may carry is the inner transaction's: it is the same whoever takes it to the network, and a
ledger takes it once. So it can be sent directly while the relayer may still have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool import tracing
from kalepool.actions import ActionName
from kalepool.chain import Outcome, Prepared, Status
from kalepool.database import Session, as_row, new_id
from kalepool.errors import (
    ChainError,
    DuplicateRowError,
    KalepoolError,
)
from kalepool.fencing import fenced
from kalepool.services.failures import CallTimeoutError, FarmerLeavesError, InFlightError
from kalepool.services.journal import events, gaps
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.journal.state import Journal, LeadLostError
from kalepool.services.journal.unread import with_value

log = structlog.get_logger()


async def carry(
    journal: Journal,
    intent: Intent,
    prepare: Callable[[int], Awaitable[Prepared]],
    *,
    deadline: datetime,
    timeout_seconds: float,
) -> Outcome:
    """Carries the intent out and returns what was applied; its events are written then.

    `prepare` gets the attempt's number, from 1.
    Raises what refused it (a ChainError), CallTimeoutError when nothing was sent in time, InFlightError when it was and
    the outcome is not known yet, or another transaction has a claim on the same, and as gaps.require_may_pay.
    """
    with tracing.span("transaction", action=intent.action, items=len(intent.items)) as whole:
        return await _carry(journal, intent, prepare, deadline, timeout_seconds, whole)


async def _carry(
    journal: Journal,
    intent: Intent,
    prepare: Callable[[int], Awaitable[Prepared]],
    deadline: datetime,
    timeout_seconds: float,
    whole: tracing.Spanning,
) -> Outcome:
    await gaps.require_may_pay(journal, intent)
    open_id: UUID | None = None
    attempt = 0

    async def prepare_bounded(number: int) -> Prepared:
        nonlocal attempt
        attempt = number
        async with journal.calls:
            with tracing.span("build", attempt=number):
                return await prepare(number)

    async def record(prepared: Prepared) -> None:
        nonlocal open_id
        await gaps.require_may_pay(journal, intent, prepared)
        # Set before the insert: broken off inside it, the row may be there or not.
        open_id = new_id()
        journal.following.add(open_id)
        try:
            with tracing.span("write down"):
                await _insert(journal, open_id, intent, prepared, attempt)
        except DuplicateRowError as error:
            journal.following.discard(open_id)
            open_id = None
            if error.constraint == "farmer_leaves":
                raise FarmerLeavesError("the farmer leaves the pool") from None
            raise InFlightError(f"a {intent.action} for the same block and farmer is under way or done") from None

    settled: Outcome | None = None

    async def close(_: Prepared, outcome: Outcome) -> None:
        nonlocal open_id, settled
        whole.note(transaction=outcome.transaction_hash, status=outcome.status, ledger=outcome.ledger)
        if outcome.status is Status.UNKNOWN or open_id is None:
            return
        try:
            with fenced(None), tracing.span("settle"):  # it has happened, whoever leads by now
                settled = await with_value(journal, intent.action, intent.items, outcome)
                await settle(journal, open_id, intent, settled)
        except Exception as error:  # it has happened all the same: recovery tries again to record it
            log.error("not_settled", action=intent.action, transaction=outcome.transaction_hash, exc_info=error)
            raise InFlightError(f"transaction {outcome.transaction_hash} cannot be recorded now") from None
        journal.following.discard(open_id)
        open_id = None

    try:
        async with asyncio.timeout(timeout_seconds):
            outcome = await journal.chain.submit_retrying(
                prepare_bounded, deadline=deadline, record=record, close=close
            )
    except TimeoutError:
        if open_id is None:
            raise CallTimeoutError(f"{intent.action} was not sent within {timeout_seconds:g} s") from None
        raise InFlightError(f"{intent.action} has no known outcome after {timeout_seconds:g} s") from None
    finally:
        if open_id is not None:
            journal.following.discard(open_id)
    if outcome.status is Status.APPLIED:
        return settled or outcome
    raise failure_of(outcome)


async def carry_within(
    journal: Journal, intent: Intent, prepare: Callable[..., Awaitable[Prepared]], timeout_seconds: float
) -> Outcome:
    """`carry` of what may land for as long as it may take, from now on. `prepare` gets `deadline` and `attempt`."""
    deadline = await journal.chain.now() + timedelta(seconds=timeout_seconds)
    return await carry(
        journal,
        intent,
        lambda attempt: prepare(deadline=deadline, attempt=attempt),
        deadline=deadline,
        timeout_seconds=timeout_seconds,
    )


def failure_of(outcome: Outcome) -> KalepoolError:
    """The error that stands for a transaction that was not applied."""
    if outcome.status is Status.UNKNOWN:
        return InFlightError(f"transaction {outcome.transaction_hash} was sent and has no known outcome yet")
    if outcome.error is not None:
        return outcome.error
    return ChainError(f"transaction {outcome.transaction_hash} {outcome.status}: {outcome.result_code}")


async def _insert(journal: Journal, submission_id: UUID, intent: Intent, prepared: Prepared, attempt: int) -> None:
    async with journal.database.transaction() as session:
        written = await session.execute(
            "insert_submission",
            term=journal.term,
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
        if not written:
            raise LeadLostError(f"another API process leads by now: this {intent.action} is not sent")
        await session.execute_many("insert_submission_item", item_rows(submission_id, intent.action, intent.items))


def item_rows(submission_id: UUID, action: ActionName, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The items of a submission as rows, in their order."""
    return [
        {**as_row(item), "submission_id": submission_id, "item_number": number, "action": item.action or action}
        for number, item in enumerate(items)
    ]


async def settle(journal: Journal, submission_id: UUID, intent: Intent, outcome: Outcome) -> bool:
    """Closes a submission with its final outcome and, where it was applied, writes its events.

    False: it was closed already, and nothing was done.
    """
    async with journal.database.transaction() as session:
        return await settle_in(session, submission_id, intent, outcome)


async def settle_in(
    session: Session, submission_id: UUID, intent: Intent, outcome: Outcome, *, with_events: bool = True
) -> bool:
    """`with_events`: False where nothing is known of what it was to do but that it was made."""
    closed = await session.execute(
        "close_submission",
        submission_id=submission_id,
        status=outcome.status,
        ledger=outcome.ledger,
        result_code=outcome.result_code,
        fee_stroops=outcome.fee_stroops,
        payer=outcome.payer,
    )
    done = [True] * len(intent.items)
    if closed and with_events and outcome.status is Status.APPLIED:
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
