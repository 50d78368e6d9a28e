"""Who would hold up a departure by dust, or the pool's plants by payments of a stroop each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status, building
from kalepool.errors import KalepoolError
from kalepool.services import leaving, withdrawals
from kalepool.services.farmers import Farmer
from kalepool.services.farming import plant
from kalepool.services.wallet_turns import WalletBusyError, WalletTurns
from tests.integration.conftest import ISSUER, KALE
from tests.integration.services.test_paying_farmers import add_farmer, kale_of, read

pytestmark = pytest.mark.anyio

ACCOUNTS = 15


async def open_accounts(farm, count: int) -> list[Keypair]:
    """Accounts of a stranger's, each with some KALE."""
    chain, wallets = farm.ctx.chain, [Keypair.random() for _ in range(count)]
    await asyncio.gather(*(chain.fund(wallet.public_key) for wallet in wallets))
    deadline = await chain.now() + timedelta(seconds=60)

    async def trust(wallet: Keypair) -> None:
        prepared = await chain._prepare_classic("test", [building.trustline(chain.asset)], wallet, None, deadline, 1)
        assert (await chain.submit(prepared)).status is Status.APPLIED

    await asyncio.gather(*(trust(wallet) for wallet in wallets))
    gifts = [building.payment(wallet.public_key, chain.asset, KALE) for wallet in wallets]
    prepared = await chain._prepare_classic("test", gifts, ISSUER, None, deadline, 1)
    assert (await chain.submit(prepared)).status is Status.APPLIED
    return wallets


@asynccontextmanager
async def dusting(farm, victim: str, senders: list[Keypair], stroops: int = 1) -> AsyncIterator[list[int]]:
    """So much from each of them in every ledger, for ever. Gives the ledgers that it came in, one by one."""
    node, chain = farm.devnet.node, farm.ctx.chain
    came: list[int] = []
    addresses = [sender.public_key for sender in senders]
    start = await chain.read_accounts(addresses)
    sequences = {address: start[address].sequence for address in addresses}

    def send(sender: Keypair) -> None:
        address = sender.public_key
        sequences[address] += 1
        inner = building.envelope(
            address,
            sequences[address],
            [building.payment(victim, chain.asset, stroops)],
            chain.network.passphrase,
            fee_stroops=1000,
        )
        inner.sign(sender)
        node.submit(node.ledger.parse(inner.to_xdr_object().to_xdr_bytes()))

    async def for_ever() -> None:
        while True:
            for sender in senders:
                send(sender)
            await node.wait_ledger()
            came.append(node.ledger.header.sequence)

    task = asyncio.create_task(for_ever())
    try:
        yield came
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def leaves_under_dust(farm, senders: list[Keypair]) -> tuple[Farmer, leaving.Leaving]:
    farmer = await add_farmer(farm)
    async with dusting(farm, farmer.custodial_wallet, senders) as came:
        while len(came) < 3:
            await farm.wait_ledger()
        await leaving.leave(farm.ctx, farmer)
        assert await leaving.advance(farm.ctx) == 1, await leaving.read(farm.ctx, farmer.farmer_id)
    gone = await leaving.read(farm.ctx, farmer.farmer_id)
    assert (gone.status, gone.code) == ("departed", None)
    return farmer, gone


@pytest.mark.slow(10, "15 accounts of a stranger's are made and funded first")
async def test_dust_in_every_ledger_holds_no_departure_up(farm) -> None:
    """15 accounts send a stroop each in every ledger. On ledgers of 5 s a minute is 12 of them."""
    senders = await open_accounts(farm, ACCOUNTS)
    await leaves_under_dust(farm, senders)  # one may be lucky, and the first of 16 in its ledger
    farmer, gone = await leaves_under_dust(farm, senders)
    [(tries, failed)] = await farm.rows(
        "SELECT count(*), count(*) FILTER (WHERE status = 'failed') FROM submissions s "
        "WHERE action = 'merge' OR (action IN ('payment', 'trustline') "
        "AND created_at >= (SELECT min(leaving_at) FROM farmers))"
    )
    assert failed >= 1, "nobody was in the way"
    assert tries <= 2 * 9, f"{tries} transactions"
    paid = await kale_of(farm, farmer.payout_wallet)
    assert paid is not None and paid >= 100 * KALE, "what came in is the farmer's, too"
    assert gone.kale_stroops == paid, "told to the stroop"
    assert not await farm.ctx.chain.read_accounts([farmer.custodial_wallet])


async def test_withdrawals_of_a_stroop_hold_no_plants_up(farm) -> None:
    """A farmer asks for ten of them while the pool plants: one is on its way at a time, and plants come first."""
    farm.ctx.settings = farm.settings.model_copy(update={"least_withdrawal_stroops": 1})
    farmer = await add_farmer(farm)
    await farm.add_farmers(4)
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 5
    await farm.end_block()
    asked = [asyncio.create_task(withdraw(farm, farmer, number)) for number in range(20)]
    await asyncio.sleep(0)
    result = await plant.plant(farm.ctx, 1, farm.pooler_id)
    assert len(result.planted) == 5, result.failed
    outcomes = await asyncio.gather(*asked)
    assert outcomes.count("withdrawal-open") >= 15, outcomes
    assert 1 <= outcomes.count("paid") <= 2
    sent = "SELECT created_at FROM submissions s JOIN submission_items i USING (submission_id) WHERE farmer_id = %s"
    [(before,)] = await farm.rows(
        f"WITH planted AS ({sent} AND block_index = 1), paid AS ({sent} AND s.action = 'payment') "
        "SELECT count(*) FROM paid WHERE created_at < (SELECT min(created_at) FROM planted)",
        *(farmer.farmer_id, farmer.farmer_id),
    )
    assert before <= 1, "it waits for what is on its way, and for none of those that wait"


async def withdraw(farm, farmer: Farmer, number: int) -> str:
    try:
        return (await withdrawals.withdraw(farm.ctx, farmer, f"n{number}", "KALE", 1)).status
    except KalepoolError as error:
        return error.code


async def test_a_wallet_that_is_busy_holds_up_nobody_else(farm) -> None:
    """One farmer's withdrawal never ends: the others are planted, and told of, and it is tried again."""
    farmer, *others = await farm.add_farmers(3)
    async with farm.ctx.wallet(farmer.farmer_id):
        begun = time.monotonic()
        result = await plant.plant(farm.ctx, 0, farm.pooler_id)
        assert time.monotonic() - begun < 20
    assert {item.farmer_id for item in result.planted} == {each.farmer_id for each in others}
    assert [(item.farmer_id, item.code) for item in result.failed] == [(farmer.farmer_id, "wallet-busy")]
    assert len((await plant.plant(farm.ctx, 0, farm.pooler_id)).planted) == 3


async def test_a_withdrawal_is_one_at_a_time_and_worth_a_transaction(farm) -> None:
    farmer = await add_farmer(farm)
    with pytest.raises(withdrawals.TooLittleError):
        await withdrawals.withdraw(farm.ctx, farmer, "dust", "KALE", 1)
    wish = {"farmer_id": farmer.farmer_id, "asset": "KALE", "amount_stroops": KALE}
    await farm.ctx.database.execute(
        "insert_withdrawal", withdrawal_id=farmer.farmer_id, idempotency_key="first", **wish
    )
    with pytest.raises(withdrawals.WithdrawalOpenError):
        await withdrawals.withdraw(farm.ctx, farmer, "second", "KALE", KALE)
    # The index holds where two processes ask at once, too.
    assert not await farm.ctx.database.execute(
        "insert_withdrawal", withdrawal_id=farm.pooler_id, idempotency_key="third", **wish
    )
    assert (await withdrawals.withdraw(farm.ctx, farmer, "first", "KALE", KALE)).status == "paid"
    assert (await withdrawals.withdraw(farm.ctx, await read(farm, farmer), "second", "KALE", KALE)).status == "paid"


async def test_plants_come_before_payments_in_the_queue_of_a_wallet() -> None:
    turns, order = WalletTurns(), []

    async def take(name: str, *, first: bool = False) -> None:
        async with turns.take(first=first):
            order.append(name)
            await asyncio.sleep(0)

    async with turns.take():
        waiting = [asyncio.create_task(take(name, first=name == "plant")) for name in ("a", "b", "plant", "c")]
        await asyncio.sleep(0)
        waiting[1].cancel()
        with pytest.raises(WalletBusyError):
            async with turns.take(within_seconds=0.01):
                pass
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["plant", "a", "c"]
    async with turns.take(within_seconds=0):
        pass
