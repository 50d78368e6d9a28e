"""XLM that runs out is told of in hours, and what is pending never asks for more than there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kalepool.api.routes.page import PageShown, render_parts
from kalepool.chain import Status
from kalepool.config import Settings
from kalepool.services.farming import plant
from kalepool.services.health import Health
from kalepool.units import kale, lasting
from kalepool.view.history import HistoryReader
from kalepool.view.moment import MomentReader
from tests.integration.conftest import ISSUER

pytestmark = pytest.mark.anyio


async def leave_the_payer(farm, spare_stroops: int) -> None:
    """So much XLM for fees, and no more."""
    chain, pool = farm.ctx.chain, farm.ctx.accounts.payer
    account = (await chain.read_accounts([pool.public_key]))[pool.public_key]
    too_much = account.spendable_stroops - spare_stroops - 200
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain.prepare_payment(pool, ISSUER.public_key, native_stroops=too_much, deadline=deadline)
    assert (await chain.submit(prepared)).status is Status.APPLIED
    account = (await chain.read_accounts([pool.public_key]))[pool.public_key]
    assert abs(account.spendable_stroops - spare_stroops) < 1_000


async def test_what_is_pending_fits_the_payers_balance(farm) -> None:
    """As core counts it: the maximum fees of all that is pending together. Who does not fit waits for a ledger."""
    await farm.add_farmers(8)
    chain = farm.ctx.chain
    farmer = farm.farmers[0]
    signer = farm.ctx.custody.signer(farmer.binding, farmer.secret_sealed)
    deadline = await chain.now() + timedelta(seconds=30)
    one = await chain.prepare_plant(signer, 10, pool=farm.ctx.accounts.payer, deadline=deadline)
    assert one.payer == farm.ctx.accounts.payer.public_key and one.max_fee_stroops > 10_000
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id, max_farmers=1)).planted) == 1
    [(fee,)] = await farm.rows("SELECT fee_stroops::bigint FROM submissions WHERE action = 'plant'")
    spare = 7 * fee + one.max_fee_stroops  # enough for what they cost, not for what they may cost at once
    assert spare < 7 * one.max_fee_stroops
    await leave_the_payer(farm, spare)
    planted = await plant.plant(farm.ctx, 0, farm.pooler_id)
    assert len(planted.planted) == 8, planted.failed
    assert await farm.rows("SELECT count(*) FROM submissions WHERE result_code = 'txINSUFFICIENT_BALANCE'") == [(0,)]
    assert not chain._purses.pending_stroops(one.payer)


async def test_hours_left_are_shown_and_said(farm) -> None:
    await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.ctx.accounts.ensure()
    lasts = farm.ctx.accounts.endurance
    [(burned,)] = await farm.rows("SELECT sum(fee_stroops)::bigint FROM submissions")
    assert lasts is not None and lasts.hourly_stroops == pytest.approx(burned * 4, rel=0.01)
    accounts = (await Health(farm.ctx).report()).components["accounts"]
    assert (
        accounts.state == "up"
        and f"XLM for {lasting(lasts.hours)} at {kale(lasts.daily_stroops)} a day" in accounts.detail
    )

    # As after the pool has burned ten times as much as it has left in a day.
    spare = lasts.spare_stroops
    await farm.rows("UPDATE submissions SET fee_stroops = %s WHERE action = 'create_account'", 10 * spare)
    await farm.rows(
        "UPDATE submissions SET created_at = now() - interval '23 hours 59 minutes' WHERE action = 'create_account'"
    )
    await farm.ctx.accounts.ensure()
    assert farm.ctx.accounts.endurance.hours == pytest.approx(2.4, rel=0.02)
    accounts = (await Health(farm.ctx).report()).components["accounts"]
    assert accounts.state == "waiting" and "XLM for 2 hours" in accounts.detail
    assert farm.ctx.accounts.payer.public_key in accounts.detail
    settings: Settings = farm.settings
    moment = await MomentReader(farm.ctx.database, farm.ctx.chain, min_spare_stroops=settings.min_spare_stroops).read()
    history = await HistoryReader(farm.ctx.database).read()
    parts = render_parts("en", PageShown(moment, history, [], farm.ctx.accounts.endurance.hours), None)
    assert "XLM lasts" in parts["figures"] and "2<small> hours" in parts["figures"]
