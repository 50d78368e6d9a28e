"""The membership, over workers that are threads of this process instead of Ray actors."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

import kernels
from kalepool.cluster import members
from kalepool.cluster.claims import doubt_hello
from kalepool.cluster.members import Cluster, FleetLostError, Member, WorkerError
from kalepool.cluster.messages import Find, Hello, WorkerJob, WorkerReport, code_version
from kalepool.cluster.placement import WorkerPlace
from kalepool.protocol.model import Block
from tests.support.thread_fleet import ThreadFleet

pytestmark = pytest.mark.anyio

BLOCK = Block(0, 0, 0, 0, 0, 0, 5, bytes(32), 0, 0)


def place(number: int) -> WorkerPlace:
    return WorkerPlace(f"node-{number}", f"host-{number}", "cpu", 0, 1)


def job(version: int, index: int, zeros: int = 0) -> WorkerJob:
    return WorkerJob(version, index, BLOCK, ((b"a" * 32, zeros), (b"b" * 32, zeros)), 4, 1e6)


class Running:
    def __init__(self, fleet: ThreadFleet) -> None:
        self.reports: list[tuple[Member, WorkerReport]] = []
        self._arrived = asyncio.Event()
        serials = itertools.count(1)

        async def next_serial() -> int:
            return next(serials)

        self.cluster = Cluster(fleet, next_serial, self._on_report)

    def _on_report(self, member: Member, report: WorkerReport) -> None:
        self.reports.append((member, report))
        self._arrived.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Looks again at every report, and now and then without one."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._arrived.clear()
                try:
                    await asyncio.wait_for(self._arrived.wait(), 0.02)
                except TimeoutError:
                    continue


@asynccontextmanager
async def running(fleet: ThreadFleet) -> AsyncIterator[Running]:
    run = Running(fleet)
    task = asyncio.create_task(run.cluster.run())
    try:
        yield run
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert all(handle.dead for handle in fleet.handles.values())  # nobody is left behind


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(members, "REPORT_SECONDS", 0.1)


async def test_every_place_gets_a_worker_and_the_job() -> None:
    fleet = ThreadFleet(place(1), place(2))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3))
        await run.until(lambda: {m.place for m, r in run.reports if r.index == 3 and r.hashes} == {place(1), place(2)})
        assert run.cluster.hashes_per_second > 0
        assert len({member.serials[0] for member, _ in run.reports}) == 2


async def test_a_node_that_joins_searches_and_one_that_leaves_is_forgotten() -> None:
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3))
        await run.until(lambda: place(1) in run.cluster.members)
        fleet.present = {place(2)}
        await run.until(lambda: any(m.place == place(2) and r.hashes for m, r in run.reports))
        await run.until(lambda: set(run.cluster.members) == {place(2)})
        assert fleet.handles[place(1)].dead


async def test_a_dead_worker_is_replaced_under_another_serial() -> None:
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3))
        await run.until(lambda: any(r.hashes for _, r in run.reports))
        fleet.handles[place(1)].dead = True
        await run.until(lambda: len(fleet.started) == 2 and place(1) in run.cluster.members)
        await run.until(lambda: run.reports[-1][0].serials == [2] and run.reports[-1][1].hashes > 0)


async def test_a_silent_worker_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SILENT_SECONDS", 0.2)
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        await run.until(lambda: place(1) in run.cluster.members)
        first = fleet.handles[place(1)]
        first.deaf = True
        await run.until(lambda: len(fleet.started) == 2 and place(1) in run.cluster.members)
        assert first.dead


async def test_a_slow_worker_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(members, "measure_speed", lambda before, count, seconds: count / seconds)
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: len([r for _, r in run.reports if r.hashes]) > 3)
        fleet.handles[place(1)].speed = lambda report: replace(report, hashes=report.hashes // 100)
        await run.until(lambda: len(fleet.started) == 2 and place(1) in run.cluster.members)
        fleet.handles[place(1)].speed = lambda report: replace(report, hashes=report.hashes // 100)
        seen = len(run.reports)
        await run.until(lambda: len(run.reports) > seen + 10)
        assert len(fleet.started) == 2  # the place itself is slow: replacing would not help


async def test_a_worker_on_a_busy_machine_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else has most of its core: it does as much as ever in the time that it gets."""
    monkeypatch.setattr(members, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(members, "measure_speed", lambda before, count, seconds: count / seconds)
    fleet = ThreadFleet(place(1))

    def alone(report: WorkerReport) -> WorkerReport:  # as fast as this machine's load has it would be chance
        return replace(report, hashes=int(1e9 * report.busy_seconds), working_seconds=report.busy_seconds)

    def crowded(report: WorkerReport) -> WorkerReport:
        return replace(report, hashes=int(1e7 * report.busy_seconds), working_seconds=report.busy_seconds / 100)

    async with running(fleet) as run:
        await run.until(lambda: place(1) in fleet.handles)
        fleet.handles[place(1)].speed = alone
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: len([r for _, r in run.reports if r.hashes]) > 3)
        fleet.handles[place(1)].speed = crowded
        seen = len(run.reports)
        await run.until(lambda: len(run.reports) > seen + 10)
        assert len(fleet.started) == 1


async def test_a_worker_with_nothing_to_search_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: len([r for _, r in run.reports if r.hashes]) > 3)
        run.cluster.publish(WorkerJob(2, 3, BLOCK, (), 4, 1e6))
        await run.until(lambda: run.reports[-1][1].hashes == run.reports[-1][1].busy_seconds == 0)
        seen = len(run.reports)
        monkeypatch.setattr(members, "SLOW_SECONDS", 0.3)  # from here on: its search may be slow beside other programs
        monkeypatch.setattr(members, "measure_speed", lambda before, count, seconds: count / seconds)
        await run.until(lambda: len(run.reports) > seen + 10)
        assert len(fleet.started) == 1


async def test_other_code_is_refused_with_a_reason() -> None:
    fleet = ThreadFleet(place(1))
    fleet.version = "0.0.9+000000000000"
    async with running(fleet) as run:
        await run.until(lambda: bool(run.cluster.refused))
        said = run.cluster.refused[place(1)]
        assert "host-1 runs kalepool 0.0.9+000000000000" in said and "install the same version" in said
        assert not run.cluster.members


async def test_another_block_is_sent_without_waiting_for_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "REPORT_SECONDS", 5.0)
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: place(1) in run.cluster.members)
        worker = fleet.handles[place(1)].worker
        run.cluster.publish(job(2, 4, 14))
        assert (await asyncio.to_thread(worker.exchange, None, None, 0.05)).index == 4


async def test_news_of_the_same_block_travel_with_the_next_report() -> None:
    fleet = ThreadFleet(place(1))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: place(1) in run.cluster.members)
        run.cluster.publish(job(2, 3, 0))
        run.cluster.publish(job(3, 3, 15))
        await run.until(lambda: run.cluster.members[place(1)].job_version == 3)


async def test_reports_become_rarer_in_a_large_cluster() -> None:
    run = Running(ThreadFleet())
    small = run.cluster.report_seconds
    for number in range(10_000):
        run.cluster.members[place(number)] = None  # pyright: ignore[reportArgumentType]
    assert small == 0.1
    assert 10_000 / run.cluster.report_seconds <= members.REPORTS_PER_SECOND


async def test_a_fleet_out_of_reach_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "UNREACHABLE_SECONDS", 0.1)

    class Lost(ThreadFleet):
        async def places(self) -> set[WorkerPlace]:
            raise WorkerError("the Ray head does not answer")

    with pytest.raises(WorkerError, match="head"):
        await Running(Lost()).cluster.run()


async def test_a_fleet_that_is_gone_for_good_ends_the_run_at_once() -> None:
    class Gone(ThreadFleet):
        async def places(self) -> set[WorkerPlace]:
            raise FleetLostError("its only node has died")

    with pytest.raises(FleetLostError):
        await asyncio.wait_for(Running(Gone()).cluster.run(), 30)


@pytest.mark.parametrize(
    ("false", "said"),
    [
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": float("inf"), "hashes": 10**30}, "seconds"),
        ({"busy_seconds": float("inf")}, "thread-seconds"),
        ({"working_seconds": float("nan")}, "thread-seconds with a core"),
        ({"hashes": 10**18}, "hashes"),
        ({"hashes": -1}, "hashes"),
        ({"finds": (Find(b"a" * 32, 5, 1), Find(b"a" * 32, 6, 2))}, "several finds of one farmer"),
        ({"finds": (Find(b"a" * 32, 65, 1),)}, "a find that is none"),
        ({"finds": (("a", 5, 1),)}, "a find that is none"),
        ({"index": "3\x1b[2J"}, "block index '3\\x1b"),
    ],
)
async def test_a_worker_that_says_what_cannot_be_is_not_used(false: dict[str, Any], said: str) -> None:
    fleet = ThreadFleet(place(1), place(2))
    async with running(fleet) as run:
        run.cluster.publish(job(1, 3, 14))
        await run.until(lambda: len(run.cluster.members) == 2)
        fleet.handles[place(1)].speed = lambda report: replace(report, **false)
        await run.until(lambda: place(1) in run.cluster.refused)
        assert said in run.cluster.refused[place(1)]
        seen = len(run.reports)
        await run.until(lambda: len(run.reports) > seen + 1)
        assert {member.place for member, _ in run.reports[seen:]} == {place(2)}, "the others go on"
        assert math.isfinite(run.cluster.hashes_per_second) and math.isfinite(run.cluster.busy_seconds)


def test_a_worker_that_presents_itself_wrongly_is_not_used() -> None:
    right = Hello(code_version(), "host", 1, "avx512", 2)
    assert doubt_hello(right, 2) is None
    assert all(doubt_hello(replace(right, backend=name), 2) is None for name in (*kernels.backends(), "cuda:1"))
    for wrong in (None, replace(right, threads=0), replace(right, backend="\x1b[2J"), replace(right, code_version=1)):
        assert doubt_hello(wrong, 2) is not None
