"""Payout wallets against whoever writes to the database: rows are looked at, and changed with the master key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from kalepool.chain import require_destination
from kalepool.custody import Custody, broken_seals, change_payout
from kalepool.database import Database
from kalepool.services.context import Context
from kalepool.services.farmers import owner_of, require_outside_wallet
from kalepool.services.keys import Role, create_key
from kalepool.services.operators import record

log = structlog.get_logger()

LOOK_SECONDS = 30.0


async def look(ctx: Context) -> int:
    """Finds the rows that were changed past us, for alerts and health. Returns how many there are."""
    before = {binding.row_id for binding in ctx.broken_seals}
    ctx.broken_seals = await broken_seals(ctx.custody, ctx.database)
    for binding in ctx.broken_seals:
        if binding.row_id not in before:
            log.error("seal_broken", purpose=binding.purpose.value, row=str(binding.row_id), address=binding.address)
    return len(ctx.broken_seals)


async def change_payout_wallet(
    custody: Custody, database: Database, farmer_id: UUID, payout_wallet: str, payout_memo: str | None = None
) -> str:
    """Has a farmer's money go to another wallet from now on, whose owner signs in for it. Returns the one before.

    For who has the master key at hand, not for the API: what the database says of keys and signatures is no proof where
    its writer is the attacker. Raises InputError for what is no address or memo, NotFoundError, ConflictError for a
    farmer that has left and for a wallet that the pool keeps, CustodyError where the row was changed before.
    """
    destination = require_destination(payout_wallet, payout_memo)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    async with database.transaction() as tx:
        await require_outside_wallet(tx, destination)
        before = await change_payout(
            custody, tx, farmer_id, payout_wallet, payout_memo=payout_memo, owner_wallet=owner_of(destination)
        )
        key = await create_key(tx, Role.OPERATOR, label="command line", expires_at=soon)
        await record(tx, key.key_id, "change-payout", farmer_id, before=before, payout_wallet=str(destination))
    return before
