"""What somebody gains by many keys, or many requests at once: nothing. Each attack is carried out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from stellar_sdk import Keypair, TransactionEnvelope

from kalepool.services import farmers
from kalepool.services.keys import MOST_KEYS, Role, create_key, key_hash

pytestmark = pytest.mark.anyio


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Callable[[], int]:
    """How often a method of the chain was called, which goes on as before."""
    plain, calls = getattr(owner, name), 0

    async def call(*given: object) -> object:
        nonlocal calls
        calls += 1
        return await plain(*given)

    monkeypatch.setattr(owner, name, call)
    return lambda: calls


async def test_many_keys_have_one_subjects_requests(api) -> None:
    """The attack: 25 keys, each asked for all it is allowed. It had 1,500 answers where 60 a minute are allowed."""
    farm = api.farm
    made = await farmers.register(farm.ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
    farmer_id = made.farmer.farmer_id
    keys = [(await create_key(farm.ctx.database, Role.FARMER, subject_id=farmer_id)).key for _ in range(25)]
    begun, answered, refused = time.monotonic(), 0, 0
    for key in keys:
        async with api.client(key) as client:
            for _ in range(60):
                status = (await client.get("/keys")).status_code
                answered, refused = answered + (status == 200), refused + (status == 429)
    assert answered + refused == 1_500
    assert answered <= 61 + time.monotonic() - begun, "one more for each second that passed"


async def test_live_keys_are_capped(api) -> None:
    database, key = api.farm.ctx.database, api.farm.pooler_key
    answers = await asyncio.gather(*(api.pooler.post("/keys", json={}) for _ in range(MOST_KEYS + 20)))
    assert sorted(answer.status_code for answer in answers) == [201] * (MOST_KEYS - 1) + [409] * 21
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"too-many-keys"}
    [(live,)] = await api.farm.rows("SELECT count(*) FROM api_keys WHERE subject_id = %s", api.farm.pooler_id)
    assert live == MOST_KEYS
    by_operator = {"role": "pooler", "subject_id": str(api.farm.pooler_id)}
    assert (await api.operator.post("/operator/keys", json=by_operator)).status_code == 409
    present = await database.fetch_one("select_api_keys", key_hashes=[key_hash(key)])
    assert present is not None
    rotated = await api.pooler.post("/keys", json={"replaces": str(present["key_id"])})
    assert rotated.status_code == 201, "one that takes another's place adds none"


async def test_a_farmers_balances_are_asked_for_once_a_ledger(api, monkeypatch: pytest.MonkeyPatch) -> None:
    farm = api.farm
    made = await farmers.register(farm.ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
    path = f"/farmers/{made.farmer.farmer_id}"
    chain = farm.ctx.chain
    reads = counted(monkeypatch, chain, "_read_entries")
    monkeypatch.setattr(farmers, "activate", lambda _: asyncio.sleep(0))  # the API's own look at who is new
    begun, first = time.monotonic(), chain.newest_ledger
    answers = await asyncio.gather(*(api.pooler.get(path) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}
    lasted = (time.monotonic() - begun) / farm.settings.chain.ledger_seconds
    assert 1 <= reads() <= 2 + lasted + chain.newest_ledger - first
    assert answers[0].json()["balances"] is None
    await chain.fund(made.farmer.custodial_wallet)
    async with asyncio.timeout(30):
        while (await api.pooler.get(path)).json()["balances"] is None:
            await farm.wait_ledger()


async def test_an_unsigned_challenge_asks_the_chain_for_nothing(api, monkeypatch: pytest.MonkeyPatch) -> None:
    farm, wallet = api.farm, Keypair.random().public_key
    asked = (await api.anybody.get("/auth", params={"account": wallet})).json()
    reads = counted(monkeypatch, farm.ctx.chain, "read_signers")
    for _ in range(10):
        refused = await api.anybody.post("/auth", json={"transaction": asked["transaction"]})
        assert refused.json()["code"] == "challenge-invalid"
    assert reads() == 0
    forged = TransactionEnvelope.from_xdr(asked["transaction"], asked["network_passphrase"])
    forged.sign(Keypair.random())
    begun, first = time.monotonic(), farm.ctx.chain.newest_ledger
    body = {"transaction": forged.to_xdr()}
    answers = await asyncio.gather(*(api.anybody.post("/auth", json=body) for _ in range(40)))
    assert {answer.json()["code"] for answer in answers} == {"challenge-invalid"}
    lasted = (time.monotonic() - begun) / farm.settings.chain.ledger_seconds
    assert 1 <= reads() <= 2 + lasted + farm.ctx.chain.newest_ledger - first


async def test_tokens_go_when_they_have_ended_or_are_too_many(api) -> None:
    farm, wallet = api.farm, Keypair.random()
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    soon = datetime.now(UTC) + timedelta(hours=1)
    for expires_at in [long_ago] * 30 + [soon] * (MOST_KEYS + 5):
        await create_key(
            farm.ctx.database, Role.FARMER, subject_wallet=wallet.public_key, label="sign-in", expires_at=expires_at
        )
    asked = (await api.anybody.get("/auth", params={"account": wallet.public_key})).json()
    transaction = TransactionEnvelope.from_xdr(asked["transaction"], asked["network_passphrase"])
    transaction.sign(wallet)
    token = (await api.anybody.post("/auth", json={"transaction": transaction.to_xdr()})).json()["token"]
    query = (
        "SELECT count(*) FILTER (WHERE expires_at < now()), count(*) FILTER (WHERE revoked_at IS NULL) FROM api_keys"
    )
    assert await farm.rows(f"{query} WHERE subject_wallet = %s", wallet.public_key) == [(0, MOST_KEYS)]
    assert (await api.client(token).get("/keys")).status_code == 200
