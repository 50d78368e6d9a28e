"""Looks for miners that hold back shares with many zeros, and tells the operator; what to think is the operator's."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from kalepool.database import Database, first_id
from kalepool.policy.withholding import Dearth, ShareGroup, worst_dearth

LOOK_SECONDS = 3600.0
DAY = timedelta(days=1)

log = structlog.get_logger()


async def look_for_withholding(database: Database) -> dict[UUID, Dearth]:
    """Judges every miner's accepted shares of the last day; writes down who is suspected, and who no longer is.

    Returns those who are. Call every LOOK_SECONDS. Raises DatabaseError.
    """
    groups: dict[UUID, list[ShareGroup]] = defaultdict(list)
    for row in await database.fetch_all("select_share_groups", since=first_id(datetime.now(UTC) - DAY)):
        groups[row["miner_id"]].append(ShareGroup(int(row["difficulty"]), row["zeros"], row["shares"]))
    worst = {miner_id: worst_dearth(shares) for miner_id, shares in groups.items()}
    suspected = {miner_id: dearth for miner_id, dearth in worst.items() if dearth and dearth.is_withholding}
    before = {row["miner_id"] for row in await database.fetch_all("select_suspected_miners")}
    await database.execute(
        "update_suspicions",
        miner_ids=list(suspected),
        suspicions=[describe_dearth(dearth) for dearth in suspected.values()],
    )
    for miner_id, dearth in suspected.items():
        if miner_id not in before:
            log.warning("miner_withholds", miner=str(miner_id), found=describe_dearth(dearth))
    return suspected


def describe_dearth(dearth: Dearth) -> str:
    """In a sentence without an end."""
    return (
        f"{dearth.found} shares with {dearth.zeros} zeros or more in a day, where {dearth.expected:.1f} are expected: "
        f"the probability of so few is {dearth.probability:.1g}"
    )
