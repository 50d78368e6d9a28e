"""A process that dies between any two steps of a submission: after a restart everything is done once, and recorded."""

from __future__ import annotations

from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from kalepool.services.context import Context
from kalepool.services.failures import BlockNotOpenError
from kalepool.services.farmers import Farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.journal import events
from kalepool.services.journal.recovery import recover

pytestmark = pytest.mark.anyio


class CrashError(BaseException):
    """The process dies here: no handler of the program catches it."""


async def crash(*_: object, **__: object) -> None:
    raise CrashError


def arm(ctx: Context, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the process die at a point of the next submission."""
    match point:
        case "before send":
            monkeypatch.setattr(ctx.chain, "submit", crash)
        case "after send":
            monkeypatch.setattr(ctx.chain, "look_up", crash)  # what follows sending
        case "before settle":
            monkeypatch.setattr(events, "insert_applied", crash)  # inside the database transaction that settles


async def do(farm, action: str, index: int, farmer_id: UUID, nonce: int) -> None:
    match action:
        case "plant":
            await plant.plant(farm.ctx, index, farm.pooler_id)
        case "work":
            await work.work(farm.ctx, index, farm.pooler_id, [Submission(farmer_id, nonce)])
        case "harvest":
            await harvest.harvest(farm.ctx, farm.pooler_id, index)


async def come_to(farm, action: str, index: int, farmer: Farmer) -> int:
    """All that a block needs before the action. Returns the nonce to work with, 0 before there is a pail."""
    nonce = 0
    for step in ("plant", "work", "harvest"):
        if step == "work":
            nonce = await farm.nonce(farmer, index)
        if step == "harvest":
            await farm.end_block()
            await farm.start_block(index + 1)
        if step == action:
            break
        await do(farm, step, index, farmer.farmer_id, nonce)
    return nonce


async def applied(farm, action: str) -> list[tuple]:
    table, outcome = {
        "plant": ("plantings", "planted"),
        "work": ("works", "worked"),
        "harvest": ("harvests", "harvested"),
    }[action]
    return await farm.rows(f"SELECT encode(transaction_hash, 'hex') FROM {table} WHERE outcome = %s", outcome)


@pytest.mark.parametrize(
    ("action", "point", "late"),
    [
        ("plant", "before send", False),
        ("plant", "after send", False),
        ("plant", "before settle", False),
        ("work", "before send", False),
        ("work", "before send", True),
        ("work", "before settle", False),
        ("harvest", "before send", False),
        ("harvest", "after send", False),
        ("harvest", "before settle", False),
    ],
)
async def test_done_once_after_a_crash(
    farm, action: str, point: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`late`: the restart comes when the transaction's time bound has passed."""
    (farmer,) = await farm.add_farmers(1)
    index = await farm.current_index()
    nonce = await come_to(farm, action, index, farmer)

    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            with pytest.raises(CrashError):
                await do(farm, action, index, farmer.farmer_id, nonce)
        assert await farm.rows("SELECT action FROM submissions WHERE status = 'open'") == [(action,)]

        ctx = await farm.restart(stack)
        if late:
            assert await recover(ctx.journal, resend=False) == 1, "as long as it could still apply, nothing is known"
            await farm.pass_time(30)
        await farm.wait_ledger()
        assert await recover(ctx.journal) == 0
        assert len(await applied(farm, action)) == (0 if late else 1)
        await ctx.accounts.ensure()

        await do(farm, action, index, farmer.farmer_id, nonce)
        await do(farm, action, index, farmer.farmer_id, nonce)
        assert len(await applied(farm, action)) == 1
        counts = await farm.rows("SELECT status, count(*) FROM submissions WHERE action = %s GROUP BY status", action)
        assert dict(counts) == ({"applied": 1, "expired": 1} if late else {"applied": 1})


async def test_no_block_is_started_under_works_that_may_still_land(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks, and whatever it remembers: a plant that starts the next block makes them fail, and loses stakes."""
    (farmer,) = await farm.add_farmers(1)
    nonce = await come_to(farm, "work", 0, farmer)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, "before send", patch)
            with pytest.raises(CrashError):
                await do(farm, "work", 0, farmer.farmer_id, nonce)
        ctx = await farm.restart(stack)
        await farm.end_block()
        with pytest.raises(BlockNotOpenError, match="1 works of block 0 are under way"):
            await plant.plant(ctx, 1, farm.pooler_id)
        await recover(ctx.journal)
        await ctx.accounts.ensure()
        result = await plant.plant(ctx, 1, farm.pooler_id)
        assert len(result.planted) == 1, result
