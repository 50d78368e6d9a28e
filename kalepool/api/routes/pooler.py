"""What came of a pooler's work: block by block, failures with whose fault they are, what is owed for lost stakes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from kalepool.api.auth import PoolerOrOperator
from kalepool.api.models import Described, Nonce, Stroops
from kalepool.api.paging import BlockPaging, Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.api.routes.farming import context
from kalepool.errors import Fault
from kalepool.policy.planting import SitOut
from kalepool.protocol.model import U32_MAX
from kalepool.services import operators, poolers
from kalepool.services.blocks import blocks_of_pooler
from kalepool.services.farming.compensation import CompensationStanding

router = APIRouter(prefix="/poolers/{pooler_id}", tags=["poolers"])

PROBLEMS = documented(401, 403, 404, 422, 429, 503)


class PoolerView(Described):
    """A pooler. `owed_stroops`: what is owed to its farmers and was not paid, whoever is at fault."""

    pooler_id: UUID
    name: str
    status: Literal["active", "inactive"]
    open: bool = Field(description="Farmers may register by themselves.")
    planting_paused: bool = Field(description="By an operator, for this pooler or the whole pool.")
    max_farmers: int
    registered: int = Field(description="Farmers that wait for funds.")
    active: int
    leaving: int
    departed: int
    unpaid: int = Field(description="Compensations that are owed and were not paid.")
    owed_stroops: Stroops
    to_check: int = Field(description="Compensations that an operator has to check before they count as owed.")
    created_at: datetime
    last_seen_at: datetime | None


@router.get("", summary="A pooler", responses=PROBLEMS)
async def show_pooler(request: Request, pooler_id: UUID, caller: PoolerOrOperator) -> PoolerView:
    """Its state, its farmers by state, and what is owed to them."""
    caller.require_pooler(pooler_id)
    return PoolerView.model_validate(await poolers.summary(context(request).database, pooler_id))


class PoolerBlock(Described):
    """A pooler's part in a block. Without a coordinator of ours that watched it, a block is not listed."""

    block_index: int
    status: Literal["open", "finished", "given_up"]
    started_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    planted: int
    staked_stroops: Stroops
    worked: int
    best_zeros: int | None
    harvested: int
    rewarded_stroops: Stroops
    forecast_stroops: Stroops
    sat_out: int = Field(description="Farmers that sat the block out, by turns.")
    sat_out_reason: SitOut | None = Field(
        description="`price`: their pails would have brought less than they cost. `budget`: the day's XLM were spent."
    )


@router.get("/blocks", summary="A pooler's blocks", responses=PROBLEMS)
async def pooler_blocks(
    request: Request, pooler_id: UUID, caller: PoolerOrOperator, paging: BlockPaging
) -> Page[PoolerBlock]:
    """How much of each block was done, the newest first. GET /blocks/{index} shows one farmer by farmer."""
    caller.require_pooler(pooler_id)
    rows = await blocks_of_pooler(context(request).database, pooler_id, before=paging.before, limit=paging.limit)
    items = [PoolerBlock.model_validate(row) for row in rows]
    return Page(items=items, next=paging.next_cursor([item.block_index for item in items]))


class FailureEvent(Described):
    """Something that was not done. `fault`: who is to blame."""

    event_id: UUID
    action: Literal["plant", "work", "harvest"]
    block_index: int
    farmer_id: UUID
    outcome: Literal["failed", "refused"]
    code: str
    message: str | None
    fault: Fault
    nonce: Nonce | None
    created_at: datetime


@router.get("/failures", summary="A pooler's failures", responses=PROBLEMS)
async def failures(
    request: Request,
    pooler_id: UUID,
    caller: PoolerOrOperator,
    paging: Paging,
    block_index: Annotated[int | None, Query(ge=0, le=U32_MAX, description="In this block.")] = None,
) -> Page[FailureEvent]:
    """Plants, works and harvests that failed or were refused, the newest first."""
    caller.require_pooler(pooler_id)
    rows = await poolers.failures(
        context(request).database, pooler_id, block_index, after=paging.after, limit=paging.limit
    )
    items = [FailureEvent.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.event_id for item in items], paging))


class CompensationView(Described):
    """What is owed to a farmer for a lost stake: `owed_stroops` is the stake and the reward it would have brought.

    `fault` owes it; `code` is the error that lost it. Paid once `paid_transaction` is there.
    """

    compensation_id: UUID
    block_index: int
    pooler_id: UUID
    farmer_id: UUID
    fault: Fault
    code: str
    stake_stroops: Stroops
    forecast_stroops: Stroops
    owed_stroops: Stroops
    created_at: datetime
    paid_transaction: str | None
    paid_at: datetime | None
    standing: CompensationStanding = Field(
        description="to-check: a worked pail that went with its block and may have been harvested by somebody else; it "
        "counts as owed once an operator has found that nothing came back. not-owed: it came back."
    )
    approved_at: datetime | None = Field(description="An operator's yes to pay it.")
    wait_code: str | None
    wait_message: str | None = Field(description="Why the pool has not paid it by itself.")


@router.get("/compensations", summary="What is owed to a pooler's farmers", responses=PROBLEMS)
async def compensations(
    request: Request,
    pooler_id: UUID,
    caller: PoolerOrOperator,
    paging: Paging,
    paid: Annotated[bool | None, Query(description="Only what was paid, or was not.")] = None,
    standing: Annotated[CompensationStanding | None, Query(description="Only these.")] = None,
) -> Page[CompensationView]:
    """Every stake that was lost, by whose fault and why, the newest first."""
    caller.require_pooler(pooler_id)
    return await compensation_page(request, pooler_id, paid, standing, paging)


async def compensation_page(
    request: Request, pooler_id: UUID | None, paid: bool | None, standing: CompensationStanding | None, paging: Paging
) -> Page[CompensationView]:
    """A page of compensations, of all poolers where `pooler_id` is None."""
    rows = await operators.compensations(
        context(request).database, pooler_id, paid, standing, after=paging.after, limit=paging.limit
    )
    items = [CompensationView.model_validate(row) for row in rows]
    return Page(items=items, next=next_cursor([item.compensation_id for item in items], paging))
