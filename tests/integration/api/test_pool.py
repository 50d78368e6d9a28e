"""The whole way of a farmer through the API, and who may do what."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest
from stellar_sdk import Keypair

from kalepool.chain import Status
from kalepool.custody import Binding
from kalepool.services.farming import plant
from kalepool.services.keys import Role, create_key
from kalepool.services.poolers import add_pooler
from tests.integration.conftest import ISSUER

pytestmark = pytest.mark.anyio


async def until(client: httpx2.AsyncClient, path: str, holds: Callable[[httpx2.Response], bool]) -> httpx2.Response:
    """Asks until the answer is as it should become."""
    async with asyncio.timeout(60):
        while not holds(answer := await client.get(path)):  # noqa: ASYNC110  it is a remote one that changes
            await asyncio.sleep(0.05)
        return answer


async def wait_up(api) -> dict:
    return (await until(api.anybody, "/health", lambda answer: answer.status_code == 200)).json()


async def test_from_registration_to_harvest(api, capfd: pytest.CaptureFixture[str]) -> None:
    farm = api.farm
    pooler = str(farm.pooler_id)
    health = await wait_up(api)
    assert {name: part["state"] for name, part in health["components"].items()} == {
        "database": "up",
        "disk": "up",
        "journal": "up",
        "chain": "up",
        "custody": "up",
        "accounts": "up",
        "workers": "none",
        "coordinator": "none",
        "price": "none",
        "relayer": "none",
        "processes": "none",
    }

    payout = Keypair.random().public_key
    wish = {"pooler_id": pooler, "payout_wallet": payout, "stake_percentage": 0.05, "metadata": {"name": "Ann"}}
    answer = await api.pooler.post("/farmers/register", json=wish)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["status"] == "registered"
    assert (made["stake_percentage"], made["stake"]) == (0.05, "stakes 5 % of the KALE balance in each block")
    assert made["needs_funding"]
    assert made["missing"] == {"native_stroops": "25000000", "trustline": True, "kale_stroops": "0"}
    assert made["metadata"] == {"name": "Ann"}

    await farm.ctx.chain.fund(made["custodial_wallet"])
    path = f"/farmers/{made['farmer_id']}"
    shown = (await until(api.pooler, path, lambda answer: answer.json()["status"] == "active")).json()
    assert not shown["needs_funding"]
    assert shown["balances"]["kale_stroops"] == "0"
    await farm.give(made["custodial_wallet"], 1000)

    planted = await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": pooler})
    assert planted.status_code == 200, planted.text
    assert planted.json()["totals"] == {"eligible": 1, "planted": 1, "failed": 0, "stake_stroops": "50"}

    nonces = [{"farmer_id": made["farmer_id"], "nonce": str(n)} for n in (0, 2**64 - 1)]
    worked = await api.pooler.post("/work", json={"block_index": 0, "pooler_id": pooler, "submissions": nonces})
    assert worked.status_code == 200, worked.text
    assert worked.json()["totals"] == {"submitted": 2, "accepted": 1, "refused": 1}
    assert worked.json()["ready_for_harvest"] == [made["farmer_id"]]

    early = await api.pooler.post("/harvest", json={"block_index": 0, "pooler_id": pooler})
    assert (early.status_code, early.json()["code"]) == (409, "harvest-not-ready")
    await farm.end_block()
    await farm.start_block(1)
    harvested = await api.pooler.post("/harvest", json={"block_index": 0, "pooler_id": pooler})
    (harvest,) = harvested.json()["harvested"]
    assert harvest["reward_stroops"] == harvest["forecast_stroops"]
    assert harvested.json()["totals"]["forecast_differences"] == 0

    block = (await api.pooler.get("/blocks/0")).json()
    assert block["poolers"][0]["harvested"] == 1
    assert block["poolers"][0]["rewarded_stroops"] == harvest["reward_stroops"]
    assert (await api.pooler.get(f"/farmers/{made['farmer_id']}")).json()["performance"]["blocks_harvested"] == 1
    captured = capfd.readouterr()
    said = captured.out + captured.err + str(block) + json.dumps(made)
    assert "farmer_registered" in said, "the logs are in what is searched"
    assert not re.search(r"\bS[A-Z2-7]{55}\b", said)
    assert farm.pooler_key not in said


async def test_no_seed_is_ever_said(api, capfd: pytest.CaptureFixture[str]) -> None:
    """Every secret there is, searched for as strkey, hex and bytes in all that was said, also of failing calls."""
    farm = api.farm
    made = await farm.add_farmers(2)
    ctx = farm.ctx
    said = ""
    for path, body in (
        ("/plant", {"block_index": 0, "pooler_id": str(farm.pooler_id)}),
        ("/plant", {"block_index": 7, "pooler_id": str(farm.pooler_id)}),
        (
            "/work",
            {"block_index": 0, "pooler_id": str(farm.pooler_id), "submissions": [{"farmer_id": "x", "nonce": "-1"}]},
        ),
        ("/harvest", {"pooler_id": str(farm.pooler_id)}),
    ):
        said += (await api.pooler.post(path, json=body)).text
    captured = capfd.readouterr()
    said += captured.out + captured.err + repr(ctx) + repr(made) + repr(ctx.custody) + repr(ctx.accounts.payer)
    rows = await farm.ctx.database.fetch_all("select_sealed")
    assert len(rows) == 3 + farm.settings.channel_accounts + 2, "pool, sign-in, treasury, channels, farmers"
    master = (farm.settings.data_dir / "master.key").read_text().split()[-1]
    for row in rows:
        keypair = ctx.custody._keypair(Binding.of_row(row), row["secret_sealed"])
        for secret in (keypair.secret, keypair.raw_secret_key().hex(), repr(keypair.raw_secret_key())[2:-1], master):
            assert secret not in said
    assert made[0].custodial_wallet in said


async def test_who_may_do_what(api) -> None:
    farm = api.farm
    other = await add_pooler(farm.ctx.database, "another", 100)
    made = (await farm.add_farmers(1, kale_stroops=0))[0]
    farmer_key = await create_key(farm.ctx.database, Role.FARMER, subject_id=made.farmer_id)
    clients = {"nobody": api.anybody, "stranger": api.client(other.key), "farmer": api.client(farmer_key.key)}
    ours = str(farm.pooler_id)
    register = {"pooler_id": ours, "payout_wallet": made.payout_wallet}
    calls = [
        ("POST", "/farmers/register", register, (401, 403, 403)),
        ("POST", "/plant", {"block_index": 9, "pooler_id": ours}, (401, 403, 403)),
        (
            "POST",
            "/work",
            {"block_index": 9, "pooler_id": ours, "submissions": [{"farmer_id": ours, "nonce": "1"}]},
            (401, 403, 403),
        ),
        ("POST", "/harvest", {"pooler_id": ours}, (401, 403, 403)),
        ("GET", f"/farmers/{made.farmer_id}", None, (401, 404, 200)),
        ("GET", f"/farmers?pooler_id={ours}", None, (401, 403, 403)),
        ("GET", "/farmers", None, (401, 200, 403)),
        ("GET", "/blocks/0", None, (401, 404, 403)),
        ("GET", "/health", None, (200, 200, 200)),
        ("GET", "/info", None, (200, 200, 200)),
    ]
    await wait_up(api)
    for method, path, body, expected in calls:
        for (who, client), status in zip(clients.items(), expected, strict=True):
            answer = await client.request(method, path, json=body)
            assert answer.status_code == status, (who, method, path, answer.text)
            if status >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["type"] == f"urn:kalepool:problem:{answer.json()['code']}"
    assert (await clients["stranger"].get("/farmers")).json() == {"items": [], "next": None}
    assert (await api.operator.get(f"/farmers/{made.farmer_id}")).status_code == 200


async def test_a_revoked_key_ends_at_once(api) -> None:
    farm = api.farm
    key = await create_key(farm.ctx.database, Role.OPERATOR, label="short-lived")
    client = api.client(key.key)
    assert (await client.get("/farmers")).status_code == 200
    await farm.rows("UPDATE api_keys SET revoked_at = now() WHERE key_id = %s", key.key_id)
    await until(client, "/farmers", lambda answer: answer.status_code == 401)


async def test_pages_of_farmers(api) -> None:
    farm = api.farm
    made = [farmer.farmer_id for farmer in await farm.add_farmers(3, kale_stroops=0)]
    first = (await api.pooler.get("/farmers", params={"limit": 2})).json()
    rest = (await api.pooler.get("/farmers", params={"limit": 2, "after": first["next"]})).json()
    assert [item["farmer_id"] for item in first["items"] + rest["items"]] == [str(each) for each in made]
    assert rest["next"] is None


async def test_health_tells_who_is_down(api) -> None:
    await wait_up(api)
    insert = (
        "INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, last_seen_at, status) "
        "VALUES (gen_random_uuid(), {}, '{}/1', 'cpu', 'numba', 2, '0', now() - interval '{} minutes', '{}')"
    )
    await api.farm.rows(insert.format(1, "here", 60, "alive"))
    await api.farm.rows(insert.format(2, "there", 60, "gone"))
    answer = await until(api.anybody, "/health", lambda answer: answer.status_code == 503)
    workers = answer.json()["components"]["workers"]
    assert workers["state"] == "down" and workers["detail"].startswith("no worker on any of 2 machines since ")
    assert answer.json()["components"]["database"]["state"] == "up"
    await api.farm.rows(insert.format(3, "here", 0, "alive"))
    answer = await until(api.anybody, "/health", lambda answer: answer.status_code == 200)
    assert answer.json()["components"]["workers"]["detail"].startswith("1 worker on 1 of 2 machines, ")
    await api.farm.rows("UPDATE workers SET last_seen_at = now() - interval '2 days'")
    answer = await until(
        api.anybody, "/health", lambda answer: answer.json()["components"]["workers"]["state"] == "none"
    )
    assert answer.status_code == 200, "nobody waits for a machine for more than a day"


async def test_planted_stakes_that_nobody_searches_for_are_no_health(api) -> None:
    farm = api.farm
    await wait_up(api)
    await farm.add_farmers(2)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, seen_at) "
        "SELECT 0, pooler_id, decode(repeat('00', 32), 'hex'), now(), now() - interval '1 minute' FROM poolers"
    )
    await farm.rows("UPDATE api_lead SET term = 1, taken_at = now() - interval '5 s'")
    answer = await until(api.anybody, "/health", lambda answer: answer.json()["state"] == "starting")
    assert answer.status_code == 503 and answer.json()["components"]["workers"]["state"] == "starting", "just begun"
    await farm.rows("UPDATE api_lead SET taken_at = now() - interval '1 minute'")
    answer = await until(api.anybody, "/health", lambda answer: answer.json()["state"] == "down")
    workers = answer.json()["components"]["workers"]
    assert workers["state"] == "down"
    assert workers["detail"] == "neither a worker nor a miner searches for 2 planted stakes"
    await farm.rows("INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), 'rigs of Bob')")
    await farm.rows("INSERT INTO rigs (miner_id, name) SELECT miner_id, 'a rig' FROM miners")
    await farm.rows("INSERT INTO hashrates SELECT now(), searcher, 1e6 FROM rigs")
    await until(api.anybody, "/health", lambda answer: answer.status_code == 200)


async def test_who_sits_a_block_out_is_told_with_the_reason(api) -> None:
    farm = api.farm
    await wait_up(api)
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) "
        "SELECT 0, pooler_id, decode(repeat('00', 32), 'hex'), now() FROM poolers"
    )
    await farm.rows(
        "INSERT INTO block_plans (block_index, pooler_id, farmers, places, stake_stroops, reward_stroops, "
        "pail_fee_stroops, price_xlm, reason) SELECT 0, pooler_id, 2, 1, 0, 0, 80000, 0.005, 'price' FROM poolers"
    )
    for reason, why in (
        ("price", "at 0.005 XLM for a KALE another pail brings less than the 0.008 XLM it costs"),
        ("budget", "what 24 hours may cost is spent (KALEPOOL_XLM_PER_DAY)"),
    ):
        await farm.rows(f"UPDATE block_plans SET reason = '{reason}'")
        (block,) = (await api.pooler.get(f"/poolers/{farm.pooler_id}/blocks")).json()["items"]
        assert (block["sat_out"], block["sat_out_reason"]) == (1, reason)
        page = (await api.anybody.get("/block/0")).text
        assert f"1 of 2 farmers sits it out, by turns: {why}" in page


async def test_a_pool_that_runs_out_of_xlm_is_not_well(api) -> None:
    """It still works, on what its channels have left: who has to send what is said all the same."""
    await wait_up(api)
    ctx, chain = api.farm.ctx, api.farm.ctx.chain
    async with asyncio.timeout(60):  # or the treasury is made of what is about to be sent away
        while ctx.accounts.treasury is None:  # noqa: ASYNC110  nothing says so
            await asyncio.sleep(0.05)
    address = ctx.accounts.payer.public_key
    async with chain.pool_lock:
        account = (await chain.read_accounts([address]))[address]
        prepared = await chain.prepare_payment(
            ctx.accounts.payer,
            ISSUER.public_key,
            native_stroops=account.spendable_stroops - 5_000_000,
            deadline=await chain.now() + timedelta(seconds=30),
        )
        assert (await chain.submit(prepared)).status is Status.APPLIED
    await ctx.accounts.ensure()
    answer = await until(  # a part that is slow to answer makes 503 as well
        api.anybody, "/health", lambda answer: answer.json()["components"]["accounts"]["state"] == "waiting"
    )
    assert answer.status_code == 503
    part = answer.json()["components"]["accounts"]
    assert re.fullmatch(rf"send 0\.\d+ XLM to the pool's account {address}", part["detail"])
