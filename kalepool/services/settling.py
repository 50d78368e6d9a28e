"""Adds up what does not change any more, so that no page reads all of the past: sums by farmer, day, account and label.

Who reads takes the sums and what came since, of one moment (the functions of migration 0032). Events are settled in the
order of their ids, up to SETTLED before now and never past a transaction that is open; steps end with the day in UTC.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kalepool.database import Database, Session, first_id, id_time
from kalepool.services.totals import count_events

SETTLE_SECONDS = 60.0
"""Between two looks for what can be added up."""

SETTLED = timedelta(minutes=30)
"""Events older than this are all there: none is written so long after its id was made."""

BATCH = 20_000
"""Entries of the books in one step."""

SETTLING_BLOCKS = 20
"""Shares of older blocks do not come any more."""

STEP_BLOCKS = 2000

PAUSE_SECONDS = 0.05
"""Between two steps, for everybody else: there are many only where much was there before the sums were."""


async def settle(database: Database, now: datetime | None = None) -> int:
    """Adds up what can be. now: of whose past; ours by default. Returns how many steps that took. Raises
    DatabaseError."""
    steps = 0
    for step in (_settle_events, _settle_entries, _settle_shares):
        while True:
            async with database.transaction() as tx:
                if not await step(tx, now or datetime.now(UTC)):
                    break
            steps += 1
            await asyncio.sleep(PAUSE_SECONDS)
    return steps


async def _settle_events(tx: Session, now: datetime) -> bool:
    """One step: up to the end of a day. False where nothing was left to add up."""
    settled = await _settled(tx)
    first, cut = settled["until_id"], first_id(now - SETTLED)
    open_one = await tx.fetch_one("select_first_open_submission")
    if open_one is not None:
        cut = min(cut, open_one["submission_id"])
    oldest = await tx.fetch_one("select_next_unsettled", since=first)
    if oldest is None or oldest["event_id"] is None or oldest["event_id"] >= cut:
        return False
    day = id_time(oldest["event_id"]).date()
    tomorrow = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    end = min(cut, first_id(tomorrow))
    await tx.execute("settle_farmers", first=first, end=end)
    await tx.execute("settle_day", day=day, first=first, end=end)
    await tx.execute("close_settled_pails")
    await tx.execute("keep_open_pails", first=first, end=end)
    await _add(tx, {tuple(labels): amount for labels, amount in (await count_events(tx, first, end)).items()})
    await tx.execute("note_settled_events", until=end)
    return True


async def _settle_entries(tx: Session, now: datetime) -> bool:
    """One step of the books, whose entries are in their order as soon as they are there."""
    after = (await _settled(tx))["until_number"]
    newest = await tx.fetch_one("select_entries_to_settle", after=after, batch=BATCH)
    if newest is None or newest["number"] is None:
        return False
    await tx.execute("settle_accounts", after=after, until=newest["number"])
    await tx.execute("note_settled_entries", until=newest["number"])
    return True


async def _settle_shares(tx: Session, now: datetime) -> bool:
    first = (await _settled(tx))["until_block"]
    last = await tx.fetch_one("select_last_settling_block", blocks=SETTLING_BLOCKS)
    end = min(first + STEP_BLOCKS, last["block_index"]) if last else first
    if end <= first:
        return False
    for row in await tx.fetch_all("sum_settling_shares", first=first, end=end):
        outcome = row["outcome"]
        await _add(tx, {("shares", outcome): row["shares"], ("credited_hashes", outcome): row["credited_hashes"]})
    await tx.execute("note_settled_shares", until=end)
    return True


async def _settled(tx: Session) -> dict[str, Any]:
    row = await tx.fetch_one("lock_settled")
    assert row is not None  # the migration wrote it
    return row


async def _add(tx: Session, sums: dict[tuple[str, ...], int | Decimal]) -> None:
    for labels, amount in sorted(sums.items()):
        await tx.execute("add_pool_sum", labels=list(labels), amount=amount)
