"""The closing table of `kalepool up` on a devnet: what the pool itself moved adds up, whatever it was."""

from __future__ import annotations

from datetime import timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status
from kalepool.services import leaving, withdrawals
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.up.books import Books

from ..conftest import KALE

pytestmark = pytest.mark.anyio


async def test_withdrawals_departures_and_payments_within_the_pool_add_up(farm) -> None:
    chain = farm.ctx.chain
    made = await farm.add_farmers(3)
    payout = Keypair.random()
    await chain.fund(payout.public_key)
    deadline = await chain.now() + timedelta(seconds=30)
    prepared = await chain.prepare_trustline(payout, pool=farm.ctx.accounts.payer, deadline=deadline)
    assert (await chain.submit(prepared)).status is Status.APPLIED
    wallets = {farmer.farmer_id: payout.public_key for farmer in made}
    wallets[made[1].farmer_id] = made[2].custodial_wallet  # one farmer's payout wallet is another's custodial one
    for farmer in made:
        await farm.pay_out_to(farmer, wallets[farmer.farmer_id])
    rows = await farm.ctx.database.fetch_all(
        "select_farmers_of_pooler", row=type(made[0]), pooler_id=farm.pooler_id, statuses=["active"]
    )
    by_id = {row.farmer_id: row for row in rows}
    one, two, three = (by_id[farmer.farmer_id] for farmer in made)

    books = await Books.open(farm.ctx.database, chain, farm.pooler_id)
    index = await farm.current_index()
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, index, zeros=1)) for farmer in made]
    assert not (await work.work(farm.ctx, index, farm.pooler_id, nonces)).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed
    for paid in (
        await withdrawals.withdraw(farm.ctx, one, "KALE", "KALE", 30 * KALE),
        await withdrawals.withdraw(farm.ctx, one, "XLM", "XLM", KALE),
        await withdrawals.withdraw(farm.ctx, two, "KALE", "KALE", 20 * KALE),
    ):
        assert paid.status == "paid", paid
    await leaving.leave(farm.ctx, one)
    assert await leaving.advance(farm.ctx) == 1

    report = await books.close([])
    assert report.problems == []
    paid = {line.movement.farmer_id: line.movement.paid_stroops for line in report.lines}
    before = next(line for line in report.lines if line.movement.farmer_id == one.farmer_id)
    assert paid[one.farmer_id] < -100 * KALE and before.after == 0
    assert (paid[two.farmer_id], paid[three.farmer_id]) == (-20 * KALE, 20 * KALE)

    await farm.give(three.custodial_wallet, KALE)
    report = await books.close([])
    assert len(report.problems) == 1 and "differs from the table by 1.0000000 KALE: somebody paid" in report.problems[0]


async def test_a_pail_that_somebody_else_harvested_adds_up(farm) -> None:
    chain = farm.ctx.chain
    (farmer,) = await farm.add_farmers(1)
    books = await Books.open(farm.ctx.database, chain, farm.pooler_id)
    index = await farm.current_index()
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonce = Submission(farmer.farmer_id, await farm.nonce(farmer, index, zeros=1))
    assert not (await work.work(farm.ctx, index, farm.pooler_id, [nonce])).refused
    await farm.end_block()
    await farm.start_block(index + 1)
    assert not (await harvest.harvest(farm.ctx, farm.pooler_id, index)).failed
    # As it is recorded where the pool finds the pail gone.
    await farm.rows("ALTER TABLE harvests DISABLE TRIGGER append_only")
    await farm.rows("UPDATE harvests SET ledger = NULL, transaction_hash = NULL, submission_id = NULL")
    await farm.rows("ALTER TABLE harvests ENABLE TRIGGER append_only")
    assert (await books.close([])).problems == []
