"""Whether a block can be planted in now, by the chain's own state and clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kalepool.chain import Farm
from kalepool.contract_errors import FarmBlockMissingError, FarmPausedError
from kalepool.services.context import Context
from kalepool.services.failures import BlockNotOpenError, BlockOverError, ContractChangedError

EARLY_LEDGERS = 2
"""A plant that comes this many ledgers before its block can begin waits for it instead of being sent away."""

WORK_LEDGERS = 8
"""So many looks, a ledger apart, until works under way are expected to have an outcome: their time bound and a bit."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A block that can be planted in: now current, or to be started by the first plant. It is over at `closes_at`."""

    started: bool
    closes_at: datetime


def interval_end(farm: Farm, block_seconds: int) -> datetime:
    """From when on a plant starts the block after the current one. FarmBlockMissingError where there is no farm."""
    if farm.farm_block is None:
        raise FarmBlockMissingError("the KALE contract has no FarmBlock: check contract_id and the network")
    return datetime.fromtimestamp(farm.farm_block.timestamp + block_seconds, UTC)


def plan_opening(farm: Farm, index: int, block_seconds: int, closed_at: datetime) -> Opening | datetime:
    """The block `index` as it can be planted after a ledger that closed at `closed_at`, or from when it can be.

    A plant is simulated by the close time of the latest ledger. So a block is started only once a ledger has closed
    past the interval's end: before that, simulation would name the old block's entries.
    Raises BlockOverError, BlockNotOpenError (two or more blocks ahead), FarmPausedError, FarmBlockMissingError.
    """
    ends_at = interval_end(farm, block_seconds)
    current = farm.index or 0
    if farm.paused:
        raise FarmPausedError("planting is paused by the KALE contract's owner")
    if index < current or (index == current and closed_at >= ends_at):
        raise BlockOverError(
            f"block {index} is over: the chain is at block {current}, open until {ends_at.isoformat()}"
        )
    if index == current:
        return Opening(started=farm.block is not None, closes_at=ends_at)
    if index > current + 1:
        raise BlockNotOpenError(f"block {index} is more than one ahead: the chain is at block {current}")
    if closed_at < ends_at:
        return ends_at
    return Opening(started=False, closes_at=closed_at + timedelta(seconds=block_seconds))


async def open_block(ctx: Context, index: int) -> Opening:
    """The block `index`, open for planting; waits up to EARLY_LEDGERS for it, and for works of the block before, which
    whoever starts this one makes fail. Raises as `plan_opening`, BlockNotOpenError while such works are under way, and
    ContractChangedError.
    """
    network = ctx.chain.network
    patience = timedelta(seconds=EARLY_LEDGERS * network.ledger_seconds + 1)
    looks = 0
    while True:
        ledger = await ctx.chain.read_ledger()
        farm = await ctx.chain.read_farm()
        if ctx.settings.pause_on_new_contract and not ctx.settings.chain.knows_contract(farm.wasm):
            raise ContractChangedError(
                f"the KALE contract's code is another than this pool knows: {farm.wasm}. Nothing is planted until an "
                "operator has looked at it and sets KALEPOOL_CONTRACT_WASM to that"
            )
        opening = plan_opening(farm, index, network.block_seconds, ledger.closed_at)
        if isinstance(opening, datetime):
            if opening - ledger.closed_at > patience:
                raise BlockNotOpenError(f"block {index} can be started from {opening.isoformat()} on", opening)
        elif opening.started or not (works := await ctx.journal.works_under_way(index - 1)):
            return opening
        elif looks > WORK_LEDGERS:
            raise BlockNotOpenError(f"{works} works of block {index - 1} are under way: block {index} waits for them")
        looks += 1
        await ctx.chain.next_ledger(ledger.sequence, 2 * network.ledger_seconds + 1)
