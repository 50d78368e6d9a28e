"""Farmers that plant themselves: the pool has no key of their wallet, an account (G…) or a contract (C…).

Neither work nor harvest needs their signature: the pool searches for them, works and harvests, and the contract pays
stake and reward to the wallet. Nothing of theirs is in the pool's custody, in its books, or compensated. What that
costs the pool is a price for each harvested pail, taken off what was prepaid in KALE to the treasury; while less is
left than the price they are not searched for. A price of 0 is the operator's word that the pool pays.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from kalepool.database import new_id
from kalepool.errors import ConflictError, DuplicateRowError, InputError, NotFoundError
from kalepool.notices import FarmerNotice, tell
from kalepool.protocol.hashing import farmer_bytes
from kalepool.services import farmers, operators
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer
from kalepool.services.journal import events, gaps

log = structlog.get_logger()


async def register(
    ctx: Context,
    key_id: UUID,
    pooler_id: UUID,
    wallet: str,
    metadata: dict[str, Any],
    *,
    price_stroops: int | None = None,
    prepaid_stroops: int = 0,
) -> Farmer:
    """A farmer that plants itself with this wallet, by the operator with this key. `price_stroops`: None for what is
    set.

    Raises InputError for what is no address, ConflictError for a wallet of the pool's or one that is registered,
    NoPlaceError, and as poolers.active_pooler.
    """
    try:
        farmer_bytes(wallet)
    except ValueError as error:
        raise InputError(str(error)) from None
    farmer_id = new_id()
    price = ctx.settings.self_planting_price_stroops if price_stroops is None else price_stroops
    async with ctx.lock("register", pooler_id):
        await farmers.require_place(ctx.database, pooler_id)
        if wallet in await gaps.accounts_of_ours(ctx.journal):
            raise ConflictError(f"{wallet} is a wallet that this pool keeps")
        try:
            async with ctx.database.transaction() as tx:
                await tx.execute(
                    "insert_self_planter",
                    farmer_id=farmer_id,
                    pooler_id=pooler_id,
                    wallet=wallet,
                    metadata=Jsonb(metadata),
                    price_stroops=price,
                    prepaid_stroops=prepaid_stroops,
                )
                terms = {"wallet": wallet, "price_stroops": str(price), "prepaid_stroops": str(prepaid_stroops)}
                await operators.record(tx, key_id, "register-own-wallet", farmer_id, **terms)
                await tell(tx, FarmerNotice(farmer_id))
        except DuplicateRowError:
            raise ConflictError(f"{wallet} is a farmer's of this pool already") from None
    log.info("self_planter_registered", farmer=str(farmer_id), wallet=wallet, price_stroops=price)
    return await _find(ctx, farmer_id)


async def change_terms(
    ctx: Context, key_id: UUID, farmer_id: UUID, *, price_stroops: int, prepaid_stroops: int
) -> Farmer:
    """What a pail costs from now on, and what is prepaid. Raises NotFoundError for who does not plant itself."""
    async with ctx.database.transaction() as tx:
        terms = {"price_stroops": price_stroops, "prepaid_stroops": prepaid_stroops}
        if not await tx.execute("update_self_planting_terms", farmer_id=farmer_id, **terms):
            raise NotFoundError(f"no farmer {farmer_id} that plants itself")
        said = {name: str(stroops) for name, stroops in terms.items()}
        await operators.record(tx, key_id, "change-self-planting-terms", farmer_id, **said)
        await tell(tx, FarmerNotice(farmer_id))
    return await _find(ctx, farmer_id)


async def _find(ctx: Context, farmer_id: UUID) -> Farmer:
    found = await farmers.find_farmer(ctx.database, farmer_id)
    assert found is not None
    return found


async def note_plants(ctx: Context) -> int:
    """Writes down which of them have planted in the current block, as the chain has it: then everybody may search for
    them. Returns how many that are. Raises ChainError, DatabaseError."""
    farm = await ctx.chain.read_farm()
    if farm.index is None or farm.block is None:
        return 0
    rows = await ctx.database.fetch_all("select_served_self_planters", block_index=farm.index)
    pails = await ctx.chain.read_pails([(row["wallet"], farm.index) for row in rows]) if rows else {}
    planted = [(row, pail) for row in rows if (pail := pails.get((row["wallet"], farm.index))) is not None]
    for row, pail in planted:
        await events.insert_own_planting(ctx.database, row["pooler_id"], row["farmer_id"], farm.index, pail)
    return len(planted)
