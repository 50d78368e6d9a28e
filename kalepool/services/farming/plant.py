"""Plants a pooler's farmers in a block: who is ready, with what stake, all at once, each on its own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Account
from kalepool.errors import AccountMissingError
from kalepool.policy.retries import UNFIT
from kalepool.protocol.model import Pail
from kalepool.services import farmers, poolers, postings
from kalepool.services.context import Context
from kalepool.services.failures import Failure, InFlightError, PlantingPausedError, UnderfundedError
from kalepool.services.farmers import Farmer, FarmerStatus
from kalepool.services.farming.opening import Opening, open_block
from kalepool.services.journal.carry import carry, events
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.owed import read_turns
from kalepool.tracing import traced
from kalepool.units import amount

log = structlog.get_logger()

WALLET_LEDGERS = 2
"""So long a plant waits for its farmer's wallet, where a withdrawal is under way. Then it is told as failed."""

MARGIN_LEDGERS = 3
"""A plant must be on the ledger this long before its block can end, or there is no time left to work."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One farmer's plant. `transaction_hash` is None for a pail found on the chain that the journal does not know.
    `already`: it was there before this call."""

    farmer_id: UUID
    custodial_wallet: str
    stake_stroops: int
    transaction_hash: str | None
    ledger: int | None
    already: bool = False


@dataclass(frozen=True, slots=True)
class PlantResult:
    """What became of each eligible farmer."""

    block_index: int
    planted: list[Planted]
    failed: list[Failure]
    duration_ms: int


@traced("api plant")
async def plant(
    ctx: Context, block_index: int, pooler_id: UUID, max_farmers: int | None = None, stake_stroops: int | None = None
) -> PlantResult:
    """Plants for the pooler's farmers in block `block_index`; the first plant starts it where it can.

    For as many as the pooler's limit and the caller's allow, in the order of their turns; who cannot be planted (no
    funds, a lost key) takes nobody's place. Repeating it plants nobody twice: those already planted are told as such,
    only the rest is tried. `stake_stroops`: nobody stakes more, whatever its part of its balance. Raises
    BlockNotOpenError, BlockOverError, FarmPausedError, PlantingPausedError, NotReadyError, as poolers.active_pooler,
    and ChainError when the chain cannot be read."""
    begun = time.monotonic()
    async with ctx.lock("plant", pooler_id, block_index):
        pooler = await poolers.active_pooler(ctx.database, pooler_id)
        if pooler.planting_paused:
            raise PlantingPausedError("an operator of the pool has paused planting")
        present = await farmers.farmers_of_pooler(ctx.database, pooler_id, [FarmerStatus.ACTIVE])
        everyone = [farmer for farmer in present if not farmer.plants_itself]
        theirs = {farmer.farmer_id for farmer in present if farmer.plants_itself}
        found = await _already(ctx, block_index, pooler_id)
        planted = {farmer_id: each for farmer_id, each in found.items() if farmer_id not in theirs}
        rest = [farmer for farmer in everyone if farmer.farmer_id not in planted and not farmer.paused]
        places = min(pooler.max_farmers, max_farmers or pooler.max_farmers) - len(planted)
        outcomes = await _plant_in_turn(ctx, block_index, rest, places, stake_stroops) if rest and places > 0 else []
        planted |= {outcome.farmer_id: outcome for outcome in outcomes if isinstance(outcome, Planted)}
        failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        await events.insert_failures(ctx.database, ActionName.PLANT, pooler_id, failed)
    result = PlantResult(block_index, list(planted.values()), failed, _ms_since(begun))
    log.info("planted", block=block_index, planted=len(planted), failed=len(failed), ms=result.duration_ms)
    return result


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


async def _plant_in_turn(
    ctx: Context, block_index: int, rest: list[Farmer], places: int, most: int | None
) -> list[Planted | Failure]:
    """Plants for so many of these, in the order of their turns."""
    turns, opening = await asyncio.gather(
        read_turns(ctx.database, ctx.settings, block_index, {f.farmer_id: f.custodial_wallet for f in rest}),
        open_block(ctx, block_index),
    )
    by_id = {farmer.farmer_id: farmer for farmer in rest}
    waiting = [by_id[farmer_id] for farmer_id in turns]
    outcomes: list[Planted | Failure] = []
    while waiting and places > 0:
        chosen, waiting = waiting[:places], waiting[places:]
        tried = await _plant_all(ctx, block_index, opening, chosen, most)
        places -= sum(not (isinstance(outcome, Failure) and outcome.code in UNFIT) for outcome in tried)
        outcomes += tried
    return outcomes


async def _already(ctx: Context, block_index: int, pooler_id: UUID) -> dict[UUID, Planted]:
    rows = await ctx.database.fetch_all("select_planted", block_index=block_index, pooler_id=pooler_id)
    return {row["farmer_id"]: Planted(**row, already=True) for row in rows}


async def _plant_all(
    ctx: Context, block_index: int, opening: Opening, rest: list[Farmer], most: int | None
) -> list[Planted | Failure]:
    """Plants for all of `rest`, `plant_batch` in flight at a time."""
    wallets = [farmer.custodial_wallet for farmer in rest]
    pails = await ctx.chain.read_pails([(wallet, block_index) for wallet in wallets])
    slots = asyncio.Semaphore(ctx.settings.plant_batch)

    async def one(farmer: Farmer) -> Planted | Failure:
        try:
            pail = pails.get((farmer.custodial_wallet, block_index))
            if pail is not None:
                return await _found(ctx, block_index, farmer, pail)
            wait = WALLET_LEDGERS * ctx.chain.network.ledger_seconds + 1
            async with ctx.wallet(farmer.farmer_id, first=True, within_seconds=wait), slots:
                return await _plant_one(ctx, block_index, opening, farmer, most)
        except Exception as error:
            return Failure.of(error, block_index, farmer.farmer_id)

    return await asyncio.gather(*(one(farmer) for farmer in rest))


def stake_for(farmer: Farmer, account: Account | None, min_spare_stroops: int, owed_stroops: int = 0) -> int:
    """The farmer's stake in stroops by its on-chain balance, less what of that is the pool's. Raises
    AccountMissingError, UnderfundedError."""
    if account is None:
        raise AccountMissingError(f"wallet {farmer.custodial_wallet} does not exist on the ledger: send XLM to it")
    missing = farmers.missing_funds(account, min_spare_stroops)
    if missing.native_stroops:
        raise UnderfundedError(
            f"wallet {farmer.custodial_wallet} lacks {amount(missing.native_stroops)} XLM beyond its reserve"
        )
    if account.kale_stroops is None:
        raise UnderfundedError(f"wallet {farmer.custodial_wallet} has no KALE trustline")
    return farmer.stake_of(max(account.kale_stroops - owed_stroops, 0))


async def _require_deposit(ctx: Context, farmer: Farmer, account: Account | None) -> None:
    """UnderfundedError for a farmer that has taken out what it brought: the pool pays what its plants cost. Half is
    enough, or lost stakes would end it; what is planted counts."""
    least = farmer.deposit_stroops // 2
    held = (account.kale_stroops or 0) if account else 0
    if held >= least:
        return
    row = await ctx.database.fetch_one("select_stake_out", farmer_id=farmer.farmer_id)
    held += row["stake_stroops"] if row else 0
    if held < least:
        raise UnderfundedError(
            f"wallet {farmer.custodial_wallet} and its pails hold {amount(held)} KALE: the pool plants for it from "
            f"{amount(least)} on, half of what it brought"
        )


async def _plant_one(ctx: Context, block_index: int, opening: Opening, farmer: Farmer, most: int | None) -> Planted:
    """The wallet is held."""
    signer = ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    deadline = opening.closes_at - timedelta(seconds=MARGIN_LEDGERS * ctx.chain.network.ledger_seconds)
    # Read only now: what went out of the wallet before is no part of the stake.
    account = (await ctx.chain.read_accounts([farmer.custodial_wallet])).get(farmer.custodial_wallet)
    owed = await postings.owed_by(ctx.database, farmer.farmer_id)
    stake = stake_for(farmer, account, ctx.settings.min_spare_stroops, owed)
    stake = min(each for each in (stake, most, ctx.settings.stake_most_stroops) if each is not None)
    await _require_deposit(ctx, farmer, account)
    item = Item(block_index=block_index, farmer_id=farmer.farmer_id, amount_stroops=stake)
    outcome = await carry(
        ctx.journal,
        Intent(ActionName.PLANT, farmer.pooler_id, [item]),
        lambda attempt: ctx.chain.prepare_plant(
            signer, stake, pool=ctx.accounts.payer, deadline=deadline, attempt=attempt
        ),
        deadline=deadline,
        timeout_seconds=ctx.settings.plant_timeout_seconds,
    )
    return Planted(farmer.farmer_id, farmer.custodial_wallet, stake, outcome.transaction_hash, outcome.ledger)


async def _found(ctx: Context, block_index: int, farmer: Farmer, pail: Pail) -> Planted:
    """A pail that is on the chain and not in our events: only the farmer's key can plant it, so it is ours."""
    if await ctx.journal.is_open(ActionName.PLANT, block_index, farmer.farmer_id):
        raise InFlightError("the plant is on the chain; its journal entry is being settled")
    await events.insert_found_planting(ctx.database, farmer.pooler_id, farmer.farmer_id, block_index, pail)
    return Planted(farmer.farmer_id, farmer.custodial_wallet, pail.stake, None, pail.sequence, already=True)
