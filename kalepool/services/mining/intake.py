"""Shares into the database before their answer: those of many requests in one transaction, every few milliseconds.

What is new, repeated or a duplicate is decided by the database's unique keys alone, so it holds over restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from kalepool.database import Database, Session, new_id
from kalepool.policy.shares import Outcome

GATHER_SECONDS = 0.008
"""How long the first share of a transaction waits for others. Commits, not shares, are what costs."""

MOST_SHARES = 1_000
"""Shares in one transaction."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a share. An accepted one has `zeros` and `credited_hashes`, a refused one `detail`."""

    nonce: str
    outcome: Outcome
    zeros: int | None = None
    credited_hashes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A share that was hashed and judged, on its way into the database.

    request_id: names the request it came in; the same share of the same request is the same share again.
    farmer_id, pooler_id, searcher, nonce, digest: those known. hit: more zeros than its farmer had before.
    """

    miner_id: UUID
    request_id: bytes
    block_index: int
    answer: Answer
    farmer_id: UUID | None = None
    pooler_id: UUID | None = None
    searcher: int = 0
    nonce: int | None = None
    digest: bytes | None = None
    hit: bool = False


def request_id(request_key: str | None, job_id: str, nonce: str, repetition: int) -> bytes:
    """16 bytes that name a share of a request.

    Without a key the share itself names it. `repetition` counts equal shares inside one request: these are duplicates.
    """
    text = "\0".join((request_key or "", job_id, nonce, str(repetition)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Intake:
    """Collects entries and commits them in groups."""

    def __init__(self, database: Database, counted: Callable[[Entry], None]) -> None:
        """`counted` is called for every entry once it is in the database, never for a repeated one."""
        self._database = database
        self._counted = counted
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[list[Answer]]]] = []
        self._wake = asyncio.Event()

    async def record(self, entries: Sequence[Entry]) -> list[Answer]:
        """The answers to `entries`, in their order, when all are committed.

        Raises DatabaseError: what became of them is not known, and the same may be recorded again.
        """
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            group: list[tuple[Sequence[Entry], asyncio.Future[list[Answer]]]] = []
            size = 0
            while self._waiting and (not group or size + len(self._waiting[0][0]) <= MOST_SHARES):
                group.append(self._waiting.pop(0))
                size += len(group[-1][0])
            if not self._waiting:
                self._wake.clear()
            try:
                answers = await self._commit([entry for entries, _ in group for entry in entries])
            except Exception as error:  # each request gets it; the next group may fare better
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            position = 0
            for entries, future in group:
                if not future.done():  # the caller may have hung up
                    future.set_result(answers[position : position + len(entries)])
                position += len(entries)

    async def _commit(self, entries: Sequence[Entry]) -> list[Answer]:
        async with self._database.transaction() as tx:
            settled, new = await _insert_accepted(tx, entries)
            settled, refused = await _insert_refused(tx, settled)
            new += refused
            await _count(tx, new)
            for entry in new:
                if entry.hit:
                    await tx.notify("shares", _news(entry))
        for entry in new:
            self._counted(entry)
        return [entry.answer for entry in settled]


async def _insert_accepted(tx: Session, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """(all entries with what the shares table says of them, those that are new in it)."""
    rows = [(new_id(), entry) for entry in entries if entry.answer.outcome is Outcome.ACCEPTED]
    inserted: set[UUID] = set()
    if rows:
        found = await tx.fetch_all(
            "insert_miner_shares",
            share_ids=[share_id for share_id, _ in rows],
            block_indexes=[entry.block_index for _, entry in rows],
            farmer_ids=[entry.farmer_id for _, entry in rows],
            searchers=[entry.searcher for _, entry in rows],
            miner_ids=[entry.miner_id for _, entry in rows],
            nonces=[entry.nonce for _, entry in rows],
            hashes=[entry.digest for _, entry in rows],
            zeros=[entry.answer.zeros for _, entry in rows],
            credited=[entry.answer.credited_hashes for _, entry in rows],
            request_ids=[entry.request_id for _, entry in rows],
        )
        inserted = {row["share_id"] for row in found}
    new = {id(entry) for share_id, entry in rows if share_id in inserted}
    # What came before: a share that is accepted again, or one that was accepted in time and is asked about late.
    earlier = [
        entry
        for entry in entries
        if id(entry) not in new
        and entry.nonce is not None
        and entry.answer.outcome in (Outcome.ACCEPTED, Outcome.STALE)
    ]
    known = {}
    if earlier:
        found = await tx.fetch_all(
            "select_shares_by_nonce",
            block_indexes=[entry.block_index for entry in earlier],
            farmer_ids=[entry.farmer_id for entry in earlier],
            nonces=[entry.nonce for entry in earlier],
        )
        known = {(row["block_index"], row["farmer_id"], row["nonce"]): row for row in found}
    settled: list[Entry] = []
    for entry in entries:
        row = known.get((entry.block_index, entry.farmer_id, entry.nonce)) if id(entry) not in new else None
        if row is None:
            settled.append(entry)
        elif (row["miner_id"], row["request_id"]) == (entry.miner_id, entry.request_id):
            answer = Answer(entry.answer.nonce, Outcome.ACCEPTED, row["zeros"], row["credited_hashes"])
            settled.append(replace(entry, answer=answer, hit=False))
        elif entry.answer.outcome is Outcome.ACCEPTED:
            answer = Answer(entry.answer.nonce, Outcome.DUPLICATE, detail="this nonce was brought before")
            settled.append(replace(entry, answer=answer, hit=False))
        else:
            settled.append(entry)
    return settled, [entry for entry in entries if id(entry) in new]


async def _insert_refused(tx: Session, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """(all entries, with refusals answered as the first time, the refusals that are new)."""
    refused = [entry for entry in entries if entry.answer.outcome is not Outcome.ACCEPTED]
    if not refused:
        return list(entries), []
    keys = {
        "miner_ids": [entry.miner_id for entry in refused],
        "request_ids": [entry.request_id for entry in refused],
    }
    rows = await tx.fetch_all(
        "insert_refused_shares",
        **keys,
        outcomes=[str(entry.answer.outcome) for entry in refused],
        details=[entry.answer.detail for entry in refused],
    )
    fresh = {(row["miner_id"], row["request_id"]) for row in rows}
    new: list[Entry] = []
    for entry in refused:
        if (key := (entry.miner_id, entry.request_id)) in fresh:
            fresh.remove(key)
            new.append(entry)
    known = {}
    if len(new) < len(refused):
        rows = await tx.fetch_all("select_refused_shares", **keys)
        known = {(row["miner_id"], row["request_id"]): row for row in rows}
    settled: list[Entry] = []
    for entry in entries:
        row = None if entry.answer.outcome is Outcome.ACCEPTED else known.get((entry.miner_id, entry.request_id))
        if row is not None:
            entry = replace(entry, answer=Answer(entry.answer.nonce, Outcome(row["outcome"]), detail=row["detail"]))
        settled.append(entry)
    return settled, new


async def _count(tx: Session, new: Sequence[Entry]) -> None:
    """Adds to each miner's totals, in an order that never deadlocks with another process."""
    shares: Counter[tuple[int, UUID, str]] = Counter()
    credited: Counter[tuple[int, UUID, str]] = Counter()
    for entry in new:
        key = (entry.block_index, entry.miner_id, str(entry.answer.outcome))
        shares[key] += 1
        credited[key] += entry.answer.credited_hashes
    keys = sorted(shares)
    if keys:
        await tx.execute(
            "add_share_counts",
            block_indexes=[key[0] for key in keys],
            miner_ids=[key[1] for key in keys],
            outcomes=[key[2] for key in keys],
            shares=[shares[key] for key in keys],
            credited=[credited[key] for key in keys],
        )


def _news(entry: Entry) -> str:
    """What listeners of the channel `shares` are told."""
    return json.dumps(
        {
            "block_index": entry.block_index,
            "pooler_id": str(entry.pooler_id),
            "farmer_id": str(entry.farmer_id),
            "nonce": str(entry.nonce),
            "zeros": entry.answer.zeros,
            "searcher": entry.searcher,
        }
    )
