"""What anybody may ask: how the pool is, and what it is. And what every key may see: blocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from kalepool.api.auth import PoolerOrOperator
from kalepool.api.bodies import MOST_BYTES
from kalepool.api.limits import per_address
from kalepool.api.models import STAKE_PART, Described, Hash, Stroops
from kalepool.api.problems import documented
from kalepool.errors import ChainError, NotFoundError
from kalepool.protocol.model import U32_MAX, Block
from kalepool.services.blocks import farmers_of_block
from kalepool.services.context import Context
from kalepool.services.health import Health
from kalepool.services.keys import Role

router = APIRouter(tags=["public"])

VERSION = version("kalepool")


class ComponentView(Described):
    """A part of the pool. `starting`: it is on its way, as workers are for the first 45 s. `none`: there is nothing to
    watch."""

    state: Literal["up", "down", "waiting", "starting", "none"]
    latency_ms: float
    since: datetime = Field(description="Since when it has been in this state.")
    detail: str


class HealthView(Described):
    """The pool: up when no part is down, waiting or starting; starting when some are, and none is worse."""

    state: Literal["up", "starting", "down"]
    components: dict[str, ComponentView] = Field(
        description="database, disk, chain, custody, accounts, journal, workers, price, relayer, "
        "and processes, where the API has several."
    )


@router.get(
    "/health",
    summary="How the pool is",
    responses={
        503: {"model": HealthView, "description": "A part is down, starts, or waits for something: see its state."}
    },
)
async def health(request: Request, response: Response) -> HealthView:
    """Every part with its state, latency, and since when. 503 unless all is well. Asked as often as you like."""
    checks: Health = request.app.state.health
    report = await checks.report()
    if report.state != "up":
        response.status_code = 503
    return HealthView.model_validate(report)


@router.get("/alive", summary="Whether this process answers", status_code=204)
async def alive() -> None:
    """Asks nobody else: neither the database nor, of several API processes, the one that leads. Asked as often as you
    like."""


class NetworkView(Described):
    """Where the pool farms, with the ids it uses."""

    name: str
    passphrase: str
    contract_id: str
    asset_code: str
    asset_issuer: str
    asset_contract_id: str
    tractor_id: str | None
    explorer_url: str | None
    ledger_seconds: float
    block_seconds: int


class LimitsView(Described):
    """What a caller may ask for."""

    requests_per_minute: int
    pooler_requests_per_minute: int
    body_bytes: int
    farmers_per_pooler: int
    plant_batch: int
    harvest_batch: int
    parallel_calls: int
    plant_timeout_seconds: float
    work_timeout_seconds: float
    harvest_timeout_seconds: float
    min_spare_stroops: Stroops


class InfoView(Described):
    """What this service is."""

    version: str
    network: NetworkView
    pool_account: str | None = Field(description="Pays the fees; null before the first start is done.")
    limits: LimitsView
    fees: dict[str, float] = Field(
        description="The pool's part of rewards, of farmers who register now: 0.05 is a twentieth. It is part of a "
        "farmer's terms, fixed when it registers, and collected from its wallet."
    )
    stake_percentage: float = Field(description=f"For a farmer that does not say. {STAKE_PART}", examples=[0.1])
    started_at: datetime
    uptime_seconds: float


@router.get("/info", summary="What the pool is", responses=documented(429, 503), dependencies=[Depends(per_address)])
async def info(request: Request) -> InfoView:
    """Version, network and its ids, limits, fees, uptime."""
    ctx: Context = request.app.state.context
    settings = ctx.settings
    return InfoView(
        version=VERSION,
        network=NetworkView.model_validate(ctx.chain.network),
        pool_account=ctx.accounts.pool.public_key if ctx.accounts.pool else None,
        limits=LimitsView(
            requests_per_minute=settings.requests_per_minute,
            pooler_requests_per_minute=settings.pooler_requests_per_minute,
            body_bytes=MOST_BYTES,
            farmers_per_pooler=settings.pooler_farmers,
            plant_batch=settings.plant_batch,
            harvest_batch=settings.harvest_batch,
            parallel_calls=settings.parallel_calls,
            plant_timeout_seconds=settings.plant_timeout_seconds,
            work_timeout_seconds=settings.work_timeout_seconds,
            harvest_timeout_seconds=settings.harvest_timeout_seconds,
            min_spare_stroops=settings.min_spare_stroops,
        ),
        fees={"platform": settings.platform_fee},
        stake_percentage=settings.stake_percentage,
        started_at=ctx.started_at,
        uptime_seconds=round(time.monotonic() - ctx.started, 3),
    )


class ChainBlock(Described):
    """The block as the chain has it. Bounds are what the rewards are measured against."""

    started_at: datetime
    entropy: Hash
    min_gap: int
    max_gap: int
    min_stake_stroops: Stroops
    max_stake_stroops: Stroops
    min_zeros: int
    max_zeros: int
    staked_total_stroops: Stroops
    normalized_total: str

    @classmethod
    def of(cls, block: Block) -> ChainBlock:
        return cls(
            started_at=datetime.fromtimestamp(block.timestamp, UTC),
            entropy=block.entropy,
            min_gap=block.min_gap,
            max_gap=block.max_gap,
            min_stake_stroops=block.min_stake,
            max_stake_stroops=block.max_stake,
            min_zeros=block.min_zeros,
            max_zeros=block.max_zeros,
            staked_total_stroops=block.staked_total,
            normalized_total=str(block.normalized_total),
        )


class FarmerInBlock(Described):
    """One farmer's part in a block. `failed_code`: the last failure, where there was one."""

    farmer_id: UUID
    custodial_wallet: str
    planted: bool
    stake_stroops: Stroops | None
    worked: bool
    zeros: int | None
    gap: int | None
    harvested: bool
    reward_stroops: Stroops | None
    forecast_stroops: Stroops | None
    failed_code: str | None
    failed_fault: str | None


class PoolerInBlock(Described):
    """One pooler's part in a block."""

    pooler_id: UUID
    planted: int
    worked: int
    harvested: int
    staked_stroops: Stroops
    rewarded_stroops: Stroops
    farmers: list[FarmerInBlock]


class BlockView(Described):
    """A block. `chain` is null when the chain does not have it (any more) or does not answer."""

    block_index: int
    chain: ChainBlock | None
    poolers: list[PoolerInBlock]


@router.get("/blocks/{index}", summary="Show a block", responses=documented(401, 403, 404, 422, 429, 503))
async def show_block(
    request: Request,
    index: Annotated[int, Path(ge=0, le=U32_MAX, description="The block's index.")],
    caller: PoolerOrOperator,
) -> BlockView:
    """A block on the chain, and who planted, worked and harvested in it. A pooler sees its own farmers."""
    ctx: Context = request.app.state.context
    pooler_id = caller.subject_id if caller.role == Role.POOLER else None
    rows = await farmers_of_block(ctx.database, index, pooler_id)
    try:
        block = (await ctx.chain.read_blocks([index])).get(index)
    except ChainError:
        block = None
    if block is None and not rows:
        raise NotFoundError(f"block {index} is neither on the chain nor in our records")
    by_pooler: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        by_pooler.setdefault(row["pooler_id"], []).append(row)
    return BlockView(
        block_index=index,
        chain=None if block is None else ChainBlock.of(block),
        poolers=[_pooler(pooler_id, farmers) for pooler_id, farmers in by_pooler.items()],
    )


def _pooler(pooler_id: UUID, rows: list[dict[str, Any]]) -> PoolerInBlock:
    return PoolerInBlock(
        pooler_id=pooler_id,
        planted=sum(row["planted"] for row in rows),
        worked=sum(row["worked"] for row in rows),
        harvested=sum(row["harvested"] for row in rows),
        staked_stroops=sum(row["stake_stroops"] or 0 for row in rows),
        rewarded_stroops=sum(row["reward_stroops"] or 0 for row in rows),
        farmers=[FarmerInBlock.model_validate(row) for row in rows],
    )
