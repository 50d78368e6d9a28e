"""Does the pool keep up with its blocks, and its cores busy, block after block?

A whole pool as `kalepool up` starts it (PostgreSQL, devnet, API, local Ray, coordinator): 50 farmers, blocks of 60 s,
ledgers of 1 s, ten blocks. For each block: when the last farmer was planted, how many were planted, worked and
harvested, the share of the search threads' time that was not spent searching, and the hash rate against the bare kernel
on the same cores (measured before and after, with nothing else running).

    python -m benchmarks.block_cycle [--farmers 50] [--blocks 10] [--block-seconds 60] [--ledger-seconds 1] [--json F]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.bare import bare_rate
from tests.support.pool import Pool, running_pool

LOOK_SECONDS = 0.5

TARGETS = "all planted within 10 s, all worked, all harvested; idle <= 2 %; hash rate >= 80 % of the bare kernel"


@dataclass(frozen=True, slots=True)
class Line:
    """One block. `planted_seconds`: from the block's start to the last plant's record."""

    index: int
    planted: int
    planted_seconds: float
    worked: int
    harvested: int
    idle_share: float
    hashes_per_second: float


async def measure(pool: Pool, farmers: int, blocks: int) -> list[Line]:
    """Watches `blocks` whole blocks, then waits for the harvest of the last."""
    threads = len(os.sched_getaffinity(0))
    pool.start_coordinator()
    marks: dict[int, tuple[float, dict[str, float]]] = {}
    first = None
    while first is None or max(marks) < first + blocks:
        pool.supervisor.check()
        await asyncio.sleep(LOOK_SECONDS)
        try:
            metrics = await pool.metrics()
        except Exception:
            continue
        index = int(metrics["kalepool_block"])
        if metrics.get("kalepool_hashes_total", 0) and index not in marks:
            marks[index] = time.monotonic(), metrics
            if first is None and len(marks) == 2:  # the first block may have begun before the workers were there
                first = index
            print(f"block {index}", flush=True)
    await asyncio.sleep(10)
    lines = []
    for index in range(first, first + blocks):
        row = await _row(pool, index)
        (began, before), (ended, after) = marks[index], marks[index + 1]
        seconds = ended - began
        busy = after["kalepool_busy_thread_seconds_total"] - before["kalepool_busy_thread_seconds_total"]
        hashes = after["kalepool_hashes_total"] - before["kalepool_hashes_total"]
        lines.append(Line(index, *row, max(1 - busy / (seconds * threads), 0.0), hashes / seconds))
    return lines


async def _row(pool: Pool, index: int) -> tuple[int, float, int, int]:
    async with pool.database.transaction() as session:
        connection: Any = session._connection
        cursor = await connection.execute(
            """SELECT c.planted, (SELECT extract(epoch FROM max(p.created_at) - c.started_at)::float FROM plantings p
                      WHERE p.block_index = c.block_index AND p.outcome = 'planted'), c.worked, c.harvested
               FROM block_completion c WHERE c.block_index = %s""",
            (index,),
        )
        return await cursor.fetchone()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farmers", type=int, default=50)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--block-seconds", type=int, default=60)
    parser.add_argument("--ledger-seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    bare = [bare_rate()]
    async with running_pool(options.farmers, options.ledger_seconds, options.block_seconds) as pool:
        lines = await measure(pool, options.farmers, options.blocks)
    bare.append(bare_rate())

    print("\n block  planted   within  worked  harvested    idle    MH/s  of bare")
    for line in lines:
        print(
            f"{line.index:>6} {line.planted:>8} {line.planted_seconds:>6.1f} s {line.worked:>7} {line.harvested:>10} "
            f"{line.idle_share:>6.1%} {line.hashes_per_second / 1e6:>7.1f} {line.hashes_per_second / mean(bare):>8.1%}"
        )
    idle = mean(line.idle_share for line in lines)
    rate = mean(line.hashes_per_second for line in lines)
    print(f"all    idle {idle:.1%}, {rate / 1e6:.1f} MH/s = {rate / mean(bare):.1%} of the bare kernel's ", end="")
    print(f"{bare[0] / 1e6:.1f} (before) and {bare[1] / 1e6:.1f} (after) MH/s\nwanted {TARGETS}")
    if options.json:
        result = {"bare_hashes_per_second": bare, "blocks": [asdict(line) for line in lines], **vars(options)}
        options.json.write_text(json.dumps(result, indent=1, default=str) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
