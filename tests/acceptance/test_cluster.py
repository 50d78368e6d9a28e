"""A cluster of four nodes that loses one, loses its coordinator and gets another node, all within one block."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.support.installed import Installed
from tests.support.pool import Pool, running_pool
from tests.support.ray_nodes import kill_node, ray_nodes

pytestmark = [pytest.mark.anyio, pytest.mark.ray, pytest.mark.acceptance]

FARMERS = 8
BLOCK_SECONDS = 40
AFTER_RESTART_SECONDS = 22.0  # from the restart to the last works: Ray connects, workers start, all on two cores


@pytest.fixture
def ray_cluster(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Its nodes, and the pool's processes after them, run the installed wheel."""
    monkeypatch.setattr(sys, "executable", str(installed.python))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with ray_nodes(4) as cluster:
        yield cluster


def searchers() -> set[int]:
    """The processes of our workers under this test's Ray."""
    return {
        child.pid for child in psutil.Process().children(recursive=True) if "ray::Worker" in " ".join(_title(child))
    }


def _title(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Look:
    """Looks into the pool's database, past the pool."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], pool: Pool) -> None:
        self._connection = connection
        self._pool = pool

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(query.encode(), parameters)
        return await cursor.fetchall()

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        ends_at = time.monotonic() + seconds
        while not await condition():
            assert time.monotonic() < ends_at, f"{what}: not within {seconds} s"
            self._pool.supervisor.check()
            await asyncio.sleep(0.1)

    async def alive(self) -> int:
        query = "SELECT count(*) FROM workers WHERE status = 'alive' AND last_seen_at > now() - interval '5 seconds'"
        return (await self.rows(query))[0][0]

    async def newest_block(self) -> tuple[int, float]:
        """Index and age in seconds; (-1, 0) where there is none."""
        age = "extract(epoch FROM now() - started_at)::float"
        rows = await self.rows(f"SELECT block_index, {age} FROM block_operations ORDER BY 1 DESC LIMIT 1")
        return rows[0] if rows else (-1, 0.0)


@pytest.fixture
async def look(ray_cluster: Any) -> AsyncIterator[tuple[Look, Pool]]:
    async with (
        running_pool(FARMERS, 0.5, BLOCK_SECONDS, ray_cluster.address) as pool,
        await psycopg.AsyncConnection.connect(pool.urls.api, autocommit=True) as connection,
    ):
        yield Look(connection, pool), pool


@pytest.mark.slow(55, "five Ray nodes start, a block of 40 s, and workers start anew in it")
async def test_a_block_survives_a_dead_node_a_dead_coordinator_and_a_new_node(
    ray_cluster: Any, look: tuple[Look, Pool]
) -> None:
    look_, pool = look
    coordinator = pool.start_coordinator()
    assert coordinator.process is not None

    async def four_at_work_early_in_a_block() -> bool:
        _, age = await look_.newest_block()
        return await look_.alive() == 4 and 3 < age < BLOCK_SECONDS - AFTER_RESTART_SECONDS - 5

    await look_.until(four_at_work_early_in_a_block, 90, "four workers at work")
    index, _ = await look_.newest_block()
    before = dict(await look_.rows("SELECT farmer_id, max(zeros) FROM shares WHERE block_index = %s GROUP BY 1", index))
    assert len(before) == FARMERS
    first_workers = searchers()
    assert len(first_workers) == 4

    kill_node(next(iter(ray_cluster.worker_nodes)))
    coordinator.process.kill()
    await asyncio.to_thread(coordinator.process.wait)
    ray_cluster.add_node(num_cpus=1)

    # Those of the dead coordinator are gone, not orphaned: every node has one worker, and it is a new one. The
    # database alone would not tell: for a moment it still knows the old ones.
    async def four_new_ones() -> bool:
        workers = searchers()
        return len(workers) == 4 and not workers & first_workers and await look_.alive() == 4

    await look_.until(four_new_ones, 90, "four new workers, and no old one")

    async def closed() -> bool:
        return bool(await look_.rows("SELECT FROM block_operations WHERE block_index = %s AND status <> 'open'", index))

    await look_.until(closed, BLOCK_SECONDS + 20, "the block's end")
    assert await look_.rows("SELECT status, reason FROM block_operations WHERE block_index = %s", index) == [
        ("finished", None)
    ]
    planted = {
        row[0]
        for row in await look_.rows(
            "SELECT farmer_id FROM plantings WHERE block_index = %s AND outcome = 'planted'", index
        )
    }
    assert len(planted) == FARMERS
    worked = dict(
        await look_.rows(
            "SELECT farmer_id, max(zeros) FROM works WHERE block_index = %s AND outcome = 'worked' GROUP BY 1", index
        )
    )
    # What had been reported when a farmer's last work left; a tick is allowed between the two.
    reported = dict(
        await look_.rows(
            """SELECT s.farmer_id, max(s.zeros) FROM shares s
               JOIN (SELECT i.farmer_id, max(j.created_at) AS left_at
                     FROM submission_items i JOIN submissions j USING (submission_id)
                     WHERE i.block_index = %s AND i.action = 'work' GROUP BY 1) last USING (farmer_id)
               WHERE s.block_index = %s AND s.found_at < last.left_at - interval '500 milliseconds' GROUP BY 1""",
            index,
            index,
        )
    )
    assert worked.keys() == planted
    assert {farmer for farmer in planted if worked[farmer] < reported[farmer]} == set()
    assert all(worked[farmer] >= zeros for farmer, zeros in before.items())  # nothing found before the deaths was lost
    print(f"block {index}: zeros before the deaths {sorted(before.values())}, worked {sorted(worked.values())}")

    # Ctrl-C, as the supervisor sends it, ends the coordinator and all its workers within seconds.
    began = time.monotonic()
    pool.supervisor.stop("coordinator")
    print(f"the coordinator ended within {time.monotonic() - began:.1f} s")
    assert coordinator.process.returncode == 0, coordinator.log.read_text()[-3000:]
    await look_.until(_none_left, 30, "the workers' end")
    assert os.environ["RAY_AUTH_TOKEN"] == "0" * 64


async def _none_left() -> bool:
    return not searchers()
