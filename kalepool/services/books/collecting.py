"""Collects the pool's part of rewards from farmers' wallets into the treasury: nineteen in a transaction, each with its
wallet's signature, in the quiet part of a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.errors import TransactionFailedError
from kalepool.services import postings
from kalepool.services.books.held import require_even
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer, find_farmer
from kalepool.services.journal.carry import carry
from kalepool.services.journal.intents import Intent, Item

log = structlog.get_logger()

MOST = 19
"""Wallets in one transaction: an envelope takes 20 signatures, and the channel's is one."""

LONGEST = timedelta(days=1)
"""What is owed is collected at least so often, however little."""


def due(debtors: Sequence[Mapping[str, Any]], least_stroops: int, now: datetime) -> list[UUID]:
    """Whose fee is to be collected, the most first: from an amount on, or once a day. Pure."""

    def waits(row: Mapping[str, Any]) -> bool:
        since = row["paid_at"] or row["activated_at"]
        return row["owed_stroops"] < least_stroops and (since is None or now - since < LONGEST)

    return [row["farmer_id"] for row in debtors if not waits(row)]


def is_quiet(age_seconds: float, block_seconds: float, ledger_seconds: float) -> bool:
    """Whether a block is in the part where nothing is planted and nothing harvested: neither its beginning nor its
    end. Pure."""
    return 0.3 * block_seconds <= age_seconds <= block_seconds - 10 * ledger_seconds


async def collect(ctx: Context) -> int:
    """Collects what is due, where it is time. Returns from how many wallets. Raises BooksOffError, ChainError."""
    if ctx.accounts.treasury is None:
        return 0
    rows = await ctx.database.fetch_all("select_debtors")
    wanted = due(rows, ctx.settings.fee_collect_stroops, datetime.now(UTC))
    if not wanted:
        return 0
    block = (await ctx.chain.read_farm()).block
    network = ctx.chain.network
    if block is not None:
        age = (await ctx.chain.now()).timestamp() - block.timestamp
        if not is_quiet(age, network.block_seconds, network.ledger_seconds):
            return 0
    await require_even(ctx.database)
    return sum([await collect_from(ctx, wanted[start : start + MOST]) for start in range(0, len(wanted), MOST)])


async def collect_from(ctx: Context, farmer_ids: Sequence[UUID]) -> int:
    """What these farmers, at most 19, owe and have in their wallets. Their wallets are held meanwhile. Where one makes
    the transaction fail, the others go without it. Returns from how many it was collected."""
    async with AsyncExitStack() as stack:
        for farmer_id in sorted(farmer_ids):  # always in the same order, or two could wait for each other
            await stack.enter_async_context(ctx.wallet(farmer_id))
        found = [await find_farmer(ctx.database, farmer_id) for farmer_id in farmer_ids]
        return await settle_fees(ctx, [farmer for farmer in found if farmer is not None])


async def settle_fees(ctx: Context, farmers: Sequence[Farmer]) -> int:
    """As collect_from, of farmers whose wallets are held."""
    treasury = ctx.accounts.treasury
    if treasury is None:
        return 0
    owed = await postings.owed(ctx.database, [farmer.farmer_id for farmer in farmers])
    accounts = await ctx.chain.read_accounts([farmer.custodial_wallet for farmer in farmers])
    parts: list[tuple[Farmer, int]] = []
    for farmer in farmers:
        account = accounts.get(farmer.custodial_wallet)
        stroops = min(owed.get(farmer.farmer_id, 0), (account.kale_stroops or 0) if account else 0)
        if stroops > 0:
            parts.append((farmer, stroops))
    return await _send(ctx, treasury.public_key, parts) if parts else 0


async def _send(ctx: Context, address: str, parts: Sequence[tuple[Farmer, int]]) -> int:
    wallets = [(ctx.custody.signer(farmer.binding, farmer.secret_sealed), stroops) for farmer, stroops in parts]
    items = [fee_item(farmer, address, stroops) for farmer, stroops in parts]
    timeout = ctx.settings.plant_timeout_seconds
    deadline = await ctx.chain.now() + timedelta(seconds=timeout)
    try:
        async with ctx.accounts.channel(deadline) as channel:
            await carry(
                ctx.journal,
                Intent(ActionName.COLLECT, None, items),
                lambda attempt: ctx.chain.prepare_collection(
                    wallets, address, channel=channel, deadline=deadline, attempt=attempt
                ),
                deadline=deadline,
                timeout_seconds=timeout,
            )
    except TransactionFailedError as error:
        if len(parts) == 1:
            log.warning("fee_not_collected", farmer=str(parts[0][0].farmer_id), code=error.code, reason=str(error))
            return 0
        half = len(parts) // 2
        return await _send(ctx, address, parts[:half]) + await _send(ctx, address, parts[half:])
    log.info("fees_collected", farmers=len(parts), stroops=sum(stroops for _, stroops in parts))
    return len(parts)


def fee_item(farmer: Farmer, address: str, stroops: int) -> Item:
    """What a farmer owes, as a part of a transaction."""
    action = ActionName.COLLECT
    return Item(farmer_id=farmer.farmer_id, amount_stroops=stroops, destination=address, asset="KALE", action=action)
