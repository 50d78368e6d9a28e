"""What outside poolers and strangers try at an open pool: to burn what is not theirs, and to farm at its cost."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from stellar_sdk import Keypair

from kalepool.config import Settings
from kalepool.services import farmers, upkeep
from kalepool.services.keys import Role, create_key
from tests.integration.api.test_farmer_way import add_wallet, open_pooler, signed_in, until, wait_ready
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio


async def test_a_pooler_decides_over_no_more_of_a_balance_than_the_usual_part(api) -> None:
    farm = api.farm
    await wait_ready(api)
    wallet = await add_wallet(farm)
    wish = {"pooler_id": str(farm.pooler_id), "payout_wallet": wallet.public_key}
    greedy = await api.pooler.post("/farmers/register", json=wish | {"stake_percentage": 1})
    assert (greedy.status_code, greedy.json()["code"]) == (403, "forbidden")
    answer = await api.pooler.post("/farmers/register", json=wish)
    assert answer.status_code == 201, answer.text
    assert "kp_" not in answer.text, "no key of the farmer's"
    farmer = f"/farmers/{answer.json()['farmer_id']}"
    assert (await api.pooler.patch(farmer, json={"stake_percentage": 1})).status_code == 403
    order = {"role": "farmer", "subject_id": answer.json()["farmer_id"]}
    assert (await api.pooler.post("/operator/keys", json=order)).status_code == 403

    # not with a key of the farmer's that it got somewhere either: the wallet itself has to sign in
    stolen = api.client((await api.operator.post("/operator/keys", json=order)).json()["api_key"])
    refused = await stolen.patch(farmer, json={"stake_percentage": 1})
    assert (refused.status_code, refused.json()["code"]) == (403, "sign-in-needed")
    assert (await stolen.get(farmer)).json()["stake_percentage"] == 0.1
    owner = await signed_in(api, wallet)
    assert (await owner.patch(farmer, json={"stake_percentage": 1})).json()["stake_percentage"] == 1


async def test_a_try_before_the_plant_moves_no_blame(api) -> None:
    """A pooler that never means to work hands in something that has to fail: the loss stays its own."""
    farm = api.farm
    await wait_ready(api)
    pooler = str(farm.pooler_id)
    (farmer,) = await farm.add_farmers(1)
    await farm.end_block()
    await farm.start_block(1)
    nonce = [{"farmer_id": str(farmer.farmer_id), "nonce": "1"}]
    early = await api.pooler.post("/work", json={"block_index": 1, "pooler_id": pooler, "submissions": nonce})
    (refused,) = early.json()["refused"]
    assert (refused["code"], refused["fault"]) == ("pail-missing", "pooler")
    planted = await api.pooler.post("/plant", json={"block_index": 1, "pooler_id": pooler})
    assert planted.json()["totals"]["planted"] == 1
    await farm.end_block()
    await farm.start_block(2)
    await api.pooler.post("/harvest", json={"block_index": 1, "pooler_id": pooler})
    (owed,) = (await api.pooler.get(f"/poolers/{pooler}/compensations")).json()["items"]
    assert (owed["fault"], owed["stake_stroops"]) == ("pooler", str(10 * KALE))
    [(outcome, left)] = await farm.rows("SELECT outcome, seconds_left FROM works")
    assert outcome == "refused"
    assert 200 < left < 300, "how much of the block was left is on record"


DEPOSIT = Settings.model_fields["farmer_deposit_stroops"].default


def ask_deposit(api) -> None:
    """As by default, which the other tests do without."""
    ctx = api.farm.ctx
    ctx.settings = ctx.settings.model_copy(update={"farmer_deposit_stroops": DEPOSIT})


async def stranger(api, address: str = "192.0.2.1") -> httpx2.AsyncClient:
    """Somebody at an address who signed in with a wallet made a moment ago. Signing in itself is tried elsewhere."""
    wallet = Keypair.random().public_key
    key = await create_key(api.farm.ctx.database, Role.FARMER, subject_wallet=wallet, label="sign-in")
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=api.app, client=(address, 1)),
        base_url="http://pool",
        headers={"Authorization": f"Bearer {key.key}"},
    )


async def test_who_brings_no_kale_costs_the_pool_nothing(api) -> None:
    """With XLM alone a stranger gets its own trustline, and is neither let in nor planted."""
    farm = api.farm
    await wait_ready(api)
    ask_deposit(api)
    pooler = await open_pooler(api)
    payer = farm.ctx.accounts.payer.public_key
    while farm.ctx.accounts.treasury is None:  # it is made of the payer's XLM, once
        await farm.wait_ledger()
    before = (await farm.ctx.chain.read_accounts([payer]))[payer].native_stroops
    wallet = await add_wallet(farm)
    client = await signed_in(api, wallet)
    made = (await client.post("/farmer/farmers", json={"pooler_id": pooler})).json()
    assert made["missing"] == {"native_stroops": "25000000", "trustline": True, "kale_stroops": str(DEPOSIT)}
    farmer = f"/farmers/{made['farmer_id']}"
    await farm.ctx.chain.fund(made["custodial_wallet"])
    found = await until(api, client, farmer, lambda found: not found["missing"]["trustline"])
    assert (found["status"], found["missing"]["kale_stroops"]) == ("registered", str(DEPOSIT))
    for _ in range(3):
        assert await farmers.activate(farm.ctx) == 0
        await farm.wait_ledger()
    planted = (await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": pooler})).json()
    assert planted["totals"]["eligible"] == 0
    order = {"asset": "XLM", "amount_stroops": "50000000"}
    withdrawn = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "a"})
    assert (withdrawn.status_code, withdrawn.json()["code"]) == (409, "not-active")
    assert (await farm.ctx.chain.read_accounts([payer]))[payer].native_stroops == before, "not a stroop"

    # who then brings it is let in and planted, until it has taken it out again
    await farm.give(made["custodial_wallet"], DEPOSIT)
    await until(api, client, farmer, lambda found: found["status"] == "active")
    assert (await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": pooler})).json()["totals"][
        "planted"
    ] == 1
    order = {"asset": "KALE", "amount_stroops": str(DEPOSIT // 2)}
    paid = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "b"})
    assert paid.json()["status"] == "paid", paid.text
    await farm.end_block()
    await api.pooler.post("/harvest", json={"pooler_id": pooler})
    await upkeep.record_losses(farm.ctx)
    await farm.start_block(1)
    await upkeep.record_losses(farm.ctx)  # its stake is lost: nobody worked
    answer = (await api.pooler.post("/plant", json={"block_index": 1, "pooler_id": pooler})).json()
    (refused,) = answer["failed"]
    assert (refused["code"], refused["fault"]) == ("underfunded", "farmer")


async def test_places_are_not_taken_by_those_who_bring_nothing(api) -> None:
    """A hundred registrations from one address, and as many from everywhere: honest farmers still come in."""
    farm = api.farm
    await wait_ready(api)
    ask_deposit(api)
    pooler = await open_pooler(api)
    await farm.rows("UPDATE poolers SET max_farmers = 3")
    wish = {"pooler_id": pooler}

    async def register(address: str) -> httpx2.Response:
        async with await stranger(api, address) as client:
            return await client.post("/farmer/farmers", json=wish)

    answers = await asyncio.gather(*(register("192.0.2.1") for _ in range(20)))
    most = farm.ctx.settings.waiting_per_address
    assert [answer.status_code for answer in answers].count(201) == most
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} == {"too-many-waiting"}
    assert all(answer.status_code == 201 for answer in [await register(f"198.51.100.{n}") for n in range(5)])
    assert (await api.operator.get(f"/poolers/{pooler}")).json()["registered"] == most + 5

    # all that while places are free; they are taken by who brings something, and by no more than there are
    honest = []
    for number in range(4):
        client = await stranger(api, f"203.0.113.{number}")
        made = (await client.post("/farmer/farmers", json=wish)).json()
        assert "farmer_id" in made, made
        honest.append((client, made))
    for _, made in honest:
        await farm.ctx.chain.fund(made["custodial_wallet"])
    for client, made in honest:
        await until(api, client, f"/farmers/{made['farmer_id']}", lambda found: not found["missing"]["trustline"])
        await farm.give(made["custodial_wallet"], DEPOSIT)
    async with asyncio.timeout(60):
        while (await api.operator.get(f"/poolers/{pooler}")).json()["active"] < 3:
            await farm.wait_ledger()
    await farmers.activate(farm.ctx)
    states = [(await client.get(f"/farmers/{made['farmer_id']}")).json()["status"] for client, made in honest]
    assert sorted(states) == ["active", "active", "active", "registered"]
    full = await register("203.0.113.9")
    assert (full.status_code, full.json()["code"]) == (409, "pooler-full")
    for client, _ in honest:
        await client.aclose()


async def test_a_registration_that_nothing_comes_for_lapses(api) -> None:
    farm = api.farm
    await wait_ready(api)
    pooler = await open_pooler(api)
    ours = await api.operator.post(
        "/farmers/register", json={"pooler_id": pooler, "payout_wallet": Keypair.random().public_key}
    )
    wallet = await add_wallet(farm)
    client = await signed_in(api, wallet)
    made = (await client.post("/farmer/farmers", json={"pooler_id": pooler})).json()
    await farm.rows("UPDATE farmers SET registered_at = now() - interval '25 hours'")
    await farmers.activate(farm.ctx)
    farmer = f"/farmers/{made['farmer_id']}"
    assert (await client.get(farmer)).json()["status"] == "departed"
    assert (await client.get(f"{farmer}/leave")).json()["code"] == "registration-lapsed"
    assert (await api.operator.get(f"/farmers/{ours.json()['farmer_id']}")).json()["status"] == "registered"

    # what comes too late is the farmer's all the same
    await farm.ctx.chain.fund(made["custodial_wallet"])
    assert (await client.post(f"{farmer}/leave")).json()["status"] == "leaving"
    await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    assert made["custodial_wallet"] not in await farm.ctx.chain.read_accounts([made["custodial_wallet"]])
