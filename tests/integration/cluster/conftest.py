"""A Ray cluster of several nodes on this machine, and a Cluster of ours on it."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from kalepool.cluster.fleet import RayFleet, connect
from kalepool.cluster.members import Cluster, Member
from kalepool.cluster.messages import WorkerJob, WorkerReport
from kalepool.protocol.model import Block
from tests.support.ray_nodes import TOKEN, ray_nodes

os.environ.update(TOKEN)  # whichever test is the first to start a Ray


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A head without cores to search on; tests add nodes. Ends with the module, whatever is left of it."""
    with ray_nodes() as cluster:
        yield cluster


@dataclass
class Searching:
    """A Cluster that is running, and all its reports so far."""

    cluster: Cluster
    reports: list[tuple[Member, WorkerReport]] = field(default_factory=list)
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

    async with connect(address, cpus=0, gpus=0) as fleet:
        assert isinstance(fleet, RayFleet)
        running: Searching

        def on_report(member: Member, report: WorkerReport) -> None:
            running.reports.append((member, report))
            running.arrived.set()

        running = Searching(Cluster(fleet, next_serial, on_report))
        task = asyncio.create_task(running.cluster.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def job(version: int, index: int, zeros: int = 0) -> WorkerJob:
    block = Block(0, 0, 0, 0, 0, 0, 5, bytes([index]) * 32, 0, 0)
    return WorkerJob(version, index, block, tuple((bytes([number]) * 32, zeros) for number in range(1, 11)), 5, 1e9)
