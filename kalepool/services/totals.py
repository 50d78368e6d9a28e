"""The whole pool in numbers: sums over all time, read so that asking often costs little, and how it stands now."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kalepool.database import Database, first_id

SETTLED = timedelta(minutes=10)
"""Events older than this do not change any more: they are added up once."""

DELAY_BOUNDS = (1.0, 2.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0)
"""Upper bounds of the inclusion delay's buckets, in seconds. A ledger takes 5 s on the public networks."""

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


class Totals:
    """Sums over tables that only grow. What is settled is kept, so that a scrape reads the last minutes only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._settled: Counter[tuple[str, ...]] = Counter()
        self._until = FIRST
        self._lock = asyncio.Lock()

    async def read(self) -> Counter[tuple[str, ...]]:
        """Sums by name and labels, over all time. Raises DatabaseError."""
        async with self._lock:
            cut = first_id(datetime.now(UTC) - SETTLED)
            oldest = await self._database.fetch_one("select_oldest_open_submission")
            if oldest is not None:
                cut = min(cut, oldest["submission_id"])
            if cut > self._until:
                self._settled += await self._count(self._until, cut)
                self._until = cut
            return self._settled + await self._count(self._until, LAST)

    async def _count(self, first: UUID, end: UUID) -> Counter[tuple[str, ...]]:
        sums: Counter[tuple[str, ...]] = Counter()
        for row in await self._database.fetch_all("count_outcomes", first=first, end=end):
            sums["events", row["action"], row["outcome"], row["code"]] += row["events"]
            sums["stroops", row["action"]] += row["stroops"]
        rows = await self._database.fetch_all("count_submissions", first=first, end=end, bounds=list(DELAY_BOUNDS))
        for row in rows:
            action, status = row["action"], row["status"]
            sums["transactions", action, status] += row["transactions"]
            sums["fees", action] += row["fee_stroops"]
            if status == "applied":
                sums["delays", action, str(row["bucket"])] += row["transactions"]
                sums["delay_milliseconds", action] += round(row["delay_seconds"] * 1000)
        return sums


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """The pool at this moment: shares of miners by outcome, stakes lost by fault, farmers by status, single figures."""

    shares: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    farmers: list[dict[str, Any]]
    gauges: dict[str, Any]


async def read_figures(database: Database, day_blocks: int) -> PoolFigures:
    """day_blocks: how many blocks a pail lives, see policy/timing.py living_blocks. Raises DatabaseError."""
    return PoolFigures(
        shares=await database.fetch_all("count_miner_shares"),
        lost=await database.fetch_all("sum_compensations"),
        farmers=await database.fetch_all("count_farmers_by_status"),
        gauges=await database.fetch_one("select_gauges", day_blocks=day_blocks) or {},
    )
