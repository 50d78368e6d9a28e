"""Withdrawals and departures over crashes, silence and refusals: paid once, and nothing lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status, building
from kalepool.errors import RpcUnavailableError
from kalepool.services import leaving, withdrawals
from kalepool.services.failures import FarmerLeavesError
from kalepool.services.farmers import Farmer
from kalepool.services.farming import plant
from kalepool.services.journal.recovery import recover
from kalepool.services.withdrawals import Withdrawal
from tests.integration.conftest import KALE
from tests.integration.services.test_crashes import CrashError, arm

pytestmark = pytest.mark.anyio

POINTS = ["before send", "after send", "before settle"]


async def add_farmer(farm, *, limit_stroops: int | None = None) -> Farmer:
    """An active farmer with 100 KALE, whose payout wallet is on the ledger and trusts KALE up to a limit."""
    wallet = Keypair.random()
    await farm.ctx.chain.fund(wallet.public_key)
    deadline = await farm.ctx.chain.now() + timedelta(seconds=30)
    trust = [building.trustline(farm.ctx.chain.asset, limit_stroops)]
    prepared = await farm.ctx.chain._prepare_classic("test", trust, wallet, None, deadline, 1)
    assert (await farm.ctx.chain.submit(prepared)).status is Status.APPLIED
    (farmer,) = await farm.add_farmers(1)
    await farm.pay_out_to(farmer, wallet.public_key)
    return await read(farm, farmer)


async def read(farm, farmer: Farmer) -> Farmer:
    found = await farm.ctx.database.fetch_one("select_farmer_of_any_pooler", row=Farmer, farmer_id=farmer.farmer_id)
    assert found is not None
    return found


async def kale_of(farm, address: str) -> int | None:
    return (await farm.ctx.chain.read_accounts([address]))[address].kale_stroops


async def withdraw(farm, farmer: Farmer) -> Withdrawal:
    return await withdrawals.withdraw(farm.ctx, farmer, "once", "KALE", 30 * KALE)


async def restart(farm, stack: AsyncExitStack) -> None:
    """A new process on what the old one left, as it starts."""
    ctx = await farm.restart(stack)
    await farm.wait_ledger()
    assert await recover(ctx.journal) == 0
    await ctx.accounts.ensure()


@pytest.mark.parametrize("point", POINTS)
async def test_a_withdrawal_is_paid_once_over_a_crash(farm, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    farmer = await add_farmer(farm)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            with pytest.raises(CrashError):
                await withdraw(farm, farmer)
        await restart(farm, stack)
        # the process itself goes on with it, and the farmer, who had no answer, asks again
        assert await withdrawals.resume(farm.ctx) == 1
        paid = await withdraw(farm, farmer)
        assert paid.status == "paid"
        assert await withdrawals.resume(farm.ctx) == 0
        assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE
        assert await kale_of(farm, farmer.custodial_wallet) == 70 * KALE
        assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'payment' AND status = 'applied'") == [
            (1,)
        ]


async def test_a_wish_that_was_never_sent_is_paid_by_itself(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    farmer = await add_farmer(farm)

    async def silent(*_: object, **__: object) -> None:
        raise RpcUnavailableError("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(farm.ctx.chain, "submit_retrying", silent)
        begun = await withdraw(farm, farmer)
    assert (begun.status, begun.transaction_hash, begun.code) == ("open", None, None)
    assert await withdrawals.resume(farm.ctx) == 1
    assert (await withdraw(farm, farmer)).status == "paid"
    assert await kale_of(farm, farmer.payout_wallet) == 30 * KALE


async def test_what_the_network_refuses_has_failed_for_good(farm) -> None:
    farmer = await add_farmer(farm, limit_stroops=KALE)
    failed = await withdraw(farm, farmer)
    assert (failed.status, failed.code) == ("failed", "trustline-missing"), failed
    assert failed.message
    assert await withdraw(farm, farmer) == failed
    assert await withdrawals.resume(farm.ctx) == 0
    assert await kale_of(farm, farmer.custodial_wallet) == 100 * KALE
    small = await withdrawals.withdraw(farm.ctx, farmer, "less", "KALE", KALE)
    assert small.status == "paid"


@pytest.mark.parametrize("point", POINTS)
async def test_a_departure_over_a_crash(farm, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    farmer = await add_farmer(farm)
    await leaving.leave(farm.ctx, farmer)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            with pytest.raises(CrashError):
                await leaving.advance(farm.ctx)
        await restart(farm, stack)
        assert await leaving.advance(farm.ctx) == 1
        assert (await leaving.read(farm.ctx, farmer.farmer_id)).status == "departed"
        assert await kale_of(farm, farmer.payout_wallet) == 100 * KALE
        assert await leaving.advance(farm.ctx) == 0


async def test_a_pay_out_the_network_refuses_is_not_tried_all_the_time(farm) -> None:
    farmer = await add_farmer(farm, limit_stroops=KALE)
    await leaving.leave(farm.ctx, farmer)
    for _ in range(3):
        assert await leaving.advance(farm.ctx) == 0
    found = await leaving.read(farm.ctx, farmer.farmer_id)
    assert (found.status, found.code) == ("leaving", "trustline-missing")
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'merge'") == [(1,)]
    assert await kale_of(farm, farmer.custodial_wallet) == 100 * KALE, "nothing moved"


async def test_nobody_is_planted_who_leaves(farm) -> None:
    """Not even by a call that read the farmer's state before: the journal refuses the entry."""
    farmer = await add_farmer(farm)
    await leaving.leave(farm.ctx, farmer)
    opening = await plant.open_block(farm.ctx, 0)
    with pytest.raises(FarmerLeavesError):
        await plant._plant_one(farm.ctx, 0, opening, farmer, None)
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'plant'") == [(0,)]


async def test_a_lost_stake_holds_nobody_back(farm) -> None:
    """A pail that was never worked is recorded as owed, and the rest is paid out."""
    farmer = await add_farmer(farm)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await leaving.leave(farm.ctx, farmer)
    assert await leaving.advance(farm.ctx) == 0
    assert (await leaving.read(farm.ctx, farmer.farmer_id)).code == "pail-open"
    await farm.end_block()
    await farm.start_block(1)
    await farm.rows("UPDATE poolers SET status = 'inactive'")
    async with asyncio.timeout(30):  # whatever became of its pooler
        while not await leaving.advance(farm.ctx):
            await farm.wait_ledger()
    assert await kale_of(farm, farmer.payout_wallet) == 90 * KALE
    assert await farm.rows("SELECT stake_stroops FROM pooler_compensations") == [(10 * KALE,)]
