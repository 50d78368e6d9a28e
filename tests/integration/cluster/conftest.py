"""A Ray cluster of several nodes on this machine, and a Cluster of ours on it."""

import asyncio
import itertools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from kalepool.cluster.fleet import SYSTEM_CONFIG, RayFleet, connect
from kalepool.cluster.members import Cluster, Member
from kalepool.cluster.messages import Job, Report
from kalepool.protocol.model import Block


@pytest.fixture(scope="module")
def ray_cluster() -> Any:
    """A head without cores to search on; tests add nodes. Ends with the module, whatever is left of it."""
    os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as RayTestCluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # it notes its address there, whatever its own folder is

    with tempfile.TemporaryDirectory(prefix="kp-", ignore_cleanup_errors=True) as folder:
        head = {
            "num_cpus": 0,
            "temp_dir": folder,
            "include_dashboard": False,
            "_system_config": SYSTEM_CONFIG,
        }
        cluster = RayTestCluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


def kill_node(node: Any) -> None:
    """kill -9 of a node's Ray daemon and of every process under it: as if the machine had lost its power."""
    processes = [process.process.pid for group in node.all_processes.values() for process in group]
    family = [psutil.Process(pid) for pid in processes if psutil.pid_exists(pid)]
    for process in [child for parent in family for child in parent.children(recursive=True)] + family:
        if process.is_running():
            os.kill(process.pid, signal.SIGKILL)


@dataclass
class Searching:
    """A Cluster that is running, and all its reports so far."""

    cluster: Cluster
    reports: list[tuple[Member, Report]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.arrived.clear()
                try:
                    await asyncio.wait_for(self.arrived.wait(), 0.05)
                except TimeoutError:
                    continue

    def hosts(self, index: int) -> set[str]:
        """The nodes that reported work in this block."""
        return {member.place.host for member, report in self.reports if report.index == index and report.hashes}


@asynccontextmanager
async def searching(address: str) -> AsyncIterator[Searching]:
    serials = itertools.count(1)

    async def next_serial() -> int:
        return next(serials)

    async with connect(address) as fleet:
        assert isinstance(fleet, RayFleet)
        running: Searching

        def on_report(member: Member, report: Report) -> None:
            running.reports.append((member, report))
            running.arrived.set()

        running = Searching(Cluster(fleet, next_serial, on_report))
        task = asyncio.create_task(running.cluster.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def job(version: int, index: int, zeros: int = 0) -> Job:
    block = Block(0, 0, 0, 0, 0, 0, 5, bytes([index]) * 32, 0, 0)
    return Job(version, index, block, tuple((bytes([number]) * 32, zeros) for number in range(1, 11)), 5)
