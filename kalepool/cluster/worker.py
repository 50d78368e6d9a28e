"""What runs on a node: threads that hash a standing job, always for the farmer whose next zero is cheapest.

Imports the kernels and the pure rules only. No key, no database and no chain is within a worker's reach.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import kernels
from kalepool.cluster.messages import MOST_FINDS, Find, Hello, WorkerFailure, WorkerJob, WorkerReport, code_version
from kalepool.errors import ConfigError
from kalepool.platforms import NICENESS
from kalepool.policy.ranges import NonceRange, RangeExhaustedError, Searcher
from kalepool.policy.search import pick
from kernels import numa
from kernels.numa import NodeProcess

CALL_SECONDS = 0.03  # a thread looks up from the kernel this often
FIRST_CALL = 2**15
COALESCE_SECONDS = 0.1  # reports leave at most this often
FORGOTTEN_SECONDS = (
    10.0  # a worker that nobody asks for a report for so long makes room: its coordinator is frozen or gone
)
NEWS_SECONDS = 0.15  # until all workers know of a find: a report, a new job, the calls that were under way

SECRET_PREFIXES = ("KALEPOOL_", "DATABASE_URL", "PG", "AWS_", "GOOGLE_", "AZURE_")
HARMLESS = {"KALEPOOL_BACKEND", "KALEPOOL_OPENCL_CPU"}


def drop_secrets() -> dict[str, str]:
    """Take our settings and the usual credentials out of this process's environment; returns what was taken."""
    names = [name for name in os.environ if name.startswith(SECRET_PREFIXES) and name not in HARMLESS]
    return {name: os.environ.pop(name) for name in names}


def _backend_of_cores() -> str:
    """What the node's KALEPOOL_BACKEND says, else the fastest of the CPU's.

    `cuda` there says nothing of the cores: Ray gives such cards workers of their own. `opencl` gives the place of the
    cores to cards that Ray does not know.
    """
    wished = os.environ.get("KALEPOOL_BACKEND")
    if wished and not wished.startswith("cuda"):
        return wished
    return next(name for name in kernels.backends() if not kernels.is_of_cards(name))


def require_backend() -> None:
    """Raises ConfigError where KALEPOOL_BACKEND names none of this machine's: nobody would hash for who is planted."""
    wished, there = _backend_of_cores(), kernels.backends()
    if wished.partition(":")[0] not in there:
        raise ConfigError(f"KALEPOOL_BACKEND={wished}: this machine has {', '.join(there)}")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call to the kernel. `stop` is set when the job's block is over."""

    job: WorkerJob
    farmer: bytes
    above_zeros: int
    nonces: NonceRange
    stop: threading.Event


class Worker:
    """Searches with `threads` threads from its making until its process ends. Any thread may call its methods.

    serial: names the worker's own range of nonces. backend: a kernel's name, where "cuda" stands for any card; None is
    for the cores of a node, see `_backend_of_cores`.
    """

    def __init__(self, serial: int, threads: int, backend: str | None = None) -> None:
        drop_secrets()
        self.backend = backend or _backend_of_cores()
        if backend == "cuda" and "opencl" in kernels.backends() and "cuda" not in kernels.backends():
            self.backend = "opencl"  # Ray counts the cards of other makers too
        self.threads = threads
        self._changed = threading.Condition()
        self._searcher = Searcher(serial)
        self._needs_serial = False
        self._job: WorkerJob | None = None
        self._zeros: dict[bytes, int] = {}  # of the job's farmers, with what was found here since
        self._stop = threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self._finds: dict[bytes, Find] = {}
        self._urgent = False
        self._hashes = 0
        self._busy_seconds = 0.0
        self._processor_seconds = 0.0  # of all threads together, by the last report
        self._busy_since: dict[int, float] = {}  # of each thread that is in the kernel, not counted yet
        self._reported_at = time.monotonic()
        # Compile or load the kernel before saying hello.
        kernels.search_until(kernels.Template(0, bytes(32), bytes(32)), 0, 1, backend=self.backend)
        self.nodes: list[NodeProcess] = []
        self._lines: list[tuple[NodeProcess, int]] = []  # of each thread, where it searches in a node's process
        if not kernels.is_of_cards(self.backend):
            self._start_nodes(numa.nodes())
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"search-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _start_nodes(self, found: Sequence[Sequence[int]]) -> None:
        """A process on each NUMA node, where there are several."""
        if len(found) < 2:
            return
        shares = zip(found, numa.share(self.threads, found), strict=True)
        self.nodes = [NodeProcess(node, part) for node, part in shares if part]
        self._lines = [(node, line) for node in self.nodes for line in range(node.lines)]
        with contextlib.suppress(OSError):
            for node in self.nodes:
                os.setpriority(os.PRIO_PGRP, node.process.pid, NICENESS)  # threads that it starts later have it too

    def hello(self) -> Hello:
        return Hello(code_version(), socket.gethostname(), os.getpid(), self.backend, self.threads)

    def assign(self, packed: bytes) -> None:
        """Search this job from now on. Another block's ends the running one within a kernel's slice, about 10 ms."""
        job = WorkerJob.unpack(packed)
        with self._changed:
            old = self._job
            if old and job.version <= old.version:
                return
            if not old or (job.index, job.block.entropy) != (old.index, old.block.entropy):
                self._stop.set()
                self._stop = threading.Event()
                self._zeros.clear()
                self._finds.clear()
                self._urgent = False
                # The chain was set back: this range may have been tried in such a block before.
                if old and job.index < old.index:
                    self._needs_serial = self._urgent = True
            self._job = job
            self._zeros = {farmer: max(zeros, self._zeros.get(farmer, 0)) for farmer, zeros in job.farmers}
            self._changed.notify_all()

    def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> WorkerReport:
        """Take a newer job and serial if there are any, then report: after `wait_seconds`, or as soon as
        there is a find of the job's `report_zeros`. Raises what a search thread died of."""
        if packed:
            self.assign(packed)
        with self._changed:
            if serial is not None:
                self._searcher = Searcher(serial)
                self._needs_serial = False
                self._changed.notify_all()
            ends_at = time.monotonic() + wait_seconds
            while not self._ended:
                now = time.monotonic()
                due_at = min(ends_at, self._reported_at + COALESCE_SECONDS) if self._urgent else ends_at
                if now >= due_at:
                    break
                self._changed.wait(due_at - now)
            if self._error:
                raise self._error
            return self._report()

    def end(self) -> None:
        """End the threads. A Ray worker simply ends its process."""
        with self._changed:
            self._ended = True
            self._stop.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for node in self.nodes:
            node.end()

    def _report(self) -> WorkerReport:
        now = time.monotonic()
        for number, since in self._busy_since.items():  # a call that never ends is no idleness
            self._busy_seconds += now - since
            self._busy_since[number] = now
        told = dict(itertools.islice(self._finds.items(), MOST_FINDS))
        report = WorkerReport(
            index=self._job.index if self._job else -1,
            finds=tuple(told.values()),
            hashes=self._hashes,
            seconds=now - self._reported_at,
            busy_seconds=self._busy_seconds,
            working_seconds=min(self._working_seconds(), self._busy_seconds),
            needs_serial=self._needs_serial,
        )
        self._finds = {farmer: find for farmer, find in self._finds.items() if farmer not in told}
        self._urgent = False
        self._hashes, self._busy_seconds, self._reported_at = 0, 0.0, now
        return report

    def _working_seconds(self) -> float:
        """The processor time that the threads had since the last report; a card's is not told, nor by every system."""
        if self.nodes:
            spent, self._processor_seconds = self._processor_seconds, 0.0
            return spent
        # The clock of a thread that has ended must not be asked for.
        if self._ended or kernels.is_of_cards(self.backend) or not hasattr(time, "pthread_getcpuclockid"):
            return self._busy_seconds
        before, self._processor_seconds = self._processor_seconds, 0.0
        for thread in self._threads:
            if thread.ident is not None and thread.is_alive():
                clock = time.pthread_getcpuclockid(thread.ident)
                self._processor_seconds += time.clock_gettime(clock)
        return max(self._processor_seconds - before, 0.0)

    def _run(self, number: int) -> None:
        with contextlib.suppress(OSError):  # a system where a thread's priority cannot be lowered alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            self._search(number)
        except Exception as error:
            with self._changed:
                self._error, self._ended = error, True
                self._changed.notify_all()

    def _search(self, number: int) -> None:
        # A thread's own time, lest calls get shorter when other programs take the core; a card's work is not in it.
        clock = time.perf_counter if kernels.is_of_cards(self.backend) else time.thread_time
        count = FIRST_CALL
        while call := self._take(number, count):
            template = kernels.Template(call.job.index, call.job.block.entropy, call.farmer)
            asked = template, call.nonces.start, call.nonces.count, call.above_zeros
            if self.nodes:
                node, line = self._lines[number]
                progress, seconds = node.call(line, "search_until", *asked, backend=self.backend, stop=call.stop)
                with self._changed:
                    self._processor_seconds += seconds
            else:
                began_clock = clock()
                progress = kernels.search_until(*asked, backend=self.backend, stop=call.stop)
                seconds = clock() - began_clock
            if progress.tried == count:
                count = max(int(count * min(CALL_SECONDS / max(seconds, 1e-6), 4)), 16)
            self._put(number, call, progress)

    def _take(self, number: int, count: int) -> _Call | None:
        """The next call to make; waits while there is nothing to search. None when the worker ends."""
        with self._changed:
            while not self._ended:
                if self._job and self._zeros and not self._needs_serial:
                    try:
                        nonces = self._searcher.take(self._job.index, count)
                    except RangeExhaustedError:
                        self._needs_serial = self._urgent = True
                        self._changed.notify_all()
                        continue
                    # Every thread of every worker has an offset: finds that come quickly are spread over equals.
                    offset = self._searcher.serial * self.threads + number
                    hashes = self._job.hashes_per_second * NEWS_SECONDS
                    zeros, floor = list(self._zeros.values()), self._job.block.min_zeros
                    position = pick(zeros, offset, floor, hashes, self._job.least_zeros)
                    farmer = self._job.farmers[position][0]
                    self._busy_since[number] = time.monotonic()
                    return _Call(self._job, farmer, self._zeros[farmer], nonces, self._stop)
                self._changed.wait()
            return None

    def _put(self, number: int, call: _Call, progress: kernels.Progress) -> None:
        best = progress.best
        with self._changed:
            self._hashes += progress.tried
            self._busy_seconds += time.monotonic() - self._busy_since.pop(number)
            if not best or call.stop is not self._stop or best.zeros <= self._zeros.get(call.farmer, best.zeros):
                return
            self._zeros[call.farmer] = best.zeros
            self._finds[call.farmer] = Find(call.farmer, best.zeros, best.nonce)
            if best.zeros >= call.job.report_zeros:
                self._urgent = True
                self._changed.notify_all()


def _leave() -> None:
    """Ends the process, whatever its threads do."""
    os._exit(0)


class WorkerActor:
    """A worker as Ray runs it. Whatever it answers, failures too, is JSON in plain bytes: the coordinator takes nothing
    else, and raising here would be a pickle."""

    def __init__(self, serial: int, threads: int, backend: str | None = None) -> None:
        self._made: Worker | WorkerFailure
        try:
            self._made = Worker(serial, threads, backend)
        except Exception as error:
            self._made = WorkerFailure.of(error)
        self._asking = False
        self._asked_at = self._patience = float("inf")  # what nobody asked yet waits

    def hello(self) -> bytes:
        return self._answer(lambda worker: worker.hello())

    def assign(self, packed: bytes) -> None:
        if isinstance(self._made, Worker):
            self._made.assign(packed)

    def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> bytes:
        self._asking = True
        try:
            return self._answer(lambda worker: worker.exchange(packed, serial, wait_seconds))
        finally:
            self._asking, self._asked_at = False, time.monotonic()
            self._patience = max(FORGOTTEN_SECONDS, 3 * wait_seconds)

    def leave_when_forgotten(self) -> None:
        """From now on it ends its process once its coordinator asks no more: Ray keeps the place of one that is frozen,
        and whoever leads by then needs it."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        while self._asking or time.monotonic() - self._asked_at < self._patience:
            time.sleep(min(1.0, self._patience / 4))
        _leave()

    def _answer(self, ask: Callable[[Worker], Hello | WorkerReport]) -> bytes:
        if isinstance(self._made, WorkerFailure):
            return self._made.pack()
        try:
            return ask(self._made).pack()
        except Exception as error:
            return WorkerFailure.of(error).pack()
