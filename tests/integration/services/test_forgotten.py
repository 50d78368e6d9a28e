"""Transactions that the RPC server has forgotten: decided by the ledger, and where it does not tell, by an operator."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from kalepool.chain import Chain, Outcome, Status, submitting
from kalepool.database import new_id
from kalepool.errors import ConflictError, HistoryGoneError, NotFoundError
from kalepool.services import alerts, leaving, operators, withdrawals
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer
from kalepool.services.journal import forgotten
from kalepool.services.journal.recovery import recover
from kalepool.services.keys import Role, create_key
from kalepool.services.withdrawals import Withdrawal
from tests.integration.services.test_crashes import CrashError, applied, arm, come_to, do

pytestmark = pytest.mark.anyio


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's memory begins after everything that was sent, and after its time bounds."""

    async def look_up(_: Chain, transaction_hash: str, *__: object, **___: object) -> Outcome:
        return Outcome(transaction_hash, Status.UNKNOWN, error=HistoryGoneError("forgotten"))

    monkeypatch.setattr(Chain, "look_up", look_up)
    monkeypatch.setattr(submitting, "GRACE_SECONDS", 0.0)  # what is sent now is asked for in vain until then


async def dies(farm, action: str, index: int, farmer: Farmer, nonce: int, point: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        arm(farm.ctx, point, patch)
        with pytest.raises(CrashError):
            await do(farm, action, index, farmer.farmer_id, nonce)
    await farm.wait_ledger()


async def restarted(farm, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, seconds: int = 60) -> Context:
    ctx = await farm.restart(stack)
    if seconds:
        await farm.pass_time(seconds)
    forget(monkeypatch)
    return ctx


@pytest.mark.parametrize("point", ["before send", "after send"])
@pytest.mark.parametrize("action", ["plant", "work", "harvest"])
@pytest.mark.slow(6, "what is sent last is asked for in vain until its time is over")
async def test_the_ledger_tells(farm, action: str, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was never sent is expired for certain; of one that was, the pail tells. Its account goes on."""
    (farmer,) = await farm.add_farmers(1)
    index = 0
    nonce = await come_to(farm, action, index, farmer)
    await dies(farm, action, index, farmer, nonce, point)
    async with AsyncExitStack() as stack:
        ctx = await restarted(farm, stack, monkeypatch)
        assert await recover(ctx.journal) == 0
        assert ctx.journal.undecided == {}
        [(status,)] = await farm.rows("SELECT status FROM submissions WHERE action = %s", action)
        assert status == ("applied" if point == "after send" else "expired")
        assert len(await applied(farm, action)) == (point == "after send")
        if action == "work" and point == "after send":
            [(gap,)] = await farm.rows("SELECT gap FROM works")
            pail = (await ctx.chain.read_pails([(farmer.custodial_wallet, index)]))[farmer.custodial_wallet, index]
            assert gap == pail.gap
        if action == "harvest" and point == "after send":
            assert await farm.rows("SELECT reward_stroops = forecast_stroops FROM harvests") == [(True,)]
        await ctx.accounts.ensure()
        assert len(ctx.accounts.channels) == farm.settings.channel_accounts
        await do(farm, action, index, farmer.farmer_id, nonce)  # through a chain that remembers nothing


@pytest.mark.parametrize("action", ["plant", "work", "harvest"])
async def test_what_is_found_in_the_ledger_has_its_ledger_and_fee(farm, action: str) -> None:
    """The server has lost the transaction, and not the events of its fee."""
    (farmer,) = await farm.add_farmers(1)
    nonce = await come_to(farm, action, 0, farmer)
    await dies(farm, action, 0, farmer, nonce, "after send")
    [(name,)] = await farm.rows("SELECT encode(transaction_hash, 'hex') FROM submissions WHERE status = 'open'")
    known = await farm.ctx.chain.read_past(name)
    async with AsyncExitStack() as stack:
        ctx = await farm.restart(stack)
        await farm.pass_time(60)
        farm.devnet.node.faults.add({"kind": "lie", "method": "getTransaction"})
        assert await recover(ctx.journal) == 0
    [found] = await farm.rows("SELECT status, ledger, fee_stroops FROM submissions WHERE action = %s", action)
    assert found == ("applied", known[1].ledger, known[1].fee_stroops)
    table = {"plant": "plantings", "work": "works", "harvest": "harvests"}[action]
    assert await farm.rows(f"SELECT ledger FROM {table}") == [(known[1].ledger,)]


async def send_payment(farm, farmer: Farmer) -> Withdrawal:
    """A withdrawal whose payment goes out, and whose process dies then."""
    chain, ctx = farm.ctx.chain, farm.ctx
    await chain.fund(farmer.payout_wallet)
    with pytest.MonkeyPatch.context() as patch:
        arm(ctx, "after send", patch)
        with pytest.raises(CrashError):
            await withdrawals.withdraw(ctx, farmer, "one", "XLM", 10_000_000)
    await farm.wait_ledger()
    [(withdrawal_id,)] = await farm.rows("SELECT withdrawal_id FROM withdrawals")
    return await withdrawals.read(ctx, farmer.farmer_id, withdrawal_id)


async def test_what_is_settled_while_it_is_looked_for_waits_no_more(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1)
    await send_payment(farm, farmer)
    key_id = (await create_key(farm.ctx.database, Role.OPERATOR)).key_id
    async with AsyncExitStack() as stack:
        ctx = await restarted(farm, stack, monkeypatch)
        assert await recover(ctx.journal) == 1
        (submission_id,) = ctx.journal.undecided
        decide = forgotten.decide

        async def settled_meanwhile(*given: Any) -> Outcome | None:
            found = await decide(*given)
            await operators.settle_submission(ctx, key_id, submission_id, "applied", 7)
            return found

        monkeypatch.setattr(forgotten, "decide", settled_meanwhile)
        assert await recover(ctx.journal) == 0
        assert ctx.journal.undecided == {}


@pytest.mark.parametrize("found", ["applied", "failed"])
async def test_an_operator_tells(farm, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a payment arrived no balance can say: it is told once, and waits for who looks it up elsewhere."""
    (farmer,) = await farm.add_farmers(1)
    begun = await send_payment(farm, farmer)
    [(submission_id,)] = await farm.rows("SELECT submission_id FROM submissions WHERE status = 'open'")
    key_id = (await create_key(farm.ctx.database, Role.OPERATOR)).key_id
    async with AsyncExitStack() as stack:
        ctx = await restarted(farm, stack, monkeypatch)
        with pytest.raises(ConflictError, match="wait"):
            await operators.settle_submission(ctx, key_id, submission_id, "applied", 7)
        for _ in range(2):
            assert await recover(ctx.journal) == 1
        assert ctx.journal.undecided == {submission_id: ("payment", begun.transaction_hash)}
        (said,) = alerts.conditions(alerts.Observation(undecided=[(submission_id, "payment", "ab" * 32)]))
        assert "ab" * 32 in said.message
        assert str(submission_id) in said.message
        await ctx.accounts.ensure()
        assert len(ctx.accounts.channels) == farm.settings.channel_accounts

        with pytest.raises(NotFoundError):
            await operators.settle_submission(ctx, key_id, new_id(), "applied", 7)
        await operators.settle_submission(ctx, key_id, submission_id, found, 7)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ConflictError, match="known"):
            await operators.settle_submission(ctx, key_id, submission_id, "failed", 7)
        assert ctx.journal.undecided == {}
        assert await farm.rows("SELECT action, detail->>'status' FROM operator_actions") == [
            ("settle-submission", found)
        ]
        monkeypatch.undo()  # what is sent from now on is remembered
        await withdrawals.resume(ctx)
        now = await withdrawals.read(ctx, farmer.farmer_id, begun.withdrawal_id)
        assert now.status == "paid"
        assert (now.transaction_hash == begun.transaction_hash) == (found == "applied"), "paid again where it failed"


async def test_a_harvest_of_which_nothing_is_left_is_booked_by_hand(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1)
    await do(farm, "plant", 0, farmer.farmer_id, 0)
    nonce = await farm.nonce(farmer, 0)
    await do(farm, "work", 0, farmer.farmer_id, nonce)
    await farm.end_block()
    await farm.start_block(1)
    await dies(farm, "harvest", 0, farmer, nonce, "after send")
    key_id = (await create_key(farm.ctx.database, Role.OPERATOR)).key_id
    async with AsyncExitStack() as stack:
        ctx = await restarted(farm, stack, monkeypatch)

        async def gone(_: object) -> dict:
            return {}

        monkeypatch.setattr(ctx.chain, "read_blocks", gone)
        assert await recover(ctx.journal) == 1
        (submission_id,) = ctx.journal.undecided
        await operators.settle_submission(ctx, key_id, submission_id, "applied", 99)
        assert await farm.rows("SELECT outcome, ledger, reward_stroops = forecast_stroops FROM harvests") == [
            ("harvested", 99, True)
        ]


async def test_a_farmer_that_left_is_seen_to_be_gone(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1, kale_stroops=0)
    await farm.ctx.chain.fund(farmer.payout_wallet)
    await farm.rows("UPDATE farmers SET status = 'leaving', leaving_at = now() WHERE farmer_id = %s", farmer.farmer_id)
    with pytest.MonkeyPatch.context() as patch:
        arm(farm.ctx, "after send", patch)
        with pytest.raises(CrashError):
            await leaving.advance(farm.ctx)
    await farm.wait_ledger()
    async with AsyncExitStack() as stack:
        ctx = await restarted(farm, stack, monkeypatch)
        assert await recover(ctx.journal) == 0
        assert await leaving.advance(ctx) == 1
        assert await farm.rows("SELECT status FROM submissions WHERE action = 'merge'") == [("applied",)]


@pytest.mark.slow(6, "what is sent last is asked for in vain until its time is over")
async def test_a_server_that_lost_a_payment_does_not_have_it_made_again(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says of what a ledger took that it does not know it, and says nothing of a short memory."""
    monkeypatch.setattr(submitting, "GRACE_SECONDS", 0.0)
    ctx = farm.ctx
    (farmer,) = await farm.add_farmers(1)
    await ctx.chain.fund(farmer.payout_wallet)
    before = (await ctx.chain.read_accounts([farmer.payout_wallet]))[farmer.payout_wallet].native_stroops
    farm.devnet.node.faults.add({"kind": "lie", "method": "getTransaction"})
    for _ in range(3):  # what was called expired is tried again
        going = asyncio.create_task(withdrawals.withdraw(ctx, farmer, "once", "XLM", 10_000_000))
        await farm.wait_ledger()
        await farm.wait_ledger()
        await farm.pass_time(60)
        assert (await going).status == "open"
        await recover(ctx.journal)
        await withdrawals.resume(ctx)
    after = (await ctx.chain.read_accounts([farmer.payout_wallet]))[farmer.payout_wallet].native_stroops
    assert after - before == 10_000_000, "paid once"
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'payment'") == [(1,)]
    assert [action for action, _ in ctx.journal.undecided.values()] == ["payment"], "an operator is told"
    farm.devnet.node.faults.clear()
    assert await recover(ctx.journal) == 0
    await withdrawals.resume(ctx)
    assert await farm.rows("SELECT code, closed_at IS NOT NULL FROM withdrawals") == [(None, True)]
