"""What poolers do, and operators for them: register farmers, plant, work, harvest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field, computed_field

from kalepool.api.auth import Anyone, PoolerOrOperator, Principal
from kalepool.api.models import (
    DIGEST,
    FARMER,
    POOLER,
    STAKE_PART,
    WALLET,
    WHOLE,
    AccountAddress,
    BlockIndex,
    Described,
    Hash,
    HashText,
    Metadata,
    Nonce,
    NonceText,
    Sent,
    StakePart,
    StakeWish,
    Stroops,
    example,
    stakes,
)
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import Problem, documented
from kalepool.errors import ChainError, Fault, NotFoundError
from kalepool.services import farmers
from kalepool.services.context import Context
from kalepool.services.farming import harvest, plant, work

router = APIRouter(tags=["poolers"])

Result = TypeVar("Result")

ANSWER_SECONDS = 60.0
"""An operation that takes longer goes on; the caller is told to ask again and then finds it done."""

Status = Literal["registered", "active", "leaving", "departed"]


def context(request: Request) -> Context:
    return request.app.state.context


async def finish(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Runs an operation to its end, whatever becomes of the request. Problem 503 when it outlasts ANSWER_SECONDS."""
    task = asyncio.create_task(work)
    running: set[asyncio.Task[Any]] = request.app.state.running
    running.add(task)
    task.add_done_callback(running.discard)
    try:
        return await asyncio.wait_for(asyncio.shield(task), ANSWER_SECONDS)
    except TimeoutError:
        if task.done():
            raise
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise Problem(
            503,
            "still-working",
            f"not done after {ANSWER_SECONDS:g} s; it goes on, and the same request sent again says what was done",
            headers={"Retry-After": "5"},
        ) from None


# ----------------------------------------------------------------------------------------------------------------------
# Farmers


class Registration(Sent):
    """A farmer to be registered."""

    model_config = example(
        pooler_id=POOLER,
        payout_wallet=WALLET,
        stake_percentage=0.1,
        metadata={"name": "Ann"},
    )

    pooler_id: UUID
    payout_wallet: AccountAddress
    stake_percentage: StakeWish | None = Field(
        default=None, description=f"{STAKE_PART} The pool's default where absent.", examples=[0.1]
    )
    metadata: Metadata = Field(default_factory=dict)


class Missing(Described):
    """What the custodial wallet lacks to become active. The pool adds the trustline once the XLM is there."""

    native_stroops: Stroops
    trustline: bool


class FarmerView(Described):
    """A farmer."""

    farmer_id: UUID
    custodial_wallet: str = Field(description="Send XLM here; the farmer's KALE lives here.")
    pooler_id: UUID
    payout_wallet: str
    stake_percentage: StakePart
    status: Status
    metadata: dict[str, Any]
    registered_at: datetime
    activated_at: datetime | None

    @computed_field(description="The stake in words.", examples=["stakes 10 % of the KALE balance in each block"])
    @property
    def stake(self) -> str:
        return stakes(self.stake_percentage)


class RegisteredFarmer(FarmerView):
    """A farmer just registered."""

    needs_funding: bool
    missing: Missing
    api_key: str = Field(description="The farmer's own key. Shown this once.")


class Balances(Described):
    """What the custodial wallet holds. `kale_stroops` is null without a trustline."""

    native_stroops: Stroops
    spendable_stroops: Stroops
    kale_stroops: Stroops | None


class Performance(Described):
    """All blocks of a farmer together."""

    blocks_planted: int
    blocks_worked: int
    blocks_harvested: int
    staked_stroops: Stroops
    rewarded_stroops: Stroops


class FarmerDetails(FarmerView):
    """A farmer with what its wallet holds (null while the chain does not answer) and what it has done."""

    needs_funding: bool | None
    missing: Missing | None
    balances: Balances | None
    performance: Performance


@router.post(
    "/farmers/register",
    status_code=201,
    summary="Register a farmer",
    responses=documented(401, 403, 404, 409, 413, 422, 429, 503),
)
async def register(request: Request, body: Registration, caller: PoolerOrOperator) -> RegisteredFarmer:
    """Makes a farmer with a wallet of its own, whose key never leaves the pool's custody.

    Send it what `missing` names: it becomes active by itself within a few ledgers. `api_key` is shown this once.
    """
    caller.require_pooler(body.pooler_id)
    ctx = context(request)
    percentage = ctx.settings.stake_percentage if body.stake_percentage is None else body.stake_percentage
    part = Decimal(f"{percentage:.6f}")
    made = await farmers.register(ctx, body.pooler_id, body.payout_wallet, part, dict(body.metadata))
    view = FarmerView.model_validate(made.farmer)
    return RegisteredFarmer(
        **view.model_dump(),
        needs_funding=bool(made.missing),
        missing=Missing.model_validate(made.missing),
        api_key=made.api_key,
    )


@router.get("/farmers", summary="List farmers", responses=documented(401, 403, 422, 429, 503))
async def list_farmers(
    request: Request,
    caller: PoolerOrOperator,
    paging: Paging,
    pooler_id: Annotated[
        UUID | None, Query(description="Of this pooler; a pooler's key sees its own in any case.")
    ] = None,
    status: Annotated[Status | None, Query(description="In this state.")] = None,
) -> Page[FarmerView]:
    """Farmers in the order of their registration."""
    if caller.role == "pooler":
        if pooler_id is not None:
            caller.require_pooler(pooler_id)
        pooler_id = caller.subject_id
    rows = await context(request).database.fetch_all(
        "select_farmers_page",
        row=farmers.Farmer,
        pooler_id=pooler_id,
        status=status,
        after=paging.after,
        limit=paging.limit,
    )
    items = [FarmerView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([row.farmer_id for row in rows], paging))


@router.get("/farmers/{farmer_id:uuid}", summary="Show a farmer", responses=documented(401, 404, 422, 429, 503))
async def show_farmer(request: Request, farmer_id: UUID, caller: Anyone) -> FarmerDetails:
    """A farmer, its balances, what it lacks, and all its blocks together. For itself, its pooler and operators."""
    ctx = context(request)
    farmer = await ctx.database.fetch_one("select_farmer_of_any_pooler", row=farmers.Farmer, farmer_id=farmer_id)
    if farmer is None or not may_see(caller, farmer):
        raise NotFoundError(f"no farmer {farmer_id}")
    performance = await ctx.database.fetch_one("select_farmer_performance", farmer_id=farmer_id)
    try:
        account = (await ctx.chain.read_accounts([farmer.custodial_wallet])).get(farmer.custodial_wallet)
        missing = farmers.missing_funds(account, ctx.settings.min_spare_stroops)
        if farmer.status in ("leaving", "departed"):  # it is to be sent nothing any more
            missing = farmers.Missing(0, trustline=False)
    except ChainError:
        account = missing = None
    return FarmerDetails(
        **FarmerView.model_validate(farmer).model_dump(),
        needs_funding=None if missing is None else bool(missing),
        missing=None if missing is None else Missing.model_validate(missing),
        balances=None if account is None else Balances.model_validate(account),
        performance=Performance.model_validate(performance),
    )


def may_see(caller: Principal, farmer: farmers.Farmer) -> bool:
    """Whether the caller may know of this farmer: itself, its payout wallet, its pooler, an operator."""
    match caller.role:
        case "operator":
            return True
        case "pooler":
            return caller.subject_id == farmer.pooler_id
        case "farmer":
            return caller.subject_id == farmer.farmer_id or caller.subject_wallet == farmer.payout_wallet
        case _:
            return False


# ----------------------------------------------------------------------------------------------------------------------
# Plant


class FailureView(Described):
    """What was not done for a farmer. `fault`: who is to blame, and owes compensation where a stake is lost."""

    farmer_id: UUID
    code: str = Field(examples=["underfunded"])
    message: str
    fault: Fault


class PlantRequest(Sent):
    """A block to plant in: the current one, or the next, which this starts, once the current one's time is over."""

    model_config = example(
        block_index=41_218,
        pooler_id=POOLER,
        max_farmers=50,
    )

    block_index: BlockIndex
    pooler_id: UUID
    max_farmers: Annotated[int, Field(strict=True, ge=1, le=100_000), WHOLE] | None = Field(
        default=None, description="At most so many farmers, the longest registered first."
    )


class PlantedView(Described):
    """A farmer's plant. `already`: it was there before this call."""

    farmer_id: UUID
    custodial_wallet: str
    stake_stroops: Stroops
    transaction_hash: str | None
    ledger: int | None
    already: bool


class PlantTotals(Described):
    eligible: int
    planted: int
    failed: int
    stake_stroops: Stroops


class PlantAnswer(Described):
    """What became of each eligible farmer."""

    model_config = example(
        block_index=41_218,
        planted=[
            {
                "farmer_id": FARMER,
                "custodial_wallet": WALLET,
                "stake_stroops": "100000000",
                "transaction_hash": DIGEST,
                "ledger": 61_204_117,
                "already": False,
            }
        ],
        failed=[],
        totals={"eligible": 1, "planted": 1, "failed": 0, "stake_stroops": "100000000"},
        duration_ms=5_270,
    )

    block_index: int
    planted: list[PlantedView]
    failed: list[FailureView]
    totals: PlantTotals
    duration_ms: int


@router.post("/plant", summary="Plant", responses=documented(401, 403, 404, 409, 413, 422, 429, 503))
async def plant_block(request: Request, body: PlantRequest, caller: PoolerOrOperator) -> PlantAnswer:
    """Stakes for every active farmer of the pooler in a block. One farmer's failure stops no other.

    Sent again it plants nobody twice: it answers with what is planted and tries the rest. Sent up to two ledgers early
    it waits. 409: `block-not-open` (`opens_at` says when), `block-over`, `farm-paused`.
    """
    caller.require_pooler(body.pooler_id)
    ctx = context(request)
    result = await finish(request, plant.plant(ctx, body.block_index, body.pooler_id, body.max_farmers))
    return PlantAnswer(
        block_index=result.block_index,
        planted=[PlantedView.model_validate(item) for item in result.planted],
        failed=[FailureView.model_validate(item) for item in result.failed],
        totals=PlantTotals(
            eligible=len(result.planted) + len(result.failed),
            planted=len(result.planted),
            failed=len(result.failed),
            stake_stroops=sum(item.stake_stroops for item in result.planted),
        ),
        duration_ms=result.duration_ms,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Work


class WorkSubmission(Sent):
    """A nonce found for a farmer."""

    farmer_id: UUID
    nonce: NonceText
    hash: HashText | None = Field(default=None, description="What it hashes to; compared where given.")


class WorkRequest(Sent):
    """Nonces for farmers of the current block, any number for each."""

    model_config = example(
        block_index=41_218,
        pooler_id=POOLER,
        submissions=[{"farmer_id": FARMER, "nonce": "9223372036854775809"}],
    )

    block_index: BlockIndex
    pooler_id: UUID
    submissions: list[WorkSubmission] = Field(min_length=1, max_length=1000)


class WorkedView(Described):
    """A work on the chain. `already`: it was there before this call."""

    farmer_id: UUID
    nonce: Nonce
    hash: Hash
    zeros: int
    gap: int = Field(description="Ledgers between plant and work.")
    transaction_hash: str | None
    ledger: int | None
    already: bool


class RefusedView(FailureView):
    """A submission that did not become work."""

    nonce: Nonce
    zeros: int | None


class WorkTotals(Described):
    submitted: int
    accepted: int
    refused: int


class WorkAnswer(Described):
    """One entry per submission, in `accepted` or `refused`."""

    model_config = example(
        block_index=41_218,
        accepted=[
            {
                "farmer_id": FARMER,
                "nonce": "9223372036854775809",
                "hash": DIGEST,
                "zeros": 7,
                "gap": 52,
                "transaction_hash": DIGEST,
                "ledger": 61_204_169,
                "already": False,
            }
        ],
        refused=[],
        ready_for_harvest=[FARMER],
        totals={"submitted": 1, "accepted": 1, "refused": 0},
        duration_ms=6_120,
    )

    block_index: int
    accepted: list[WorkedView]
    refused: list[RefusedView]
    ready_for_harvest: list[UUID] = Field(
        description="Farmers whose pail has work: to be harvested when the block is over."
    )
    totals: WorkTotals
    duration_ms: int


@router.post("/work", summary="Hand in work", responses=documented(401, 403, 404, 409, 413, 422, 429, 503))
async def work_block(request: Request, body: WorkRequest, caller: PoolerOrOperator) -> WorkAnswer:
    """Hashes every nonce again and submits the best of each farmer. A later one needs strictly more zeros.

    Sent again it answers with what was done. 409: `block-over`, `block-not-open`.
    """
    caller.require_pooler(body.pooler_id)
    ctx = context(request)
    submissions = [
        work.Submission(each.farmer_id, int(each.nonce), bytes.fromhex(each.hash) if each.hash else None)
        for each in body.submissions
    ]
    result = await finish(request, work.work(ctx, body.block_index, body.pooler_id, submissions))
    refused = [
        RefusedView(**FailureView.model_validate(item.failure).model_dump(), nonce=item.nonce, zeros=item.zeros)
        for item in result.refused
    ]
    return WorkAnswer(
        block_index=result.block_index,
        accepted=[WorkedView.model_validate(item) for item in result.accepted],
        refused=refused,
        ready_for_harvest=result.ready_for_harvest,
        totals=WorkTotals(submitted=len(submissions), accepted=len(result.accepted), refused=len(refused)),
        duration_ms=result.duration_ms,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Harvest


class TargetView(Sent):
    """One pail."""

    block_index: BlockIndex
    farmer_id: UUID


class HarvestRequest(Sent):
    """One block, single pails, or both; with neither, everything of the last day, from database and chain."""

    model_config = example(
        pooler_id=POOLER,
        block_index=41_218,
    )

    pooler_id: UUID
    block_index: BlockIndex | None = None
    targets: list[TargetView] | None = Field(default=None, min_length=1, max_length=5000)


class HarvestedView(Described):
    """A harvest. `transaction_hash` is null where somebody else harvested the pail for the farmer."""

    block_index: int
    farmer_id: UUID
    reward_stroops: Stroops = Field(description="Without the stake.")
    stake_stroops: Stroops
    forecast_stroops: Stroops | None = Field(description="What our own maths said before.")
    transaction_hash: str | None
    already: bool


class HarvestFailureView(FailureView):
    block_index: int


class HarvestTotals(Described):
    harvested: int
    failed: int
    reward_stroops: Stroops
    stake_stroops: Stroops
    forecast_differences: int = Field(
        description="Harvests of this call that did not bring the forecast to the stroop."
    )


class HarvestAnswer(Described):
    """What was harvested, and what was not and why."""

    model_config = example(
        harvested=[
            {
                "block_index": 41_218,
                "farmer_id": FARMER,
                "reward_stroops": "18250441",
                "stake_stroops": "100000000",
                "forecast_stroops": "18250441",
                "transaction_hash": DIGEST,
                "already": False,
            }
        ],
        failed=[],
        totals={
            "harvested": 1,
            "failed": 0,
            "reward_stroops": "18250441",
            "stake_stroops": "100000000",
            "forecast_differences": 0,
        },
        duration_ms=5_480,
    )

    harvested: list[HarvestedView]
    failed: list[HarvestFailureView]
    totals: HarvestTotals
    duration_ms: int


@router.post("/harvest", summary="Harvest", responses=documented(401, 403, 404, 409, 413, 422, 429, 503))
async def harvest_blocks(request: Request, body: HarvestRequest, caller: PoolerOrOperator) -> HarvestAnswer:
    """Harvests worked pails of past blocks. A lost stake (`work-missing`) is recorded as owed to the farmer.

    Sent again it answers with what was harvested. 409 `harvest-not-ready`: the block is not over.
    """
    caller.require_pooler(body.pooler_id)
    ctx = context(request)
    targets = None
    if body.targets is not None:
        targets = [harvest.Target(each.block_index, each.farmer_id) for each in body.targets]
    result = await finish(request, harvest.harvest(ctx, body.pooler_id, body.block_index, targets))
    return HarvestAnswer(
        harvested=[HarvestedView.model_validate(item) for item in result.harvested],
        failed=[HarvestFailureView.model_validate(item) for item in result.failed],
        totals=HarvestTotals(
            harvested=len(result.harvested),
            failed=len(result.failed),
            reward_stroops=sum(item.reward_stroops for item in result.harvested),
            stake_stroops=sum(item.stake_stroops for item in result.harvested),
            forecast_differences=result.forecast_differences,
        ),
        duration_ms=result.duration_ms,
    )
