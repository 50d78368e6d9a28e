"""Keeps a worker in every place a fleet has, gives all the job, and takes their reports. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import structlog

from kalepool.cluster.claims import doubt_hello, doubt_report
from kalepool.cluster.messages import Hello, WorkerJob, WorkerReport, code_version
from kalepool.cluster.placement import WorkerPlace
from kalepool.errors import KalepoolError
from kalepool.policy.ranges import Searcher, measure_speed

LOOK_SECONDS = 1.0  # between two looks at which places there are, in a small cluster: one costs some 5 ms
PLACES_PER_SECOND = 5000  # how many are looked at a second, at most
REPORT_SECONDS = 1.0  # between two reports of one worker, in a small cluster
REPORTS_PER_SECOND = 250  # of all workers together: a report costs this process about 0.5 ms
START_SECONDS = 60.0  # for a worker to say hello
SILENT_SECONDS = 10.0  # this much over time, and a worker is given up
SLOW_SHARE = 0.2  # of the speed a worker once had; below it for SLOW_SECONDS of search it is replaced …
SLOW_SECONDS = 30.0
SLOW_PAUSE_SECONDS = 600.0  # … but not again before this
UNREACHABLE_SECONDS = 15.0
REFUSED_SECONDS = 60.0  # until a place is tried again that runs other code

AnswerT = TypeVar("AnswerT")

log = structlog.get_logger()


class WorkerError(KalepoolError):
    """A worker is lost, cannot start or is not worth keeping. What it reported stays; its place gets another."""

    code: ClassVar[str] = "worker"


class FleetLostError(WorkerError):
    """The fleet is gone for good, with all its workers: it has to be connected to again."""

    code: ClassVar[str] = "fleet-lost"


class CodeVersionError(WorkerError):
    """A node runs other code than the coordinator, and is not used: it might search or report differently."""

    code: ClassVar[str] = "worker-version"


class FalseReportError(WorkerError):
    """A worker says what cannot be: it is broken or was changed, and its place is not used for a while."""

    code: ClassVar[str] = "worker-false-report"


class Handle(Protocol):
    """A worker from afar. Every call raises WorkerError when the worker is gone or its code fails."""

    async def hello(self) -> Hello: ...
    async def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> WorkerReport: ...
    def assign(self, packed: bytes) -> None:
        """Send without waiting for an answer."""
        ...

    def kill(self) -> None: ...


class Fleet(Protocol):
    """Where workers can run, and the means to start one there."""

    async def places(self) -> Collection[WorkerPlace]:
        """Raises FleetLostError where waiting does not help, WorkerError where it may."""
        ...

    def start(self, place: WorkerPlace, serial: int) -> Handle: ...


@dataclass(slots=True)
class Member:
    """A worker at work. `busy_share`: the part of its threads' time spent searching, over its last report.

    `busy_speed` is what it does in hashes/s while it searches and has a core, `slow_seconds` for how long that was too
    slow: with nothing to search, or on a busy machine, a worker is not slow.
    """

    place: WorkerPlace
    hello: Hello
    handle: Handle
    serials: list[int]  # the present one last
    job_version: int = -1
    hashes_per_second: float | None = None
    busy_share: float = 0.0
    hashes: int = 0
    best_zeros: int = 0
    busy_speed: float | None = None
    top_busy_speed: float = 0.0
    slow_seconds: float = 0.0
    false_finds: int = 0  # nonces that were not what it said of them

    def count(self, report: WorkerReport) -> None:
        self.hashes += report.hashes
        if report.seconds <= 0:
            return
        self.busy_share = min(report.busy_seconds / (report.seconds * self.hello.threads), 1.0)
        self.hashes_per_second = measure_speed(self.hashes_per_second, report.hashes, report.seconds)
        # By the time that it had a core: a machine that is busy with something else makes no worker slow.
        seconds = report.working_seconds / self.hello.threads
        if seconds <= 0:
            return
        self.busy_speed = measure_speed(self.busy_speed, report.hashes, seconds)
        self.top_busy_speed = max(self.top_busy_speed, self.busy_speed)
        is_slow = self.busy_speed < SLOW_SHARE * self.top_busy_speed
        self.slow_seconds = self.slow_seconds + seconds if is_slow else 0.0


class Cluster:
    """All workers of a fleet.

    next_serial: hands out searcher serials, each one once for all time.
    on_report: called in the event loop with every report; raises WorkerError to have the worker go.
    """

    def __init__(
        self,
        fleet: Fleet,
        next_serial: Callable[[], Awaitable[int]],
        on_report: Callable[[Member, WorkerReport], None],
    ) -> None:
        self.fleet = fleet
        self.members: dict[WorkerPlace, Member] = {}
        self.refused: dict[WorkerPlace, str] = {}  # places that cannot be used, and why
        self.reports = 0  # of all workers there ever were, as the next two
        self.hashes = 0
        self.busy_seconds = 0.0  # thread-seconds spent searching
        self._next_serial = next_serial
        self._on_report = on_report
        self._job: WorkerJob | None = None
        self._packed = b""
        self._newest_serial = 0
        self._replaced_at: dict[WorkerPlace, float] = {}

    @property
    def hashes_per_second(self) -> float:
        return sum(member.hashes_per_second or 0.0 for member in self.members.values())

    @property
    def report_seconds(self) -> float:
        """Between two reports of a worker: longer in a large cluster, so that this process keeps up."""
        return max(REPORT_SECONDS, len(self.members) / REPORTS_PER_SECOND)

    def publish(self, job: WorkerJob) -> None:
        """Make this the job of every worker, now and to come. Another block's job is sent at once, news of the same
        block with the next exchange."""
        is_other_block = not self._job or job.index != self._job.index or job.block.entropy != self._job.block.entropy
        self._job, self._packed = job, job.pack()
        if is_other_block:
            for member in self.members.values():
                member.best_zeros = 0
                member.job_version = job.version
                member.handle.assign(self._packed)

    async def run(self) -> None:
        """Until cancelled, FleetLostError, or WorkerError when the fleet was out of reach for a while. Then the workers
        are killed."""
        keepers: dict[WorkerPlace, asyncio.Task[None]] = {}
        reached_at = time.monotonic()
        try:
            while True:
                try:
                    places = set(await self.fleet.places())
                    reached_at = time.monotonic()
                except FleetLostError:
                    raise
                except WorkerError:
                    if time.monotonic() - reached_at > UNREACHABLE_SECONDS:
                        raise
                    places = keepers.keys()
                for place in places - keepers.keys():
                    keepers[place] = asyncio.create_task(self._keep(place))
                for place in keepers.keys() - places:
                    keepers.pop(place).cancel()
                    self.refused.pop(place, None)
                await asyncio.sleep(max(LOOK_SECONDS, len(places) / PLACES_PER_SECOND))
        finally:
            for keeper in keepers.values():
                keeper.cancel()
            await asyncio.gather(*keepers.values(), return_exceptions=True)

    async def _keep(self, place: WorkerPlace) -> None:
        """One worker after the other in this place, until cancelled because the place is gone."""
        pause = 0.2
        while True:
            try:
                await self._employ(place)
            except (CodeVersionError, FalseReportError) as error:
                pause = REFUSED_SECONDS
                self._refuse(place, error)
            except KalepoolError as error:  # WorkerError, or no serial from the database
                if place in self.members or place not in self.refused:
                    log.warning("worker_lost", host=place.host, kind=place.kind, reason=str(error))
                pause = 0.2 if self._was_of_use(place) else min(pause * 2, REFUSED_SECONDS)
                if pause > 1:
                    self._refuse(place, error)
            except Exception:
                log.exception("worker_failed", host=place.host, kind=place.kind)
                pause = min(pause * 2, REFUSED_SECONDS)
            finally:
                self.members.pop(place, None)
            await asyncio.sleep(pause)

    def _was_of_use(self, place: WorkerPlace) -> bool:
        member = self.members.get(place)
        return member is not None and member.hashes > 0

    def _refuse(self, place: WorkerPlace, error: KalepoolError) -> None:
        if self.refused.get(place) != str(error):
            self.refused[place] = str(error)
            log.error("worker_refused", host=place.host, kind=place.kind, reason=str(error))

    async def _serial(self) -> int:
        self._newest_serial = await self._next_serial()
        return self._newest_serial

    async def _employ(self, place: WorkerPlace) -> None:
        """Start a worker and stay with it until WorkerError."""
        serial = await self._serial()
        handle = self.fleet.start(place, serial)
        try:
            hello = await _answer(handle.hello(), START_SECONDS)
            if doubt := doubt_hello(hello, place.threads):
                raise FalseReportError(f"the worker on {place.host} is not believed: {doubt}")
            if hello.code_version != code_version():
                raise CodeVersionError(
                    f"node {place.host} runs kalepool {hello.code_version}, this coordinator {code_version()}: "
                    "install the same version there and start Ray on it again"
                )
            self.refused.pop(place, None)
            member = Member(place, hello, handle, [serial])
            self.members[place] = member
            log.info("worker_joined", host=place.host, kind=place.kind, backend=hello.backend, threads=hello.threads)
            await self._attend(member)
        finally:
            with contextlib.suppress(WorkerError):
                handle.kill()

    async def _attend(self, member: Member) -> None:
        if self._job:
            member.job_version = self._job.version
            member.handle.assign(self._packed)
        wait_seconds = random.uniform(0.1, self.report_seconds)  # so that not all report in the same moment
        new_serial: int | None = None
        while True:
            packed = None
            if self._job and member.job_version < self._job.version:
                packed, member.job_version = self._packed, self._job.version
            report = await _answer(
                member.handle.exchange(packed, new_serial, wait_seconds), wait_seconds + SILENT_SECONDS
            )
            wait_seconds = self.report_seconds
            if doubt := doubt_report(report, member.hello.threads):
                raise FalseReportError(f"the worker on {member.place.host} is not believed: {doubt}")
            self.reports += 1
            self.hashes += report.hashes
            self.busy_seconds += report.busy_seconds
            member.count(report)
            if self._job and report.index == self._job.index:
                member.best_zeros = max([member.best_zeros, *(find.zeros for find in report.finds)])
            self._on_report(member, report)
            self._give_up_if_slow(member)
            new_serial = None
            if report.needs_serial or Searcher(member.serials[-1]).is_outdated(self._newest_serial):
                new_serial = await self._serial()
                member.serials.append(new_serial)

    def _give_up_if_slow(self, member: Member) -> None:
        now = time.monotonic()
        if (
            member.slow_seconds > SLOW_SECONDS
            and now - self._replaced_at.get(member.place, -SLOW_PAUSE_SECONDS) > SLOW_PAUSE_SECONDS
        ):
            self._replaced_at[member.place] = now
            raise WorkerError(
                f"slow: {member.busy_speed or 0:.0f} of once {member.top_busy_speed:.0f} hashes/s "
                f"for {member.slow_seconds:.0f} s; it is replaced"
            )


async def _answer(call: Awaitable[AnswerT], seconds: float) -> AnswerT:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise WorkerError(f"silent: no answer within {seconds:.0f} s") from None
