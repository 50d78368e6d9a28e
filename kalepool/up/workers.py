"""`kalepool api --workers N`: several processes behind one address; what dies or hangs is started again.

This process keeps the port and looks after the others. It opens no key and no database.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import structlog

from kalepool.api.server import shared_sockets
from kalepool.config import Settings, require_public_url, require_relayer_key
from kalepool.errors import ConfigError
from kalepool.heartbeat import ADDRESS, Heartbeats
from kalepool.processes import kill_group, spawn

log = structlog.get_logger()

LOOK_SECONDS = 0.1
SILENT_SECONDS = 15.0
"""Not heard of for so long, a worker hangs."""

START_SECONDS = 60.0
"""For its first word."""

STEADY_SECONDS = 10.0
"""A worker that lived so long has not failed to start."""

ROOM_SECONDS = 5.0
"""Where others run, one that ended is started again after so long: a start takes a processor for seconds, which those
need whom its miners come to at once."""

LONGEST_WAIT = 10.0
STOP_SECONDS = 8.0
"""To end, once told to."""


@dataclass(slots=True)
class ApiWorker:
    """One API process. `start` gives a new one."""

    number: int
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    start_again_at: float = 0.0

    def is_hung(self, heartbeats: Heartbeats, now: float) -> bool:
        if self.process is None or heartbeats.address is None:
            return False
        silent = heartbeats.silent_seconds(self.process.pid)
        if silent is None:
            return now - self.started_at > START_SECONDS
        return silent > SILENT_SECONDS


class ApiWorkers:
    """Keeps them running until told to end."""

    def __init__(self, workers: list[ApiWorker], heartbeats: Heartbeats) -> None:
        self._workers = workers
        self._heartbeats = heartbeats
        self._ending = False

    def end(self, signal_number: int, _: FrameType | None) -> None:
        self._ending = True

    def run(self) -> int:
        """The exit status: of the first worker where that did not even start, else 0."""
        first, *others = self._workers
        self._start(first)
        while first.process is not None and self._heartbeats.silent_seconds(first.process.pid) is None:
            if self._ending:
                break
            if (status := first.process.poll()) is not None:  # it has said why: the others could not either
                return status if status > 0 else 1
            time.sleep(LOOK_SECONDS)
        for worker in others:
            if not self._ending:
                self._start(worker)
        while not self._ending:
            for worker in self._workers:
                self._mind(worker, time.monotonic())
            time.sleep(LOOK_SECONDS)
        self._stop()
        return 0

    def _start(self, worker: ApiWorker) -> None:
        worker.process, worker.started_at = worker.start(), time.monotonic()
        log.info("worker_started", worker=worker.number, pid=worker.process.pid)

    def _mind(self, worker: ApiWorker, now: float) -> None:
        if worker.process is None:
            if now >= worker.start_again_at:
                self._start(worker)
            return
        if worker.is_hung(self._heartbeats, now):
            log.error("worker_hangs", worker=worker.number, pid=worker.process.pid, then="it is killed")
            kill_group(worker.process)
            worker.process.wait()
        if (status := worker.process.poll()) is None:
            return
        worker.failures = 0 if now - worker.started_at > STEADY_SECONDS else worker.failures + 1
        wait = min(0.5 * 2 ** (worker.failures - 1), LONGEST_WAIT) if worker.failures else 0.0
        if any(other.process is not None for other in self._workers if other is not worker):
            wait = max(wait, ROOM_SECONDS)
        worker.process, worker.start_again_at = None, now + wait
        log.error("worker_ended", worker=worker.number, status=status, starts_again_in=wait)

    def _stop(self) -> None:
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        ends_at = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(ends_at - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                kill_group(process)
                process.wait()


def run_workers(settings: Settings, count: int) -> int:
    """Serves the API by `count` processes until SIGINT or SIGTERM. Returns the exit status. Raises ConfigError."""
    require_public_url(settings)
    require_relayer_key(settings)
    if sys.platform != "linux":
        raise ConfigError("several API processes on one machine need Linux: set KALEPOOL_API_WORKERS to 1")
    port = _require_free(settings)
    kept = shared_sockets(settings.api_host, port)  # bound, never listened on: nobody else takes the port
    try:
        with Heartbeats() as heartbeats:
            workers = [
                ApiWorker(number, lambda number=number: _spawn(settings, kept[0].getsockname()[1], number, heartbeats))
                for number in range(1, count + 1)
            ]
            minded = ApiWorkers(workers, heartbeats)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, minded.end)
            return minded.run()
    finally:
        for each in kept:
            each.close()


def _require_free(settings: Settings) -> int:
    """The port that the workers are to share. ConfigError where another program has it, which would get a part of the
    connections."""
    host, port = settings.api_host, settings.api_port
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, (name, _, *rest) in found:
            with socket.create_server((name, port, *rest), family=family) as listener:  # pyright: ignore[reportArgumentType]
                port = listener.getsockname()[1]
    except OSError as error:
        raise ConfigError(
            f"the API cannot listen on {host}:{port} ({error.strerror}): set KALEPOOL_API_HOST and KALEPOOL_API_PORT"
        ) from None
    return port


def _spawn(settings: Settings, port: int, number: int, heartbeats: Heartbeats) -> subprocess.Popen[bytes]:
    sibling_port = settings.api_sibling_port and settings.api_sibling_port + number - 1
    told = {"KALEPOOL_API_PORT": str(port), "KALEPOOL_API_SIBLING_PORT": str(sibling_port)}
    environment = {name: value for name, value in os.environ.items() if name != ADDRESS} | told
    if heartbeats.address:
        environment[ADDRESS] = heartbeats.address
    arguments = [sys.executable, "-m", "kalepool", "api", "--workers", "1", "--shares-port"]
    return spawn(arguments, environment=environment, output_as_ours=True)
