"""The API hears what other processes and the database's triggers tell, and outlives what it cannot read."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from kalepool.notices import Channel, ShareNotice, tell
from tests.integration.mining.test_api import Pool, pool

pytestmark = pytest.mark.anyio

__all__ = ["pool"]


async def test_a_stream_tells_nothing_after_its_key_was_ended(pool: Pool) -> None:
    async with await pool.miner() as miner, miner.stream("GET", "/miner/jobs/stream") as stream:
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        await pool.field.execute("UPDATE api_keys SET revoked_at = now()")
        async with asyncio.timeout(30):
            async with pool.client(miner.headers["Authorization"].removeprefix("Bearer ")) as same:
                while (await same.get("/keys")).status_code != 401:
                    pass
            await pool.field.open_block(42)
            rest = [line async for line in lines]
    assert not any(line.startswith("data: ") for line in rest), rest


async def test_malformed_notices_are_said_and_change_nothing(pool: Pool) -> None:
    async with await pool.miner() as miner:
        with capture_logs() as logs:
            for channel in Channel:
                for text in ('{"block_index": ', "[" * 7000, '{"farmer_id": 1}', "-1"):
                    await pool.field.execute("SELECT pg_notify(%s, %s)", channel, text)
            async with asyncio.timeout(30):
                while len([entry for entry in logs if entry["event"] == "notice_malformed"]) < 4 * len(Channel):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert {entry["channel"] for entry in logs if entry["event"] == "notice_malformed"} == set(Channel)

        # Each channel is heard as before: a better share moves miners on, a new block and a farmer change jobs, ended
        # keys are forgotten.
        job = (await miner.get("/miner/job")).json()
        farmer_id = next(id for id, wallet in pool.field.farmers.items() if wallet == job["farmer"])
        await tell(pool.database, ShareNotice(41, pool.field.pooler_id, farmer_id, nonce=1, zeros=9, searcher=1))
        moved = (await miner.get("/miner/job", params={"after": job["job_id"], "wait": 5})).json()
        assert moved["block_index"] == 41 and moved["farmer"] != job["farmer"]
        await pool.field.execute("UPDATE block_operations SET status = 'finished', closed_at = now()")
        await pool.field.open_block(42)
        following = (await miner.get("/miner/job", params={"after": moved["job_id"], "wait": 5})).json()
        assert following["block_index"] == 42
        for farmer in [UUID(str(id)) for id in pool.field.farmers][1:]:
            await pool.field.execute("UPDATE farmers SET status = 'leaving' WHERE farmer_id = %s", farmer)
        await pool.field.execute("SELECT pg_notify('farmers', farmer_id::text) FROM farmers LIMIT 1")
        async with asyncio.timeout(30):
            while len(pool.app.state.mining.dealer.places) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await pool.field.execute("UPDATE api_keys SET revoked_at = now()")
            while (await miner.get("/keys")).status_code != 401:
                pass
