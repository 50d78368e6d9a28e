"""`kalepool api --workers 3`: three real processes behind one address, of which the one that leads is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from kalepool.mine.job import PoolJob
from kalepool.mine.miner import MiningClient
from kalepool.services.keys import Role, create_key
from kalepool.up.workers import ROOM_SECONDS
from kernels import find
from tests.integration.mining.conftest import make_field
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

GO_ON_SECONDS = 15.0
"""Within which miners go on elsewhere."""


class CalmEngine:
    """Hashes for real, at SPEED hashes/s, and leaves the cores to others. The kernels are for one thread at a time."""

    name = "calm"
    kernel = threading.Lock()
    SPEED = 20_000.0

    def __init__(self) -> None:
        self.rests = False

    def measure(self) -> float:
        return self.SPEED

    def find(self, job: PoolJob, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        if self.rests:
            stop.wait(0.1)
            return None, count
        with self.kernel:
            nonce = find(job.template, start, count, job.below)
        tried = count if nonce is None else nonce - start + 1
        stop.wait(tried / self.SPEED)
        return nonce, tried


@dataclass
class Workers:
    """The process that keeps them, and what they log."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [event for line in lines if (event := json.loads(line))["event"] == name]

    @property
    def pids(self) -> set[int]:
        """Of those that were started last."""
        return {each["pid"] for each in {each["worker"]: each for each in self.events("worker_started")}.values()}


@asynccontextmanager
async def workers(settings, folder: Path, count: int = 3) -> AsyncIterator[Workers]:
    port = free_port()
    environment = os.environ | settings.as_environment() | {"KALEPOOL_API_PORT": str(port), "KALEPOOL_ENV_FILE": ""}
    log = folder / "workers.log"
    arguments = [sys.executable, "-m", "kalepool", "api", "--workers", str(count)]
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=output)  # noqa: ASYNC220
    made = Workers(process, f"http://127.0.0.1:{port}", log)
    try:
        yield made
    finally:
        process.terminate()
        try:
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()


async def until(done: Callable[[], Awaitable[bool]], seconds: float, what: Callable[[], str]) -> float:
    """How long it took."""
    began = time.monotonic()
    while not await done():
        assert time.monotonic() - began < seconds, what()
        await asyncio.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.slow(40, "four Python processes start, and a killed one is started again")
async def test_three_processes_serve_as_one_and_one_is_killed(farm, tmp_path: Path):
    field = await make_field(farm.database_url, farmers=4)
    await field.open_block(41)
    settings = farm.settings.model_copy(
        update={"miner_registration": "open", "miner_share_seconds": 0.5, "requests_per_minute": 100_000}
    )
    operator = (await create_key(farm.ctx.database, Role.OPERATOR)).key
    async with workers(settings, tmp_path) as pool, httpx2.AsyncClient(base_url=pool.url, timeout=20) as anybody:

        async def there(count: int, without: str = "") -> bool:
            """Whether so many are there, of which one leads, and one that was killed is not taken for one of them."""
            rows = await field.execute(
                "SELECT count(*), count(l.process_id) FROM api_processes p LEFT JOIN api_lead l USING (process_id) "
                "WHERE seen_at > now() - interval '2 seconds' AND process_id::text <> %s",
                without,
            )
            return rows == [(count, 1)]

        await until(lambda: there(3), 60, pool.log.read_text)
        [(killed,)] = await field.execute("SELECT process_id::text FROM api_lead")
        leaders = pool.events("api_leads")
        assert len(leaders) == 1 and len(pool.pids) == 3 and leaders[0]["pid"] in pool.pids

        clients: list[MiningClient] = []
        engines: list[CalmEngine] = []
        tasks: list[asyncio.Task[None]] = []
        said: list[str] = []
        for number in range(6):
            made = await anybody.post("/miner/register", json={"name": f"miner {number}"})
            assert made.status_code == 201, made.text
            http = httpx2.AsyncClient(
                base_url=pool.url, headers={"Authorization": f"Bearer {made.json()['api_key']}"}, timeout=20
            )
            engines.append(CalmEngine())
            clients.append(MiningClient(http, [engines[-1]], "a", said.append))
            tasks.append(asyncio.create_task(clients[-1].run()))

        def accepted() -> list[int]:
            return [client.outcomes["accepted"] for client in clients]

        async def all_mine(since: list[int]) -> bool:
            return all(client.connected for client in clients) and all(
                now > before for now, before in zip(accepted(), since, strict=True)
            )

        await until(lambda: all_mine([3] * 6), 30, lambda: f"{accepted()} {said}")

        os.kill(leaders[0]["pid"], signal.SIGKILL)
        before = accepted()
        took = await until(lambda: all_mine(before), GO_ON_SECONDS, lambda: f"{before} {accepted()} {said}")
        began = time.monotonic()
        answer = await anybody.get("/info")  # what only the leader answers
        assert answer.status_code == 200 and took + time.monotonic() - began < 2 * GO_ON_SECONDS
        assert len(pool.events("api_leads")) == 2
        await until(lambda: there(3, without=killed), 60, pool.log.read_text)  # and another in its place
        assert leaders[0]["pid"] not in pool.pids
        [ended] = pool.events("worker_ended")
        assert ended["starts_again_in"] == ROOM_SECONDS  # so long its miners had the processor for themselves

        page = await anybody.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 200 and "date" in page.headers
        async with anybody.stream("GET", "/events") as events:
            assert events.status_code == 200
            async for line in events.aiter_lines():
                if line.startswith("data: "):
                    assert "verdict" in json.loads(line[6:])
                    break
        async with httpx2.AsyncClient(
            base_url=pool.url, headers={"Authorization": f"Bearer {operator}"}, timeout=30
        ) as asking:
            texts: list[str] = []

            async def killed_forgotten() -> bool:
                texts.append((await asking.get("/metrics")).text)
                return "kalepool_api_processes 3.0" in texts[-1]

            await until(killed_forgotten, 10, lambda: texts[-1])
            health = (await asking.get("/health")).json()
        assert "kalepool_api_leads_total 2.0" in texts[-1]
        assert health["components"]["processes"]["detail"].startswith("3 API processes")

        for engine in engines:
            engine.rests = True
        counts: list[int] = []
        while not counts or counts[-1] != sum(accepted()):
            counts.append(sum(accepted()))
            await asyncio.sleep(1.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        told = sum((client.outcomes for client in clients), Counter[str]())
        counted = dict(await field.execute("SELECT outcome, sum(shares)::bigint FROM share_counts GROUP BY outcome"))
        assert counted == told
        [(rows, credited)] = await field.execute("SELECT count(*), sum(credited_hashes)::bigint FROM shares")
        [(summed,)] = await field.execute("SELECT sum(credited_hashes)::bigint FROM share_counts")
        assert rows == told["accepted"] and credited == summed
        text = (await anybody.get("/metrics", headers={"Authorization": f"Bearer {operator}"})).text
        assert f'kalepool_miner_shares_total{{outcome="accepted"}} {float(rows)}' in text
        pids = pool.pids
        for client in clients:
            await client.http.aclose()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # none outlives the one that keeps them
