"""Files to take away: a farmer's blocks, what blocks and days cost and brought, an operator's audit. Which columns each
has stands here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from kalepool.api.auth import Anyone, Operator
from kalepool.api.calls import context, visible_farmer
from kalepool.api.file_formats import PAGE, Row, documented_export, export
from kalepool.api.models import Moment
from kalepool.api.problems import documented
from kalepool.api.routes.self_service import FarmerBlock
from kalepool.database import first_id
from kalepool.protocol.model import U32_MAX
from kalepool.services import operators
from kalepool.services.blocks import blocks_of_farmer
from kalepool.services.books import results
from kalepool.services.operators import Audit

router = APIRouter()

FARMER_COLUMNS = tuple(FarmerBlock.model_fields)
FEES = ("plant_fee_stroops", "work_fee_stroops", "harvest_fee_stroops", "other_fee_stroops", "spent_stroops")
RESULT_COLUMNS = (*FEES, "won_stroops", "lost_stroops", "unpriced_stroops", "net_stroops")

Bound = Annotated[int, Query(ge=0, le=U32_MAX)]


@router.get(
    "/farmers/{farmer_id:uuid}/export",
    summary="A farmer's blocks as a file",
    tags=["farmers"],
    response_class=StreamingResponse,
    responses=documented_export("csv", "json") | documented(401, 404, 422, 429, 503),
)
async def export_blocks(
    request: Request,
    farmer_id: UUID,
    caller: Anyone,
    form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv",
    oldest: Bound = 0,
    newest: Bound = U32_MAX,
) -> StreamingResponse:
    """The columns of GET /farmers/{farmer_id}/blocks, the newest block first."""
    await visible_farmer(request, caller, farmer_id)
    database = context(request).database

    async def read(last: Row | None) -> Sequence[Row]:
        before = newest + 1 if last is None else last["block_index"]
        return await blocks_of_farmer(database, farmer_id, before=before, oldest=oldest, limit=PAGE)

    return await export(read, FARMER_COLUMNS, form, f"farmer-{farmer_id}")


@router.get(
    "/operator/results/{by}",
    summary="What blocks or days cost and brought, as a file",
    tags=["operators"],
    response_class=StreamingResponse,
    responses=documented_export("csv", "json") | documented(401, 403, 422, 429, 503),
)
async def export_results(
    request: Request,
    caller: Operator,
    by: Literal["blocks", "days"],
    form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv",
) -> StreamingResponse:
    """The members of GET /books/blocks or /books/days, the newest first, as far back as the pool goes. `net_stroops` is
    empty where KALE were won or lost whose price nobody knew."""
    database = context(request).database
    key = "block_index" if by == "blocks" else "day"

    async def read(last: Row | None) -> Sequence[Row]:
        found: Sequence[results.PeriodResult]
        if by == "blocks":
            before = U32_MAX + 1 if last is None else last[key]
            found = await results.of_blocks(database, before=before, limit=PAGE)
        else:
            before_day = date.max if last is None else last[key]
            found = await results.of_days(database, await results.days_before(database, before_day, PAGE))
        return [{column: getattr(result, column) for column in columns} for result in found]

    columns = (key, *(("price_xlm",) if by == "blocks" else ()), *RESULT_COLUMNS)
    return await export(read, columns, form, by)


@router.get(
    "/operator/audit/{what}",
    summary="The audit",
    tags=["operators"],
    response_class=StreamingResponse,
    responses=documented_export("csv", "ndjson") | documented(401, 403, 422, 429, 503),
)
async def audit(
    request: Request,
    caller: Operator,
    what: Audit,
    form: Annotated[Literal["csv", "ndjson"], Query(alias="format")] = "csv",
    since: Annotated[Moment | None, Query(description="Made from then on.")] = None,
    until: Annotated[Moment | None, Query(description="Made before then.")] = None,
) -> StreamingResponse:
    """Every row of a record, the oldest first."""
    database = context(request).database
    begin = first_id(since) if since else UUID(int=0)
    before = first_id(until) if until else UUID(int=2**128 - 1)

    async def read(last: Row | None) -> Sequence[Row]:
        return await operators.audit(database, what, begin, before, last, PAGE)

    return await export(read, None, form, what)
