"""What operators do and see, and that two poolers never meet."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.services.mining import miners as mining_accounts
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio


async def wait_ready(api) -> None:
    async with asyncio.timeout(60):
        while (await api.anybody.get("/health")).status_code != 200:
            await api.farm.wait_ledger()


async def add_pooler(api, name: str):
    """(id, client) of a new pooler."""
    answer = await api.operator.post("/operator/poolers", json={"name": name, "max_farmers": 3})
    assert answer.status_code == 201, answer.text
    return answer.json()["pooler_id"], api.client(answer.json()["api_key"])


async def add_farmer(api, pooler_id: str, client) -> dict:
    wish = {"pooler_id": pooler_id, "payout_wallet": Keypair.random().public_key}
    made = (await client.post("/farmers/register", json=wish)).json()
    await api.farm.ctx.chain.fund(made["custodial_wallet"])
    async with asyncio.timeout(60):
        while (await client.get(f"/farmers/{made['farmer_id']}")).json()["status"] != "active":
            await api.farm.wait_ledger()
    await api.farm.give(made["custodial_wallet"], 100 * KALE)
    return made


async def test_two_poolers_at_once_never_meet(api) -> None:
    await wait_ready(api)
    farm = api.farm
    sides = [await add_pooler(api, name) for name in ("left", "right")]
    made = [await add_farmer(api, *side) for side in sides]

    async def play(number: int) -> None:
        """One pooler's block, which also tries to work and harvest for the other's farmer."""
        pooler_id, client = sides[number]
        mine, theirs = made[number]["farmer_id"], made[1 - number]["farmer_id"]
        at = {"pooler_id": pooler_id, "block_index": 0}
        planted = (await client.post("/plant", json=at)).json()
        assert [each["farmer_id"] for each in planted["planted"]] == [mine], planted
        nonces = [{"farmer_id": each, "nonce": "5"} for each in (mine, theirs)]
        worked = (await client.post("/work", json=at | {"submissions": nonces})).json()
        assert [each["farmer_id"] for each in worked["accepted"]] == [mine], worked
        assert [(each["farmer_id"], each["code"]) for each in worked["refused"]] == [(theirs, "unknown-farmer")]

    async def reap(number: int) -> None:
        pooler_id, client = sides[number]
        mine, theirs = made[number]["farmer_id"], made[1 - number]["farmer_id"]
        foreign = await client.post(
            "/harvest", json={"pooler_id": pooler_id, "targets": [{"block_index": 0, "farmer_id": theirs}]}
        )
        assert foreign.status_code == 404
        harvested = (await client.post("/harvest", json={"pooler_id": pooler_id})).json()
        assert [each["farmer_id"] for each in harvested["harvested"]] == [mine], harvested
        block = (await client.get("/blocks/0")).json()
        assert [each["pooler_id"] for each in block["poolers"]] == [pooler_id]
        assert [each["farmer_id"] for each in block["poolers"][0]["farmers"]] == [mine]
        assert [each["farmer_id"] for each in (await client.get("/farmers")).json()["items"]] == [mine]
        assert (await client.get(f"/farmers/{theirs}")).status_code == 404
        other = sides[1 - number][0]
        for path in ("", "/blocks", "/failures", "/compensations"):
            assert (await client.get(f"/poolers/{other}{path}")).status_code == 403
        assert (await client.post("/plant", json={"pooler_id": other, "block_index": 1})).status_code == 403

    await asyncio.gather(play(0), play(1))
    await farm.end_block()
    await farm.start_block(1)
    await asyncio.gather(reap(0), reap(1))
    both = (await api.operator.get("/blocks/0")).json()["poolers"]
    assert sorted(each["pooler_id"] for each in both) == sorted(side[0] for side in sides)


async def test_a_lost_stake_is_attributed_owed_and_paid(api) -> None:
    await wait_ready(api)
    farm = api.farm
    pooler = str(farm.pooler_id)
    (farmer,) = await farm.add_farmers(1)
    await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": pooler})
    wrong = [{"farmer_id": str(farmer.farmer_id), "nonce": "1", "hash": "ff" * 32}]
    await api.pooler.post("/work", json={"block_index": 0, "pooler_id": pooler, "submissions": wrong})
    await farm.end_block()
    await farm.start_block(1)
    await api.pooler.post("/harvest", json={"block_index": 0, "pooler_id": pooler})

    failures = (await api.pooler.get(f"/poolers/{pooler}/failures")).json()["items"]
    assert [(each["action"], each["code"], each["fault"]) for each in failures] == [
        ("harvest", "work-missing", "pooler"),
        ("work", "hash-mismatch", "pooler"),
    ]
    first = (await api.pooler.get(f"/poolers/{pooler}/failures?limit=1")).json()
    rest = (await api.pooler.get(f"/poolers/{pooler}/failures?limit=1&after={first['next']}")).json()
    assert first["items"] + rest["items"] == failures
    (owed,) = (await api.pooler.get(f"/poolers/{pooler}/compensations?paid=false")).json()["items"]
    assert (owed["fault"], owed["code"], owed["stake_stroops"]) == ("pooler", "hash-mismatch", str(10 * KALE))
    assert int(owed["owed_stroops"]) == 10 * KALE + int(owed["forecast_stroops"])
    summary = (await api.pooler.get(f"/poolers/{pooler}")).json()
    assert (summary["unpaid"], summary["owed_stroops"]) == (1, owed["owed_stroops"])
    (seen,) = (await api.operator.get(f"/farmers/{farmer.farmer_id}/blocks")).json()["items"]
    assert (seen["owed_stroops"], seen["owed_by"]) == (owed["owed_stroops"], "pooler")

    at = f"/operator/compensations/{owed['compensation_id']}/payment"
    never = await api.operator.put(at, json={"transaction_hash": "ab" * 32})
    assert (never.status_code, never.json()["code"]) == (409, "transaction-unknown")
    applied = (await api.operator.get("/operator/submissions?status=applied")).json()["items"]
    payment, other = applied[0]["transaction_hash"], applied[1]["transaction_hash"]
    paid = [(await api.operator.put(at, json={"transaction_hash": payment})).json() for _ in range(2)]
    assert paid[0] == paid[1]
    assert paid[0]["paid_transaction"] == payment
    again = await api.operator.put(at, json={"transaction_hash": other})
    assert (again.status_code, again.json()["code"]) == (409, "paid-already")
    assert (await api.operator.get("/operator/compensations?paid=false")).json()["items"] == []
    done = [each["action"] for each in (await api.operator.get("/operator/actions")).json()["items"]]
    assert done == ["pay-compensation"], "what changed nothing is no action"


async def test_pausing_stops_plants_and_nothing_else(api) -> None:
    await wait_ready(api)
    farm = api.farm
    pooler = str(farm.pooler_id)
    (farmer,) = await farm.add_farmers(1)
    at = {"block_index": 0, "pooler_id": pooler}

    async def planting() -> str:
        answer = await api.pooler.post("/plant", json=at)
        return answer.json().get("code") or str(answer.json()["totals"]["planted"])

    paused = await api.operator.put("/operator/planting", json={"paused": True, "reason": "a test"})
    assert paused.json() == {"paused": True}
    assert await planting() == "planting-paused"
    await api.operator.put("/operator/planting", json={"paused": False})
    change = f"/operator/poolers/{pooler}"
    assert (await api.operator.patch(change, json={"planting_paused": True})).json()["planting_paused"]
    assert await planting() == "planting-paused"
    await api.operator.patch(change, json={"planting_paused": False})
    assert await planting() == "1"
    await api.operator.put("/operator/planting", json={"paused": True})
    nonces = [{"farmer_id": str(farmer.farmer_id), "nonce": "3"}]
    assert (await api.pooler.post("/work", json=at | {"submissions": nonces})).json()["totals"]["accepted"] == 1
    await farm.end_block()
    await farm.start_block(1)
    assert (await api.operator.post("/harvest", json=at)).json()["totals"]["harvested"] == 1, "by hand"
    fees = (await api.operator.get("/operator/fees")).json()
    assert int(fees["platform_fee_stroops"]) == int(fees["rewarded_stroops"]) * 5 // 100
    assert {"plant", "work", "harvest"} <= {each["action"] for each in fees["network"]}

    inactive = await api.operator.patch(change, json={"status": "inactive"})
    assert inactive.json()["status"] == "inactive"
    assert (await api.pooler.post("/plant", json=at)).json()["code"] == "forbidden"
    actions = (await api.operator.get("/operator/actions?limit=200")).json()["items"]
    assert [each["action"] for each in actions][::-1] == [
        "pause-planting",
        "resume-planting",
        "change-pooler",
        "change-pooler",
        "pause-planting",
        "change-pooler",
    ]
    assert actions[-1]["detail"] == {"reason": "a test"}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await farm.rows("DELETE FROM operator_actions")


async def test_keys_are_rotated_and_revoked(api) -> None:
    pooler_id, client = await add_pooler(api, "left")
    (old,) = (await client.get("/keys")).json()["items"]
    made = (await client.post("/keys", json={"replaces": old["key_id"], "overlap_seconds": 3600})).json()
    new = api.client(made["api_key"])
    assert (await client.get("/keys")).status_code == 200, "both, for a while"
    assert (await new.delete(f"/keys/{old['key_id']}")).status_code == 204
    assert (await client.get("/keys")).status_code == 401
    third = (await new.post("/keys", json={"replaces": made["key_id"], "label": "third"})).json()
    assert (await new.get("/keys")).status_code == 401, "replaced at once"
    foreign = (await api.operator.get("/keys")).json()["items"][0]["key_id"]
    last = api.client(third["api_key"])
    assert (await last.delete(f"/keys/{foreign}")).status_code == 404
    assert (await last.post("/keys", json={"replaces": foreign})).status_code == 404
    assert len((await last.get("/keys")).json()["items"]) == 1, "and no key was made on the way"

    listed = (await api.operator.get(f"/operator/keys?subject_id={pooler_id}")).json()["items"]
    assert [each["label"] for each in listed] == ["third", "", "left"]
    assert "kp_" not in json.dumps(listed)
    lost = await api.operator.post("/operator/keys", json={"role": "pooler", "subject_id": pooler_id, "valid_days": 1})
    assert (await api.client(lost.json()["api_key"]).get(f"/poolers/{pooler_id}")).status_code == 200
    nobody = await api.operator.post("/operator/keys", json={"role": "miner", "subject_id": pooler_id})
    assert nobody.status_code == 404, "a pooler is no miner"
    assert (await api.operator.post("/operator/keys", json={"role": "farmer"})).status_code == 422


async def test_a_banned_miner_is_out_at_once(api) -> None:
    farm = api.farm
    everybody = farm.settings.model_copy(update={"miner_registration": "open"})
    miner = await mining_accounts.register(farm.ctx.database, farm.ctx.custody, everybody, "rig")
    client = api.client(miner.key)
    assert (await client.get("/miner/job?wait=0")).status_code == 204
    ban = f"/operator/miners/{miner.miner.miner_id}/ban"
    assert (await api.operator.put(ban, json={"hours": 2, "reason": "rubbish"})).status_code == 204
    refused = await client.get("/miner/job?wait=0")
    assert (refused.status_code, refused.json()["code"]) == (403, "banned")
    assert 7000 < int(refused.headers["Retry-After"]) <= 7200
    (row,) = (await api.operator.get("/operator/miners")).json()["items"]
    assert (row["ban_reason"], row["bans"]) == ("rubbish", 1)
    assert (await api.operator.delete(ban)).status_code == 204
    assert (await client.get("/miner/job?wait=0")).status_code == 204


async def test_the_audit_has_every_row_and_no_formula(api) -> None:
    await wait_ready(api)
    for number in range(3):
        await add_pooler(api, f"=1+{number}")
    text = (await api.operator.get("/operator/audit/operator-actions")).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [json.loads(row["detail"])["name"] for row in rows] == ["=1+0", "=1+1", "=1+2"]
    lines = (await api.operator.get("/operator/audit/submissions?format=ndjson")).text.splitlines()
    journal = (await api.operator.get("/operator/submissions?limit=200")).json()["items"]
    assert [json.loads(line)["transaction_hash"] for line in lines] == [e["transaction_hash"] for e in journal[::-1]]
    assert lines
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await api.operator.get("/operator/audit/submissions", params={"since": tomorrow})).text.strip() == ""
    whole = (await api.operator.get("/operator/audit/submissions", params={"until": tomorrow})).text
    assert len(whole.splitlines()) == len(lines) + 1
    shown = (await api.operator.get(f"/operator/submissions/{journal[0]['submission_id']}")).json()
    assert shown["parts"]
    assert shown["envelope_xdr"]
