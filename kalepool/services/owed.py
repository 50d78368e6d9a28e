"""What each farmer is owed of the zero points of the last day, from works and blocks: the order among equals."""

from __future__ import annotations

from uuid import UUID

from kalepool.database import Database


async def read_owed(database: Database, block_index: int, blocks: int) -> dict[UUID, int]:
    """By farmer, over so many blocks before this one, as policy/turns.py defines it. Raises DatabaseError."""
    rows = await database.fetch_all("select_owed", first=block_index - blocks, last=block_index - 1)
    return {row["farmer_id"]: int(row["owed"]) for row in rows}
