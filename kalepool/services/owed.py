"""What each farmer is owed of the last day's zeros and gap, from works and blocks: the order among equals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.timing import blocks_per_day
from kalepool.policy.turns import Debts, in_turn


async def read_owed(database: Database, block_index: int, blocks: int) -> Debts[UUID]:
    """By farmer, over so many blocks before this one, as policy/turns.py defines it. Raises DatabaseError."""
    rows = await database.fetch_all("select_owed", first=block_index - blocks, last=block_index - 1)
    return Debts(
        {row["farmer_id"]: int(row["zeros"]) for row in rows}, {row["farmer_id"]: int(row["gap"]) for row in rows}
    )


@dataclass(frozen=True, slots=True)
class FarmerTurns:
    """Farmers in the order of their turns: for a `place` in a block, and for the `earliest` plant, for most gap."""

    place: list[UUID]
    earliest: list[UUID]


async def read_turns(
    database: Database, settings: Settings, block_index: int, wallets: Mapping[UUID, str]
) -> FarmerTurns:
    """The turns of these farmers for what is done in a block whose entropy may not exist yet: its index decides between
    equals. Raises DatabaseError."""
    owed = await read_owed(database, block_index, blocks_per_day(settings.chain))
    farmers = {wallet: farmer_id for farmer_id, wallet in wallets.items()}

    def ordered(debts: Mapping[UUID, int]) -> list[UUID]:
        by_wallet = {wallet: debts.get(farmer_id, 0) for wallet, farmer_id in farmers.items()}
        return [farmers[wallet] for wallet in in_turn(farmers, by_wallet, block_index.to_bytes(8, "big"))]

    return FarmerTurns(ordered(owed.zeros), ordered(owed.gap))
