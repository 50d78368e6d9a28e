"""Farmers that start with nothing but KALE: the pool's account pays their wallets' reserve, and has it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from stellar_sdk import Keypair

from kalepool.actions import ActionName
from kalepool.chain import BASE_RESERVE_STROOPS, Account, Status
from kalepool.chain.past import read_envelope
from kalepool.services import farmers, leaving, pool_accounts
from kalepool.services.farmers import Farmer, Lacking
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.keys import Role
from tests.integration.conftest import KALE, FarmUnderTest, open_farm
from tests.integration.services.test_paying_farmers import kale_of

pytestmark = pytest.mark.anyio

LENT = 3 * BASE_RESERVE_STROOPS


@pytest.fixture
async def farm(database_url: str, tmp_path: Path) -> AsyncIterator[FarmUnderTest]:
    async with AsyncExitStack() as stack:
        yield await open_farm(stack, database_url, tmp_path, sponsored_farmers=2, farmer_deposit_stroops=10 * KALE)


async def pool(farm) -> Account:
    address = farm.ctx.accounts.payer.public_key
    return (await farm.ctx.chain.read_accounts([address]))[address]


async def trusting_wallet(farm) -> str:
    """On the ledger, with a KALE trustline."""
    made = Keypair.random()
    await farm.ctx.chain.fund(made.public_key)
    deadline = await farm.ctx.chain.now() + timedelta(seconds=30)
    prepared = await farm.ctx.chain.prepare_trustline(made, pool=None, deadline=deadline)
    assert (await farm.ctx.chain.submit(prepared)).status is Status.APPLIED
    return made.public_key


async def wallet(farm, farmer: Farmer) -> Account | None:
    return (await farm.ctx.chain.read_accounts([farmer.custodial_wallet])).get(farmer.custodial_wallet)


async def test_a_farmer_needs_nothing_but_kale_from_the_first_plant_until_it_has_left(farm) -> None:
    before = await pool(farm)
    await farm.ctx.accounts.read_sponsors()
    payout = await trusting_wallet(farm)
    made = [await farmers.register(farm.ctx, farm.pooler_id, payout, Decimal("0.1")) for _ in range(3)]
    assert made[0].missing == Lacking(0, trustline=True)
    assert await farmers.activate(farm.ctx) == 2, "as many as the setting says"
    assert await farmers.activate(farm.ctx) == 0
    first, second, third = (each.farmer for each in made)
    assert await wallet(farm, third) is None
    account = await wallet(farm, first)
    assert account is not None and (account.native_stroops, account.spendable_stroops, account.sponsored) == (0, 0, 3)
    lent = await pool(farm)
    assert lent.sponsoring == 6 and farm.ctx.accounts.sponsored_stroops == 2 * LENT
    [(envelope,), *_] = await farm.rows("SELECT envelope_xdr FROM submissions WHERE action = 'trustline' LIMIT 1")
    past = read_envelope(envelope, farm.settings.chain, farm.ctx.chain.asset)
    assert past.action is ActionName.TRUSTLINE
    assert {part.wallet for part in past.parts} <= {first.custodial_wallet, second.custodial_wallet}
    assert 0 < before.spendable_stroops - lent.spendable_stroops - 2 * LENT + 1 <= 1, "channels pay what it costs"

    for farmer in (first, second):
        await farm.give(farmer.custodial_wallet, 100 * KALE)
    index = await farm.current_index()
    assert len((await plant.plant(farm.ctx, index, farm.pooler_id)).planted) == 2
    nonces = [Submission(each.farmer_id, await farm.nonce(each, index)) for each in (first, second)]
    assert len((await work.work(farm.ctx, index, farm.pooler_id, nonces)).accepted) == 2
    await farm.end_block()
    await leaving.leave(farm.ctx, first)
    await farm.start_block(index + 1)
    assert len((await harvest.harvest(farm.ctx, farm.pooler_id, index)).harvested) == 2
    holds = await kale_of(farm, first.custodial_wallet)

    assert await leaving.advance(farm.ctx) == 1
    assert await wallet(farm, first) is None and await kale_of(farm, payout) == holds
    after = await pool(farm)
    assert (after.sponsoring, after.native_stroops <= lent.native_stroops) == (3, True)
    assert await farmers.activate(farm.ctx) == 1, "there is room for the third now"
    account = await wallet(farm, third)
    assert account is not None and account.sponsored == 3


async def test_what_was_lent_for_nothing_comes_back(farm) -> None:
    """A stranger's registration that brings nothing is closed, also where its payout wallet is not on the ledger."""
    await farm.ctx.accounts.read_sponsors()
    nowhere = Keypair.random().public_key
    made = await farmers.register(
        farm.ctx, farm.pooler_id, nowhere, Decimal("0.1"), by=Role.FARMER, address="192.0.2.1", owner_wallet=nowhere
    )
    assert made.missing == Lacking(0, True, farm.settings.farmer_deposit_stroops)
    while (await pool(farm)).sponsoring == 0:
        await farmers.activate(farm.ctx)
    await farm.rows("UPDATE farmers SET registered_at = now() - interval '25 hours'")
    await farmers.activate(farm.ctx)
    assert (await leaving.read(farm.ctx, made.farmer.farmer_id)).code == farmers.LAPSED
    assert await leaving.advance(farm.ctx) == 1
    assert (await pool(farm)).sponsoring == 0 and await wallet(farm, made.farmer) is None


async def test_a_pool_without_xlm_lends_none(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    spendable = (await pool(farm)).spendable_stroops
    monkeypatch.setattr(pool_accounts, "CHANNEL_LOW_STROOPS", spendable - 2 * LENT + 1)
    assert await farm.ctx.accounts.read_sponsors() == 1
    monkeypatch.setattr(pool_accounts, "CHANNEL_LOW_STROOPS", spendable)
    assert await farm.ctx.accounts.read_sponsors() == 0
