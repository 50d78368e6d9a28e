"""What a process that died has left open: looked up by its hash, sent again while it may apply, and settled.

What only an operator can find out is settled with the operator's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from uuid import UUID

import structlog

from kalepool.chain import Outcome, Status
from kalepool.database import Session
from kalepool.errors import (
    ConflictError,
    Fault,
    HistoryGoneError,
    NotFoundError,
)
from kalepool.services.failures import Failure
from kalepool.services.journal import events, forgotten
from kalepool.services.journal.carry import failure_of, settle, settle_in
from kalepool.services.journal.intents import Intent, Item, Open
from kalepool.services.journal.state import Journal
from kalepool.services.journal.unread import with_value

log = structlog.get_logger()


async def recover(journal: Journal, *, resend: bool = True) -> int:
    """Looks up every open submission that nobody follows, by its hash, and settles those whose outcome is final.

    `resend`: what is not known and may still apply is sent again, the very same transaction, and followed to its end:
    it may have been recorded and never sent. Returns how many are still open. Raises ChainError, DatabaseError when
    there was no answer for one of them; the others are settled all the same.
    """
    rows = await journal.open_submissions()
    orphans = [row for row in rows if row.submission_id not in journal.following]
    settled = await asyncio.gather(*(_recover_one(journal, row, resend) for row in orphans), return_exceptions=True)
    for failed in settled:
        if isinstance(failed, BaseException):
            raise failed
    return settled.count(False)


async def _recover_one(journal: Journal, row: Open, resend: bool) -> bool:
    outcome = await journal.chain.look_up(
        row.transaction_hash.hex(), row.valid_until, source=row.source_account, sequence=row.sequence
    )
    if outcome.status is Status.UNKNOWN and resend and await journal.chain.now() < row.valid_until:
        outcome = await journal.chain.submit(row.prepared())
    items = await journal.database.fetch_all("select_submission_items", row=Item, submission_id=row.submission_id)
    if isinstance(outcome.error, HistoryGoneError):
        decided = await forgotten.decide(journal, row, items)
        if decided is None:
            open_still = await journal.database.fetch_one("select_open_submission", submission_id=row.submission_id)
            if open_still is None:
                return True  # an operator has settled it meanwhile
            _leave_to_operator(journal, row, outcome.error)
            return False
        outcome = await forgotten.with_charge(journal, row, decided)
    if outcome.status is Status.UNKNOWN:
        return False
    outcome = await with_value(journal, row.action, items, outcome)
    settled = await settle(journal, row.submission_id, Intent(row.action, row.pooler_id, items), outcome)
    await _after(journal, row, items, outcome, settled)
    return True


def _leave_to_operator(journal: Journal, row: Open, error: HistoryGoneError) -> None:
    """It has used its sequence number, so its account may go on; what it did, an explorer of all ledgers knows."""
    if row.submission_id not in journal.undecided:
        log.error(
            "outcome_to_be_looked_up",
            action=row.action,
            transaction=row.transaction_hash.hex(),
            reason=str(error),
            then=f"PUT /operator/submissions/{row.submission_id}/outcome",
        )
    journal.undecided[row.submission_id] = (row.action, row.transaction_hash.hex())


async def settle_by_hand(
    journal: Journal,
    submission_id: UUID,
    status: Literal["applied", "failed"],
    ledger: int,
    note: Callable[[Session], Awaitable[object]],
) -> None:
    """Closes a submission that only an operator can settle, with what was found elsewhere; `note` is written with it.

    Raises NotFoundError, and ConflictError for one whose outcome is known, or is still to be found out by itself.
    """
    row = await journal.database.fetch_one("select_open_submission", row=Open, submission_id=submission_id)
    if row is None:
        if await journal.database.fetch_one("select_submission", submission_id=submission_id) is None:
            raise NotFoundError(f"no submission {submission_id}")
        raise ConflictError(f"the outcome of submission {submission_id} is known")
    if submission_id not in journal.undecided:
        raise ConflictError(f"the pool itself finds out what became of transaction {row.transaction_hash.hex()}: wait")
    items = await journal.database.fetch_all("select_submission_items", row=Item, submission_id=submission_id)
    outcome = await forgotten.by_hand(journal, row, items, status, ledger)
    async with journal.database.transaction() as session:
        settled = await settle_in(session, submission_id, Intent(row.action, row.pooler_id, items), outcome)
        if settled:
            await note(session)
    await _after(journal, row, items, outcome, settled)


async def _after(journal: Journal, row: Open, items: Sequence[Item], outcome: Outcome, settled: bool) -> None:
    """What follows once an orphan is closed: nobody waits for it any more, and its failures are events."""
    journal.undecided.pop(row.submission_id, None)
    log.info("submission_recovered", action=row.action, transaction=outcome.transaction_hash, status=outcome.status)
    if not settled or outcome.status is Status.APPLIED or row.pooler_id is None or row.action not in events.FAILURES:
        return
    # What our own crash left behind is our fault, whatever the network made of it.
    ours = row.created_at < journal.opened_at
    error = failure_of(outcome)
    failures = [
        Failure(item.block_index, item.farmer_id, error.code, str(error), Fault.BACKEND if ours else error.fault)
        for item in items
        if item.block_index is not None and item.farmer_id is not None
    ]
    await events.insert_failures(journal.database, row.action, row.pooler_id, failures)
