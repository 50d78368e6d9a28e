"""When the pool itself was away: its API, or the database that it writes to. What was lost then is its own fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kalepool.database import Database
from kalepool.networks import Network
from kalepool.protocol.model import Block

BEAT_SECONDS = 5.0
"""How often the API says that it is there."""

AWAY_SECONDS = 12.0
"""Not heard of for longer than two beats, it was away."""

WORKS_FROM = 0.5
"""Works are due in the rest of a block from this part on. Away before that, the pool keeps nobody from working."""

LEAST_LEDGERS = 3
"""Away for fewer ledgers of that time, it kept nobody from working either."""


async def beat(database: Database) -> None:
    """The pool is there. Raises DatabaseError."""
    await database.execute("beat", away_seconds=AWAY_SECONDS)


async def kept_from_working(database: Database, block: Block, network: Network) -> bool:
    """Whether the pool was away for a while when this block's works were due. Raises DatabaseError."""
    await beat(database)  # what has just come back has it written down by now
    begun = datetime.fromtimestamp(block.timestamp, UTC)
    row = await database.fetch_one(
        "select_seconds_away",
        begin=begun + timedelta(seconds=WORKS_FROM * network.block_seconds),
        end=begun + timedelta(seconds=network.block_seconds),
    )
    assert row is not None
    return row["seconds"] >= LEAST_LEDGERS * network.ledger_seconds
