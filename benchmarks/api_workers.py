"""How many shares and streams several API processes carry behind one address, with their PostgreSQL, over loopback.

    python benchmarks/api_workers.py [--workers 3] [--rate 1800] [--streams 3000] [--seconds 60] [--no-kill]
        [--json FILE]

Every rig holds a stream of jobs open, and brings shares of every kind over a connection of its own, each when due,
whether or not the pool keeps up. Their nonces are hashed for real, but before the clock starts: it is the pool that is
measured, which hashes each again. Half-way one process, the one that leads, is killed with -9.

Printed are the counts, which must be equal to what the miners were told; how long each stream that broke was without a
job; and the processor time of every part, so that what a machine with more cores would carry can be told where this one
has too few: the miners run here, too.

Exits with 1 when an answer or a count is wrong, or a stream was without a job for more than 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import psutil
import uvloop
from api_load import KINDS, Job, Pool, Tally, hold_against, percentile, running_pool, until

from kalepool.policy.ranges import COUNTERS
from kernels import Template, find, keccak

GO_ON_SECONDS = 5.0
RIGS = 10  # of one key
SPEED = 4096.0  # hashes/s that each rig says it does
TICK_SECONDS = 0.005
FULL = 0.75  # of its cores that a machine gives the pool before answers become slow


@dataclass(slots=True)
class Share:
    """One that is ready to be brought."""

    kind: str
    job_id: str
    nonce: str


class Connection(asyncio.Protocol):
    """A bare connection. `said` gets what comes, `ended` is called once it is over."""

    def __init__(self, said: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._said, self._ended = said, ended
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        self._said(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._ended()


class Rig:
    """Follows its jobs, and brings its shares one after the other; comes back when either breaks."""

    def __init__(self, pool: Pool, key: str, name: str, tally: Tally, seed: int) -> None:
        host, port = pool.url.removeprefix("http://").split(":")
        self._place = host, int(port)
        self.random = random.Random(seed)
        self._tally = tally
        login = f"Host: {host}\r\nAuthorization: Bearer {key}\r\n"
        self._follow = f"GET /miner/jobs/stream?rig={name}&hashes_per_second={SPEED} HTTP/1.1\r\n{login}\r\n".encode()
        self._bring = f"POST /miner/shares HTTP/1.1\r\n{login}Content-Type: application/json\r\n"
        # the stream
        self.broken_at: float | None = None
        self.without: list[float] = []
        self.seen: dict[int, float] = {}
        self.first: dict[int, Job] = {}  # of each block
        self._lines = b""
        # the shares
        self.shares: deque[Share] = deque()
        self._due: deque[tuple[Share, str]] = deque()  # each with the key of its request
        self._bringing: Connection | None = None
        self._sent_at: float | None = None
        self._answer = b""
        self._again: dict[str, Any] | None = None  # what the request now sent twice was told the first time
        self._tasks: set[asyncio.Task[None]] = set()
        self.ending = False

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        self.ending = True
        for task in self._tasks:
            task.cancel()

    async def _connect(self, said: Callable[[bytes], None], ended: Callable[[], None]) -> Connection:
        while True:
            with contextlib.suppress(OSError):
                loop = asyncio.get_running_loop()
                _, made = await loop.create_connection(lambda: Connection(said, ended), *self._place)
                return made
            await asyncio.sleep(self.random.uniform(0.1, 0.5))

    # the stream

    async def follow(self) -> None:
        """Opens the stream; it comes back by itself."""
        self._lines = b""
        stream = await self._connect(self._stream_said, self._stream_ended)
        if stream.transport is not None:
            stream.transport.write(self._follow)

    def _stream_said(self, data: bytes) -> None:
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {") and b"block_index" in line:
                text = json.loads(line[6:])
                index, now = text["block_index"], time.perf_counter()
                self._tally.jobs += 1
                self.seen.setdefault(index, now)
                if index not in self.first:
                    self.first[index] = Job.of(text)
                if self.broken_at is not None:
                    self.without.append(now - self.broken_at)
                    self.broken_at = None

    def _stream_ended(self) -> None:
        if not self.ending:
            self.broken_at = self.broken_at or time.perf_counter()
            self._start(self._later(self.follow))

    async def _later(self, what: Callable[[], Any]) -> None:
        await asyncio.sleep(self.random.uniform(0.1, 0.5))
        await what()

    # the shares

    def prepare(self, count: int) -> None:
        """Hashes as many shares as are due. Takes as long as a miner takes."""
        job, over = self.first[101], self.first[100]
        nonce, brought = job.start, list[str]()

        def hashed(job: Job, start: int, *, good: bool) -> int:
            if good:
                found = find(job.template, start, 1 << 24, job.below)
                assert found is not None
                return found
            template = job.template
            while keccak.hash_nonce(template.index, start, template.entropy, template.farmer)[:1] == b"\0":
                start += 1
            return start

        for _ in range(count):
            kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
            kind = "valid" if kind == "duplicate" and not brought else kind
            name = job.job_id
            match kind:
                case "valid" | "repeated":
                    nonce = hashed(job, nonce, good=True) + 1
                    text = str(nonce - 1)
                    brought.append(text)
                case "duplicate":
                    text = self.random.choice(brought)
                case "out-of-range":
                    text = str(job.start + COUNTERS + self.random.randrange(2**40))
                case "malformed":
                    text = self.random.choice(("-1", "0x10", str(2**64), "", "1.5", "nonce"))
                case "stale":
                    name = over.job_id
                    text = str(over.start + len(self.shares))
                case _:
                    name = job.job_id[:-4] + "AAAA" if kind == "unknown-job" else name
                    nonce = hashed(job, nonce, good=False) + 1
                    text = str(nonce - 1)
            self.shares.append(Share(kind, name, text))

    @property
    def is_done(self) -> bool:
        return not self._due

    def bring(self) -> None:
        """Brings the next share, after those that were due before."""
        share = self.shares.popleft()
        self._due.append((share, f"{self.random.getrandbits(96):024x}"))
        if len(self._due) == 1:
            self._send()

    def _send(self) -> None:
        if self._bringing is None or self._bringing.transport is None:
            self._bringing = None
            self._start(self._open())
            return
        share, key = self._due[0]
        body = f'{{"job_id": "{share.job_id}", "nonce": "{share.nonce}"}}'
        head = f"{self._bring}Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._sent_at, self._answer = time.perf_counter(), b""
        self._bringing.transport.write((head + body).encode())

    async def _open(self) -> None:
        self._bringing = await self._connect(self._told, self._cut_off)
        if self._due:
            self._send()

    def _cut_off(self) -> None:
        self._bringing = None
        if self._due and not self.ending:
            self._tally.retried += self._sent_at is not None
            self._sent_at = None
            self._start(self._later(self._open))

    def _told(self, data: bytes) -> None:
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length: ")
        if at < 0 or len(body) < int(head[at + 16 :].partition(b"\r")[0]):
            return
        assert self._sent_at is not None
        now, tally = time.perf_counter(), self._tally
        if not any(start <= now and self._sent_at <= end for start, end in tally.down):
            tally.seconds.append(now - self._sent_at)
        self._sent_at = None
        share, _ = self._due[0]
        if b" 200 " not in head[:16]:
            tally.wrong.append(f"{share.kind}: {self._answer.decode()}")
            tally.sent[share.kind] += 1
        elif not self._note(share, json.loads(body)["results"][0]):
            self._send()
            return
        self._due.popleft()
        if self._due:
            self._send()

    def _note(self, share: Share, told: dict[str, Any]) -> bool:
        """Counts an answer, and holds it against what was due. False where the same is to be sent again."""
        tally = self._tally
        if self._again is not None:
            if told != self._again:
                tally.wrong.append(f"told {self._again}, and {told} when asked again")
            self._again = None
            return True
        expected = "accepted" if share.kind in ("valid", "repeated") else share.kind
        tally.sent[share.kind] += 1
        tally.told[told["outcome"]] += 1
        if told["outcome"] != expected:
            tally.wrong.append(f"{share.kind}: told {told}")
        if told["outcome"] == "accepted":
            tally.accepted.add((share.job_id, int(share.nonce)))
        if share.kind == "repeated":
            self._again = told
        return share.kind != "repeated"


async def bring_all(rigs: list[Rig], rate: float, seconds: float, tally: Tally) -> None:
    """Brings `rate` shares a second of all rigs together, each at its time."""
    draw = random.Random(0)
    times = sorted(
        (rig_number + draw.uniform(0.25, 0.75)) / rate + turn * len(rigs) / rate
        for turn in range(int(rate * seconds / len(rigs)) + 1)
        for rig_number in range(len(rigs))
    )
    order = list(rigs)
    draw.shuffle(order)
    began = time.perf_counter()
    for number, due in enumerate(times):
        if due > seconds:
            break
        while (now := time.perf_counter() - began) < due:  # noqa: ASYNC110  time passes by itself
            await asyncio.sleep(max(due - now, TICK_SECONDS))
        tally.late = max(tally.late, now - due)
        order[number % len(order)].bring()
    await until(lambda: all(rig.is_done for rig in rigs), 60)


class Meter:
    """Processor time by part: the API's processes, PostgreSQL, and the miners (this process)."""

    def __init__(self, pool: Pool) -> None:
        assert pool.process is not None
        self._api = psutil.Process(pool.process.pid)
        self._root = psutil.Process().pid
        self._last: dict[int, tuple[str, float]] = {}
        self.used: defaultdict[str, float] = defaultdict(float)
        self.look()
        self.used.clear()

    def look(self) -> None:
        """Call it now and then: what has ended in between is seen by what it had used by then."""
        parts = [("api", each) for each in self._api.children()]
        parts += [("postgres", each) for each in psutil.Process(self._root).children(recursive=True)]
        for name, process in [*parts, ("miners", psutil.Process(self._root))]:
            with contextlib.suppress(psutil.Error):
                if name == "postgres" and process.name() != "postgres":
                    continue
                times = process.cpu_times()
                now = times.user + times.system
                before = self._last.get(process.pid, (name, 0.0))[1]
                self.used[name] += now - before
                self._last[process.pid] = name, now

    def take(self) -> dict[str, float]:
        """What each part has used since the last call."""
        self.look()
        used = dict(self.used)
        self.used.clear()
        return used


def leader(pool: Pool) -> int:
    events = [json.loads(line) for line in pool.log.read_text().splitlines() if line.startswith("{")]
    return [each["pid"] for each in events if each["event"] == "api_leads"][-1]


async def follow_all(pool: Pool, options: argparse.Namespace, tally: Tally) -> list[Rig]:
    """All rigs, each with its stream and its first job."""
    keys = await pool.add_miners(max(options.streams // RIGS, 1))
    rigs = [Rig(pool, keys[n // RIGS % len(keys)], f"rig{n % RIGS}", tally, n) for n in range(options.streams)]
    for number in range(0, len(rigs), 50):
        await asyncio.gather(*(rig.follow() for rig in rigs[number : number + 50]))
        if not await until(lambda number=number: all(rig.seen for rig in rigs[: number + 50]), 60):
            raise SystemExit(f"rigs without a job:\n{pool.log.read_text()[-5000:]}")
    return rigs


async def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    tally = Tally()
    seconds_a_share = options.streams / options.rate
    async with running_pool(folder, 1 / seconds_a_share, workers=options.workers, log_level="info") as pool:
        alive = "SELECT count(*) FROM api_processes WHERE seen_at > now() - interval '2 seconds'"
        while (await pool.query(alive))[0][0] < options.workers:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        await asyncio.sleep(5.0)  # each is on the list a moment before it listens
        meter = Meter(pool)
        began = time.perf_counter()
        rigs = await follow_all(pool, options, tally)
        first_jobs = time.perf_counter() - began
        a_stream = {"api_cpu_ms_a_stream_opened": meter.take()["api"] / len(rigs) * 1000}
        began = time.perf_counter()
        await asyncio.sleep(options.idle)
        idle = {part: used / (time.perf_counter() - began) for part, used in meter.take().items()}

        opened = time.perf_counter()
        await pool.open_block(101)
        await until(lambda: all(101 in rig.seen for rig in rigs), 60)
        told_block = [rig.seen[101] - opened for rig in rigs if 101 in rig.seen]
        a_stream["api_cpu_ms_a_job_told"] = meter.take()["api"] / len(rigs) * 1000
        needed = int(options.rate * options.seconds / len(rigs)) + 2
        for rig in rigs:
            await asyncio.to_thread(rig.prepare, needed)
        meter.take()
        jobs = tally.jobs

        began = time.perf_counter()
        work = asyncio.create_task(bring_all(rigs, options.rate, options.seconds, tally))
        half = None
        while not work.done():
            await asyncio.sleep(0.5)
            meter.look()
            if half is None and time.perf_counter() - began > options.seconds / 2:
                half = dict(meter.used), sum(tally.sent.values()), time.perf_counter() - began, tally.late
                jobs = tally.jobs - jobs
                if options.kill:
                    tally.down.append((time.perf_counter(), time.perf_counter() + GO_ON_SECONDS))
                    os.kill(leader(pool), signal.SIGKILL)
        await work
        took = time.perf_counter() - began
        await until(lambda: all(rig.broken_at is None for rig in rigs), 30)
        counted = await hold_against(pool, tally)
        leads = (await pool.query("SELECT term FROM api_lead"))[0][0]
        for rig in rigs:
            rig.end()
    wrong = tally.wrong
    without = [seconds for rig in rigs for seconds in rig.without]
    if lost := sum(rig.broken_at is not None for rig in rigs):
        wrong.append(f"{lost} streams did not come back")
    if without and max(without) > GO_ON_SECONDS:
        wrong.append(f"a stream was without a job for {max(without):.1f} s")
    assert half is not None
    used, shares, seconds, late = half
    parts = ("api", "postgres", "miners")
    a_share = {part: used[part] / shares * 1000 for part in parts}
    return {
        "workers": options.workers,
        "streams": options.streams,
        "shares": sum(tally.sent.values()),
        "asked_a_second": options.rate,
        "shares_a_second": round(sum(tally.sent.values()) / took, 1),
        "shares_a_second_before_the_kill": round(shares / seconds, 1),
        "told": dict(tally.told),
        "database": dict(counted),
        "sent_again": tally.retried,
        "p50_ms": round(percentile(tally.seconds, 0.5) * 1000, 1),
        "p99_ms": round(percentile(tally.seconds, 0.99) * 1000, 1),
        "miners_late_ms": round(late * 1000, 1),
        **{f"{part}_cpu_ms_a_share": round(a_share[part], 3) for part in parts},
        "cores_of_api_postgres_miners": [round(used[part] / seconds, 2) for part in parts],
        "cores_for_the_streams_alone": [round(idle.get(part, 0.0), 3) for part in parts],
        "shares_a_second_of_n_cores": {
            cores: round(FULL * cores / (used["api"] + used["postgres"]) * shares) for cores in (2, 4, 8)
        },
        "jobs_told_a_second": round(jobs / seconds, 1),
        "first_jobs_s": round(first_jobs, 1),
        **{name: round(spent, 3) for name, spent in a_stream.items()},
        "block_told_p50_p99_s": [round(percentile(told_block, part), 2) for part in (0.5, 0.99)],
        "streams_that_broke": len(without),
        "without_a_job_p50_worst_s": [round(percentile(without, 0.5), 2), round(max(without, default=0.0), 2)],
        "leads": leads,
        "load_of_this_machine": [round(each, 1) for each in os.getloadavg()],
        "cores_of_this_machine": os.cpu_count(),
        "wrong": wrong[:20],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1800.0, help="shares a second, of all rigs together")
    parser.add_argument("--streams", type=int, default=3000, help="rigs, each with a stream")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds for which the streams alone are measured")
    parser.add_argument("--no-kill", dest="kill", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    find(Template(0, bytes(32), bytes(32)), 0, 1, 1)  # compiled before anything is timed
    with tempfile.TemporaryDirectory() as folder:
        result = uvloop.run(run(Path(folder), options))
    for name, value in result.items():
        print(f"  {name:<34} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
