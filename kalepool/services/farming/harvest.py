"""Harvests: finds every pail that can be harvested, forecasts it, packs what the tractor can carry, and compares."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.contract_errors import BlockMissingError, HarvestNotReadyError, PailMissingError, WorkMissingError
from kalepool.errors import NotFoundError
from kalepool.policy import timing
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import reward
from kalepool.services import poolers
from kalepool.services.context import Context
from kalepool.services.failures import Failure, InFlightError, UnconfirmedError
from kalepool.services.farmers import PRESENT, Farmer, farmers_of_pooler
from kalepool.services.farming import compensation
from kalepool.services.journal.carry import carry, events
from kalepool.services.journal.intents import Intent, Item
from kalepool.services.owed import read_turns
from kalepool.tracing import traced

log = structlog.get_logger()

PATIENCE = timedelta(minutes=5)
"""A harvest is tried again for this long: the caller asks again."""


@dataclass(frozen=True, slots=True)
class Target:
    """One pail: a farmer's in a block."""

    block_index: int
    farmer_id: UUID


@dataclass(frozen=True, slots=True)
class Ripe:
    """A pail that can be harvested now. `forecast_stroops` is exact: nothing can work in its block any more."""

    target: Target
    wallet: str
    stake_stroops: int
    forecast_stroops: int

    @property
    def place(self) -> tuple[str, int]:
        """Where the pail is on the chain: (farmer's wallet, block index)."""
        return self.wallet, self.target.block_index


@dataclass(frozen=True, slots=True)
class Harvested:
    """What a harvest brought: the reward, and the stake that came back with it.

    `transaction_hash` None: somebody else harvested it, which anyone may do for anyone; `reward_stroops` is then the
    forecast. `already`: it was done before this call.
    """

    block_index: int
    farmer_id: UUID
    reward_stroops: int
    stake_stroops: int
    forecast_stroops: int | None
    transaction_hash: str | None
    already: bool = False


@dataclass(frozen=True, slots=True)
class HarvestResult:
    """`forecast_differences` counts harvests of this call that did not bring the forecast to the stroop."""

    harvested: list[Harvested]
    failed: list[Failure]
    forecast_differences: int
    duration_ms: int


@traced("api harvest")
async def harvest(
    ctx: Context,
    pooler_id: UUID,
    block_index: int | None = None,
    targets: Sequence[Target] | None = None,
    *,
    by_pool: bool = False,
) -> HarvestResult:
    """Harvests the targets and the pooler's pails of one block, or, with neither, all of the last day: those the
    database knows to be planted and those found on the chain.

    `by_pool`: the pool itself asks, and it does not matter whether the pooler is active. Raises HarvestNotReadyError
    for a block that is not over, InputError for farmers that are not the pooler's, as
    poolers.active_pooler, NotReadyError, and ChainError when the chain cannot be read.
    """
    begun = time.monotonic()
    async with ctx.lock("harvest", pooler_id):
        if not by_pool:
            await poolers.active_pooler(ctx.database, pooler_id)
        rows = await farmers_of_pooler(ctx.database, pooler_id, PRESENT)
        farmers = {farmer.farmer_id: farmer for farmer in rows}
        farm_index = (await ctx.chain.read_farm()).index or 0
        wanted = await _targets(ctx, pooler_id, farm_index, farmers, block_index, targets)
        known = await _already(ctx, pooler_id, wanted)
        rest = [target for target in wanted if target not in known]
        outcomes = await _harvest_all(ctx, pooler_id, farm_index, farmers, rest) if rest else []
        harvested = [outcome for outcome in outcomes if isinstance(outcome, Harvested)]
        failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        await events.insert_failures(ctx.database, ActionName.HARVEST, pooler_id, failed)

    off = sum(item.reward_stroops != item.forecast_stroops for item in harvested)
    duration_ms = round((time.monotonic() - begun) * 1000)
    log.info("harvested", harvested=len(harvested), failed=len(failed), forecast_differences=off, ms=duration_ms)
    return HarvestResult([*known.values(), *harvested], failed, off, duration_ms)


# ----------------------------------------------------------------------------------------------------------------------
# What there is to harvest


async def _targets(
    ctx: Context,
    pooler_id: UUID,
    farm_index: int,
    farmers: Mapping[UUID, Farmer],
    block_index: int | None,
    targets: Sequence[Target] | None,
) -> list[Target]:
    """What the caller asks for, without repetitions, in order of block; in each block in the caller's order, or that of
    the farmers' turns."""
    named = dict.fromkeys(targets or ())
    wanted: set[Target] = set()
    unknown = {target.farmer_id for target in named} - farmers.keys()
    if unknown:
        raise NotFoundError(f"pooler {pooler_id} has no farmer {', '.join(sorted(map(str, unknown)))}")
    if block_index is not None:
        if block_index >= farm_index:
            raise HarvestNotReadyError(f"block {block_index} is not over: the chain is at block {farm_index}")
        rows = await ctx.database.fetch_all("select_planted", block_index=block_index, pooler_id=pooler_id)
        wanted |= {Target(block_index, row["farmer_id"]) for row in rows}
    elif targets is None:
        oldest = max(farm_index - await living_blocks(ctx), 0)
        rows = await ctx.database.fetch_all("select_unharvested", pooler_id=pooler_id, oldest_index=oldest)
        wanted |= {Target(row["block_index"], row["farmer_id"]) for row in rows if row["block_index"] < farm_index}
        wanted |= await _found_on_chain(ctx, pooler_id, farm_index, oldest, farmers)
    more = wanted - named.keys()
    if more:
        wallets = {farmer.farmer_id: farmer.custodial_wallet for farmer in farmers.values()}
        turns = await read_turns(ctx.database, ctx.settings, farm_index, wallets)
        turn = {farmer_id: number for number, farmer_id in enumerate(turns)}
        named |= dict.fromkeys(sorted(more, key=lambda target: turn.get(target.farmer_id, len(turn))))
    return sorted(named, key=lambda target: target.block_index)


async def living_blocks(ctx: Context) -> int:
    """How many blocks back a pail can still be on the ledger, by the network's own TTL. Raises RpcUnavailableError."""
    return timing.living_blocks((await ctx.chain.read_limits()).temporary_ttl, ctx.chain.network)


async def _found_on_chain(
    ctx: Context, pooler_id: UUID, farm_index: int, oldest: int, farmers: Mapping[UUID, Farmer]
) -> set[Target]:
    """Worked pails on the chain that no harvest of ours took: also those planted without a trace in our database."""
    done = {
        Target(row.block_index, row.farmer_id)
        for row in await _select_done(ctx, pooler_id, oldest_index=oldest, newest_index=farm_index)
    }
    blocks = await ctx.chain.read_blocks(range(oldest, farm_index))
    places = {
        (farmer.custodial_wallet, index): Target(index, farmer.farmer_id)
        for index, block in blocks.items()
        for farmer in farmers.values()
        if farmer.activated_at is not None
        and block.timestamp + ctx.settings.chain.block_seconds >= farmer.activated_at.timestamp()
    }
    wanted = [place for place, target in places.items() if target not in done]
    pails = await ctx.chain.read_pails(wanted)
    return {places[place] for place, pail in pails.items() if pail.zeros is not None}


async def _already(ctx: Context, pooler_id: UUID, wanted: Sequence[Target]) -> dict[Target, Harvested]:
    """Those of the targets, in order of block, that were harvested before."""
    if not wanted:
        return {}
    oldest, newest = wanted[0].block_index, wanted[-1].block_index
    rows = await _select_done(ctx, pooler_id, oldest_index=oldest, newest_index=newest)
    done = {Target(row.block_index, row.farmer_id): replace(row, already=True) for row in rows}
    return {target: done[target] for target in wanted if target in done}


async def _select_done(ctx: Context, pooler_id: UUID, *, oldest_index: int, newest_index: int) -> list[Harvested]:
    return await ctx.database.fetch_all(
        "select_harvested", row=Harvested, pooler_id=pooler_id, oldest_index=oldest_index, newest_index=newest_index
    )


def ripe(target: Target, wallet: str, farm_index: int, block: Block | None, pail: Pail | None) -> Ripe:
    """The target as something to harvest, with its exact reward.

    Raises what the contract would: BlockMissingError, PailMissingError, HarvestNotReadyError, WorkMissingError.
    """
    if target.block_index >= farm_index:
        raise HarvestNotReadyError(f"block {target.block_index} is not over: the chain is at block {farm_index}")
    if block is None:
        raise BlockMissingError(f"block {target.block_index} is gone from the ledger, and its pails with it")
    if pail is None:
        raise PailMissingError(f"no pail of {wallet} in block {target.block_index}")
    return Ripe(target, wallet, pail.stake, reward(block, pail, target.block_index))


def pack(items: Sequence[Ripe], most: int) -> list[list[Ripe]]:
    """What may share a transaction: one farmer's blocks, at most `most`."""
    by_farmer: dict[UUID, list[Ripe]] = defaultdict(list)
    for item in items:
        by_farmer[item.target.farmer_id].append(item)
    return [one[start : start + most] for one in by_farmer.values() for start in range(0, len(one), most)]


# ----------------------------------------------------------------------------------------------------------------------
# Getting it


async def _harvest_all(
    ctx: Context, pooler_id: UUID, farm_index: int, farmers: Mapping[UUID, Farmer], targets: Sequence[Target]
) -> list[Harvested | Failure]:
    def place(target: Target) -> tuple[str, int]:
        return farmers[target.farmer_id].custodial_wallet, target.block_index

    blocks, living = await asyncio.gather(
        ctx.chain.read_blocks(sorted({target.block_index for target in targets})),
        ctx.chain.read_pails_with_ends([place(target) for target in targets]),
    )
    pails = {where: pail for where, (pail, _) in living.items()}
    outcomes: list[Harvested | Failure] = []
    ready: list[Ripe] = []
    for target in targets:
        wallet, index = place(target)
        try:
            ready.append(ripe(target, wallet, farm_index, blocks.get(index), pails.get((wallet, index))))
            ctx.absences.found(target)
        except Exception as error:
            outcomes.append(
                await _not_ripe(ctx, pooler_id, target, blocks.get(index), pails.get((wallet, index)), error)
            )
    ends = {where: end for where, (_, end) in living.items()}
    ready.sort(key=lambda item: ends[item.place])
    # Those that are gone first come first: what can wait waits until they are through.
    soon = ctx.chain.newest_ledger + (await ctx.chain.read_limits()).temporary_ttl // 2
    for some in (
        [item for item in ready if ends[item.place] <= soon],
        [item for item in ready if ends[item.place] > soon],
    ):
        packs = sorted(pack(some, ctx.settings.harvest_batch), key=lambda items: ends[items[0].place])
        done = await asyncio.gather(*(_harvest_pack(ctx, pooler_id, items) for items in packs))
        outcomes += [outcome for each in done for outcome in each]
    return outcomes


async def _not_ripe(
    ctx: Context, pooler_id: UUID, target: Target, block: Block | None, pail: Pail | None, error: Exception
) -> Harvested | Failure:
    """Why a target cannot be harvested. A lost stake is recorded as owed, or to be checked where nobody can tell any
    more, and a pail somebody else harvested as that."""
    try:
        if isinstance(error, PailMissingError | BlockMissingError):
            await _require_gone(ctx, target)
        if isinstance(error, PailMissingError) and block is not None:
            elsewhere = await _harvested_elsewhere(ctx, pooler_id, target, block)
            if elsewhere is not None:
                return elsewhere
        elif isinstance(error, BlockMissingError):
            await _require_none_in_flight(ctx, target)
        if isinstance(error, WorkMissingError | BlockMissingError):
            await compensation.record_lost(
                ctx.database,
                pooler_id,
                target.block_index,
                target.farmer_id,
                block,
                error,
                ctx.chain.network,
            )
    except Exception as failed:
        error = failed
    return Failure.of(error, target.block_index, target.farmer_id)


async def _harvested_elsewhere(ctx: Context, pooler_id: UUID, target: Target, block: Block) -> Harvested | None:
    """A pail of ours that is gone while its block is not: somebody harvested it for the farmer, as anyone may.

    The block is final, so its reward is known from what was planted and worked. None where we know of no such pail.
    """
    await _require_none_in_flight(ctx, target)
    known = await events.read_pail(ctx.database, target.block_index, target.farmer_id)
    if known is None or known.zeros is None:
        return None
    forecast = reward(block, known, target.block_index)
    await events.insert_found_harvest(ctx.database, pooler_id, target.farmer_id, target.block_index, known, forecast)
    return Harvested(target.block_index, target.farmer_id, forecast, known.stake, forecast, None, already=True)


async def _require_gone(ctx: Context, target: Target) -> None:
    """Raises UnconfirmedError for a pail that we planted, until it was missed often and long enough."""
    known = await events.read_pail(ctx.database, target.block_index, target.farmer_id)
    if known is not None and not ctx.absences.miss(target):
        raise UnconfirmedError(
            f"the RPC server knows of no pail in block {target.block_index}; it is looked for again before that is "
            "believed"
        )


async def _require_none_in_flight(ctx: Context, target: Target) -> None:
    if await ctx.journal.is_open(ActionName.HARVEST, target.block_index, target.farmer_id):
        raise InFlightError("the harvest is on the chain or about to be; its journal entry is being settled")


async def _harvest_pack(ctx: Context, pooler_id: UUID, items: Sequence[Ripe]) -> list[Harvested | Failure]:
    """Harvests one farmer's items in as few transactions as simulation says they fit into."""
    by_place = {item.place: item for item in items}
    try:
        plan = await ctx.chain.plan_harvests(by_place)
    except Exception as error:
        return [_failure(error, item) for item in items]
    batches = [[by_place[place] for place in batch] for batch in plan.batches]
    refused = [_failure(error, by_place[place]) for place, error in plan.refused.items()]
    done = await asyncio.gather(*(_harvest_batch(ctx, pooler_id, batch) for batch in batches))
    return [*refused, *(outcome for batch in done for outcome in batch)]


async def _harvest_batch(ctx: Context, pooler_id: UUID, items: Sequence[Ripe]) -> list[Harvested | Failure]:
    try:
        return await _submit(ctx, pooler_id, items)
    except Exception as error:
        return [_failure(error, item) for item in items]


def _failure(error: Exception, item: Ripe) -> Failure:
    return Failure.of(error, item.target.block_index, item.target.farmer_id)


async def _submit(ctx: Context, pooler_id: UUID, items: Sequence[Ripe]) -> list[Harvested | Failure]:
    claims = [
        Item(
            block_index=item.target.block_index,
            farmer_id=item.target.farmer_id,
            amount_stroops=item.stake_stroops,
            forecast_stroops=item.forecast_stroops,
        )
        for item in items
    ]
    places = [item.place for item in items]
    timeout = ctx.settings.harvest_timeout_seconds
    deadline = await ctx.chain.now() + PATIENCE
    async with ctx.accounts.channel(deadline) as channel:
        outcome = await carry(
            ctx.journal,
            Intent(ActionName.HARVEST, pooler_id, claims),
            lambda attempt: ctx.chain.prepare_harvest(places, channel=channel, deadline=deadline, attempt=attempt),
            deadline=deadline,
            timeout_seconds=timeout,
        )
    results: list[Harvested | Failure] = []
    for item, received in zip(items, events.rewards_of(outcome, claims), strict=True):
        target = item.target
        if received is None:
            results.append(_failure(PailMissingError("the tractor passed this pail over"), item))
        else:
            results.append(
                Harvested(
                    target.block_index,
                    target.farmer_id,
                    received,
                    item.stake_stroops,
                    item.forecast_stroops,
                    outcome.transaction_hash,
                )
            )
    return results
