"""What every router needs for a call: the services' Context, operations that end whatever becomes of the request, and
whom a caller may see."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

from fastapi import Request

from kalepool.api.auth import Principal
from kalepool.api.problems import Problem
from kalepool.errors import NotFoundError
from kalepool.services import farmers
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer
from kalepool.services.keys import Role

Result = TypeVar("Result")

ANSWER_SECONDS = 60.0
"""An operation that takes longer goes on; the caller is told to ask again and then finds it done."""


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


def may_see(caller: Principal, farmer: farmers.Farmer) -> bool:
    """Whether the caller may know of this farmer: itself, its payout wallet, its pooler, an operator."""
    match caller.role:
        case Role.OPERATOR:
            return True
        case Role.POOLER:
            return caller.subject_id == farmer.pooler_id
        case Role.FARMER:
            return caller.subject_id == farmer.farmer_id or (
                caller.subject_wallet is not None and caller.subject_wallet == farmer.owner_wallet
            )
        case _:
            return False


async def visible_farmer(request: Request, caller: Principal, farmer_id: UUID, *, not_pooler: bool = False) -> Farmer:
    """The farmer, if the caller may see it; `not_pooler`: and is the farmer itself or an operator.

    Raises NotFoundError, Problem 403.
    """
    farmer = await farmers.find_farmer(context(request).database, farmer_id)
    if farmer is None or not may_see(caller, farmer):
        raise NotFoundError(f"no farmer {farmer_id}")
    if not_pooler and caller.role not in (Role.FARMER, Role.OPERATOR):
        raise Problem(403, "forbidden", "only the farmer itself, or an operator, may do this")
    return farmer
