"""How many shares and streams several API processes carry behind one address, with their PostgreSQL, over loopback.

    python benchmarks/api_workers.py [--workers 3] [--rate 1800] [--streams 3000] [--seconds 60] [--no-kill]
        [--json FILE]

Miners bring shares as in api_load.py, of every kind, while rigs of others hold streams open. Half-way a block ends, and
one process, the one that leads, is killed with -9. Printed are the counts, which must be equal to what the miners were
told; how long each stream that broke was without a job; and the processor time of every part, so that what a machine
with more cores would carry can be told where this one has too few: the miners hash and speak HTTP, too.

Exits with 1 when an answer or a count is wrong, or a stream was without a job for more than 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import aiohttp
import psutil
from api_load import Pool, SimulatedMiner, Tally, percentile, running_pool, until

from kernels import Template, find

GO_ON_SECONDS = 5.0
MINERS = 300
RIGS = 100  # of one key


class Stream:
    """A rig that follows its jobs over a bare connection, and comes back when that breaks."""

    def __init__(self, pool: Pool, key: str, rig: str) -> None:
        self.key, self.rig = key, rig
        self.host, port = pool.url.removeprefix("http://").split(":")
        self.port = int(port)
        self.newest = 0
        self.jobs = 0
        self.broken_at: float | None = None
        self.without: list[float] = []
        self.seen: dict[int, float] = {}

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._follow()
            if self.broken_at is None:
                self.broken_at = time.perf_counter()
            await asyncio.sleep(random.uniform(0.1, 0.5))

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        request = f"GET /miner/jobs/stream?rig={self.rig} HTTP/1.1\r\nHost: {self.host}\r\n"
        writer.write(f"{request}Authorization: Bearer {self.key}\r\n\r\n".encode())
        try:
            if b" 200 " not in await reader.readline():
                return
            while line := await reader.readline():
                if line.startswith(b"data: {") and b"block_index" in line:
                    now = time.perf_counter()
                    index = json.loads(line[6:])["block_index"]
                    self.jobs += 1
                    self.seen.setdefault(index, now)
                    if self.broken_at is not None:
                        self.without.append(now - self.broken_at)
                        self.broken_at = None
        finally:
            writer.close()


class Meter:
    """Processor time by part: the API's processes, PostgreSQL, and the miners (this process)."""

    def __init__(self, pool: Pool) -> None:
        assert pool.process is not None
        self._api = psutil.Process(pool.process.pid)
        self._root = psutil.Process().pid
        self._last: dict[int, tuple[str, float]] = {}
        self.used: defaultdict[str, float] = defaultdict(float)
        self.look()
        self.used.clear()

    def look(self) -> None:
        """Call it now and then: what has ended in between is seen by what it had used by then."""
        parts = [("api", each) for each in self._api.children()]
        parts += [("postgres", each) for each in psutil.Process(self._root).children(recursive=True)]
        for name, process in [*parts, ("miners", psutil.Process(self._root))]:
            with contextlib.suppress(psutil.Error):
                if name == "postgres" and process.name() != "postgres":
                    continue
                times = process.cpu_times()
                now = times.user + times.system
                before = self._last.get(process.pid, (name, 0.0))[1]
                self.used[name] += now - before
                self._last[process.pid] = name, now


def leader(pool: Pool) -> int:
    events = [json.loads(line) for line in pool.log.read_text().splitlines() if line.startswith("{")]
    return [each["pid"] for each in events if each["event"] == "api_leads"][-1]


async def hold_against(pool: Pool, tally: Tally) -> Counter[str]:
    """What the database counts, by outcome; notes where that is not what the miners were told."""
    counted = Counter(dict(await pool.query("SELECT outcome, sum(shares)::bigint FROM share_counts GROUP BY outcome")))
    [(rows, different, credited)] = await pool.query(
        "SELECT count(*), count(DISTINCT (block_index, farmer_id, nonce)), sum(credited_hashes)::bigint FROM shares"
    )
    [(summed,)] = await pool.query("SELECT sum(credited_hashes)::bigint FROM share_counts")
    if counted != tally.told:
        tally.wrong.append(f"the database counts {dict(counted)}, the miners {dict(tally.told)}")
    if not rows == different == len(tally.accepted) == tally.told["accepted"]:
        tally.wrong.append(f"{rows} rows, {different} different; the miners know {len(tally.accepted)} accepted shares")
    if credited != summed:
        tally.wrong.append(f"credited {credited} by shares, {summed} by counts")
    return counted


async def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    tally = Tally()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=70)
    rate_per_miner = options.rate / MINERS
    async with (
        running_pool(folder, rate_per_miner, workers=options.workers, log_level="info") as pool,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        await pool.wait_until_up(session)
        alive = "SELECT count(*) FROM api_processes WHERE seen_at > now() - interval '2 seconds'"
        while (await pool.query(alive))[0][0] < options.workers:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        await asyncio.sleep(5.0)  # each is on the list a moment before it listens
        rig_keys = await pool.add_miners(max(options.streams // RIGS, 1))
        streams = [Stream(pool, rig_keys[n // RIGS % len(rig_keys)], f"rig{n % RIGS}") for n in range(options.streams)]
        tasks: list[asyncio.Task[None]] = []
        for number, stream in enumerate(streams):
            tasks.append(asyncio.create_task(stream.run()))
            if number % 50 == 49:
                await asyncio.sleep(0.2)
        await until(lambda: all(stream.seen for stream in streams), 120)
        meter = Meter(pool)
        began = time.perf_counter()
        await asyncio.sleep(options.idle)
        meter.look()
        idle = meter.used["api"] / (time.perf_counter() - began)

        keys = await pool.add_miners(MINERS)
        simulated = [SimulatedMiner(pool, session, key, tally, seed) for seed, key in enumerate(keys)]
        tasks += [asyncio.create_task(miner.follow()) for miner in simulated]
        await until(lambda: all(miner.job for miner in simulated), 60)
        began = time.perf_counter()
        opened = began
        await pool.open_block(101)
        await until(lambda: all(miner.over for miner in simulated), 60)
        await until(lambda: all(101 in stream.seen for stream in streams), 60)
        told_block = [stream.seen[101] - opened for stream in streams if 101 in stream.seen]
        meter.look()
        meter.used.clear()

        began = time.perf_counter()
        ends_at = began + options.seconds
        work = [asyncio.create_task(miner.mine(rate_per_miner, ends_at)) for miner in simulated]
        half = None
        while any(not each.done() for each in work):
            await asyncio.sleep(0.5)
            meter.look()
            if half is None and time.perf_counter() - began > options.seconds / 2:
                half = dict(meter.used), sum(tally.sent.values()), time.perf_counter() - began
                if options.kill:
                    tally.down.append((time.perf_counter(), time.perf_counter() + GO_ON_SECONDS))
                    os.kill(leader(pool), signal.SIGKILL)
        await asyncio.gather(*work)
        took = time.perf_counter() - began
        await until(lambda: all(stream.broken_at is None for stream in streams), 30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        counted = await hold_against(pool, tally)
        leads = (await pool.query("SELECT term FROM api_lead"))[0][0]
    wrong = tally.wrong
    without = [seconds for stream in streams for seconds in stream.without]
    if lost := sum(stream.broken_at is not None for stream in streams):
        wrong.append(f"{lost} streams did not come back")
    if without and max(without) > GO_ON_SECONDS:
        wrong.append(f"a stream was without a job for {max(without):.1f} s")
    assert half is not None
    used, shares, seconds = half
    return {
        "workers": options.workers,
        "streams": options.streams,
        "shares": sum(tally.sent.values()),
        "asked_a_second": options.rate,
        "shares_a_second": round(sum(tally.sent.values()) / took, 1),
        "shares_a_second_before_the_kill": round(shares / seconds, 1),
        "told": dict(tally.told),
        "database": dict(counted),
        "p50_ms": round(percentile(tally.seconds, 0.5) * 1000, 1),
        "p99_ms": round(percentile(tally.seconds, 0.99) * 1000, 1),
        "clients_late_ms": round(tally.late * 1000, 1),
        "api_cpu_ms_a_share": round(used["api"] / shares * 1000, 3),
        "postgres_cpu_ms_a_share": round(used["postgres"] / shares * 1000, 3),
        "miners_cpu_ms_a_share": round(used["miners"] / shares * 1000, 3),
        "cores_of_api_postgres_miners": [round(used[part] / seconds, 2) for part in ("api", "postgres", "miners")],
        "api_cores_for_the_streams_alone": round(idle, 3),
        "block_told_p50_p99_s": [round(percentile(told_block, part), 2) for part in (0.5, 0.99)],
        "streams_that_broke": len(without),
        "without_a_job_p50_worst_s": [round(percentile(without, 0.5), 2), round(max(without, default=0.0), 2)],
        "leads": leads,
        "load_of_this_machine": [round(each, 1) for each in os.getloadavg()],
        "cores_of_this_machine": os.cpu_count(),
        "wrong": wrong[:20],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1800.0, help="shares a second, of all miners together")
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds for which the streams alone are measured")
    parser.add_argument("--no-kill", dest="kill", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    find(Template(0, bytes(32), bytes(32)), 0, 1, 1)  # compiled before anything is timed
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(Path(folder), options))
    for name, value in result.items():
        print(f"  {name:<34} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
