"""What poolers do in every block, and operators for them: plant, work, harvest."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from kalepool.api.auth import PoolerOrOperator
from kalepool.api.calls import context, finish
from kalepool.api.models import (
    DIGEST,
    FARMER,
    POOLER,
    WALLET,
    WHOLE,
    BlockIndex,
    Described,
    Hash,
    HashText,
    Nonce,
    NonceText,
    Sent,
    StakeText,
    Stroops,
    example,
)
from kalepool.api.problems import documented
from kalepool.errors import Fault
from kalepool.services.farming import harvest, plant, work

router = APIRouter(tags=["poolers"])


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
        default=None,
        description="At most so many, with those planted before, in the order of their turns.",
    )
    stake_stroops: StakeText | None = Field(
        default=None, description="Nobody stakes more than this; less where its part of its balance is less."
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
    stake = None if body.stake_stroops is None else int(body.stake_stroops)
    result = await finish(request, plant.plant(ctx, body.block_index, body.pooler_id, body.max_farmers, stake))
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
