"""What miners are due and were paid, as they and operators read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.errors import NotFoundError
from kalepool.policy.paying import PayoutReason
from kalepool.services.books.treasury import read_treasury


class PayoutStatus(StrEnum):
    """open: to be sent, or on its way; claimable: put down, the miner is to claim it; failed: it is due again."""

    OPEN = "open"
    CLAIMABLE = "claimable"
    PAID = "paid"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Payout:
    """A miner's payout. `code` and `message` say why it failed. `balance_id`, `claimable_until`: of what is put down
    for it to claim."""

    payout_id: UUID
    miner_id: UUID
    amount_stroops: int
    destination: str
    memo: str | None
    reason: PayoutReason
    created_at: datetime
    status: PayoutStatus
    transaction_hash: str | None
    ledger: int | None
    code: str | None
    message: str | None
    balance_id: str | None
    claimable_until: datetime | None


@dataclass(frozen=True, slots=True)
class PayoutTrouble:
    """`stuck`: payouts that were begun long ago. `short_stroops`: what the treasury will lack, once what farmers owe is
    collected, for what miners are due."""

    stuck: int
    short_stroops: int


NO_TROUBLE = PayoutTrouble(0, 0)

STUCK_SECONDS = 3600.0
"""A payout that was begun so long ago and is not paid is told of."""


async def payout_trouble(database: Database) -> PayoutTrouble:
    """What is wrong with payouts. Raises DatabaseError."""
    stuck = await database.fetch_one("select_stuck_payouts", seconds=STUCK_SECONDS)
    assert stuck is not None
    return PayoutTrouble(stuck["payouts"], (await read_treasury(database)).short_stroops)


async def read(database: Database, miner_id: UUID, payout_id: UUID) -> Payout:
    """A payout of the miner. Raises NotFoundError."""
    found = await database.fetch_one(
        "select_payout", row=Payout, payout_id=payout_id, miner_id=None, idempotency_key=None
    )
    if found is None or found.miner_id != miner_id:
        raise NotFoundError(f"no payout {payout_id} of miner {miner_id}")
    return found


async def payouts_of(database: Database, miner_id: UUID, *, after: UUID | None, limit: int) -> list[Payout]:
    """A page of a miner's, the newest first."""
    return await database.fetch_all("select_payouts", row=Payout, miner_id=miner_id, after=after, limit=limit)


async def balance(database: Database, miner_id: UUID) -> dict[str, Any]:
    """How a miner stands. Raises NotFoundError."""
    found = await database.fetch_one("select_miner_balance", miner_id=miner_id)
    if found is None:
        raise NotFoundError(f"no miner {miner_id}")
    return found


async def earnings(database: Database, miner_id: UUID, *, limit: int) -> list[tuple[int, int]]:
    """What a miner was credited with for its newest blocks, the newest first: (block, stroops)."""
    rows = await database.fetch_all("select_miner_earnings", miner_id=str(miner_id), limit=limit)
    return [(row["block_index"], row["amount_stroops"]) for row in rows]


async def day_of_a_megahash(database: Database) -> int | None:
    """Stroops that 1 MH/s earned here in a day, by the blocks closed within the last; None where there were none, or
    nothing was hashed."""
    row = await database.fetch_one("select_shared_lately")
    if row is None or not row["hashes"]:
        return None
    return int(row["stroops"] * 86_400 * 10**6 // row["hashes"])


async def statement(database: Database, miner_id: UUID, *, after: int, limit: int) -> list[dict[str, Any]]:
    """A page of the entries of a miner's, in their order, after a number."""
    return await database.fetch_all("select_miner_statement", miner_id=str(miner_id), after=after, limit=limit)


async def set_terms(database: Database, miner_id: UUID, threshold_stroops: int | None, claimable: bool | None) -> None:
    """Sets the miner's own threshold, and whether it wants claimable balances; what is None stays."""
    await database.execute(
        "update_payout_terms", miner_id=miner_id, threshold_stroops=threshold_stroops, claimable=claimable
    )
