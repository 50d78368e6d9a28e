"""All roles on all operations: who may do what is this table, and an operation that is not in it fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx2
import pytest
from stellar_sdk import Keypair

from kalepool.api.limits import RateLimits
from kalepool.database import Database, new_id
from kalepool.networks import DEVNET
from kalepool.services import browsing, poolers
from kalepool.services.farmers import Farmer
from kalepool.services.keys import Role, create_key, find_owner, key_hash
from kalepool.services.mining import miners as mining_accounts
from tests.support.browser import Browser

pytestmark = pytest.mark.anyio

WALLET, KEY, OTHER_WALLET = "farmer who signed in", "farmer's key", "another farmer"
MINER, POOLER, OTHER_POOLER, OPERATOR = "miner", "pooler", "another pooler", "operator"
NOBODY, UNKNOWN = "nobody", "unknown key"
KNOWN = {WALLET, KEY, OTHER_WALLET, MINER, POOLER, OTHER_POOLER, OPERATOR}
EVERYBODY = KNOWN | {NOBODY, UNKNOWN}
POOLERS = {POOLER, OPERATOR}
ANY_POOLER = {POOLER, OTHER_POOLER, OPERATOR}
SEES_FARMER = {WALLET, KEY, POOLER, OPERATOR}
SIGNED_IN = {WALLET, OTHER_WALLET}
BROWSERS = {WALLET, OTHER_WALLET, MINER, OPERATOR, NOBODY}


@dataclass(frozen=True)
class Call:
    """Who may do it, and a request that is in order. `found`: False where there is nothing to be found yet."""

    may: set[str]
    body: Callable[[Cast], Any] | None = None
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    found: bool = True


@dataclass
class Cast:
    """Who and what the calls are about."""

    database: Database
    pooler_id: UUID
    other_pooler_id: UUID
    farmer: Farmer
    other_wallet: str
    miner_id: UUID
    banned_id: UUID
    withdrawal_id: UUID
    submission_id: UUID
    compensation_id: UUID
    invite: str

    async def key(self, who: str) -> str | None:
        """A new key of somebody, so that each call may end the one it has."""
        soon = datetime.now(UTC) + timedelta(hours=1)
        roles: dict[str, dict[str, Any]] = {
            WALLET: {"role": "farmer", "subject_wallet": self.farmer.payout_wallet, "expires_at": soon},
            OTHER_WALLET: {"role": "farmer", "subject_wallet": self.other_wallet, "expires_at": soon},
            KEY: {"role": "farmer", "subject_id": self.farmer.farmer_id},
            MINER: {"role": "miner", "subject_id": self.miner_id},
            POOLER: {"role": "pooler", "subject_id": self.pooler_id},
            OTHER_POOLER: {"role": "pooler", "subject_id": self.other_pooler_id},
            OPERATOR: {"role": "operator"},
        }
        match who:
            case "nobody":
                return None
            case "unknown key":
                return "kp_" + "x" * 43
            case _:
                return (await create_key(self.database, **roles[who])).key

    async def path(self, template: str, own_key: str | None) -> str:
        """The path with the ids of what exists. A key to be ended is the caller's own, or a new one."""
        ended = None
        if template == "/keys/{key_id}" and own_key is not None:
            found = await self.database.fetch_one("select_api_keys", key_hashes=[key_hash(own_key)])
            ended = found["key_id"] if found else None
        elif template in ("/operator/keys/{key_id}", "/operator/page/keys/{key_id}/end"):
            ended = (await create_key(self.database, Role.OPERATOR)).key_id
        elif template.startswith("/mine/"):
            ended = (await create_key(self.database, Role.MINER, subject_id=self.miner_id)).key_id
        searcher = 0
        if "{searcher}" in template:  # each call may retire the one it has
            rig = {"miner_ids": [self.miner_id], "names": [str(new_id())], "most": 10**6}
            searcher = (await self.database.fetch_one("insert_rigs", home=None, **rig) or {})["searcher"]
        hook = {"webhook_id": new_id(), "event_id": new_id()}
        if "{webhook_id}" in template:  # so may the one that each call deletes
            address = "https://receiver.example/kale"
            whose: dict[str, Any] = {"role": None, "subject_id": None}
            if template.startswith(("/miner/", "/mine/")):
                whose = {"role": "miner", "subject_id": self.miner_id}
            elif template.startswith(("/farmers/", "/farm/")):
                whose = {"role": "farmer", "subject_id": self.farmer.farmer_id}
            about: dict[str, Any] = {"url": address, "types": ["harvest"], "secret_sealed": b"", **whose}
            await self.database.execute("insert_webhook", webhook_id=hook["webhook_id"], **about)
            await self.database.execute("insert_webhook_test", **hook, body="{}")
        names = {
            **hook,
            "invite_id": (await mining_accounts.create_invite(self.database, "", 1, 3600)).invite_id,
            "farmer_id": self.farmer.farmer_id,
            "pooler_id": self.pooler_id,
            "miner_id": self.banned_id,
            "own_miner_id": self.miner_id,
            "searcher": searcher,
            "withdrawal_id": self.withdrawal_id,
            "submission_id": self.submission_id,
            "compensation_id": self.compensation_id,
            "key_id": ended or new_id(),
            "index": 0,
            "block_index": 0,
            "what": "plantings",
            "by": "blocks",
        }
        return template.format(**names)


def block(cast: Cast) -> dict:
    return {"pooler_id": str(cast.pooler_id), "block_index": 0}


TABLE: dict[str, Call] = {
    # public
    "GET /health": Call(EVERYBODY),
    "GET /alive": Call(EVERYBODY),
    "GET /info": Call(EVERYBODY),
    "GET /books": Call(EVERYBODY),
    "GET /books/blocks": Call(EVERYBODY),
    "GET /books/days": Call(EVERYBODY),
    "GET /books/closings": Call(EVERYBODY),
    "GET /books/payouts": Call(EVERYBODY),
    "GET /pool": Call(EVERYBODY),
    "GET /pool/farmers": Call(EVERYBODY),
    "GET /pool/farmers/{farmer_id}": Call(EVERYBODY),
    "GET /pool/miners/{miner_id}": Call(EVERYBODY),
    "GET /pool/blocks": Call(EVERYBODY),
    "GET /pool/blocks/{index}": Call(EVERYBODY),
    "GET /pool/blocks/{index}/farmers": Call(EVERYBODY),
    "GET /pool/hashrates": Call(EVERYBODY),
    "GET /pool/events": Call(EVERYBODY),
    "GET /pool/find": Call(EVERYBODY, params={"q": "one"}),
    "GET /pool/terms": Call(EVERYBODY),
    "GET /.well-known/stellar.toml": Call(EVERYBODY),
    "GET /auth": Call(EVERYBODY, params={"account": Keypair.random().public_key}),
    "POST /auth": Call(EVERYBODY, lambda _: {"transaction": "no challenge"}),
    "GET /auth/contracts": Call(EVERYBODY, params={"account": str(DEVNET.tractor_id)}),
    "POST /auth/contracts": Call(EVERYBODY, lambda _: {"authorization_entries": "no challenge"}),
    # poolers
    "POST /farmers/register": Call(
        POOLERS, lambda cast: {"pooler_id": str(cast.pooler_id), "payout_wallet": cast.farmer.payout_wallet}
    ),
    "GET /farmers": Call(ANY_POOLER),
    "POST /plant": Call(POOLERS, block),
    "POST /work": Call(
        POOLERS,
        lambda cast: block(cast) | {"submissions": [{"farmer_id": str(cast.farmer.farmer_id), "nonce": "1"}]},
    ),
    "POST /harvest": Call(POOLERS, block),
    "GET /blocks/{index}": Call(ANY_POOLER),
    "GET /poolers/{pooler_id}": Call(POOLERS),
    "GET /poolers/{pooler_id}/blocks": Call(POOLERS),
    "GET /poolers/{pooler_id}/failures": Call(POOLERS),
    "GET /poolers/{pooler_id}/compensations": Call(POOLERS),
    # farmers
    "GET /farmers/{farmer_id}": Call(SEES_FARMER),
    "PATCH /farmers/{farmer_id}": Call({WALLET, OPERATOR}, lambda _: {"stake_percentage": 0.5}),
    "GET /farmers/{farmer_id}/blocks": Call(SEES_FARMER),
    "GET /farmers/{farmer_id}/totals": Call(SEES_FARMER),
    "GET /farmers/{farmer_id}/export": Call(SEES_FARMER),
    "GET /farmers/{farmer_id}/withdrawals": Call(SEES_FARMER),
    "POST /farmers/{farmer_id}/withdrawals": Call(
        {WALLET}, lambda _: {"asset": "XLM", "amount_stroops": "1"}, headers={"Idempotency-Key": "roles"}
    ),
    "GET /farmers/{farmer_id}/withdrawals/{withdrawal_id}": Call(SEES_FARMER),
    "POST /farmers/{farmer_id}/leave": Call({WALLET, OPERATOR}),
    "GET /farmers/{farmer_id}/leave": Call(SEES_FARMER),
    "GET /farmers/{farmer_id}/webhooks": Call({WALLET}),
    "POST /farmers/{farmer_id}/webhooks": Call(
        {WALLET}, lambda _: {"url": "https://receiver.example/kale", "types": ["key.ended"]}
    ),
    "PATCH /farmers/{farmer_id}/webhooks/{webhook_id}": Call({WALLET}, lambda _: {"paused": True}),
    "DELETE /farmers/{farmer_id}/webhooks/{webhook_id}": Call({WALLET}),
    "POST /farmers/{farmer_id}/webhooks/{webhook_id}/test": Call({WALLET}),
    "GET /farmers/{farmer_id}/webhooks/{webhook_id}/deliveries": Call({WALLET}),
    "POST /farmers/{farmer_id}/webhooks/{webhook_id}/deliveries/{event_id}/again": Call({WALLET}),
    "GET /farmer/poolers": Call(SIGNED_IN),
    "GET /farmer/farmers": Call(SIGNED_IN),
    "POST /farmer/own-wallets": Call(SIGNED_IN, lambda cast: {"pooler_id": str(cast.pooler_id)}),
    "POST /farmer/farmers": Call(SIGNED_IN, lambda cast: {"pooler_id": str(cast.pooler_id)}),
    # miners
    "POST /miner/register": Call(EVERYBODY, lambda cast: {"name": "rig", "invite": cast.invite}),
    "POST /miner/invites": Call({OPERATOR}, lambda _: {}),
    "GET /miner/job": Call({MINER}),
    "GET /miner/jobs/stream": Call({MINER}),
    "POST /miner/shares": Call({MINER}, lambda _: {"job_id": "none", "nonce": "1"}),
    "GET /miner/me": Call({MINER}),
    "GET /miner/credits": Call({MINER}),
    "GET /miner/rigs": Call({MINER}),
    "DELETE /miner/rigs/{searcher}": Call({MINER}),
    "PATCH /miner/me": Call({MINER}, lambda _: {"payout_threshold_stroops": "200000000"}),
    "GET /miner/balance": Call({MINER}),
    "GET /miner/statement": Call({MINER}),
    "GET /miner/payouts": Call({MINER}),
    "POST /miner/payouts": Call({MINER}, headers={"Idempotency-Key": "roles"}),
    "GET /miner/webhooks": Call({MINER}),
    "POST /miner/webhooks": Call({MINER}, lambda _: {"url": "https://receiver.example/kale", "types": ["key.ended"]}),
    "PATCH /miner/webhooks/{webhook_id}": Call({MINER}, lambda _: {"paused": True}),
    "DELETE /miner/webhooks/{webhook_id}": Call({MINER}),
    "POST /miner/webhooks/{webhook_id}/test": Call({MINER}),
    "GET /miner/webhooks/{webhook_id}/deliveries": Call({MINER}),
    "POST /miner/webhooks/{webhook_id}/deliveries/{event_id}/again": Call({MINER}),
    "GET /miner/blocks/{block_index}": Call(EVERYBODY, found=False),
    "GET /miner/blocks/{block_index}/closing": Call(EVERYBODY, found=False),
    "GET /miner/blocks/{block_index}/shares": Call(EVERYBODY, found=False),
    # keys
    "GET /keys": Call(KNOWN),
    "POST /keys": Call(KNOWN - SIGNED_IN, lambda _: {}),
    "DELETE /keys/{key_id}": Call(KNOWN),
    # operators
    "GET /operator/poolers": Call({OPERATOR}),
    "POST /operator/poolers": Call({OPERATOR}, lambda _: {"name": "one more"}),
    "PATCH /operator/poolers/{pooler_id}": Call({OPERATOR}, lambda _: {"open": True}),
    "GET /operator/planting": Call({OPERATOR}),
    "PUT /operator/planting": Call({OPERATOR}, lambda _: {"paused": False}),
    "GET /operator/miners": Call({OPERATOR}),
    "PUT /operator/miners/{miner_id}/ban": Call({OPERATOR}, lambda _: {"hours": 1, "reason": "a test"}),
    "DELETE /operator/miners/{miner_id}/ban": Call({OPERATOR}),
    "GET /operator/keys": Call({OPERATOR}),
    "POST /operator/keys": Call({OPERATOR}, lambda _: {"role": "operator"}),
    "DELETE /operator/keys/{key_id}": Call({OPERATOR}),
    "GET /operator/submissions": Call({OPERATOR}),
    "GET /operator/submissions/{submission_id}": Call({OPERATOR}),
    "PUT /operator/submissions/{submission_id}/outcome": Call({OPERATOR}, lambda _: {"status": "applied", "ledger": 1}),
    "GET /operator/gaps": Call({OPERATOR}),
    "PUT /operator/gaps/acknowledgement": Call({OPERATOR}, lambda _: {"reason": "looked at"}),
    "GET /operator/fees": Call({OPERATOR}),
    "POST /operator/own-wallets": Call(
        {OPERATOR}, lambda cast: {"pooler_id": str(cast.pooler_id), "wallet": Keypair.random().public_key}
    ),
    "PUT /operator/own-wallets/{farmer_id}/terms": Call(
        {OPERATOR}, lambda _: {"price_stroops": "0", "prepaid_stroops": "0"}, found=False
    ),
    "POST /operator/books/corrections": Call(
        {OPERATOR}, lambda _: {"debit": "operator", "credit": "outside", "amount_stroops": "1", "reason": "a test"}
    ),
    "GET /operator/compensations": Call({OPERATOR}),
    "PUT /operator/compensations/{compensation_id}/payment": Call(
        {OPERATOR}, lambda _: {"transaction_hash": "00" * 32}
    ),
    "PUT /operator/compensations/{compensation_id}/approval": Call({OPERATOR}),
    "PUT /operator/compensations/{compensation_id}/check": Call({OPERATOR}, lambda _: {"owed": True}),
    "GET /operator/actions": Call({OPERATOR}),
    "GET /operator/invites": Call({OPERATOR}),
    "GET /operator/waiting": Call({OPERATOR}),
    "GET /operator/webhooks": Call({OPERATOR}),
    "POST /operator/webhooks": Call(
        {OPERATOR}, lambda _: {"url": "https://receiver.example/kale", "types": ["block.closed", "payout"]}
    ),
    "PATCH /operator/webhooks/{webhook_id}": Call({OPERATOR}, lambda _: {"paused": True}),
    "DELETE /operator/webhooks/{webhook_id}": Call({OPERATOR}),
    "POST /operator/webhooks/{webhook_id}/test": Call({OPERATOR}),
    "GET /operator/webhooks/{webhook_id}/deliveries": Call({OPERATOR}),
    "POST /operator/webhooks/{webhook_id}/deliveries/{event_id}/again": Call({OPERATOR}),
    "GET /operator/results/{by}": Call({OPERATOR}),
    "GET /operator/audit/{what}": Call({OPERATOR}),
}


@pytest.fixture
async def cast(api) -> Cast:
    """One of each, with something to look at."""
    farm = api.farm
    database = farm.ctx.database
    async with asyncio.timeout(60):
        while (await api.anybody.get("/health")).status_code != 200:
            await farm.wait_ledger()
    (farmer,) = await farm.add_farmers(1, kale_stroops=0)
    other = await poolers.add_pooler(database, "another", 100)
    await api.operator.patch(f"/operator/poolers/{farm.pooler_id}", json={"open": True})
    await api.pooler.post("/plant", json={"block_index": 0, "pooler_id": str(farm.pooler_id)})
    open_miners = farm.settings.model_copy(update={"miner_registration": "open"})
    miner, banned = [
        await mining_accounts.register(database, farm.ctx.custody, open_miners, name) for name in ("one", "two")
    ]
    invite = await mining_accounts.create_invite(database, "", 100, 3600)
    withdrawal_id, compensation_id = new_id(), new_id()
    await farm.rows(
        "INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination, "
        "closed_at, code) VALUES (%s, %s, 'before', 'XLM', 1, '', now(), 'test')",
        *(withdrawal_id, farmer.farmer_id),
    )
    await farm.rows(
        "INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, "
        "stake_stroops, forecast_stroops) VALUES (%s, 9, %s, %s, 'pooler', 'work-missing', 1, 2)",
        *(compensation_id, farm.pooler_id, farmer.farmer_id),
    )
    [(submission_id,)] = await farm.rows("SELECT submission_id FROM submissions LIMIT 1")
    return Cast(
        database,
        farm.pooler_id,
        other.pooler_id,
        farmer,
        Keypair.random().public_key,
        miner.miner.miner_id,
        banned.miner.miner_id,
        withdrawal_id,
        submission_id,
        compensation_id,
        invite.invite,
    )


def operations(app) -> list[str]:
    return [
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method in ("get", "put", "post", "patch", "delete")
    ]


async def ask(api, cast: Cast, operation: str, call: Call, who: str, number: int) -> httpx2.Response | None:
    """The answer; None for a stream that goes on. Each call comes from an address of its own: no limit is reached."""
    method, template = operation.split(" ")
    key = await cast.key(who)
    headers = call.headers | ({"Authorization": f"Bearer {key}"} if key else {})
    transport = httpx2.ASGITransport(
        app=api.app, raise_app_exceptions=False, client=(f"10.0.{number // 250}.{number % 250}", 1)
    )
    async with httpx2.AsyncClient(transport=transport, base_url="http://pool") as client:
        path = await cast.path(template, key)
        body = call.body(cast) if call.body else None
        request = client.request(method, path, json=body, params=call.params, headers=headers)
        # Who may follow a stream is told nothing by its silence; a refusal is waited for.
        streams = template.endswith(("/stream", "/events")) and who in call.may
        try:
            return await asyncio.wait_for(request, 0.5 if streams else 30)
        except TimeoutError:
            assert streams, f"{operation} by {who} was not answered"
            return None


async def test_every_operation_is_in_the_table(api) -> None:
    assert sorted(operations(api.app)) == sorted(TABLE)


def undescribed(app) -> set[str]:
    """The paths of routes that the description leaves out; "METHOD path" where it is not only read."""
    found = set()
    for mounted in app.routes:
        inner = getattr(mounted, "original_router", None)
        for route in inner.routes if inner is not None else [mounted]:
            if getattr(route, "include_in_schema", False) and getattr(inner, "include_in_schema", True):
                continue
            found |= {route.path if method in ("GET", "HEAD") else f"{method} {route.path}" for method in route.methods}
    return found


UNLIMITED = {"requests_per_minute": 1_000_000, "miner_shares_per_minute": 1_000_000}

SURE = {"sure": "yes"}

FORMS: dict[str, Call] = {
    "/farm": Call(BROWSERS),
    "POST /farm/sign-in": Call(BROWSERS, lambda _: {"transaction": "no challenge"}),
    "POST /sign-out": Call(BROWSERS),
    "/farm/join": Call(SIGNED_IN),
    "POST /farm/join": Call(SIGNED_IN, lambda cast: {"pooler": str(cast.pooler_id), "stake": "10", "agreed": "1"}),
    "POST /farm/own-wallet": Call(SIGNED_IN, lambda cast: {"pooler": str(cast.pooler_id), "agreed": "1"}),
    "/farm/wallet": Call(SIGNED_IN),
    "POST /farm/wallet/trustline": Call(SIGNED_IN, lambda _: {"transaction": "none"}),
    "POST /farm/wallet/gift": Call(SIGNED_IN),
    "/farm/{farmer_id:uuid}": Call({WALLET}),
    "/farm/{farmer_id:uuid}/parts": Call({WALLET}),
    "/farm/{farmer_id:uuid}/books.csv": Call({WALLET}, params={"year": "2026"}),
    "/farm/{farmer_id:uuid}/deposit": Call({WALLET}, params={"asset": "XLM", "amount": "1"}, found=False),
    "POST /farm/{farmer_id:uuid}/deposit": Call({WALLET}, lambda _: {"transaction": "none"}),
    "POST /farm/{farmer_id:uuid}/stake": Call({WALLET}, lambda _: {"stake": "10"}),
    "POST /farm/{farmer_id:uuid}/pause": Call({WALLET}, lambda _: {"paused": "1"}),
    "/farm/{farmer_id:uuid}/withdraw": Call({WALLET}),
    "POST /farm/{farmer_id:uuid}/withdraw": Call({WALLET}, lambda _: {"asset": "XLM", "amount": "1"}),
    "/farm/{farmer_id:uuid}/leave": Call({WALLET}),
    "POST /farm/{farmer_id:uuid}/leave": Call({WALLET}, lambda _: {"transaction": "none"}),
    "POST /farm/{farmer_id:uuid}/alerts": Call({WALLET}, lambda _: {"url": ""}),
    "POST /farm/{farmer_id:uuid}/alerts/test": Call({WALLET}),
    "/farm/{farmer_id:uuid}/webhooks": Call({WALLET}),
    "POST /farm/{farmer_id:uuid}/webhooks": Call(
        {WALLET}, lambda _: {"url": "https://receiver.example/", "type.key.ended": "1"}
    ),
    "POST /farm/{farmer_id:uuid}/webhooks/{webhook_id:uuid}/test": Call({WALLET}),
    "POST /farm/{farmer_id:uuid}/webhooks/{webhook_id:uuid}/pause": Call({WALLET}, lambda _: {"paused": "yes"}),
    "POST /farm/{farmer_id:uuid}/webhooks/{webhook_id:uuid}/end": Call({WALLET}, lambda _: SURE),
    "POST /farm/{farmer_id:uuid}/webhooks/{webhook_id:uuid}/deliveries/{event_id:uuid}/again": Call({WALLET}),
    "/mine": Call(BROWSERS),
    "/mine/join": Call(BROWSERS),
    "POST /mine/sign-in": Call(BROWSERS, lambda _: {"transaction": "no challenge"}),
    "POST /mine/join": Call(BROWSERS, lambda cast: {"name": "one more", "invite": cast.invite}),
    "/mine/{own_miner_id:uuid}": Call({MINER}),
    "/mine/{own_miner_id:uuid}/parts": Call({MINER}),
    "/mine/{own_miner_id:uuid}/statement.csv": Call({MINER}),
    "POST /mine/{own_miner_id:uuid}/rigs/{searcher:int}/retire": Call({MINER}),
    "POST /mine/{own_miner_id:uuid}/terms": Call({MINER}, lambda _: {"threshold": "20"}),
    "POST /mine/{own_miner_id:uuid}/payouts": Call({MINER}, lambda _: {"once": "0" * 36}),
    "POST /mine/{own_miner_id:uuid}/wallet": Call({MINER}, lambda _: {"payout_wallet": Keypair.random().public_key}),
    "POST /mine/{own_miner_id:uuid}/wallet/keep": Call({MINER}),
    "POST /mine/{own_miner_id:uuid}/keys": Call({MINER}, lambda _: {"label": "x"}),
    "POST /mine/{own_miner_id:uuid}/keys/{key_id:uuid}/end": Call({MINER}, lambda _: SURE),
    "POST /mine/{own_miner_id:uuid}/alerts": Call({MINER}, lambda _: {"url": ""}),
    "POST /mine/{own_miner_id:uuid}/alerts/test": Call({MINER}),
    "/mine/{own_miner_id:uuid}/webhooks": Call({MINER}),
    "POST /mine/{own_miner_id:uuid}/webhooks": Call(
        {MINER}, lambda _: {"url": "https://receiver.example/", "type.key.ended": "1"}
    ),
    "POST /mine/{own_miner_id:uuid}/webhooks/{webhook_id:uuid}/test": Call({MINER}),
    "POST /mine/{own_miner_id:uuid}/webhooks/{webhook_id:uuid}/pause": Call({MINER}, lambda _: {"paused": "yes"}),
    "POST /mine/{own_miner_id:uuid}/webhooks/{webhook_id:uuid}/end": Call({MINER}, lambda _: SURE),
    "POST /mine/{own_miner_id:uuid}/webhooks/{webhook_id:uuid}/deliveries/{event_id:uuid}/again": Call({MINER}),
    "/operator": Call(BROWSERS),
    "POST /operator/page/sign-in": Call(BROWSERS, lambda _: {"transaction": "no challenge"}),
    "/operator/page/farmers": Call({OPERATOR}),
    "/operator/page/poolers": Call({OPERATOR}),
    "/operator/page/miners": Call({OPERATOR}),
    "/operator/page/keys": Call({OPERATOR}),
    "POST /operator/page/keys/{key_id:uuid}/end": Call({OPERATOR}, lambda _: SURE),
    "POST /operator/page/invites": Call({OPERATOR}, lambda _: {"uses": "1", "valid_days": "1"}),
    "POST /operator/page/invites/{invite_id:uuid}/end": Call({OPERATOR}, lambda _: SURE),
    "/operator/page/journal": Call({OPERATOR}),
    "/operator/page/journal/{submission_id:uuid}": Call({OPERATOR}),
    "/operator/page/money": Call({OPERATOR}),
    "/operator/page/settings": Call({OPERATOR}),
    "/operator/page/audit": Call({OPERATOR}),
    "/operator/page/webhooks": Call({OPERATOR}),
    "POST /operator/page/webhooks": Call(
        {OPERATOR}, lambda _: {"url": "https://receiver.example/", "type.key.ended": "1"}
    ),
    "POST /operator/page/webhooks/{webhook_id:uuid}/test": Call({OPERATOR}),
    "POST /operator/page/webhooks/{webhook_id:uuid}/pause": Call({OPERATOR}, lambda _: {"paused": "yes"}),
    "POST /operator/page/webhooks/{webhook_id:uuid}/end": Call({OPERATOR}, lambda _: SURE),
    "POST /operator/page/webhooks/{webhook_id:uuid}/deliveries/{event_id:uuid}/again": Call({OPERATOR}),
    "POST /operator/page/planting": Call({OPERATOR}, lambda _: SURE | {"paused": "yes"}),
    "POST /operator/page/poolers/{pooler_id:uuid}": Call(
        {OPERATOR}, lambda _: SURE | {"field": "open", "value": "yes"}
    ),
    "POST /operator/page/miners/{miner_id:uuid}/ban": Call(
        {OPERATOR}, lambda _: SURE | {"hours": "1", "reason": "a test"}
    ),
    "POST /operator/page/miners/{miner_id:uuid}/lift": Call({OPERATOR}, lambda _: SURE),
    "POST /operator/page/journal/{submission_id:uuid}": Call(
        {OPERATOR}, lambda _: SURE | {"status": "applied", "ledger": "1"}
    ),
    "POST /operator/page/gaps": Call({OPERATOR}, lambda _: SURE | {"reason": "looked at"}),
    "POST /operator/page/money/{compensation_id:uuid}/check": Call({OPERATOR}, lambda _: SURE | {"owed": "yes"}),
    "POST /operator/page/money/{compensation_id:uuid}/paid": Call(
        {OPERATOR}, lambda _: SURE | {"transaction_hash": "00" * 32}
    ),
    "POST /operator/page/books": Call(
        {OPERATOR},
        lambda _: SURE | {"debit": "operator", "credit": "outside", "amount_stroops": "1", "reason": "a test"},
    ),
}
"""Pages where somebody may be signed in, and what their forms do."""

PAGE = {
    "/",
    "/events",
    "/find",
    "/block/{index:int}",
    "/farmer/{farmer_id:uuid}",
    "/miner/{miner_id:uuid}",
    "/mine/browser",
    "/mine/package/{name}",
    "/static/mine/{name}",
    "/static/{name:path}",
}
DESCRIPTION = {"/openapi.json", "/docs"}
OWN_TEST = {"/metrics"}
"""For operators and this machine; see test_metrics.py."""


async def test_what_the_description_leaves_out_is_public_and_only_read_or_in_the_table_of_forms(api) -> None:
    forms = {each.replace("{own_miner_id", "{miner_id") for each in FORMS}
    assert undescribed(api.app) - OWN_TEST - forms == PAGE | DESCRIPTION
    assert forms <= undescribed(api.app)


async def signed_in_as(api, cast: Cast, who: str, number: int) -> Browser:
    """A browser of somebody's, at an address of its own."""
    browser = Browser.of(api.app, address=f"10.1.{number // 250}.{number % 250}")
    key = await cast.key(who)
    if key is not None:
        owner = await find_owner(cast.database, key)
        assert owner is not None
        session = await browsing.begin(cast.database, owner.key_id, seconds=60, instead_of=None)
        browser.bring(session.secret)
    return browser


async def test_everybody_sees_and_sends_only_the_forms_that_are_theirs(api, cast: Cast) -> None:
    api.app.state.limits = RateLimits(api.farm.settings.model_copy(update=UNLIMITED))
    wrong = []
    for number, (operation, call) in enumerate(FORMS.items()):
        for place, who in enumerate(sorted(BROWSERS)):
            browser = await signed_in_as(api, cast, who, 10 * number + place)
            method, _, template = operation.rpartition(" ")
            path = await cast.path(re.sub(r":\w+}", "}", template), None)
            fields = call.body(cast) if call.body else {}
            query = f"?{urlencode(call.params)}" if call.params else ""
            page = "/farm/join" if who in SIGNED_IN else "/farm"
            answer = await (browser.send(path, fields, page=page) if method else browser.look(path + query))
            refused = {401} if who == NOBODY else {403, 404}
            fine = answer.status_code < 500 and answer.status_code not in {401, 403, 404}
            fine |= not call.found and answer.status_code == 503  # the wallet is not on the ledger
            if not (fine if who in call.may else answer.status_code in refused):
                wrong.append(f"{operation} by {who}: {answer.status_code} {answer.text[-400:]}")
    assert not wrong, "\n".join(wrong)


async def test_everybody_does_only_what_is_theirs(api, cast: Cast) -> None:
    number = 0
    wrong = []
    api.app.state.limits = RateLimits(api.farm.settings.model_copy(update=UNLIMITED))
    # what ends somebody's part comes last
    described = api.app.openapi()["paths"]
    for operation in sorted(TABLE, key=lambda each: (each.endswith("/leave"), each.startswith("POST /farmer/"))):
        call = TABLE[operation]
        method, template = operation.split(" ")
        for who in sorted(EVERYBODY):
            number += 1
            answer = await ask(api, cast, operation, call, who, number)
            status = 200 if answer is None else answer.status_code
            refused = {401} if who in (NOBODY, UNKNOWN) else {403, 404}
            may = who in call.may
            fine = status < 500 and status not in ({401, 403, 404} if call.found else {401, 403})
            documented = described[template][method.lower()]["responses"]
            if answer is not None and str(status) not in documented:
                wrong.append(f"{operation} by {who}: {status} is not in the description")
            if (may and not fine) or (not may and status not in refused):
                wrong.append(f"{operation} by {who}: {status} {'' if answer is None else answer.text[:200]}")
            elif not may and answer is not None:
                assert answer.headers["content-type"] == "application/problem+json"
    assert not wrong, "\n".join(wrong)


async def test_a_key_that_was_ended_is_refused_everywhere(api, cast: Cast) -> None:
    ended = [await cast.key(who) for who in sorted(KNOWN)]
    for key in ended:
        client = api.client(key)
        found = (await client.get("/keys")).json()["items"][0]
        assert (await api.operator.delete(f"/operator/keys/{found['key_id']}")).status_code == 204
        assert (await client.get("/keys")).status_code == 401, "at once, though it was known a moment ago"
