"""What the journal of this process knows besides the database: which open submissions are in whose hands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from kalepool.chain import Chain
from kalepool.database import Database
from kalepool.errors import KalepoolError
from kalepool.services.journal.intents import Open


class LeadLostError(KalepoolError):
    """Another API process leads by now: this one sends nothing more. What it was about to do, that one does."""

    code = "lead-lost"


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers of an account of ours that a ledger has and this database has not: see gaps.py. `imported`: how
    many of them are here by now."""

    gap_id: UUID
    account: str
    first_sequence: int
    last_sequence: int
    found_at: datetime
    imported: int

    @property
    def transactions(self) -> int:
        return self.last_sequence - self.first_sequence + 1


@dataclass
class Journal:
    """One for the API process that leads. Only this package changes its state; others read it."""

    chain: Chain
    database: Database
    parallel_calls: int
    following: set[UUID] = field(default_factory=set)
    """Submissions this process follows at the moment; recovery leaves them alone."""
    undecided: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    """Submissions (action, transaction hash) whose outcome only an operator can find out: see forgotten.py."""
    gaps: list[Gap] | None = None
    """What is known to be missing here, and nobody has looked at. None: nothing was held against the ledger yet."""
    term: int | None = None
    """Of this process's lead: nothing is written down to be sent in a later one. None: there are no others."""
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Submissions made before are an earlier process's."""
    calls: asyncio.Semaphore = field(init=False)
    """How many transactions may be prepared (simulated and signed) at the same time."""
    foresights: asyncio.Semaphore = field(init=False)
    """And simulated ahead: apart, or who has a channel account would wait for those who have none yet."""

    def __post_init__(self) -> None:
        self.calls = asyncio.Semaphore(self.parallel_calls)
        self.foresights = asyncio.Semaphore(self.parallel_calls)

    async def open_submissions(self) -> list[Open]:
        """What is sent, or about to be, and has no outcome yet: the oldest first."""
        return await self.database.fetch_all("select_open_submissions", row=Open)

    async def works_under_way(self, block_index: int) -> int:
        """How many works of a block may still land; without those that wait for an operator."""
        rows = await self.database.fetch_all("select_open_works", block_index=block_index)
        return sum(row["submission_id"] not in self.undecided for row in rows)

    async def is_open(self, action: str, block_index: int, farmer_id: UUID) -> bool:
        """Whether something of this kind for the farmer in the block is sent, or about to be, and not settled."""
        found = await self.database.fetch_one(
            "select_open_item", action=action, block_index=block_index, farmer_id=farmer_id
        )
        return found is not None
