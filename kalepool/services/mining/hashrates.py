"""What miners search by, written down now and then: for charts, and for who looks now."""

from __future__ import annotations

from kalepool.database import Database

SAMPLE_SECONDS = 10.0


async def sample_miners(database: Database) -> None:
    """One point of every rig's hashrate, as the coordinator does for its workers.

    Call every SAMPLE_SECONDS.
    """
    await database.execute("insert_miner_hashrates")
