"""A key that is ended while it streams."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.mining.test_api import Pool, pool

pytestmark = pytest.mark.anyio

__all__ = ["pool"]


async def test_a_stream_tells_nothing_after_its_key_was_ended(pool: Pool) -> None:
    async with await pool.miner() as miner, miner.stream("GET", "/miner/jobs/stream") as stream:
        lines = stream.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        await pool.field.execute("UPDATE api_keys SET revoked_at = now()")
        async with asyncio.timeout(5):
            async with pool.client(miner.headers["Authorization"].removeprefix("Bearer ")) as same:
                while (await same.get("/keys")).status_code != 401:
                    pass
            await pool.field.open_block(42)
            rest = [line async for line in lines]
    assert not any(line.startswith("data: ") for line in rest), rest
