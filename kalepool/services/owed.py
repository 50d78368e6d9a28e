"""What each farmer is owed of the last day's zeros and rewards, from works and blocks: the order among equals."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.timing import blocks_per_day
from kalepool.policy.turns import FIRST, claim, in_turn


async def read_claims(database: Database, block_index: int, blocks: int) -> dict[UUID, int]:
    """By farmer, over so many blocks before this one, as policy/turns.py defines it. Raises DatabaseError."""
    first, last = block_index - blocks, block_index - 1
    rows = await database.fetch_all("select_owed", first=first, last=last, first_counts=FIRST)
    return {row["farmer_id"]: claim(int(row["zeros"]), int(row["reward"])) for row in rows}


async def read_turns(
    database: Database, settings: Settings, block_index: int, wallets: Mapping[UUID, str]
) -> list[UUID]:
    """The farmers in the order of their turns for what is done in a block whose entropy may not exist yet: its index
    decides between equals. Raises DatabaseError."""
    claims = await read_claims(database, block_index, blocks_per_day(settings.chain))
    farmers = {wallet: farmer_id for farmer_id, wallet in wallets.items()}
    by_wallet = {wallet: claims.get(farmer_id, 0) for wallet, farmer_id in farmers.items()}
    return [farmers[wallet] for wallet in in_turn(farmers, by_wallet, block_index.to_bytes(8, "big"))]
