"""What a miner found before it was ended reaches the pool, if that answers soon."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator

import httpx2
import pytest

from kalepool.mine import miner as client
from kalepool.mine.job import PoolJob
from kalepool.mine.miner import MiningClient
from tests.unit.mining.test_refusals import JOB

pytestmark = pytest.mark.anyio


class OneFind:
    """Finds one nonce, and then no more."""

    name = "one find"

    def __init__(self) -> None:
        self.found = False

    def measure(self) -> float:
        return 1.0

    def find(self, job: PoolJob, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        if self.found:
            stop.wait()
            return None, count
        self.found = True
        return start + 7, 8


class SlowPool:
    """Gives one job, and answers shares once `may_answer` is set."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, content=self.job())
        self.asked.set()
        await self.may_answer.wait()
        shares = json.loads(request.content)["shares"]
        return httpx2.Response(200, json={"results": [{"outcome": "accepted"} for _ in shares]})

    async def job(self) -> AsyncIterator[bytes]:
        yield f"event: job\ndata: {json.dumps(JOB)}\n\n".encode()
        await asyncio.Event().wait()


@pytest.mark.parametrize("answers", [True, False])
async def test_what_was_found_last_counts(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FAREWELL_SECONDS", 60.0 if answers else 0.05)
    pool = SlowPool()
    async with httpx2.AsyncClient(base_url="http://pool", transport=httpx2.MockTransport(pool.answer)) as http:
        miner = MiningClient(http, [OneFind()], "rig", print)
        work = asyncio.create_task(miner.run())
        await pool.asked.wait()
        work.cancel()
        await asyncio.wait([work], timeout=0.01)
        if answers:
            pool.may_answer.set()
        async with asyncio.timeout(30):
            with pytest.raises(asyncio.CancelledError):
                await work
    assert miner.outcomes == (Counter(accepted=1) if answers else Counter())


async def test_told_twice_it_ends_at_once_and_leaves_nothing_behind() -> None:
    pool = SlowPool()
    async with httpx2.AsyncClient(base_url="http://pool", transport=httpx2.MockTransport(pool.answer)) as http:
        before = asyncio.all_tasks()
        work = asyncio.create_task(MiningClient(http, [OneFind()], "rig", print).run())
        await pool.asked.wait()
        work.cancel()
        await asyncio.wait([work], timeout=0.01)
        work.cancel()
        async with asyncio.timeout(client.FAREWELL_SECONDS / 2):
            with pytest.raises(asyncio.CancelledError):
                await work
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
