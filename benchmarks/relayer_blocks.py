"""Twenty blocks of a whole pool with a relayer that has no room in some of them and answers too late in others.

    python benchmarks/relayer_blocks.py [--blocks 20] [--seconds 30] [--farmers 4]

Prints, block by block, who carried what, and at the end what it cost whom. Ends with 1 where a stake was lost, a plant
or harvest happened twice, or what the relayer carried cost the pool anything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx2
import psycopg

from kalepool.cluster.placement import WorkerPlace
from kalepool.config import Settings
from kalepool.coordinator.process import coordinator
from tests.support.pool import Pool, running_pool
from tests.support.thread_fleet import ThreadFleet

LEDGER_SECONDS = 1.0


def fault_of(number: int, seconds: float) -> dict[str, Any] | None:
    """What is wrong with the relayer in the block that is the pool's so many-th."""
    match number % 5:
        case 1:
            return {"kind": "capacity", "method": "channels", "count": 0}
        case 2:
            return {"kind": "late_answer", "method": "channels", "count": 0, "seconds": seconds}
        case 4:
            return {"kind": "delay", "method": "channels", "count": 0, "seconds": seconds}
        case _:
            return None


CARRIED = """
SELECT coalesce(s.submitter, s.status) AS carrier, s.action, count(*) FROM submissions s
WHERE s.action IN ('plant', 'work', 'harvest') AND s.created_at >= %s GROUP BY 1, 2 ORDER BY 1, 2
"""
VERDICT = """
SELECT (SELECT count(*) FROM plantings WHERE outcome = 'planted' AND block_index < %(last)s),
       (SELECT count(DISTINCT (block_index, farmer_id)) FROM works WHERE outcome = 'worked' AND block_index < %(last)s),
       (SELECT count(*) FROM pooler_compensations),
       (SELECT count(*) FROM (SELECT FROM submission_items WHERE status = 'applied' AND action IN ('plant', 'harvest')
            GROUP BY action, block_index, farmer_id HAVING count(*) > 1) twice),
       (SELECT coalesce(sum(fee_stroops) FILTER (WHERE submitter = 'relayer'), 0)::bigint FROM submissions),
       (SELECT coalesce(sum(fee_stroops) FILTER (WHERE submitter = 'direct'), 0)::bigint FROM submissions
        WHERE action IN ('plant', 'work', 'harvest')),
       (SELECT coalesce(sum(sponsored_stroops), 0)::bigint FROM submissions)
"""


def settings_of(pool: Pool, seconds: int) -> Settings:
    return Settings.load(
        network="devnet",
        rpc_url=pool.parts.rpc_url,
        relayer_url=f"{pool.parts.rpc_url}/channels",
        ledger_seconds=LEDGER_SECONDS,
        block_seconds=seconds,
        database_url=pool.urls.coordinator,
        api_url=pool.parts.api_url,
        api_key=pool.key,
        ray_address="none",
    )


async def play(pool: Pool, blocks: int, seconds: int) -> int:
    fleet = ThreadFleet(WorkerPlace("node", "here", "cpu", 0, 1))

    @asynccontextmanager
    async def given():
        yield fleet

    faults = f"{pool.parts.rpc_url}/faults"
    async with (
        coordinator(settings_of(pool, seconds)) as made,
        await psycopg.AsyncConnection.connect(pool.urls.api, autocommit=True) as connection,
        httpx2.AsyncClient() as http,
    ):
        running = asyncio.create_task(made.run(given()))
        try:

            async def block() -> tuple[int, Any]:
                found = "SELECT coalesce(max(block_index), -1), now() FROM plantings WHERE outcome = 'planted'"
                row = await (await connection.execute(found)).fetchone()
                assert row is not None
                return row[0], row[1]

            first, since = await block()
            last = first
            while last < first + blocks + 1 and not running.done():
                await asyncio.sleep(0.2)
                index, now = await block()
                if index == last:
                    continue
                carried = await (await connection.execute(CARRIED, [since])).fetchall()
                if last > first:
                    said = ", ".join(f"{action} {count} {carrier}" for carrier, action, count in carried)
                    print(f"block {last}: {said}", flush=True)
                last, since = index, now
                await http.delete(faults)
                if (fault := fault_of(index - first, 2 * seconds / 3)) is not None:
                    await http.post(faults, json=fault)
                    print(f"block {index}: {fault['kind']}", flush=True)
            found = await (await connection.execute(VERDICT, {"last": last})).fetchone()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert found is not None
    planted, worked, lost, twice, free, direct, sponsored = found
    print(f"{planted} planted, {worked} worked, {lost} stakes lost, {twice} things twice")
    print(f"the pool paid {free} stroops for what the relayer carried, {direct} for the rest; the relayer {sponsored}")
    return int(planted != worked or bool(lost) or bool(twice) or bool(free) or not sponsored)


async def main() -> int:
    parser = argparse.ArgumentParser(description="Blocks with a relayer that fails in some of them.")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--farmers", type=int, default=4)
    given = parser.parse_args()
    async with running_pool(given.farmers, LEDGER_SECONDS, given.seconds, "none", relayer=True) as pool:
        return await play(pool, given.blocks, given.seconds)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
