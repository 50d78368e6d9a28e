"""Who has no trustline is put its KALE down to be claimed, where it wishes so: once, and taken back in time."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from stellar_sdk import Keypair
from stellar_sdk.operation import ClaimClaimableBalance

from kalepool.chain import CLAIMABLE_RESERVE_STROOPS, building
from kalepool.services import postings
from kalepool.services.journal.recovery import recover
from kalepool.services.mining import claimables, payout_records, payout_wishes, payouts

from ..conftest import KALE
from .test_crashes import CrashError, crash
from .test_double_entry import balances, right
from .test_payouts import arm_payment, credited, do, kale_of

pytestmark = pytest.mark.anyio

DAY = 86_400


async def wished(farm, amount: int = 20 * KALE):
    """A miner whose wallet is not on the ledger, and that wants a claimable balance."""
    wallet = Keypair.random()
    [(miner, _)] = await credited(farm, amount, wallets=[wallet])
    await payout_records.set_terms(farm.ctx.database, miner, None, True)
    return miner, wallet


async def standing(farm, miner) -> tuple[int, int, int, int]:
    found = await payout_records.balance(farm.ctx.database, miner)
    due, paying, claimable, paid = (found[f"{name}_stroops"] for name in ("due", "paying", "claimable", "paid"))
    return due, paying, claimable, paid


async def only_payout(farm, miner):
    [found] = await payout_records.payouts_of(farm.ctx.database, miner, after=None, limit=9)
    return found


async def claim(farm, wallet: Keypair, balance_id: str | None) -> None:
    await farm.ctx.chain.fund(wallet.public_key)
    assert balance_id is not None
    await do(farm, wallet, building.trustline(farm.ctx.chain.asset), ClaimClaimableBalance(balance_id))


async def test_who_wishes_it_claims_what_its_wallet_could_not_be_paid(farm) -> None:
    wallet = Keypair.random()
    [(miner, _)] = await credited(farm, 20 * KALE, wallets=[wallet])
    assert await payouts.pay(farm.ctx) == 0, "only by wish"
    assert (await payout_records.balance(farm.ctx.database, miner))["payout_code"] == "payee-account-missing"
    await payout_records.set_terms(farm.ctx.database, miner, None, True)
    treasury = Keypair.from_public_key(farm.ctx.accounts.treasury.public_key)
    before = (await farm.ctx.chain.read_accounts([treasury.public_key]))[treasury.public_key]

    assert await payouts.pay(farm.ctx) == 1
    assert await kale_of(farm, treasury) == [0]
    locked = (await farm.ctx.chain.read_accounts([treasury.public_key]))[treasury.public_key]
    assert locked.native_stroops - locked.spendable_stroops == (
        before.native_stroops - before.spendable_stroops + CLAIMABLE_RESERVE_STROOPS
    )
    assert await standing(farm, miner) == (0, 0, 20 * KALE, 0)
    payout = await only_payout(farm, miner)
    assert payout.status == "claimable" and payout.transaction_hash is not None
    assert await right(farm) == []
    assert await payouts.pay(farm.ctx) == await claimables.look(farm.ctx) == 0, "it lies there"
    assert (await balances(farm))[f"claimable/{payout.payout_id}"] == 20 * KALE

    # What is earned meanwhile waits: each balance locks XLM of the pool's.
    await farm.rows(
        "SELECT post_transfers('{more}', '{corrected}', '{operator}', ARRAY[%s], '{200000000}', '{NULL}', '{NULL}', "
        "'{NULL}', '{NULL}')",
        f"miner/{miner}",
    )
    await farm.give(treasury.public_key, 20 * KALE)
    assert await right(farm) == []
    assert await payouts.pay(farm.ctx) == 0
    assert (await payout_records.balance(farm.ctx.database, miner))["payout_code"] == "claimable-unclaimed"

    await claim(farm, wallet, payout.balance_id)
    assert await kale_of(farm, wallet) == [20 * KALE]
    assert await claimables.look(farm.ctx) == 1 and await claimables.look(farm.ctx) == 0
    assert await standing(farm, miner) == (20 * KALE, 0, 0, 20 * KALE)
    assert (await only_payout(farm, miner)).status == "paid"
    assert await right(farm) == []
    await payout_wishes.wish(farm.ctx, miner, "k")
    assert await payouts.pay(farm.ctx) == 1, "it has a trustline now"
    assert await kale_of(farm, wallet) == [40 * KALE]
    assert await right(farm) == []


async def test_nothing_is_put_down_where_it_could_not_be_claimed_or_is_too_little(farm) -> None:
    miner, _ = await wished(farm, 3 * KALE)
    with pytest.raises(payouts.PayeeError) as error:
        await payout_wishes.wish(farm.ctx, miner, "k")
    assert error.value.reason == "claimable-too-little"
    assert await standing(farm, miner) == (3 * KALE, 0, 0, 0)


async def test_without_xlm_to_lock_it_waits_and_says_so(farm, monkeypatch) -> None:
    miner, _ = await wished(farm)

    async def nothing(_: int) -> int:
        return 0

    monkeypatch.setattr(farm.ctx.accounts, "give_treasury", nothing)
    assert await payouts.pay(farm.ctx) == 0
    found = await payout_records.balance(farm.ctx.database, miner)
    assert (found["payout_code"], found["due_stroops"]) == ("claimable-reserve-missing", 20 * KALE)


async def test_what_nobody_claims_in_time_is_taken_back_and_owed_again(farm) -> None:
    miner, wallet = await wished(farm)
    assert await payouts.pay(farm.ctx) == 1
    payout = await only_payout(farm, miner)
    await farm.pass_time(89 * DAY)
    assert await claimables.look(farm.ctx) == 0
    await farm.pass_time(DAY + 60)
    with pytest.raises(AssertionError):  # it is the treasury's alone now
        await claim(farm, wallet, payout.balance_id)
    assert await claimables.look(farm.ctx) == 1
    treasury = Keypair.from_public_key(farm.ctx.accounts.treasury.public_key)
    assert await kale_of(farm, treasury) == [20 * KALE]
    assert await standing(farm, miner) == (20 * KALE, 0, 0, 0)
    taken = await only_payout(farm, miner)
    assert (taken.status, taken.code) == ("failed", "claimable-taken-back")
    told = await payout_records.balance(farm.ctx.database, miner)
    assert (told["payout_code"], told["claimable"]) == ("claimable-taken-back", False)
    assert await claimables.look(farm.ctx) == await payouts.pay(farm.ctx) == 0, "not again unless it is wished again"
    assert await right(farm) == []


POINTS = ("claim", "before send", "after send", "before settle")


async def restarted(farm, stack: AsyncExitStack):
    ctx = await farm.restart(stack)
    await ctx.accounts.ensure()
    await ctx.accounts.ensure_treasury()
    await farm.wait_ledger()
    await recover(ctx.journal)
    return ctx


@pytest.mark.parametrize("point", POINTS)
async def test_it_is_put_down_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    miner, wallet = await wished(farm)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            await farm.ctx.accounts.give_treasury(CLAIMABLE_RESERVE_STROOPS)
            arm_payment(farm, point, patch)
            with pytest.raises(CrashError):
                await payouts.pay(farm.ctx)
        ctx = await restarted(farm, stack)
        await payouts.pay(ctx)
        await payouts.pay(ctx)
        assert await standing(farm, miner) == (0, 0, 20 * KALE, 0)
        assert await right(farm) == []
        # The miner claims it; the process dies while that is written down.
        await claim(farm, wallet, (await only_payout(farm, miner)).balance_id)
        with monkeypatch.context() as patch:
            patch.setattr(postings, "post", crash)
            with pytest.raises(CrashError):
                await claimables.look(ctx)
        assert await claimables.look(ctx) == 1 and await claimables.look(ctx) == 0
        assert await standing(farm, miner) == (0, 0, 0, 20 * KALE)
        assert await kale_of(farm, wallet) == [20 * KALE]
        assert await right(farm) == []


@pytest.mark.parametrize("point", POINTS[1:])
async def test_it_is_taken_back_once_wherever_the_process_dies(farm, point: str, monkeypatch) -> None:
    miner, _ = await wished(farm)
    assert await payouts.pay(farm.ctx) == 1
    await farm.pass_time(90 * DAY + 60)
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm_payment(farm, point, patch)
            with pytest.raises(CrashError):
                await claimables.look(farm.ctx)
        ctx = await restarted(farm, stack)
        await claimables.look(ctx)
        await claimables.look(ctx)
        assert await standing(farm, miner) == (20 * KALE, 0, 0, 0)
        counts = await farm.rows("SELECT count(*) FROM submissions WHERE action = 'take_back' AND status = 'applied'")
        assert counts == [(1,)]
        treasury = Keypair.from_public_key(ctx.accounts.treasury.public_key)
        assert await kale_of(farm, treasury) == [20 * KALE]
        assert await right(farm) == []
