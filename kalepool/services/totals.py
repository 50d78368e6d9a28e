"""The whole pool in numbers: sums over all time, read so that asking often costs little, and how it stands now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kalepool.database import Database, Session

DELAY_BOUNDS = (1.0, 2.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0)
"""Upper bounds of the inclusion delay's buckets, in seconds. A ledger takes 5 s on the public networks."""

LAST = UUID(int=2**128 - 1)


async def read_totals(database: Database) -> Counter[tuple[str, ...]]:
    """Sums by name and labels, over all time: what is settled (services/settling.py), and what came since. Raises
    DatabaseError."""
    rows = await database.fetch_all("select_pool_sums")
    sums = Counter({tuple(row["labels"]): row["amount"] for row in rows if row["labels"]})
    sums += await count_events(database, rows[0]["until_id"], LAST)
    for row in await database.fetch_all("count_miner_shares", since=rows[0]["until_block"]):
        sums["shares", row["outcome"]] += row["shares"]
        sums["credited_hashes", row["outcome"]] += row["credited_hashes"]
    return sums


async def count_events(database: Database | Session, first: UUID, end: UUID) -> Counter[tuple[str, ...]]:
    """Sums of the events and transactions from one id to before another. Raises DatabaseError."""
    sums: Counter[tuple[str, ...]] = Counter()
    for row in await database.fetch_all("count_outcomes", first=first, end=end):
        sums["events", row["action"], row["outcome"], row["code"]] += row["events"]
        sums["stroops", row["action"]] += row["stroops"]
    rows = await database.fetch_all("count_submissions", first=first, end=end, bounds=list(DELAY_BOUNDS))
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
    """The pool at this moment: stakes lost by fault, farmers by status, single figures."""

    lost: list[dict[str, Any]]
    farmers: list[dict[str, Any]]
    gauges: dict[str, Any]


async def read_figures(database: Database, day_blocks: int) -> PoolFigures:
    """day_blocks: how many blocks a pail lives, see policy/timing.py living_blocks. Raises DatabaseError."""
    return PoolFigures(
        lost=await database.fetch_all("sum_compensations"),
        farmers=await database.fetch_all("count_farmers_by_status"),
        gauges=await database.fetch_one("select_gauges", day_blocks=day_blocks) or {},
    )
