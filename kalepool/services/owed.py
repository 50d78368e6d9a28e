"""What each farmer is owed of the paying zeros of the last day, from works and blocks: the order among equals."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.timing import blocks_per_day
from kalepool.policy.turns import in_turn


async def read_owed(database: Database, block_index: int, blocks: int) -> dict[UUID, int]:
    """By farmer, over so many blocks before this one, as policy/turns.py defines it. Raises DatabaseError."""
    rows = await database.fetch_all("select_owed", first=block_index - blocks, last=block_index - 1)
    return {row["farmer_id"]: int(row["owed"]) for row in rows}


async def read_turns(
    database: Database, settings: Settings, block_index: int, wallets: Mapping[UUID, str]
) -> list[UUID]:
    """These farmers in the order of their turns for what is done in a block whose entropy may not exist yet: its index
    decides between equals. Raises DatabaseError."""
    owed = await read_owed(database, block_index, blocks_per_day(settings.chain))
    farmers = {wallet: farmer_id for farmer_id, wallet in wallets.items()}
    debts = {wallet: owed.get(farmer_id, 0) for wallet, farmer_id in farmers.items()}
    return [farmers[wallet] for wallet in in_turn(farmers, debts, block_index.to_bytes(8, "big"))]
