"""Child processes: started, started again when they die, ended all together."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kalepool.errors import KalepoolError
from kalepool.processes import carrying, end, kill_group

MARK = "CHILD_OF_KALEPOOL"  # in the environment of every child and of what it starts; Ray nodes lose KALEPOOL_…
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds before a dead child is started again, doubled each time
STEADY_SECONDS = 30.0  # a child that lived this long waits no longer than after a first failure
QUIET_SECONDS = 30.0  # the same warning is said once in this time
LARGEST_LOG = 20_000_000  # bytes
MOST_READ = 1_000_000  # bytes of a log at once
SHOWN = ("warning", "error", "critical")


@dataclass(slots=True)
class Service:
    """One child. `start` gives a new process; `seconds` is its time to end after `stop_signal`.

    mark: what MARK is set to in its environment; whatever still carries it when the child has ended is killed.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    log: Path
    mark: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    seconds: float = 2.0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    start_again_at: float | None = None
    read_to: int = 0  # how far its log was read for warnings
    said_at: dict[str, float] = field(default_factory=dict)


class Supervisor:
    """Starts services in order, keeps them running, ends them in the opposite order. Use it from the main thread."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._services: list[Service] = []

    def add(self, service: Service) -> None:
        """Start it, and look after it from now on."""
        self.adopt(service)
        self._start(service)

    def adopt(self, service: Service) -> None:
        """Look after a service that runs already."""
        service.read_to = service.log.stat().st_size if service.log.exists() else 0
        service.started_at = time.monotonic()
        self._services.append(service)

    def pid(self, name: str) -> int:
        """The child's process id, as it was last started."""
        process = self._find(name).process
        assert process is not None
        return process.pid

    def looks_after(self, name: str) -> bool:
        """Whether the child was started and is to run on."""
        return any(service.name == name for service in self._services)

    def age(self, name: str) -> float:
        """For how many seconds the child has run."""
        return time.monotonic() - self._find(name).started_at

    def replace(self, name: str, reason: str) -> None:
        """Kill one that runs and does not work, with all it started; `check` starts it again."""
        service = self._find(name)
        if service.process is not None and service.process.poll() is None:
            self._say(f"{reason}: it is killed, to be started again")
            kill_group(service.process)
            self._sweep(service)

    def failed_to_start(self, name: str) -> str | None:
        """For who waits until a child serves: the reason why it never will, once it has ended."""
        service = self._find(name)
        if service.process is not None and (status := service.process.poll()) is not None:
            return f"{name} ended at once ({_ending(status)}): {last_words(service.log)}; see {service.log}"
        return None

    def check(self) -> None:
        """Look after every child once; call it a few times a second."""
        now = time.monotonic()
        for service in self._services:
            if service.start_again_at is not None:
                if now >= service.start_again_at:
                    self._start(service)
            elif service.process is not None and (status := service.process.poll()) is not None:
                self._sweep(service)
                lived = now - service.started_at
                service.failures = 1 if lived > STEADY_SECONDS else service.failures + 1
                wait = min(FIRST_WAIT * 2 ** (service.failures - 1), LONGEST_WAIT)
                service.start_again_at = now + wait
                self._say(f"{service.name} ended ({_ending(status)}): {last_words(service.log)}")
                self._say(f"{service.name} starts again in {wait:g} s; its log is {service.log}")
            self._show_warnings(service, now)

    def stop(self, name: str) -> None:
        """End one child for good."""
        service = self._find(name)
        self._services.remove(service)
        self._end([service])

    def stop_all(self) -> None:
        """End every child, the one started last first."""
        while self._services:
            self._end([self._services.pop()])

    def kill_all(self) -> None:
        """As stop_all, without waiting for anybody."""
        for service in self._services:
            service.seconds = 0.0
        self.stop_all()

    def _find(self, name: str) -> Service:
        return next(service for service in self._services if service.name == name)

    def _start(self, service: Service) -> None:
        service.start_again_at = None
        service.started_at = time.monotonic()
        try:
            service.process = service.start()
        except (KalepoolError, OSError) as error:
            if service.process is None:
                raise
            service.failures += 1
            service.start_again_at = time.monotonic() + LONGEST_WAIT
            self._say(f"{service.name} does not start: {error}")

    def _end(self, services: list[Service]) -> None:
        for service in services:
            if service.process is not None:
                end(service.process, [(service.stop_signal, service.seconds)])
                self._sweep(service)

    def _sweep(self, service: Service) -> None:
        """Kill what a child left behind, whatever group or session it went to."""
        for pid in carrying(MARK, service.mark) if service.mark else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _show_warnings(self, service: Service, now: float) -> None:
        for line in self._new_lines(service):
            try:
                record = json.loads(line)
                event = str(record["event"])
                shown = record["level"] in SHOWN
            except (ValueError, KeyError, TypeError):
                continue
            if shown and now - service.said_at.get(event, -QUIET_SECONDS) >= QUIET_SECONDS:
                service.said_at[event] = now
                self._say(f"{service.name}: {_words(event)} {_details(record)}")

    def _bound(self, service: Service, size: int) -> None:
        """A log that is too long is put aside, in place of the last one. The child goes on appending to its own."""
        if size > LARGEST_LOG:
            shutil.copyfile(service.log, service.log.with_suffix(".log.old"))
            os.truncate(service.log, 0)
            service.read_to = 0

    def _new_lines(self, service: Service) -> list[str]:
        try:
            with service.log.open("rb") as file:
                file.seek(service.read_to)
                data = file.read(MOST_READ)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1] if len(data) < MOST_READ or b"\n" in data else data
        service.read_to += len(whole)
        with contextlib.suppress(OSError):  # as on a full disk: another time
            if len(data) < MOST_READ:
                self._bound(service, service.read_to)
        return whole.decode(errors="replace").splitlines()


def last_words(log: Path) -> str:
    """The last line of a log that says something, short; of a traceback, what went wrong."""
    try:
        lines = [line for line in log.read_text(errors="replace")[-50_000:].splitlines() if line.strip()]
    except OSError:
        lines = []
    for line in reversed(lines):
        said = line.strip()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            said = f"{_words(record['event'])} {_details(record)}".strip()
            if "Traceback " in (traceback := str(record.get("exception") or record["event"])):
                said = traceback.strip().splitlines()[-1]
        if not said.startswith("Application startup failed"):  # uvicorn's; why is before it
            return re.sub(r"^kalepool\.errors\.\w+: ", "", said)[:300]
    return "it said nothing"


def _words(event: object) -> str:
    """An event for people: ours are written worker_joined, others' are sentences."""
    said = str(event)
    return said.replace("_", " ") if re.fullmatch(r"[a-z_]+", said) else said


def _details(record: dict[str, object]) -> str:
    """What a record of the log says beside its event, on one line: psycopg's errors have three."""
    left_out = ("event", "level", "at", "exception", "color_message")
    told = (f"{key}={value}" for key, value in record.items() if key not in left_out)
    return " ".join(" ".join(told).split())


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
