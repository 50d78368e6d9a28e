"""What the cluster loses, and what its coordinator costs.

nodes      1, 2 and 4 real nodes of Ray on this machine, each pinned to its share of the cores: their hash rate over a
           minute against the bare kernel's on the same cores. They take turns of five seconds, since a shared machine's
           own speed changes within a minute; what the resting cluster takes from the bare kernel is given back to that.
workers    the real coordinator of a real pool (PostgreSQL, devnet, API, 50 farmers) with 100, 1,000 and 10,000 workers:
           its CPU time, messages a second, delay from a find to its commit in the database, memory. The workers are
           simulated: thousands share a process and a kernel, and each is as slow as that makes it. Their messages are
           real: every one sends and gets its own through Ray, and every find is a true one.

    python -m benchmarks.cluster_scale [nodes] [workers] [--seconds 60] [--workers 100 1000] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil
import structlog

import kernels
from benchmarks.bare import BareKernel
from kalepool.cluster.claims import read_hello, read_report
from kalepool.cluster.fleet import SYSTEM_CONFIG, connect
from kalepool.cluster.members import Cluster, Handle, Member
from kalepool.cluster.messages import Hello, WorkerJob, WorkerReport, code_version
from kalepool.cluster.placement import WorkerPlace
from kalepool.cluster.worker import Worker
from kalepool.config import Settings
from kalepool.coordinator.state import report_zeros
from kalepool.notices import ShareNotice, hear
from kalepool.protocol.model import Block
from tests.support.pool import Pool, running_pool

NODES = (1, 2, 4)
FARMERS = 50
SETTLE_SECONDS = 10.0
TURN_SECONDS = 5.0
NONCES_A_TURN = 2**13  # of one simulated worker, before the next has its turn


# ----------------------------------------------------------------------------------------------------------------------
# Real nodes


async def measure_nodes(count: int, seconds: float) -> dict[str, float]:
    """Hashes a second of `count` nodes that share this machine's cores, and what the kernel alone does."""
    from ray.cluster_utils import Cluster as RayTestCluster

    cores = sorted(os.sched_getaffinity(0))
    Path("/tmp/ray").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kp-", ignore_cleanup_errors=True) as folder:
        head = {
            "num_cpus": 0,
            "temp_dir": folder,
            "include_dashboard": False,
            "include_log_monitor": False,
            "_system_config": SYSTEM_CONFIG,
        }
        ray_cluster = RayTestCluster(initialize_head=True, head_node_args=head)
        try:
            for number in range(count):
                share = set(cores[number::count]) or {cores[number % len(cores)]}
                _pin(ray_cluster.add_node(num_cpus=len(share)), share)
            turns = await _take_turns(str(ray_cluster.address), count, max(round(seconds / TURN_SECONDS), 1))
        finally:
            ray_cluster.shutdown()
    ratios = [turn.hashes_per_second / turn.bare for turn in turns]
    return {
        "nodes": count,
        "hashes_per_second": mean(turn.hashes_per_second for turn in turns),
        "bare": mean(turn.bare for turn in turns),
        "efficiency": mean(turn.hashes_per_second for turn in turns) / mean(turn.bare for turn in turns),
        "lowest": min(ratios),
        "highest": max(ratios),
        "idle_share": mean(turn.idle_share for turn in turns),
    }


def _pin(node: Any, cores: set[int]) -> None:
    """Keep a node's processes, and what they start, to these cores."""
    for group in node.all_processes.values():
        for started in group:
            family = psutil.Process(started.process.pid)
            for process in [family, *family.children(recursive=True)]:
                process.cpu_affinity(sorted(cores))


@dataclass(slots=True)
class Turn:
    """What the cluster did in its turn, and the kernel alone in the one after."""

    hashes_per_second: float
    idle_share: float
    bare: float


@dataclass(slots=True)
class Counted:
    """What one worker reported in a turn. The first report is left out: its time began before."""

    hashes: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    threads: int = 0


async def _take_turns(address: str, count: int, turns: int) -> list[Turn]:
    """One block: the cluster searches, then it rests and the bare kernel searches, and so on."""
    serials, versions = itertools.count(1), itertools.count(1)
    block = Block(0, 0, 0, 0, 0, 0, 8, os.urandom(32), 0, 0)
    zeros = {os.urandom(32): 0 for _ in range(FARMERS)}
    counts: dict[WorkerPlace, Counted] | None = None

    async def next_serial() -> int:
        return next(serials)

    def on_report(member: Member, report: WorkerReport) -> None:
        if counts is None:
            return
        if report.finds:
            zeros.update((find.farmer, max(find.zeros, zeros[find.farmer])) for find in report.finds)
            publish(zeros)
        if member.place not in counts:
            counts[member.place] = Counted(threads=member.hello.threads)
            return
        counted = counts[member.place]
        counted.hashes += report.hashes
        counted.seconds += report.seconds
        counted.busy_seconds += report.busy_seconds

    def publish(farmers: dict[bytes, int]) -> None:
        at_once = report_zeros(cluster.hashes_per_second)
        cluster.publish(WorkerJob(next(versions), 1, block, tuple(farmers.items()), at_once, cluster.hashes_per_second))

    done = []
    with BareKernel() as kernel:
        async with connect(address, cpus=0, gpus=0) as fleet:
            cluster = Cluster(fleet, next_serial, on_report)
            task = asyncio.create_task(cluster.run())
            while len(cluster.members) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            await asyncio.sleep(SETTLE_SECONDS)
            for _ in range(turns):
                counts = {}
                publish(zeros)
                await asyncio.sleep(TURN_SECONDS + 2.0)
                counted, counts = list(counts.values()), None
                publish({})
                await asyncio.sleep(2.0)
                used, began = _family_cpu_seconds(kernel.pid), time.monotonic()
                bare = await asyncio.to_thread(kernel.rate, TURN_SECONDS)
                taken = (_family_cpu_seconds(kernel.pid) - used) / (time.monotonic() - began)
                done.append(
                    Turn(
                        hashes_per_second=sum(c.hashes / c.seconds for c in counted),
                        idle_share=1 - mean(c.busy_seconds / c.seconds / c.threads for c in counted),
                        bare=bare / (1 - taken / len(os.sched_getaffinity(0))),
                    )
                )
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return done


def _family_cpu_seconds(but: int) -> float:
    """Processor time so far of this process and all it started, Ray's own processes too, but one."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    times = [process.cpu_times() for process in family if process.pid != but]
    return sum(t.user + t.system for t in times)


# ----------------------------------------------------------------------------------------------------------------------
# Simulated workers


class SlowWorker(Worker):
    """A worker without threads of its own: the swarm gives it its turns."""

    def __init__(self, serial: int, swarm: Swarm) -> None:
        super().__init__(serial, 0)
        self.news = asyncio.Event()
        self._swarm = swarm

    def turn(self) -> None:
        if self._job is None or not self._zeros:
            return
        call = self._take(0, NONCES_A_TURN)
        if call is None:
            return
        template = kernels.Template(call.job.index, call.job.block.entropy, call.farmer)
        progress = kernels.search_until(
            template, call.nonces.start, call.nonces.count, call.above_zeros, backend=self.backend
        )
        self._put(0, call, progress)
        found = self._finds.get(call.farmer)
        if found and progress.best and found.nonce == progress.best.nonce:
            self._swarm.found[found.nonce] = time.time()
        if self._urgent:
            self._swarm.loop.call_soon_threadsafe(self.news.set)


class Swarm:
    """Thousands of slow workers in one process: one thread hashes for them in turn."""

    def __init__(self) -> None:
        self.workers: dict[int, SlowWorker] = {}
        self.found: dict[int, float] = {}  # nonce: when
        # One process unpacks for thousands: a job that all of them hold is unpacked once.
        WorkerJob.unpack = staticmethod(functools.lru_cache(8)(WorkerJob.unpack))

    async def start(self) -> bytes:
        """Begin to hash; before, all of them are to have joined."""
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self._hash, daemon=True).start()
        return b""

    async def hello(self, number: int, serial: int) -> bytes:
        self.workers[number] = SlowWorker(serial, self)
        return Hello(code_version(), f"simulated-{number}", os.getpid(), self.workers[number].backend, 1).pack()

    async def assign(self, number: int, packed: bytes) -> None:
        self.workers[number].assign(packed)

    async def exchange(self, number: int, packed: bytes | None, serial: int | None, wait_seconds: float) -> bytes:
        worker = self.workers[number]
        worker.news.clear()
        if packed:
            worker.assign(packed)
        try:
            async with asyncio.timeout(wait_seconds):
                await worker.news.wait()
        except TimeoutError:
            pass
        return worker._report().pack()

    async def times(self) -> bytes:
        """When each nonce was found since the last call, as JSON."""
        found, self.found = self.found, {}
        return json.dumps(list(found.items())).encode()

    def _hash(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while True:
            for worker in list(self.workers.values()):
                worker.turn()


class SwarmHandle:
    """One simulated worker, as the cluster sees it."""

    def __init__(self, actor: Any, number: int, serial: int) -> None:
        self._actor, self._number, self._serial = actor, number, serial

    async def hello(self) -> Hello:
        hello = read_hello(await self._actor.hello.remote(self._number, self._serial))
        assert isinstance(hello, Hello)
        return hello

    async def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> WorkerReport:
        report = read_report(await self._actor.exchange.remote(self._number, packed, serial, wait_seconds))
        assert isinstance(report, WorkerReport)
        return report

    def assign(self, packed: bytes) -> None:
        self._actor.assign.remote(self._number, packed)

    def kill(self) -> None:
        pass


class SwarmFleet:
    def __init__(self, actor: Any, count: int) -> None:
        self.actor = actor
        self._places = {WorkerPlace(f"node-{n}", f"simulated-{n}", "cpu", n, 1) for n in range(count)}

    async def places(self) -> set[WorkerPlace]:
        return self._places

    def start(self, place: WorkerPlace, serial: int) -> Handle:
        return SwarmHandle(self.actor, place.number, serial)


@asynccontextmanager
async def swarming(count: int) -> AsyncIterator[SwarmFleet]:
    async with connect(None, cpus=0, gpus=0):
        import ray

        actor = ray.remote(Swarm).options(num_cpus=0, max_concurrency=2 * count + 100).remote()
        yield SwarmFleet(actor, count)


async def coordinate(count: int, seconds: float) -> None:
    """The coordinator's process: runs it with `count` simulated workers, prints what it used as JSON."""
    from kalepool.coordinator.process import coordinator

    async with swarming(count) as fleet, coordinator(Settings.load()) as running:

        @asynccontextmanager
        async def given() -> AsyncIterator[SwarmFleet]:
            yield fleet

        task = asyncio.create_task(running.run(given()))
        while not (running.cluster and len(running.cluster.members) == count):
            await asyncio.sleep(0.5)
            if task.done():
                task.result()
        await fleet.actor.start.remote()
        cluster = running.cluster
        await asyncio.sleep(max(SETTLE_SECONDS, cluster.report_seconds))
        commits: dict[int, float] = {}

        async def listen() -> None:
            async for notice in hear(running._database, ShareNotice):
                if notice:
                    commits[notice.nonce] = time.time()

        listener = asyncio.create_task(listen())
        await fleet.actor.times.remote()
        reports, accepted = cluster.reports, running.finds.accepted
        cpu, began = _cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        used = _cpu_seconds() - cpu
        found = dict(json.loads(await fleet.actor.times.remote()))
        delays = [commits[nonce] - at for nonce, at in found.items() if nonce in commits]
        result = {
            "workers": count,
            "cpu_share": used / elapsed,
            "reports_per_second": (cluster.reports - reports) / elapsed,
            "report_seconds": cluster.report_seconds,
            "shares": running.finds.accepted - accepted,
            "delays": len(delays),
            "median_delay_seconds": median(delays) if delays else None,
            "p90_delay_seconds": sorted(delays)[int(len(delays) * 0.9)] if delays else None,
            "median_write_seconds": median(running.finds.write_seconds),
            "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        listener.cancel()
        task.cancel()
        await asyncio.gather(listener, task, return_exceptions=True)
    print(json.dumps(result), flush=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure_workers(count: int, seconds: float) -> dict[str, float]:
    async with running_pool(FARMERS, 1.0, 60) as pool:
        return json.loads(await asyncio.to_thread(_run_coordinator, pool, count, seconds))


def _run_coordinator(pool: Pool, count: int, seconds: float) -> str:
    environment = os.environ | {
        "KALEPOOL_DATABASE_URL": pool.urls.coordinator,
        "KALEPOOL_API_URL": pool.parts.api_url,
        "KALEPOOL_API_KEY": pool.key,
        "KALEPOOL_RPC_URL": pool.parts.rpc_url,
        "KALEPOOL_LEDGER_SECONDS": "1",
        "KALEPOOL_BLOCK_SECONDS": "60",
    }
    command = [sys.executable, "-m", "benchmarks.cluster_scale", "--coordinate", str(count), "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


# ----------------------------------------------------------------------------------------------------------------------


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["nodes", "workers"], help="nodes, workers; both by default")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--coordinate", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.coordinate is not None:
        await coordinate(options.coordinate, options.seconds)
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(32).hex())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    result: dict[str, list[dict[str, float]]] = {"nodes": [], "workers": []}
    if "nodes" in options.parts:
        print("nodes    MH/s    bare kernel    efficiency    of single turns     idle")
        for count in NODES:
            row = await measure_nodes(count, options.seconds)
            result["nodes"].append(row)
            print(
                f"{count:>5} {row['hashes_per_second'] / 1e6:>7.1f} {row['bare'] / 1e6:>14.1f} "
                f"{row['efficiency']:>13.1%} {row['lowest']:>9.1%} - {row['highest']:>6.1%} {row['idle_share']:>8.1%}",
                flush=True,
            )
        print("wanted: efficiency >= 97 %")
    if "workers" in options.parts:
        lines = []
        for count in options.workers:
            row = await measure_workers(count, options.seconds)
            result["workers"].append(row)
            delay = "-" if row["median_delay_seconds"] is None else f"{row['median_delay_seconds'] * 1000:.0f} ms"
            lines.append(
                f"{count:>7} {row['cpu_share']:>6.2f} cores {row['reports_per_second']:>10.0f}/s {row['shares']:>8} "
                f"{delay:>10} {row['memory_mib']:>9.0f} MiB"
            )
        print("\nworkers        CPU    messages   shares      delay       memory")
        print(*lines, sep="\n")
        print("wanted: at 10,000 workers < 0.5 cores; delay from find to commit < 250 ms (median)")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
