"""What a first start lacks: a pooler of our own with a key, and demo farmers with free XLM."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
from stellar_sdk import Keypair

from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConfigError, RpcUnavailableError
from kalepool.services.farmers import FarmerStatus, list_farmers
from kalepool.services.keys import Role, create_key, revoke_keys_called, revoke_own_key
from kalepool.services.poolers import add_pooler, find_pooler

POOLER = "home"
FUNDED_AT_ONCE = 10
LABEL = "kalepool up"  # of the keys made here: each start revokes the last one's


async def ensure_pooler(database: Database, settings: Settings) -> tuple[UUID, str]:
    """Our own pooler, made on first start, and a fresh key for it. Keys of earlier starts end here."""
    pooler_id = await find_pooler(database, POOLER)
    if pooler_id is None:
        pooler_id = (await add_pooler(database, POOLER, settings.pooler_farmers)).pooler_id
    async with database.transaction() as session:
        await revoke_keys_called(session, pooler_id, LABEL)
        key = await create_key(session, Role.POOLER, subject_id=pooler_id, label=LABEL)
    return pooler_id, key.key


def demo_wallet(number: int) -> Keypair:
    """The payout wallet of demo farmer `number`. Anybody can make it again: never send it anything of worth."""
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(f"kalepool demo farmer {number}".encode()).digest())


async def ensure_farmers(
    database: Database,
    chain: Chain,
    api_url: str,
    pooler_id: UUID,
    count: int,
    say: Callable[[str], None],
) -> None:
    """Have `count` farmers active: register those that lack, fund those that wait, wait until the API took them up."""
    farmers = await list_farmers(database, pooler_id)
    present = sum(farmer["status"] in (FarmerStatus.REGISTERED, FarmerStatus.ACTIVE) for farmer in farmers)
    lacking = range(len(farmers) + 1, len(farmers) + 1 + count - present)
    if lacking:
        await _register(database, api_url, pooler_id, lacking)
    farmers = await list_farmers(database, pooler_id)
    waiting = [farmer["custodial_wallet"] for farmer in farmers if farmer["status"] == FarmerStatus.REGISTERED]
    funded = await chain.read_accounts(waiting)
    gate = asyncio.Semaphore(FUNDED_AT_ONCE)

    async def fund(wallet: str) -> None:
        async with gate:
            await chain.fund(wallet)

    await asyncio.gather(*(fund(wallet) for wallet in waiting if wallet not in funded))
    await _wait_until_active(database, pooler_id, count, max(60.0, 20 * chain.network.ledger_seconds), say)


async def _register(database: Database, api_url: str, pooler_id: UUID, numbers: range) -> None:
    """As an operator, with a key that ends with this: of those whom others register the pool asks KALE first."""
    soon = datetime.now(UTC) + timedelta(minutes=10)
    made = await create_key(database, Role.OPERATOR, label=LABEL, expires_at=soon)
    headers = {"Authorization": f"Bearer {made.key}"}
    try:
        async with httpx2.AsyncClient(base_url=api_url, timeout=30.0, headers=headers) as client:
            for number in numbers:
                body = {
                    "pooler_id": str(pooler_id),
                    "payout_wallet": demo_wallet(number).public_key,
                    "metadata": {"name": f"demo {number}"},
                }
                response = await client.post("/farmers/register", json=body)
                if response.status_code == 503:
                    raise RpcUnavailableError(f"a demo farmer cannot be registered now: {response.text[:300]}")
                if response.status_code != 201:
                    raise ConfigError(f"registering a demo farmer failed: {response.status_code} {response.text[:300]}")
    finally:
        await revoke_own_key(database, made.key_id, Role.OPERATOR, None, None)


async def _wait_until_active(
    database: Database, pooler_id: UUID, count: int, seconds: float, say: Callable[[str], None]
) -> None:
    """Active: funded, and with a KALE trustline, which the API adds."""
    active = -1
    try:
        async with asyncio.timeout(seconds):
            while active < count:
                farmers = await list_farmers(database, pooler_id)
                before, active = active, sum(farmer["status"] == FarmerStatus.ACTIVE for farmer in farmers)
                if active != before:
                    say(f"farmers: {active} of {count} active")
                await asyncio.sleep(0.25)
    except TimeoutError:
        raise RpcUnavailableError(
            f"only {active} of {count} farmers became active within {seconds:.0f} s: look into the API's log"
        ) from None
