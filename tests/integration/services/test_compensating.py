"""Lost stakes are paid from the operator's part of the treasury: once, no more than it holds, some after a yes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

import pytest
from stellar_sdk import Keypair

from kalepool.database import new_id
from kalepool.errors import Fault
from kalepool.services import operators, upkeep
from kalepool.services.books import compensating
from kalepool.services.books.compensating import OwedStake
from kalepool.services.farmers import Farmer
from kalepool.services.farming import plant
from kalepool.services.journal.recovery import recover
from kalepool.services.keys import Role, create_key

from ..conftest import KALE
from .test_crashes import CrashError, arm
from .test_double_entry import balances, right
from .test_payouts import kale_of

pytestmark = pytest.mark.anyio


async def lost_stakes(farm, count: int = 1, *, fault: str = "backend", limit: int = 100 * KALE) -> list[Farmer]:
    """Farmers that have lost a stake each, and a treasury with nothing in it."""
    made = await farm.add_farmers(count)
    farm.ctx.settings = farm.settings = farm.settings.model_copy(update={"compensation_limit_stroops": limit})
    await farm.ctx.accounts.ensure_treasury()
    assert await right(farm) == []
    await lose(farm, fault)
    return made


async def lose(farm, fault: str = "backend") -> None:
    """A block in which nobody is worked. Alone in it, a farmer would have had the whole pot: here it is 3 KALE."""
    index = await farm.current_index()
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    await farm.end_block()
    await farm.start_block(index + 1)
    await upkeep.record_losses(farm.ctx)
    await farm.rows(
        "UPDATE pooler_compensations SET fault = %s, forecast_stroops = %s WHERE paid_at IS NULL", fault, 3 * KALE
    )


async def fund(farm, stroops: int) -> None:
    """The operator's own, paid into the treasury."""
    await farm.give(farm.ctx.accounts.treasury.public_key, stroops)
    assert await right(farm) == []


async def owed(farm) -> dict[UUID, int]:
    rows = await farm.rows("SELECT farmer_id, (stake_stroops + forecast_stroops)::bigint FROM pooler_compensations")
    return dict(rows)


async def wallets(farm, made: list[Farmer]) -> list[int | None]:
    return await kale_of(farm, *(Keypair.from_public_key(each.custodial_wallet) for each in made))


async def waits(farm) -> list[str | None]:
    return [code for (code,) in await farm.rows("SELECT wait_code FROM pooler_compensations ORDER BY compensation_id")]


async def test_up_to_the_limit_a_lost_stake_is_paid_by_itself_once(farm) -> None:
    made = await lost_stakes(farm, 2)
    due = await owed(farm)
    before = await wallets(farm, made)
    await fund(farm, 300 * KALE)
    assert await compensating.compensate(farm.ctx) == 2
    paid = [due[each.farmer_id] for each in made]
    assert await wallets(farm, made) == [(had or 0) + more for had, more in zip(before, paid, strict=True)]
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'compensate'") == [(1,)]
    assert await farm.rows("SELECT count(*) FROM pooler_compensations WHERE paid_transaction IS NULL") == [(0,)]
    assert await compensating.compensate(farm.ctx) == 0
    assert await right(farm) == []
    found = await balances(farm)
    assert found["treasury"] == -found["operator"] == 300 * KALE - sum(paid)


async def test_more_or_by_anothers_fault_takes_a_yes(farm) -> None:
    (one,) = await lost_stakes(farm, 1, limit=1)
    await fund(farm, 300 * KALE)
    assert await compensating.compensate(farm.ctx) == 0 and await waits(farm) == ["approval-needed"]
    await farm.rows("UPDATE pooler_compensations SET fault = 'pooler'")
    farm.ctx.settings = farm.settings.model_copy(update={"compensation_limit_stroops": 100 * KALE})
    assert await compensating.compensate(farm.ctx) == 0
    key = (await create_key(farm.ctx.database, Role.OPERATOR)).key_id
    [(found,)] = await farm.rows("SELECT compensation_id FROM pooler_compensations")
    for _ in range(2):
        assert (await operators.approve_compensation(farm.ctx, key, found)).approved_at is not None
    before = await wallets(farm, [one])
    assert await compensating.compensate(farm.ctx) == 1 and await compensating.compensate(farm.ctx) == 0
    assert await wallets(farm, [one]) == [(before[0] or 0) + (await owed(farm))[one.farmer_id]]
    assert await farm.rows("SELECT action FROM operator_actions") == [("approve-compensation",)]
    for again in (
        operators.approve_compensation(farm.ctx, key, found),
        operators.pay_compensation(farm.ctx, key, found, "ab" * 32),
    ):
        with pytest.raises(operators.PaidAlreadyError):
            await again
    assert await right(farm) == []


async def test_it_is_never_more_than_the_operators_part(farm) -> None:
    """What miners are due is not the operator's, and a stroop too little is too little."""
    (one,) = await lost_stakes(farm)
    due = (await owed(farm))[one.farmer_id]
    assert await compensating.compensate(farm.ctx) == 0 and await waits(farm) == ["operator-part-short"]
    await fund(farm, due)
    await farm.rows(
        "SELECT post_transfers('{test}', '{corrected}', '{operator}', '{miner/m}', '{1}', '{NULL}', '{NULL}', "
        "'{NULL}', '{NULL}')"
    )
    assert await compensating.compensate(farm.ctx) == 0
    await fund(farm, 1)
    assert await compensating.compensate(farm.ctx) == 1
    assert (await balances(farm))["operator"] == 0 and (await balances(farm))["treasury"] == 1
    assert await right(farm) == []


async def test_nothing_goes_to_a_wallet_that_was_changed(farm) -> None:
    (one,) = await lost_stakes(farm)
    await fund(farm, 300 * KALE)
    thief = Keypair.random().public_key
    await farm.rows("UPDATE farmers SET custodial_wallet = %s WHERE farmer_id = %s", thief, one.farmer_id)
    assert await compensating.compensate(farm.ctx) == 0 and await waits(farm) == ["custody"]


@pytest.mark.parametrize("point", ["before send", "after send", "before settle"])
async def test_a_lost_stake_is_paid_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    (one,) = await lost_stakes(farm)
    await fund(farm, 300 * KALE)
    before = await wallets(farm, [one])
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, point, patch)
            with pytest.raises(CrashError):
                await compensating.compensate(farm.ctx)
        ctx = await farm.restart(stack)
        [(found,)] = await farm.rows("SELECT compensation_id FROM pooler_compensations")
        await ctx.accounts.ensure()
        await ctx.accounts.ensure_treasury()
        await farm.wait_ledger()
        await recover(ctx.journal)
        await compensating.compensate(ctx)
        await compensating.compensate(ctx)
        assert await wallets(farm, [one]) == [(before[0] or 0) + (await owed(farm))[one.farmer_id]]
        assert (await operators.read_compensation(ctx.database, found)).paid_transaction is not None
        assert await right(farm) == []


def test_what_waits_whatever_the_treasury_has() -> None:
    stake = OwedStake(new_id(), 7, new_id(), "G", "active", 30, Fault.BACKEND, False, None, None)
    assert stake.waits(30) is None and replace(stake, is_approved=True).waits(0) is None
    more = (stake.waits(29), replace(stake, fault=Fault.NETWORK).waits(30))
    assert [each and each.code for each in more] == ["approval-needed"] * 2
    gone = replace(stake, farmer_status="departed", is_approved=True).waits(30)
    assert gone is not None and gone.code == "farmer-departed"
    rows = [replace(stake, block_index=block) for block in (8, *[7] * 51, 8)]
    assert [(len(batch), batch[0].block_index) for batch in compensating.batches(rows)] == [(50, 7), (1, 7), (2, 8)]
