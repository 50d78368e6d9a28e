"""`kalepool devnet --channels` answers as the real plugin does, pays for what it is given, and fails on demand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from stellar_sdk import Account, Asset, Keypair, TransactionBuilder, xdr

from kalepool.devnet import wire
from kalepool.devnet.channels_plugin import FUND
from kalepool.devnet.genesis import derived_keypair
from kalepool.devnet.testing import RunningDevnet, running_devnet
from kalepool.networks import DEVNET
from tests.support.channels_cases import ADMIN_SECRET, ANSWERS, cases

pytestmark = pytest.mark.anyio

RECORDED: dict[str, Any] = json.loads(ANSWERS.read_text())["answers"]
VARIES = {"transactionId", "maxTime", "now", "message"}
"""Fields whose values hang on the time or on the decoder."""


@pytest.fixture
async def devnet() -> AsyncIterator[RunningDevnet]:
    async with running_devnet(ledger_seconds=0.05, channels=True) as running:
        key = wire.account_key(derived_keypair(DEVNET, FUND).public_key)
        while running.node.ledger.view.account(key) is None:
            await running.node.wait_ledger()
        yield running


async def ask(devnet: RunningDevnet, params: Any, key: str = "a-key", path: str = "/channels/") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(devnet.url + path, json={"params": params}, headers=headers) as answer,
    ):
        return {"status": answer.status, **await answer.json()}


def comparable(answer: Any) -> Any:
    """Without what varies, and without what there is none of."""
    if not isinstance(answer, dict):
        return answer
    return {
        key: "…" if key in VARIES else comparable(value) for key, value in answer.items() if value not in (None, {})
    }


async def test_it_answers_as_the_recorded_plugin(devnet: RunningDevnet):
    asked = cases()
    assert asked.keys() == RECORDED.keys()
    for number, (name, case) in enumerate(asked.items()):
        key = f"key-{number}"
        if "limit" in case:
            limit = {"adminSecret": ADMIN_SECRET, "apiKey": key, "action": "setFeeLimit", "limit": case["limit"]}
            assert (await ask(devnet, {"management": limit}))["success"]
        answer, expected = await ask(devnet, case["params"], key=key), dict(RECORDED[name])
        if expected["error"] is None and not expected["success"]:  # the relayer's own words
            del answer["error"], expected["error"]
        assert comparable(answer) == comparable(expected), name


async def test_strangers_are_let_nowhere(devnet: RunningDevnet):
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": "a-key"}, {"Authorization": "Bearer "}, {"x-api-key": "a-key"}):
            async with http.post(f"{devnet.url}/channels", json={"params": {}}, headers=headers) as answer:
                assert (answer.status, (await answer.json(content_type=None))["error"]) == (401, "Unauthorized")


async def payment(devnet: RunningDevnet, ahead: int = 0) -> tuple[Keypair, str]:
    """A new account's payment to itself, with a sequence number that is so far ahead."""
    source = Keypair.random()
    async with (
        aiohttp.ClientSession() as http,
        http.get(devnet.friendbot_url, params={"addr": source.public_key}) as found,
    ):
        assert found.status == 200
    account = devnet.node.ledger.view.account(wire.account_key(source.public_key))
    assert account is not None
    builder = TransactionBuilder(Account(source.public_key, account.sequence + ahead), DEVNET.passphrase)
    builder.append_payment_op(source.public_key, Asset.native(), "1").add_time_bounds(0, int(time.time()) + 20)
    envelope = builder.build()
    envelope.sign(source)
    return source, envelope.to_xdr()


async def test_it_pays_for_what_it_is_given_and_follows_it(devnet: RunningDevnet):
    source, envelope = await payment(devnet)
    for path in ("/channels", "/api/v1/plugins/channels/call"):
        answer = await ask(devnet, {"xdr": envelope, "skipWait": True}, path=path)
        assert answer["data"]["status"] == "pending" and answer["data"]["hash"] is None
    name = answer["data"]["transactionId"]
    async with asyncio.timeout(30):
        while (found := (await ask(devnet, {"getTransaction": {"transactionId": name}}))["data"])["status"] in (
            "submitted",
            "pending",
        ):
            await devnet.node.wait_ledger()
    assert found["status"] == "confirmed"
    row = devnet.node.store.transaction(bytes.fromhex(found["hash"]))
    assert row is not None and row.record.success
    bump = xdr.TransactionEnvelope.from_xdr_bytes(row.record.envelope).fee_bump
    assert bump is not None and bump.tx.fee_source.ed25519 is not None
    assert bump.tx.fee_source.ed25519.uint256 == derived_keypair(DEVNET, FUND).raw_public_key()
    account = devnet.node.ledger.view.account(wire.account_key(source.public_key))
    assert account is not None and account.balance == 10_000 * 10_000_000  # it paid nothing
    usage = {"adminSecret": ADMIN_SECRET, "apiKey": "a-key", "action": "getFeeUsage"}
    assert (await ask(devnet, {"management": usage}))["data"] == {"consumed": 2 * 100_203}

    _, waited = await payment(devnet)
    assert (await ask(devnet, {"xdr": waited}))["data"]["status"] == "confirmed"
    _, refused = await payment(devnet, ahead=1)
    answer = await ask(devnet, {"xdr": refused})
    assert (answer["status"], answer["data"]["code"]) == (400, "ONCHAIN_FAILED")


async def test_it_fails_on_demand(devnet: RunningDevnet):
    _, envelope = await payment(devnet)
    faults = devnet.node.faults
    for kind, status, code in (("capacity", 503, "POOL_CAPACITY"), ("fee_limit", 429, "FEE_LIMIT_EXCEEDED")):
        faults.add({"kind": kind, "method": "channels"})
        answer = await ask(devnet, {"xdr": envelope})
        assert (answer["status"], answer["data"]["code"]) == (status, code)
    faults.add({"kind": "late_answer", "method": "channels", "seconds": 0.3})
    begun = time.monotonic()
    late = asyncio.create_task(ask(devnet, {"xdr": envelope, "skipWait": True}))
    await asyncio.sleep(0.2)
    assert not late.done()
    assert (await late)["success"] and time.monotonic() - begun >= 0.3
    faults.add({"kind": "unavailable", "method": "channels"})
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": "Bearer a-key"}
        async with http.post(f"{devnet.url}/channels", json={"params": {}}, headers=headers) as answer:
            assert answer.status == 503
        faults.add({"kind": "garbage", "method": "channels"})
        async with http.post(f"{devnet.url}/channels", json={"params": {}}, headers=headers) as answer:
            assert answer.content_type == "text/html"
