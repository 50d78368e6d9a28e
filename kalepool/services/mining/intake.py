"""Shares into the database before their answer: those of many requests in one statement, every few milliseconds.

What is new, repeated or a duplicate is decided by the database's unique keys alone, so it holds over restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from kalepool.database import Database, new_id
from kalepool.notices import ShareNotice
from kalepool.policy.shares import ShareOutcome

GATHER_SECONDS = 0.02
"""How long the first share of a transaction waits for others. Commits, not shares, are what costs."""

MOST_SHARES = 1_000
"""Shares in one transaction."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a share. An accepted one has `zeros` and `credited_hashes`, a refused one `detail`."""

    nonce: str
    outcome: ShareOutcome
    zeros: int | None = None
    credited_hashes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A share that was hashed and judged, on its way into the database.

    request_id: names the request it came in; the same share of the same request is the same share again.
    farmer_id, pooler_id, searcher, nonce, digest: those known. solo: it counts for its own farmer alone.
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
    solo: bool = False


def request_id(request_key: str | None, job_id: str, nonce: str, repetition: int) -> bytes:
    """16 bytes that name a share of a request.

    Without a key the share itself names it. `repetition` counts equal shares inside one request: these are duplicates.
    """
    text = "\0".join((request_key or "", job_id, nonce, str(repetition)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Intake:
    """Collects entries and commits them in groups."""

    def __init__(self, database: Database, is_hit: Callable[[Entry], bool], counted: Callable[[Entry], None]) -> None:
        """`is_hit` says of an accepted entry whether everybody is to be told; they are, by the commit that stores it.
        `counted` is called for every entry once it is in the database, never for a repeated one.
        """
        self._database = database
        self._is_hit = is_hit
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
        """Stores what is new, and answers what is not as the first time."""
        entries = list(entries)
        # What is stale now may have been brought in time, and is asked about again.
        stale = [n for n, entry in enumerate(entries) if entry.answer.outcome is ShareOutcome.STALE]
        repeated = await self._recall_shares(entries, stale)
        new = await self._store(entries, [n for n in range(len(entries)) if n not in repeated])
        clashes = [n for n in _accepted(entries) if n not in new and n not in repeated]
        repeated |= await self._recall_shares(entries, clashes)
        duplicates = [n for n in clashes if n not in repeated]
        for n in duplicates:
            answer = Answer(entries[n].answer.nonce, ShareOutcome.DUPLICATE, detail="this nonce was brought before")
            entries[n] = replace(entries[n], answer=answer)
        new |= await self._store(entries, duplicates)
        await self._recall_refusals(entries, [n for n in range(len(entries)) if n not in new and n not in repeated])
        for n in sorted(new):
            self._counted(entries[n])
        return [entry.answer for entry in entries]

    async def _store(self, entries: Sequence[Entry], positions: Sequence[int]) -> set[int]:
        """Those of the positions whose entries were not in the database; they are now."""
        if not positions:
            return set()
        shares = {new_id(): n for n in positions if entries[n].answer.outcome is ShareOutcome.ACCEPTED}
        accepted = [entries[n] for n in shares.values()]
        refusals: dict[tuple[UUID, bytes], int] = {}
        for n in positions:
            if entries[n].answer.outcome is not ShareOutcome.ACCEPTED:
                refusals.setdefault((entries[n].miner_id, entries[n].request_id), n)
        refused = [entries[n] for n in refusals.values()]
        rows = await self._database.fetch_all(
            "insert_offers",
            share_ids=list(shares),
            block_indexes=[entry.block_index for entry in accepted],
            farmer_ids=[entry.farmer_id for entry in accepted],
            searchers=[entry.searcher for entry in accepted],
            miner_ids=[entry.miner_id for entry in accepted],
            nonces=[entry.nonce for entry in accepted],
            hashes=[entry.digest for entry in accepted],
            zeros=[entry.answer.zeros for entry in accepted],
            credited=[entry.answer.credited_hashes for entry in accepted],
            request_ids=[entry.request_id for entry in accepted],
            solo=[entry.solo for entry in accepted],
            news=[_notice(entry).to_text() if self._is_hit(entry) else "" for entry in accepted],
            refused_block_indexes=[entry.block_index for entry in refused],
            refused_miner_ids=[entry.miner_id for entry in refused],
            refused_request_ids=[entry.request_id for entry in refused],
            outcomes=[entry.answer.outcome.value for entry in refused],
            details=[entry.answer.detail for entry in refused],
        )
        new = {shares[row["share_id"]] for row in rows if row["share_id"] is not None}
        return new | {refusals[row["miner_id"], row["request_id"]] for row in rows if row["request_id"] is not None}

    async def _recall_shares(self, entries: list[Entry], positions: Sequence[int]) -> set[int]:
        """Gives the entries that were accepted before, in the same request, that answer. Which ones these are."""
        if not positions:
            return set()
        rows = await self._database.fetch_all(
            "select_shares_by_nonce",
            block_indexes=[entries[n].block_index for n in positions],
            farmer_ids=[entries[n].farmer_id for n in positions],
            nonces=[entries[n].nonce for n in positions],
        )
        known = {
            (row["block_index"], row["farmer_id"], row["nonce"], row["miner_id"], row["request_id"]): row
            for row in rows
        }
        recalled: set[int] = set()
        for n in positions:
            entry = entries[n]
            row = known.get((entry.block_index, entry.farmer_id, entry.nonce, entry.miner_id, entry.request_id))
            if row is not None:
                answer = Answer(entry.answer.nonce, ShareOutcome.ACCEPTED, row["zeros"], row["credited_hashes"])
                entries[n] = replace(entry, answer=answer)
                recalled.add(n)
        return recalled

    async def _recall_refusals(self, entries: list[Entry], positions: Sequence[int]) -> None:
        """Gives these entries, which were refused before, the answer of that time."""
        if not positions:
            return
        rows = await self._database.fetch_all(
            "select_refused_shares",
            miner_ids=[entries[n].miner_id for n in positions],
            request_ids=[entries[n].request_id for n in positions],
        )
        known = {(row["miner_id"], row["request_id"]): row for row in rows}
        for n in positions:
            entry = entries[n]
            row = known[entry.miner_id, entry.request_id]
            answer = Answer(entry.answer.nonce, ShareOutcome(row["outcome"]), detail=row["detail"])
            entries[n] = replace(entry, answer=answer)


def _accepted(entries: Sequence[Entry]) -> list[int]:
    return [n for n, entry in enumerate(entries) if entry.answer.outcome is ShareOutcome.ACCEPTED]


def _notice(entry: Entry) -> ShareNotice:
    """What everybody is told of an accepted entry. Of such a one all is known."""
    assert entry.pooler_id is not None and entry.farmer_id is not None
    assert entry.nonce is not None and entry.answer.zeros is not None
    return ShareNotice(
        entry.block_index, entry.pooler_id, entry.farmer_id, entry.nonce, entry.answer.zeros, entry.searcher
    )
