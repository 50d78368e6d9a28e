"""The coordinator hears of shares and farmers, and outlives what it cannot read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from stellar_sdk import Keypair
from structlog.testing import capture_logs

from kalepool.chain import Farm
from kalepool.config import Settings
from kalepool.coordinator.process import coordinator
from kalepool.database import Database, new_id
from kalepool.notices import Channel, FarmerNotice, ShareNotice, tell
from kalepool.protocol.model import Block
from kalepool.services import poolers
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

HEARD = {Channel.SHARES, Channel.FARMERS}
MALFORMED = ('{"block_index": ', "[" * 7000, '{"pooler_id": 1}', "-1")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_malformed_notices_are_said_and_the_coordinator_goes_on(database: Database, database_url: str) -> None:
    pooler = await poolers.add_pooler(database, "ours", 100)
    port = free_port()
    settings = Settings.load(
        network="devnet",
        rpc_url="http://127.0.0.1:9",  # neither chain nor API: nothing here needs them
        api_url="http://127.0.0.1:9",
        database_url=database_url,
        api_key=pooler.key,
        ray_address="none",
        metrics_port=port,
    )
    wallet, farmer_id = Keypair.random().public_key, new_id()
    async with coordinator(settings) as running:
        with capture_logs() as logs:
            task = asyncio.create_task(running.run())

            def said() -> list[str]:
                return [entry["channel"] for entry in logs if entry["event"] == "notice_malformed"]

            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
                async with asyncio.timeout(30):
                    while set(said()) != HEARD:  # until it listens on both
                        for channel in Channel:
                            await connection.execute("SELECT pg_notify(%s, 'x')", (channel,))
                        await asyncio.sleep(0.05)
                before = len(said())
                for channel in Channel:
                    for text in MALFORMED:
                        await connection.execute("SELECT pg_notify(%s, %s)", (channel, text))
                await until(lambda: len(said()) >= before + len(MALFORMED) * len(HEARD))
                assert not task.done()

                await connection.execute(
                    "INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, "
                    "payout_wallet, stake_percentage, status) VALUES (%s, %s, %s, '', '', %s, 0.1, 'active')",
                    (farmer_id, pooler.pooler_id, wallet, wallet),
                )
            await tell(database, FarmerNotice(farmer_id))
            await until(lambda: wallet in running.state.farmers)

            block = Block(int(datetime.now(UTC).timestamp()), 0, 0, 0, 10, 0, 6, bytes(32), 0, 0)
            running.state.saw_farm(Farm(100, None, 7, block, block, False))
            await tell(database, ShareNotice(7, pooler.pooler_id, farmer_id, nonce=1, zeros=9, searcher=1))
            await until(lambda: running.state.best_zeros(wallet) == 9)

            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
