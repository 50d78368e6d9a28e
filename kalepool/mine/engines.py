"""What can hash: the backends of `kernels`, and another miner's program."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from kalepool.errors import ConfigError
from kalepool.mine.job import PoolJob
from kalepool.platforms import cores, split_command
from kalepool.processes import end, spawn
from kernels import (
    KernelError,
    SearchStoppedError,
    Stop,
    Template,
    backends,
    devices,
    driver,
    find,
    is_of_cards,
    keccak,
    numa,
)
from kernels.numa import NodeProcess

TRIAL_SECONDS = 0.3  # an engine's speed is measured this long before the first job, which is made for it


class Engine(Protocol):
    """Something that hashes, blocking, in a thread of its own."""

    name: str

    def measure(self) -> float:
        """Its speed in hashes/s before the first job; 0 if that is not known."""
        ...

    def find(self, job: PoolJob, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        """(a nonce that counts or None, how many nonces were tried). Returns soon after `stop` is set."""
        ...


class KernelEngine:
    """One backend of `kernels`; `cores`: in a process that is bound to these, of one NUMA node."""

    _TRIAL = Template(0, bytes(32), bytes(32))

    def __init__(self, backend: str, threads: int, cores: Sequence[int] = ()) -> None:
        self.backend, self.threads, self.cores = backend, threads, cores
        self.name = backend if is_of_cards(backend) else f"{backend} × {threads}"
        self.process: NodeProcess | None = None  # from its first search on

    def _find(self, template: Template, start: int, count: int, below: int, stop: Stop | None = None) -> int | None:
        if not self.cores:
            return find(template, start, count, below, backend=self.backend, threads=self.threads, stop=stop)
        if self.process is None:
            self.process = NodeProcess(self.cores)
        how = {"backend": self.backend, "threads": self.threads}
        return self.process.call(0, "find", template, start, count, below, stop=stop, **how)[0]

    def find(self, job: PoolJob, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        try:
            nonce = self._find(job.template, start, count, job.below, stop)
        except SearchStoppedError as stopped:
            return None, stopped.progress.tried
        return nonce, count if nonce is None else nonce - start + 1

    def measure(self) -> float:
        """Its speed in hashes/s, by a short trial."""
        count = 1 << 12
        self._find(self._TRIAL, 0, count, 1)  # compiles
        while True:
            began = time.perf_counter()
            self._find(self._TRIAL, 0, count, 1)
            seconds = time.perf_counter() - began
            if seconds >= TRIAL_SECONDS / 2:
                return count / seconds
            count = int(count * min(max(TRIAL_SECONDS / seconds, 2), 64))


class CommandEngine:
    """Another miner's program: started per share, prints {"hash", "nonce"}, is ended when the job changes.

    It looks for whole zeros from a start on and knows no end, so the pool is asked for targets of whole zeros.
    """

    FIELDS = ("index", "entropy_b64", "nonce", "zeros", "farmer", "threads")
    _FIELD = re.compile(r"\{(\w+)\}")
    _ANSWER = re.compile(rb"\{[^{}]*\"nonce\"[^{}]*\}")

    def __init__(self, command: str, threads: int) -> None:
        try:
            self.arguments, self.threads = split_command(command), threads
        except ValueError as error:
            raise ConfigError(f"--exec: {command!r} cannot be read: {error}") from None
        if not self.arguments:
            raise ConfigError("--exec needs a command")
        self.name = os.path.basename(self.arguments[0])  # noqa: PTH119
        unknown = {field for part in self.arguments for field in self._FIELD.findall(part)} - set(self.FIELDS)
        if unknown:
            fields = " ".join(f"{{{field}}}" for field in self.FIELDS)
            raise ConfigError(f"--exec: there is no {{{unknown.pop()}}}; there are {fields}")

    def measure(self) -> float:
        return 0.0

    def find(self, job: PoolJob, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        """A program with a target of its own finds much that does not count: it is started again behind each."""
        at, last = start, job.nonce_start + job.nonce_count
        while at < last and (found := self._run(job, at, stop)) is not None:
            nonce, counts = found
            at = max(nonce, at) + 1
            if counts:
                return nonce, at - start
        return None, at - start

    def _run(self, job: PoolJob, start: int, stop: threading.Event) -> tuple[int, bool] | None:
        """What the program finds from there on, and whether it counts; None when it was stopped."""
        values = {
            "index": job.template.index,
            "entropy_b64": base64.b64encode(job.template.entropy).decode(),
            "nonce": start,
            "zeros": job.zeros,
            "farmer": job.farmer,
            "threads": self.threads,
        }
        try:
            process = spawn(
                [self._FIELD.sub(lambda field: str(values[field[1]]), part) for part in self.arguments], pipe=True
            )
        except OSError as error:
            raise ConfigError(f"--exec: cannot start {self.arguments[0]!r}: {error.strerror}") from None
        try:
            output = self._output(process, stop)
        finally:
            end(process, [(signal.SIGTERM, 1.0)])
            if process.stdout:
                process.stdout.close()  # still open where its output was not read to the end
        return self._read(job, output, process.returncode) if output is not None else None

    @staticmethod
    def _output(process: subprocess.Popen[bytes], stop: threading.Event) -> bytes | None:
        while not stop.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=0.05)[0]
        return None

    def _read(self, job: PoolJob, output: bytes, status: int) -> tuple[int, bool]:
        """The nonce in what the program printed, if it is true. Raises KernelError with what was wrong."""
        answers = self._ANSWER.findall(output)
        if not answers:
            raise KernelError(f'{self.name} ended with status {status} and no {{"hash", "nonce"}} in {output[-200:]!r}')
        try:
            answer = json.loads(answers[-1])
            nonce, claimed = int(answer["nonce"]), answer.get("hash")
        except (ValueError, TypeError, KeyError) as error:
            raise KernelError(f"{self.name} printed {answers[-1][-200:]!r}: {error}") from None
        if not job.nonce_start <= nonce < job.nonce_start + job.nonce_count:
            raise KernelError(
                f"{self.name} left its range: nonce {nonce} is not in {job.nonce_start} + {job.nonce_count}"
            )
        template = job.template
        digest = keccak.hash_nonce(template.index, nonce, template.entropy, template.farmer)
        if claimed is not None and claimed != digest.hex():
            raise KernelError(f"{self.name} printed hash {claimed!r} for nonce {nonce}, but it is {digest.hex()}")
        return nonce, int.from_bytes(digest[:8], "big") < job.below


def choose_engines(
    backend: str | None, threads: int, command: str | None, say: Callable[[str], None] = print
) -> list[Engine]:
    """What is to hash: `command` alone if given, else `backend`, else every card and the best CPU backend.

    A card that nobody asked for and that does not work is left out, with a word to `say`.
    """
    threads = threads or cores()
    if command is not None:
        return [CommandEngine(command, threads)]
    if backend is not None or (backend := os.environ.get("KALEPOOL_BACKEND")):
        return [KernelEngine(backend, threads)] if is_of_cards(backend) else _by_nodes(backend, threads)
    engines: list[Engine] = []
    for name in filter(is_of_cards, backends()):
        try:
            driver.load_backend(name)
            engines.append(KernelEngine(name, 1))
        except KernelError as error:
            say(f"mining without {name}: {error}")
    cpu = next(name for name in backends() if not is_of_cards(name))
    # each card's thread needs some of a core to stay fed
    return [*engines, *_by_nodes(cpu, max(threads - len(devices()) if engines else threads, 1))]


def _by_nodes(backend: str, threads: int) -> list[Engine]:
    """Where the machine has several NUMA nodes, an engine for each."""
    found = numa.nodes()
    if len(found) < 2:
        return [KernelEngine(backend, threads)]
    shares = zip(numa.share(threads, found), found, strict=True)
    return [KernelEngine(backend, part, node) for part, node in shares if part]
