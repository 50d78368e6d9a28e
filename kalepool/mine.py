"""`kalepool mine`: hash for a pool over HTTP, with every kernel backend of this machine or another miner's program.

An asyncio loop follows the job stream, sends what was found and reports; one thread per engine hashes. Jobs come and
shares go as JSON, and both survive a pool that goes away and comes back.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import random
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import httpx2
import typer

from kalepool.errors import ConfigError, KalepoolError
from kalepool.processes import end, spawn
from kalepool.protocol.hashing import farmer_bytes
from kalepool.units import rate
from kernels import KernelError, SearchStoppedError, Template, backends, devices, find, keccak

CHUNK_SECONDS = 0.5  # what an engine is given at a time
RATE_SECONDS = 15.0  # the live hashrate is a mean over this long
TRIAL_SECONDS = 0.3  # an engine's speed is measured this long before the first job, which is made for it
STALE_SECONDS = 120.0  # a job this far past its end is not worth hashing, even if the pool cannot be reached
MOST_SHARES = 100  # in a request
MOST_WAITING = 2_000  # shares kept while the pool cannot be reached


class RefusedError(KalepoolError):
    """The pool does not let us in: a wrong or revoked key, or a wrong address."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class Job:
    """What the pool wants hashed. A hash counts if its first 8 bytes, big-endian, are below `below`."""

    job_id: str
    template: Template
    farmer: str
    nonce_start: int
    nonce_count: int
    below: int
    difficulty: int
    closes_at: datetime

    @classmethod
    def from_json(cls, text: dict[str, Any]) -> Job:
        return cls(
            job_id=text["job_id"],
            template=Template(text["block_index"], bytes.fromhex(text["entropy"]), farmer_bytes(text["farmer"])),
            farmer=text["farmer"],
            nonce_start=int(text["nonce_start"]),
            nonce_count=int(text["nonce_count"]),
            below=int(text["target"], 16),
            difficulty=int(text["difficulty"]),
            closes_at=datetime.fromisoformat(text["closes_at"]),
        )

    @property
    def zeros(self) -> int:
        """The fewest leading zero digits that are surely enough."""
        return (65 - self.below.bit_length() + 3) // 4


class Nonces:
    """Hands out pieces of the rig's own range, from a random place on: a restart does not hash the same again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._range = (0, 0)
        self._next = 0

    def take(self, job: Job, count: int) -> tuple[int, int]:
        """(start, count) of a piece of at most `count` nonces."""
        with self._lock:
            if self._range != (job.nonce_start, job.nonce_count):
                self._range = (job.nonce_start, job.nonce_count)
                self._next = job.nonce_start + secrets.randbelow(job.nonce_count)
            start, last = self._next, job.nonce_start + job.nonce_count
            count = min(count, last - start)
            self._next = start + count if start + count < last else job.nonce_start
            return start, count

    def skip(self, job: Job, until: int) -> None:
        """Nonces before `until` were tried, by an engine that went on past its piece."""
        with self._lock:
            last = job.nonce_start + job.nonce_count
            if self._range == (job.nonce_start, job.nonce_count) and self._next < until:
                self._next = until if until < last else job.nonce_start


class Engine(Protocol):
    """Something that hashes, blocking, in a thread of its own."""

    name: str

    def measure(self) -> float:
        """Its speed in hashes/s before the first job; 0 if that is not known."""
        ...

    def find(self, job: Job, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        """(a nonce that counts or None, how many nonces were tried). Returns soon after `stop` is set."""
        ...


class KernelEngine:
    """One backend of `kernels`."""

    _TRIAL = Template(0, bytes(32), bytes(32))

    def __init__(self, backend: str, threads: int) -> None:
        self.backend, self.threads = backend, threads
        self.name = backend if backend.startswith("cuda") else f"{backend} × {threads}"

    def find(self, job: Job, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
        try:
            nonce = find(job.template, start, count, job.below, backend=self.backend, threads=self.threads, stop=stop)
        except SearchStoppedError as stopped:
            return None, stopped.progress.tried
        return nonce, count if nonce is None else nonce - start + 1

    def measure(self) -> float:
        """Its speed in hashes/s, by a short trial."""
        count = 1 << 12
        find(self._TRIAL, 0, count, 1, backend=self.backend, threads=self.threads)  # compiles
        while True:
            began = time.perf_counter()
            find(self._TRIAL, 0, count, 1, backend=self.backend, threads=self.threads)
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
        self.arguments, self.threads = shlex.split(command), threads
        if not self.arguments:
            raise ConfigError("--exec needs a command")
        self.name = os.path.basename(self.arguments[0])  # noqa: PTH119
        unknown = {field for part in self.arguments for field in self._FIELD.findall(part)} - set(self.FIELDS)
        if unknown:
            fields = " ".join(f"{{{field}}}" for field in self.FIELDS)
            raise ConfigError(f"--exec: there is no {{{unknown.pop()}}}; there are {fields}")

    def measure(self) -> float:
        return 0.0

    def find(self, job: Job, start: int, count: int, stop: threading.Event) -> tuple[int | None, int]:
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
        return self._read(job, start, output, process.returncode) if output is not None else (None, 0)

    @staticmethod
    def _output(process: subprocess.Popen[bytes], stop: threading.Event) -> bytes | None:
        while not stop.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=0.05)[0]
        return None

    def _read(self, job: Job, start: int, output: bytes, status: int) -> tuple[int, int]:
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
        return nonce, max(nonce - start + 1, 1)


def choose_engines(backend: str | None, threads: int, command: str | None) -> list[Engine]:
    """What is to hash: `command` alone if given, else `backend`, else every CUDA card and the best CPU backend."""
    threads = threads or os.cpu_count() or 1
    if command is not None:
        return [CommandEngine(command, threads)]
    if backend is not None or (backend := os.environ.get("KALEPOOL_BACKEND")):
        return [KernelEngine(backend, threads)]
    cpu = next(name for name in backends() if not name.startswith("cuda"))
    cards = devices()
    if not cards:
        return [KernelEngine(cpu, threads)]
    # each card's thread needs some of a core to stay fed
    return [KernelEngine("cuda", 1), KernelEngine(cpu, max(threads - len(cards), 1))]


@dataclass(frozen=True, slots=True)
class Share:
    job: Job
    nonce: int


class Miner:
    """One rig: follows jobs, keeps the engines busy, brings what they find."""

    def __init__(
        self, client: httpx2.AsyncClient, engines: Sequence[Engine], rig: str, say: Callable[[str], None]
    ) -> None:
        self.client, self.engines, self.rig, self.say = client, engines, rig, say
        self.whole_zeros = any(isinstance(engine, CommandEngine) for engine in engines)
        self.job: Job | None = None
        self.connected = False
        self.outcomes: Counter[str] = Counter()
        self._nonces = Nonces()
        self._changed = threading.Condition()
        self._stop_job = threading.Event()  # set: the engines let go of the present job
        self._closing = False
        self._done: deque[tuple[float, int]] = deque()  # (when, hashes)
        self._measured = 0.0  # hashes/s
        self._found: asyncio.Queue[Share] = asyncio.Queue()

    async def run(self) -> None:
        """Mine until cancelled. Raises RefusedError when the pool will not have us, KernelError from an engine."""
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()

        def engine_thread(engine: Engine) -> None:
            try:
                self._hash(engine, loop)
            except Exception as error:  # handed to the loop, which ends the program
                loop.call_soon_threadsafe(lambda error=error: failed.done() or failed.set_exception(error))

        self._measured = sum([await asyncio.to_thread(engine.measure) for engine in self.engines])
        for engine in self.engines:
            threading.Thread(target=engine_thread, args=(engine,), name=engine.name, daemon=True).start()
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._bring())]
        try:
            await asyncio.gather(failed, *tasks)
        finally:
            self._closing = True
            self._set_job(None)
            for task in tasks:
                task.cancel()

    @property
    def hashes_per_second(self) -> float:
        """Mean of the last RATE_SECONDS."""
        now = time.monotonic()
        while self._done and self._done[0][0] < now - RATE_SECONDS:
            self._done.popleft()
        done = list(self._done)
        return sum(hashes for _, hashes in done) / max(now - done[0][0], 1.0) if done else 0.0

    # jobs

    def _set_job(self, job: Job | None) -> None:
        with self._changed:
            self.job = job
            self._stop_job.set()
            self._stop_job = threading.Event()
            self._changed.notify_all()

    async def _follow(self) -> None:
        """Keep `self.job` what the pool's stream says, connecting again whenever it breaks."""
        failures = 0
        while True:
            try:
                answered = False
                async for event, data in self._events():
                    answered, failures, self.connected = True, 0, True
                    if event == "job":
                        self._set_job(Job.from_json(json.loads(data)))
                    elif event == "idle":
                        self._set_job(None)
                if answered:
                    raise httpx2.ReadError("the stream ended")
            except (httpx2.TransportError, OSError) as error:
                if self.connected or failures == 0:
                    self.say(f"no connection to the pool ({error or type(error).__name__}); trying again")
                self.connected = False
            failures += 1
            await asyncio.sleep(random.uniform(0.1, min(0.25 * 2**failures, 10.0)))
            if self.job and (datetime.now(UTC) - self.job.closes_at).total_seconds() > STALE_SECONDS:
                self._set_job(None)

    async def _events(self) -> AsyncIterator[tuple[str, str]]:
        """(event, data) of the server-sent events of the job stream."""
        params = {"rig": self.rig, "whole_zeros": str(self.whole_zeros).lower()}
        if speed := round(self.hashes_per_second or self._measured):
            params["hashes_per_second"] = str(speed)
        timeout = httpx2.Timeout(10.0, read=40.0)  # the pool pings every 15 s
        async with self.client.stream("GET", "/miner/jobs/stream", params=params, timeout=timeout) as answer:
            if answer.status_code != 200:
                await answer.aread()
                await self._refused(answer)
                return
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    yield fields.get("event", "message"), fields["data"]
                    fields = {}

    async def _refused(self, answer: httpx2.Response) -> None:
        """Say why a request was refused and wait as told. Raises RefusedError when waiting does not help."""
        try:
            problem = answer.json()
            text = f"{problem['title']}: {problem.get('detail') or problem.get('code')}"
        except (ValueError, KeyError, TypeError):
            text = f"status {answer.status_code}"
        wait = answer.headers.get("Retry-After")
        if wait is None and answer.status_code < 500:
            raise RefusedError(f"the pool refuses: {text}")
        self.say(f"the pool says: {text}")
        await asyncio.sleep(min(float(wait) if wait and wait.isdigit() else 2.0, 3600.0) * random.uniform(1.0, 1.1))

    # hashing, in the engines' threads

    def _hash(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        count, mistakes = 1 << 14, 0
        while not self._closing:
            with self._changed:
                if self.job is None:
                    self._changed.wait(1.0)
                    continue
                job, stop = self.job, self._stop_job
            start, taken = self._nonces.take(job, count)
            while taken and not stop.is_set():
                began = time.monotonic()
                try:
                    nonce, tried = engine.find(job, start, taken, stop)
                    mistakes = 0
                except KernelError as error:
                    mistakes += 1
                    if not isinstance(engine, CommandEngine) or mistakes == 5:
                        raise
                    loop.call_soon_threadsafe(self.say, str(error))
                    stop.wait(1.0)
                    break
                seconds = time.monotonic() - began
                self._done.append((time.monotonic(), tried))
                if nonce is not None:
                    loop.call_soon_threadsafe(self._queue, Share(job, nonce))
                    if tried > taken:
                        self._nonces.skip(job, start + tried)
                    start, taken = start + tried, max(taken - tried, 0)
                elif not stop.is_set():
                    count = max(int(count * min(CHUNK_SECONDS / max(seconds, 1e-3), 8.0)), 1 << 10)
                    break

    # shares

    def _queue(self, share: Share) -> None:
        if self._found.qsize() >= MOST_WAITING:
            self._found.get_nowait()  # the oldest is the likeliest to be too late
        self._found.put_nowait(share)

    async def _bring(self) -> None:
        """Send what is found. A request that got no answer is sent again with the same key until it gets one."""
        while True:
            shares = [await self._found.get()]
            while not self._found.empty() and len(shares) < MOST_SHARES:
                shares.append(self._found.get_nowait())
            body = {"shares": [{"job_id": share.job.job_id, "nonce": str(share.nonce)} for share in shares]}
            headers = {"Idempotency-Key": secrets.token_hex(16)}
            failures = 0
            while True:
                try:
                    answer = await self.client.post("/miner/shares", json=body, headers=headers, timeout=15.0)
                    if answer.status_code == 200:
                        break
                    await self._refused(answer)
                except (httpx2.TransportError, OSError):
                    failures += 1
                    await asyncio.sleep(random.uniform(0.1, min(0.25 * 2**failures, 5.0)))
            for result in answer.json()["results"]:
                self.outcomes[result["outcome"]] += 1
                if result["outcome"] != "accepted":
                    self.say(
                        f"share refused: {result['outcome']}"
                        + (f", {result['detail']}" if result.get("detail") else "")
                    )


def status_line(miner: Miner) -> str:
    """What the terminal shows of a miner, in one line."""
    job, refused = miner.job, sum(miner.outcomes.values()) - miner.outcomes["accepted"]
    doing = (
        f"block {job.template.index}  {job.farmer[:4]}…{job.farmer[-4:]}  difficulty {job.difficulty:.3g}"
        if job
        else "no job"
    )
    shares = f"accepted {miner.outcomes['accepted']}  refused {refused}"
    return f"{rate(miner.hashes_per_second):>12}  {doing}  {shares}" + ("" if miner.connected else "  (not connected)")


async def run(url: str, key: str, engines: Sequence[Engine], rig: str, seconds: float | None) -> Miner:
    """Mine until SIGINT or SIGTERM, or for `seconds`; show how it goes. Returns the miner with its counts."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(f"{datetime.now():%H:%M:%S}  {text}", markup=False)  # noqa: DTZ005  # the user's clock

    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        miner = Miner(client, engines, rig, say)
        say(f"mining for {url} as rig {rig!r} with {', '.join(engine.name for engine in engines)}")
        work = asyncio.create_task(miner.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        ends_at = time.monotonic() + (seconds or math.inf)
        with (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live
        ):
            next_line = time.monotonic() + 10.0
            while not (await asyncio.wait([work], timeout=1.0))[0]:
                if live is not None:
                    live.update(Text(status_line(miner), no_wrap=True, overflow="ellipsis"), refresh=True)
                elif time.monotonic() >= next_line:
                    say(status_line(miner))
                    next_line += 10.0
                if time.monotonic() >= ends_at:
                    work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        counts = ", ".join(f"{count} {outcome}" for outcome, count in miner.outcomes.most_common()) or "none"
        say(f"ended; shares: {counts}")
        return miner


def mine(
    url: Annotated[str, typer.Option(envvar="KALEPOOL_API_URL", help="The pool, as http://127.0.0.1:8737.")],
    key: Annotated[
        str, typer.Option(envvar="KALEPOOL_API_KEY", help="Your miner's key; in the environment nobody else sees it.")
    ],
    rig: Annotated[str, typer.Option(help="This machine's name; every rig of a key gets a range of its own.")] = "",
    backend: Annotated[str | None, typer.Option(help="One kernel backend; default: every card and the CPU.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is one for each core.")] = 0,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            help="Another miner's program, with {index} {entropy_b64} {nonce} {zeros} {farmer} {threads}; "
            'it prints {"hash", "nonce"}. '
            "As: ./miner {index} {entropy_b64} {nonce} {zeros} {farmer} --max-threads {threads}",
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End by itself after so long.")] = None,
) -> None:
    """Hash for a pool. Ctrl-C ends it."""
    if not url.startswith(("http://", "https://")) or not url.partition("://")[2]:
        raise ConfigError(f"{url!r} is not a pool's address: write it as http://127.0.0.1:8737")
    try:
        engines = choose_engines(backend, threads, command)
        asyncio.run(run(url.rstrip("/"), key, engines, rig or socket.gethostname(), seconds))
    except (KalepoolError, KernelError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        print(f"kalepool mine: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
