"""A farmer with a wallet of its own, which it registers itself: from signing in to a harvest, and out and in again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Destination
from kalepool.services import own_wallets
from kalepool.services.farmers import find_farmer
from kalepool.services.farming import harvest, work
from kalepool.services.farming.work import Submission
from kalepool.services.prepaying import note_prepaid
from tests.integration.api.test_farm_pages import to_sign
from tests.integration.api.test_farmer_way import add_wallet, balances, open_pooler, signed_in, until, wait_ready
from tests.integration.conftest import KALE
from tests.support.browser import Browser, signed

pytestmark = pytest.mark.anyio

PATIENCE = timedelta(seconds=30)


@pytest.fixture
async def wallet(api) -> Keypair:
    """An account with 100 KALE, and a pooler that is open."""
    await wait_ready(api)
    made = await add_wallet(api.farm)
    await api.farm.give(made.public_key, 100 * KALE)
    await open_pooler(api)
    async with asyncio.timeout(60):
        while api.farm.ctx.accounts.treasury is None:
            await api.farm.wait_ledger()
    return made


async def pay(farm, source: Keypair, to: str, stroops: int) -> None:
    chain = farm.ctx.chain
    deadline = await chain.now() + PATIENCE
    prepared = await chain.prepare_payment(
        source, Destination(to), kale_stroops=stroops, pool=source, deadline=deadline
    )
    outcome = await chain.submit(prepared)
    assert outcome.error is None, outcome.error


async def test_a_life_with_ones_own_wallet_by_pages_alone(api, wallet: Keypair) -> None:
    farm, passphrase = api.farm, api.farm.settings.chain.passphrase
    price = farm.settings.self_planting_price_stroops
    browser = Browser.of(api.app)
    assert (await browser.sign_in(wallet, passphrase)).status_code == 303
    shown = await browser.look("/farm/join?lang=de")
    assert "Oder mit der eigenen Wallet farmen" in shown.text
    wish = {"pooler": str(farm.pooler_id), "name": "<i>Ann</i>", "agreed": "1"}
    assert (await browser.send("/farm/own-wallet", wish | {"pooler": "none"}, page="/farm/join")).status_code == 422
    answer = await browser.send("/farm/own-wallet", wish, page="/farm/join")
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    [(farmer_id, status)] = await farm.rows("SELECT farmer_id, status FROM farmers")
    assert status == "registered" and "&lt;i&gt;Ann" in (await browser.look(path)).text
    await browser.look(path + "?lang=en")
    assert "waits for 0.1 KALE" in (await browser.look(f"{path}/parts")).json()["state"]

    # It pays ahead with what its wallet signs, and to the treasury alone.
    treasury = farm.ctx.accounts.treasury.public_key
    form = (await browser.look(f"{path}/parts")).json()["fund"]
    assert f'value="{treasury}"' in form and 'data-of="address"' in form and form.count("deposit-amount") == 2
    assert (await browser.look(f"{path}/deposit?asset=XLM&amount=1")).status_code == 422
    asked = to_sign(await browser.look(f"{path}/deposit?asset=KALE&amount=0.15"))
    assert (await browser.send(f"{path}/deposit", {"transaction": asked}, page=path)).status_code == 422
    sent = signed(asked, wallet, passphrase)
    assert (await browser.send(f"{path}/deposit", {"transaction": sent}, page=path)).status_code == 303
    assert (await balances(farm, treasury))[1] == 1_500_000
    async with asyncio.timeout(30):
        while await farm.rows("SELECT 1 FROM farmers WHERE status <> 'active'"):
            await farm.wait_ledger()

    # It plants; the pool works and harvests, and takes its price.
    chain = farm.ctx.chain
    planted = await chain.prepare_plant(wallet, 10 * KALE, pool=wallet, deadline=await chain.now() + PATIENCE)
    assert (await chain.submit(planted)).error is None
    async with asyncio.timeout(60):
        while not await farm.rows("SELECT 1 FROM plantings WHERE outcome = 'planted'"):
            await farm.wait_ledger()
    before = (await balances(farm, wallet.public_key))[1] or 0
    farmer = await find_farmer(farm.ctx.database, farmer_id)
    done = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer_id, await farm.nonce(farmer, 0))])
    assert len(done.accepted) == 1, done.refused
    await farm.end_block()
    await farm.start_block(1)
    [brought] = (await harvest.harvest(farm.ctx, farm.pooler_id, 0)).harvested
    assert (await balances(farm, wallet.public_key))[1] == before + 10 * KALE + brought.reward_stroops
    parts = (await browser.look(f"{path}/parts")).json()
    assert "harvested" in parts["blocks"] and "used up" in parts["state"] and "for 0 pails" in parts["figures"]
    assert (await browser.look(f"{path}/withdraw?asset=KALE&amount=10")).status_code == 422, "nothing is the pool's"

    # It leaves by a signature of its wallet, nothing moves; it joins again, and has what was paid ahead.
    leaving = to_sign(await browser.look(f"{path}/leave"))
    assert (await browser.send(f"{path}/leave", {"transaction": leaving}, page=path)).status_code == 422
    fields = {"transaction": signed(leaving, wallet, passphrase)}
    assert (await browser.send(f"{path}/leave", fields, page=path)).status_code == 303
    async with asyncio.timeout(60):
        while await farm.rows("SELECT 1 FROM farmers WHERE status <> 'departed'"):
            await farm.wait_ledger()
    again = await browser.send("/farm/own-wallet", wish, page="/farm/join")
    assert again.headers["location"] == path
    assert await farm.rows("SELECT prepaid_stroops::bigint, status FROM farmers") == [(1_500_000 - price, "registered")]
    await farm.wait_ledger()
    assert (await farm.rows("SELECT count(*) FROM book_checks WHERE difference_stroops <> 0"))[0][0] == 0


async def test_only_its_own_transfers_are_its_prepayment_and_each_once(api, wallet: Keypair) -> None:
    farm = api.farm
    client = await signed_in(api, wallet)
    made = (await client.post("/farmer/own-wallets", json={"pooler_id": str(farm.pooler_id)})).json()
    treasury = farm.ctx.accounts.treasury.public_key
    assert (made["prepay_to"], made["prepay_stroops"]) == (treasury, "1000000")
    stranger = await add_wallet(farm)
    await farm.give(stranger.public_key, 5 * KALE)
    await pay(farm, stranger, treasury, 2 * KALE)
    await pay(farm, wallet, stranger.public_key, KALE)
    await pay(farm, wallet, treasury, KALE // 2)
    await pay(farm, wallet, treasury, KALE // 2)
    path = f"/farmers/{made['farmer_id']}"
    found = await until(api, client, path, lambda seen: int(seen["prepaid_stroops"]) >= KALE)
    assert found["prepaid_stroops"] == str(KALE)
    # A look that is made again, as after a crash, counts none twice.
    movements = await farm.ctx.chain.read_movements(treasury, 2)
    assert [each.stroops for each in movements if each.sender == wallet.public_key] == [KALE // 2] * 2
    async with farm.ctx.database.transaction() as tx:
        assert await note_prepaid(tx, movements) == 0
    assert (await until(api, client, path, lambda seen: seen["status"] == "active"))["prepaid_stroops"] == str(KALE)
    assert (await farm.rows("SELECT sum(amount_stroops)::bigint FROM prepayments"))[0][0] == KALE


async def test_the_owner_is_refused_as_others_are(api, wallet: Keypair, monkeypatch: pytest.MonkeyPatch) -> None:
    farm = api.farm
    client, pooler = await signed_in(api, wallet), str(api.farm.pooler_id)

    async def join(by=client) -> tuple[int, str]:
        answer = await by.post("/farmer/own-wallets", json={"pooler_id": pooler})
        return answer.status_code, answer.json().get("code", "")

    assert (await join(api.operator))[0] == 403 and (await join(api.anybody))[0] == 401
    await farm.rows("UPDATE poolers SET open = false")
    assert await join() == (404, "not-found")
    await farm.rows("UPDATE poolers SET open = true, max_farmers = 1")
    await farm.add_farmers(1)
    assert await join() == (409, "pooler-full")
    await farm.rows("UPDATE poolers SET max_farmers = 50")
    monkeypatch.setitem(farm.ctx.settings.__dict__, "waiting_per_address", 1)
    assert (await join())[0] == 201
    other = await signed_in(api, await add_wallet(farm))
    assert await join(other) == (409, "too-many-waiting")
    monkeypatch.setitem(farm.ctx.settings.__dict__, "waiting_per_address", 9)
    assert await join() == (409, "conflict"), "the wallet is there already"
    monkeypatch.setitem(farm.ctx.settings.__dict__, "farmers_per_wallet", 1)
    assert await join() == (409, "conflict")
    # What nothing is prepaid for lapses, and is no farmer with the pool's key of it meanwhile.
    await farm.rows("UPDATE farmers SET registered_at = now() - interval '25 hours'")
    await own_wallets.admit(farm.ctx)
    assert await farm.rows("SELECT status, leaving_code FROM farmers WHERE plants_itself") == [
        ("departed", "registration-lapsed")
    ]
    assert (await join())[0] == 201
    await own_wallets.admit(farm.ctx)
    assert await farm.rows("SELECT status FROM farmers WHERE plants_itself") == [("registered",)], (
        "it has its time anew"
    )

    # With no price it is let in once it holds what others bring.
    monkeypatch.setitem(farm.ctx.settings.__dict__, "self_planting_price_stroops", 0)
    monkeypatch.setitem(farm.ctx.settings.__dict__, "farmer_deposit_stroops", 5 * KALE)
    assert (await join(other))[0] == 201
    poor = "SELECT status FROM farmers WHERE plants_itself AND price_stroops = 0"
    await own_wallets.admit(farm.ctx)
    assert await farm.rows(poor) == [("registered",)]
    [(address,)] = await farm.rows("SELECT custodial_wallet FROM farmers WHERE plants_itself AND price_stroops = 0")
    await farm.give(address, 5 * KALE)
    async with asyncio.timeout(60):
        while await farm.rows(poor) != [("active",)]:
            await farm.wait_ledger()
