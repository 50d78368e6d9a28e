"""Workers that are threads of the test's own process instead of Ray actors: the same Worker, the same kernels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from kalepool.cluster.members import Handle, WorkerError
from kalepool.cluster.messages import Hello, WorkerReport
from kalepool.cluster.placement import WorkerPlace
from kalepool.cluster.worker import Worker


class ThreadHandle:
    """A worker in this process that can be killed or made deaf."""

    def __init__(self, serial: int, version: str | None) -> None:
        self.worker = Worker(serial, 1)
        self.version = version
        self.dead = False
        self.deaf = False
        self.speed: Callable[[WorkerReport], WorkerReport] = lambda report: report

    async def hello(self) -> Hello:
        hello = self.worker.hello()
        return replace(hello, code_version=self.version) if self.version else hello

    async def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> WorkerReport:
        report = await asyncio.to_thread(self.worker.exchange, packed, serial, wait_seconds)
        if self.deaf:
            await asyncio.sleep(3600)
        if self.dead:
            raise WorkerError("it is dead")
        return self.speed(report)

    def assign(self, packed: bytes) -> None:
        self.worker.assign(packed)

    def kill(self) -> None:
        self.dead = True
        self.worker.end()


class ThreadFleet:
    def __init__(self, *places: WorkerPlace) -> None:
        self.present = set(places)
        self.version: str | None = None
        self.handles: dict[WorkerPlace, ThreadHandle] = {}
        self.started: list[WorkerPlace] = []

    async def places(self) -> set[WorkerPlace]:
        return set(self.present)

    def start(self, place: WorkerPlace, serial: int) -> Handle:
        self.started.append(place)
        self.handles[place] = ThreadHandle(serial, self.version)
        return self.handles[place]
