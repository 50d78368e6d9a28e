"""The client: an asyncio loop follows the job stream, sends what was found and reports; one thread per engine hashes.

Jobs come and shares go as JSON, and both survive a pool that goes away and comes back.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from kalepool.errors import KalepoolError
from kalepool.mine.engines import CommandEngine, Engine
from kalepool.mine.job import Nonces, PoolJob
from kernels import KernelError

CHUNK_SECONDS = 0.5  # what an engine is given at a time
RATE_SECONDS = 15.0  # the live hashrate is a mean over this long
STALE_SECONDS = 120.0  # a job this far past its end is not worth hashing, even if the pool cannot be reached
PAUSE_SECONDS = 5.0  # before a refused request is sent again, where nobody says how long
LONGEST_WAIT = 30.0  # until the pool is asked again, whatever it said: a ban may be lifted, a proxy mended
MOST_SHARES = 100  # in a request
MOST_WAITING = 2_000  # shares kept while the pool cannot be reached
FAREWELL_SECONDS = 3.0  # at the end: for the pool to take what was found


HOPELESS = {401, 404, 405, 422}
"""With one of these the pool itself says that waiting does not help. A proxy's are another thing."""


class RefusedError(KalepoolError):
    """The pool does not let us in: a wrong or revoked key, or a wrong address."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class FoundNonce:
    """A nonce that counts for its job: a share, once the pool has it."""

    job: PoolJob
    nonce: int


class MiningClient:
    """One rig: follows jobs, keeps the engines busy, brings what they find."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        engines: Sequence[Engine],
        rig: str,
        say: Callable[[str], None],
        *,
        solo: str | None = None,
    ) -> None:
        """solo: a farmer of the miner's own, by id or wallet, to hash for alone."""
        self.http, self.engines, self.rig, self.say, self.solo = http, engines, rig, say, solo
        self.whole_zeros = any(isinstance(engine, CommandEngine) for engine in engines)
        self.job: PoolJob | None = None
        self.connected = False
        self.outcomes: Counter[str] = Counter()
        self._nonces = Nonces()
        self._changed = threading.Condition()
        self._stop_job = threading.Event()  # set: the engines let go of the present job
        self._closing = False
        self._done: deque[tuple[float, int]] = deque()  # (when, hashes)
        self._measured = 0.0  # hashes/s
        self._said = ""  # why the pool refuses
        self._found: asyncio.Queue[FoundNonce] = asyncio.Queue()

    async def run(self) -> None:
        """Mine until cancelled, and bring what was found until then, if the pool takes it within FAREWELL_SECONDS.

        Raises RefusedError when the pool will not have us, KernelError from an engine.
        """
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
        follow, bring = asyncio.create_task(self._follow()), asyncio.create_task(self._bring())
        try:
            ended, _ = await asyncio.wait([failed, follow, bring], return_when=asyncio.FIRST_COMPLETED)
            await ended.pop()
        finally:
            self._closing = True
            self._set_job(None)
            follow.cancel()
            failed.cancel()
            try:
                await self._farewell(bring)
            finally:
                bring.cancel()
                await asyncio.gather(failed, follow, bring, return_exceptions=True)

    async def _farewell(self, bring: asyncio.Task[None]) -> None:
        """Give the pool FAREWELL_SECONDS to take what was found, unless it does not want it."""
        brought = asyncio.create_task(self._found.join())
        try:
            await asyncio.wait([brought, bring], timeout=FAREWELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            brought.cancel()

    @property
    def hashes_per_second(self) -> float:
        """Mean of the last RATE_SECONDS."""
        now = time.monotonic()
        while self._done and self._done[0][0] < now - RATE_SECONDS:
            self._done.popleft()
        done = list(self._done)
        return sum(hashes for _, hashes in done) / max(now - done[0][0], 1.0) if done else 0.0

    # jobs

    def _set_job(self, job: PoolJob | None) -> None:
        with self._changed:
            self.job = job
            self._stop_job.set()
            self._stop_job = threading.Event()
            self._changed.notify_all()

    def _take(self, job: PoolJob) -> None:
        """Raises RefusedError where the pool does not know of SOLO, and that was asked for."""
        if self.solo is not None and job.solo is None:
            raise RefusedError("this pool has no SOLO: mine without --solo")
        if self.solo is not None and not job.solo and (self.job is None or self.job.solo):
            self.say(f"{self.solo} is in no block now: hashing for all meanwhile")
        self._set_job(job)

    async def _follow(self) -> None:
        """Keep `self.job` what the pool's stream says, connecting again whenever it breaks."""
        failures = 0
        while True:
            try:
                answered = False
                async for event, data in self._events():
                    answered, failures, self.connected = True, 0, True
                    if event == "job":
                        self._said = ""
                        self._take(PoolJob.from_json(json.loads(data)))
                    else:  # idle, or banned: the next request says why
                        self._set_job(None)
                if answered:
                    raise httpx2.ReadError("the stream ended")
            except (httpx2.TransportError, OSError) as error:
                if self.connected or failures == 0:
                    self.say(f"no connection to the pool ({error or type(error).__name__}); trying again")
                self.connected = False
            failures += 1
            await asyncio.sleep(random.uniform(0.1, min(0.25 * 2**failures, 10.0)))
            if self.job and time.monotonic() > self.job.ends + STALE_SECONDS:
                self._set_job(None)

    async def _events(self) -> AsyncIterator[tuple[str, str]]:
        """(event, data) of the server-sent events of the job stream."""
        params = {"rig": self.rig, "whole_zeros": str(self.whole_zeros).lower()}
        if speed := round(self.hashes_per_second or self._measured):
            params["hashes_per_second"] = str(speed)
        if self.solo is not None:
            params["solo"] = self.solo
        timeout = httpx2.Timeout(10.0, read=40.0)  # the pool pings every 15 s
        async with self.http.stream("GET", "/miner/jobs/stream", params=params, timeout=timeout) as answer:
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
        if answer.is_redirect:
            raise RefusedError(
                f"the pool is at {answer.headers.get('Location')!r} now: start with that address as --url"
            )
        problem = _problem(answer)
        if problem is None:
            text = f"status {answer.status_code} comes from something between here and the pool, or this is no pool"
        else:
            text = f"the pool says: {problem['title']}: {problem.get('detail') or problem.get('code')}"
        wait = answer.headers.get("Retry-After", "")
        if problem is not None and (answer.status_code in HOPELESS or (answer.status_code == 403 and not wait)):
            raise RefusedError(text)
        if problem is not None and problem.get("code") == "banned":
            self._set_job(None)
        if text != self._said:
            self.say(text)
            self._said = text
        await asyncio.sleep(
            min(float(wait) if wait.isdigit() else PAUSE_SECONDS, LONGEST_WAIT) * random.uniform(1.0, 1.1)
        )

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
                    loop.call_soon_threadsafe(self._queue, FoundNonce(job, nonce))
                    if tried > taken:
                        self._nonces.skip(job, start + tried)
                    start, taken = start + tried, max(taken - tried, 0)
                elif not stop.is_set():
                    count = max(int(count * min(CHUNK_SECONDS / max(seconds, 1e-3), 8.0)), 1 << 10)
                    break

    # shares

    def _queue(self, share: FoundNonce) -> None:
        if self._found.qsize() >= MOST_WAITING:
            self._found.get_nowait()  # the oldest is the likeliest to be too late
            self._found.task_done()
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
                    answer = await self.http.post("/miner/shares", json=body, headers=headers, timeout=15.0)
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
            for _ in shares:
                self._found.task_done()


def _problem(answer: httpx2.Response) -> dict[str, Any] | None:
    """What the pool itself says is wrong; None for the answer of a proxy, or of whatever else is there."""
    try:
        problem = answer.json()
    except ValueError:
        return None
    ours = isinstance(problem, dict) and str(problem.get("type")).startswith("urn:kalepool:problem:")
    return problem if ours and "title" in problem else None
