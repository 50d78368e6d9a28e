"""What the pages of farmers, miners and operators show beyond what their other operations answer, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from kalepool.api.auth import Anyone, Operator, PaidMiner
from kalepool.api.calls import context, visible_farmer
from kalepool.api.models import Described, Stroops
from kalepool.api.problems import documented
from kalepool.api.routes.books import DifferenceView
from kalepool.services.holdings import read_holdings
from kalepool.services.mining import miners
from kalepool.view.farm import read_totals
from kalepool.view.mining import rigs_seen
from kalepool.view.wellbeing import read_waiting

router = APIRouter()


class FarmerTotals(Described):
    """What a farmer earned within a day, a week and ever; what was forecast of that; what it has at stake now, what it
    lost and is owed for that; what the pool kept; what the network took, which the pool paid once it was active."""

    day_stroops: Stroops
    week_stroops: Stroops
    all_stroops: Stroops
    forecast_stroops: Stroops
    planted_stroops: Stroops
    lost_stakes: int
    lost_stroops: Stroops
    owed_stroops: Stroops
    fee_rate: float
    fee_stroops: Stroops
    network_fee_stroops: Stroops = Field(description="XLM.")


@router.get(
    "/farmers/{farmer_id:uuid}/totals",
    summary="What a farmer has earned",
    tags=["farmers"],
    responses=documented(401, 404, 422, 429, 503),
)
async def show_totals(request: Request, farmer_id: UUID, caller: Anyone) -> FarmerTotals:
    """Together; GET /farmers/{farmer_id}/blocks has each block."""
    farmer = await visible_farmer(request, caller, farmer_id)
    ctx = context(request)
    totals = await read_totals(ctx.database, farmer_id, ctx.chain.network.block_seconds)
    holdings = await read_holdings(ctx, farmer)
    return FarmerTotals.model_validate({**totals, "planted_stroops": holdings.planted_stroops})


class RigSeenView(Described):
    """A machine of a miner, by what it brought lately. `luck`: 1 is as expected; null where it brought nothing. `solo`:
    for a farmer of the miner's own alone."""

    searcher: int
    name: str
    is_here: bool
    solo: bool
    last_seen_at: datetime
    hashes_per_second: float
    shares: int
    best_zeros: int | None
    luck: float | None


@router.get(
    "/miner/rigs",
    summary="How my machines do",
    tags=["miners"],
    responses=documented(401, 403, 404, 409, 422, 429, 503),
)
async def show_rigs(request: Request, caller: PaidMiner) -> list[RigSeenView]:
    """Those that are here first."""
    assert caller.subject_id is not None
    found = await rigs_seen(context(request).database, caller.subject_id)
    return [RigSeenView.model_validate(each) for each in found]


class InvitationView(Described):
    """An invitation that may still be used; the code was shown once."""

    invite_id: UUID
    label: str
    uses_left: int
    created_at: datetime
    expires_at: datetime


@router.get(
    "/operator/invites",
    summary="Invitations for miners",
    tags=["operators"],
    responses=documented(401, 403, 422, 429, 503),
)
async def list_invites(
    request: Request,
    caller: Operator,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
) -> list[InvitationView]:
    """Those that may still be used, the newest first."""
    found = await miners.invites(context(request).database, limit=limit)
    return [InvitationView.model_validate(each) for each in found]


class UndecidedView(Described):
    """A transaction of which only an explorer knows whether it was applied."""

    submission_id: UUID
    action: str
    transaction_hash: str


class AlertView(Described):
    """What is wrong now."""

    kind: str
    message: str


class WaitingView(Described):
    """What waits for an operator's hand. `to_check`, `owed`: lost stakes. `suspected`: miners. `gaps`: of the journal,
    listed by GET /operator/gaps."""

    undecided: list[UndecidedView]
    gaps: int
    to_check: int
    owed: int
    owed_stroops: Stroops
    differences: list[DifferenceView]
    suspected: int
    alerts: list[AlertView]


@router.get(
    "/operator/waiting",
    summary="What waits for an operator",
    tags=["operators"],
    responses=documented(401, 403, 422, 429, 503),
)
async def show_waiting(request: Request, caller: Operator) -> WaitingView:
    """What the operators' first page asks to be done."""
    found = await read_waiting(context(request))
    names = tuple(UndecidedView.model_fields)
    return WaitingView(
        undecided=[UndecidedView.model_validate(dict(zip(names, each, strict=True))) for each in found.undecided],
        gaps=len(found.gaps),
        to_check=found.to_check,
        owed=found.owed,
        owed_stroops=found.owed_stroops,
        differences=[DifferenceView.model_validate(each) for each in found.differences],
        suspected=found.suspected,
        alerts=[AlertView.model_validate(each) for each in found.alerts],
    )
