"""Farmers that plant themselves: the pool has no key of their wallet, an account (G…) or a contract (C…).

Neither work nor harvest needs their signature: the pool searches for them, works and harvests, and the contract pays
stake and reward to the wallet. Nothing of theirs is in the pool's custody, in its books, or compensated. What that
costs the pool is a price for each harvested pail, taken off what was prepaid in KALE to the treasury; while less is
left than the price they are not searched for. A price of 0 is the operator's word that the pool pays.

An operator registers them, or the wallet's owner does, and is let in once it has prepaid (prepaying.py). For one that
leaves, what it had planted by then is worked and harvested; what it plants later is none of the pool's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from kalepool.database import Session, new_id
from kalepool.errors import ConflictError, DuplicateRowError, InputError, NotFoundError
from kalepool.notices import FarmerNotice, tell
from kalepool.protocol.hashing import farmer_bytes
from kalepool.services import farmers, operators
from kalepool.services.context import Context
from kalepool.services.farmers import LAPSED, Farmer, FarmerStatus
from kalepool.services.journal import events, gaps
from kalepool.services.keys import Role, create_key

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OwnRegistration:
    """A farmer that its wallet's owner just registered, with its own API key, which is shown once."""

    farmer: Farmer
    api_key: str = field(repr=False)


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
    farmer_id = new_id()
    price = ctx.settings.self_planting_price_stroops if price_stroops is None else price_stroops
    async with ctx.lock("register", pooler_id):
        await farmers.require_place(ctx.database, pooler_id)
        await _require_own(ctx, wallet)
        async with ctx.database.transaction() as tx:
            row = {"price_stroops": price, "prepaid_stroops": prepaid_stroops, "metadata": metadata}
            await _insert(tx, farmer_id, pooler_id, wallet, row, by=Role.OPERATOR)
            terms = {"wallet": wallet, "price_stroops": str(price), "prepaid_stroops": str(prepaid_stroops)}
            await operators.record(tx, key_id, "register-own-wallet", farmer_id, **terms)
            await tell(tx, FarmerNotice(farmer_id))
    log.info("self_planter_registered", farmer=str(farmer_id), wallet=wallet, price_stroops=price, by=Role.OPERATOR)
    return await _find(ctx, farmer_id)


async def register_oneself(
    ctx: Context, pooler_id: UUID, wallet: str, metadata: dict[str, Any], *, address: str
) -> OwnRegistration:
    """A farmer that plants itself with the wallet that signed in, from this network address, at the pool's price. It
    holds no place until it has prepaid. One that left with this pooler is that farmer again, with what it had prepaid.

    Raises as farmers.self_registration and `register`.
    """
    price = ctx.settings.self_planting_price_stroops
    async with farmers.self_registration(ctx, pooler_id, wallet, address), ctx.lock("register", pooler_id):
        await farmers.require_place(ctx.database, pooler_id, announced=False)
        await _require_own(ctx, wallet)
        async with ctx.database.transaction() as tx:
            given = {"wallet": wallet, "pooler_id": pooler_id, "registered_from": address, "price_stroops": price}
            back = await tx.fetch_one("return_self_planter", **given, metadata=Jsonb(metadata))
            farmer_id = back["farmer_id"] if back else new_id()
            if back is None:
                row = {"price_stroops": price, "prepaid_stroops": 0, "metadata": metadata}
                await _insert(tx, farmer_id, pooler_id, wallet, row, by=Role.FARMER, address=address)
            key = await create_key(tx, Role.FARMER, subject_id=farmer_id, label="registration")
    log.info("self_planter_registered", farmer=str(farmer_id), wallet=wallet, price_stroops=price, by=Role.FARMER)
    return OwnRegistration(await _find(ctx, farmer_id), key.key)


async def _require_own(ctx: Context, wallet: str) -> None:
    """InputError for what is no address, ConflictError for a wallet of the pool's."""
    try:
        farmer_bytes(wallet)
    except ValueError as error:
        raise InputError(str(error)) from None
    if wallet in await gaps.accounts_of_ours(ctx.journal):
        raise ConflictError(f"{wallet} is a wallet that this pool keeps")


async def _insert(
    tx: Session,
    farmer_id: UUID,
    pooler_id: UUID,
    wallet: str,
    row: Mapping[str, Any],
    *,
    by: Role,
    address: str | None = None,
) -> None:
    """ConflictError for a wallet that is registered."""
    try:
        await tx.execute(
            "insert_self_planter",
            farmer_id=farmer_id,
            pooler_id=pooler_id,
            wallet=wallet,
            metadata=Jsonb(row["metadata"]),
            registered_by=by,
            registered_from=address,
            status=FarmerStatus.ACTIVE if by == Role.OPERATOR else FarmerStatus.REGISTERED,
            price_stroops=row["price_stroops"],
            prepaid_stroops=row["prepaid_stroops"],
        )
    except DuplicateRowError:
        raise ConflictError(f"{wallet} is a farmer's of this pool already") from None


async def admit(ctx: Context) -> int:
    """Makes active who has prepaid for a pail; where the pool asks no price, who has the KALE that others bring. Those
    that have not in time lapse. Returns how many became active. Raises ChainError, DatabaseError."""
    hours = ctx.settings.registration_hours
    message = f"nothing was prepaid from its wallet within {hours:g} hours: register again"
    await ctx.database.execute("lapse_self_planters", seconds=hours * 3600, code=LAPSED, message=message)
    waiting = await ctx.database.fetch_all("select_waiting_self_planters", row=Farmer)
    free = [farmer.custodial_wallet for farmer in waiting if not farmer.price_stroops]
    held = await ctx.chain.read_kale(free) if free else {}
    ready = [
        farmer
        for farmer in waiting
        if (
            farmer.prepaid_stroops >= farmer.price_stroops
            if farmer.price_stroops
            else held.get(farmer.custodial_wallet, -1) >= ctx.settings.farmer_deposit_stroops
        )
    ]
    return await farmers.let_in(ctx, ready)


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
