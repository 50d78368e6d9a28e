"""A miner signs in with its payout wallet, as a farmer does: SEP-10. Then it says where its earnings go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from stellar_sdk import Keypair

from kalepool.services.keys import Role, create_key
from kalepool.services.mining import miners
from tests.integration.api.test_farmer_way import signed_in

pytestmark = pytest.mark.anyio


async def add_miner(api, wallet: Keypair, name: str = "rig"):
    settings = api.farm.settings.model_copy(update={"miner_registration": "open"})
    ctx = api.farm.ctx
    made = await miners.register(ctx.database, ctx.custody, settings, name, wallet.public_key)
    return made.miner.miner_id, api.client(made.key)


async def test_a_payout_wallet_signs_in_for_its_miner(api) -> None:
    wallet, other = Keypair.random(), Keypair.random()
    miner, with_key = await add_miner(api, wallet)
    client = await signed_in(api, wallet)
    stranger = await signed_in(api, other)
    for path in ("/miner/balance", "/miner/payouts", "/miner/statement", "/miner/me"):
        own, refused = await client.get(path), await stranger.get(path)
        assert (own.status_code, refused.status_code) == (200, 403), (path, own.text)
    assert (await client.get("/miner/me")).json()["miner_id"] == str(miner)
    assert (await client.get("/miner/job")).status_code == 403, "it hashes with its key"

    # With the key alone another wallet waits, and the old one's owner takes it back.
    later = (await with_key.patch("/miner/me", json={"payout_wallet": other.public_key})).json()
    assert (later["payout_wallet"], later["next_wallet"]) == (wallet.public_key, other.public_key)
    back = (await client.patch("/miner/me", json={"payout_wallet": wallet.public_key})).json()
    assert (back["payout_wallet"], back["next_wallet"]) == (wallet.public_key, None)
    moved = (await client.patch("/miner/me", json={"payout_wallet": other.public_key, "claimable": True})).json()
    assert (moved["payout_wallet"], moved["next_wallet"], moved["claimable"]) == (other.public_key, None, True)
    assert (await client.get("/miner/balance")).status_code == 403, "it is another wallet's now"
    assert (await stranger.get("/miner/balance")).status_code == 200

    # Several miners of one wallet are told apart.
    second, _ = await add_miner(api, other, "rig two")
    both = await stranger.get("/miner/me")
    assert (both.status_code, both.json()["code"]) == (409, "several-miners")
    assert str(miner) in both.json()["detail"] and str(second) in both.json()["detail"]
    assert (await stranger.get("/miner/me", params={"miner_id": str(second)})).json()["name"] == "rig two"
    assert (await with_key.get("/miner/me", params={"miner_id": str(second)})).status_code == 403


async def test_a_row_in_the_database_is_no_signature(api) -> None:
    """Who writes there can make itself any key; not a token that the pool has signed."""
    wallet, thief = Keypair.random(), Keypair.random()
    _, with_key = await add_miner(api, wallet)
    soon = datetime.now(UTC) + timedelta(hours=1)
    forged = await create_key(
        api.farm.ctx.database, Role.FARMER, subject_wallet=wallet.public_key, label="sign-in", expires_at=soon
    )
    change = {"payout_wallet": thief.public_key}
    found = (await api.client(forged.key).patch("/miner/me", json=change)).json()
    assert (found["payout_wallet"], found["next_wallet"]) == (wallet.public_key, thief.public_key)
    told = await with_key.patch("/miner/me", json=change | {"sign_in_token": forged.key})
    assert told.status_code == 409 and "sign_in_token" in told.json()["detail"]
