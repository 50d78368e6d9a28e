"""Block by block: what was planted, worked and harvested, for all farmers of a block, for a pooler, for a farmer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kalepool.database import Database


async def farmers_of_block(database: Database, block_index: int, pooler_id: UUID | None) -> list[dict[str, Any]]:
    """Everybody with an event in the block, by pooler; of one pooler unless that is None."""
    return await database.fetch_all("select_block_farmers", block_index=block_index, pooler_id=pooler_id)


async def blocks_of_pooler(database: Database, pooler_id: UUID, *, before: int, limit: int) -> list[dict[str, Any]]:
    """A page of the blocks that its coordinator has seen, the newest first, with how much of each was done."""
    return await database.fetch_all("select_pooler_blocks", pooler_id=pooler_id, before=before, limit=limit)


async def blocks_of_farmer(
    database: Database, farmer_id: UUID, *, before: int, limit: int, oldest: int = 0
) -> list[dict[str, Any]]:
    """A page of a farmer's blocks from `before` (without it) down to `oldest`."""
    return await database.fetch_all(
        "select_farmer_blocks", farmer_id=farmer_id, before=before, oldest=oldest, limit=limit
    )
