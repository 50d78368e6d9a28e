"""A pool under test: `kalepool up` on a devnet of its own that makes faults, with a miner and farmers who withdraw.

What is done to it is done from outside, by signals, over the devnet's HTTP, and by the machine's clock.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg

from kalepool.postgres import running_url
from tests.support.ports import free_port

NOT_READY = (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege)
MARK = "CHAOS_STAGE"
"""In the environment of everything that is started here, however far from it."""

OURS = ("KALEPOOL_", "DATABASE_", "RAY_")
START_SECONDS = 90.0
COMMANDS = {"api": "api", "coordinate": "coordinator"}
ONE_CORE = '{"CPU": 1}'


class StageError(Exception):
    """The pool did not come to where a fault can be made; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds between ledgers, and of a block."""

    ledger: float
    block: int


class Stage:
    """Everything that runs, and the levers. A context manager; it ends what it started."""

    def __init__(self, folder: Path, times: Times, *, farmers: int, ray: bool) -> None:
        self.folder, self.times, self.farmers, self.ray = folder, times, farmers, ray
        self.data = folder / "pool"
        self.rpc_url = f"http://127.0.0.1:{free_port()}"
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "up.log"
        self.http = httpx2.Client(timeout=5.0)
        self._clock = _WrongClock.make(folder)
        self._extra: list[subprocess.Popen[bytes]] = []
        self._connection: psycopg.Connection[Any] | None = None
        self.devnet: subprocess.Popen[bytes] | None = None
        self.up: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        self.start_devnet()
        self.up = self.start("up", "--farmers", str(self.farmers), log=self.log)
        self._wait(self._runs, START_SECONDS, "the pool does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        self.http.close()
        if self.up is not None and self.up.poll() is None:
            self.end()
        for process in (self.devnet, *self._extra):
            if process is not None:
                process.kill()
                process.wait()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- processes

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = {
            "KALEPOOL_ENV_FILE": "",
            "KALEPOOL_NETWORK": "devnet",
            "KALEPOOL_RPC_URL": self.rpc_url,
            "KALEPOOL_FRIENDBOT_URL": f"{self.rpc_url}/friendbot",
            "KALEPOOL_LEDGER_SECONDS": f"{self.times.ledger:g}",
            "KALEPOOL_BLOCK_SECONDS": str(self.times.block),
            "KALEPOOL_DATA_DIR": str(self.data),
            "KALEPOOL_API_PORT": self.api_url.rpartition(":")[2],
            "KALEPOOL_MINER_REGISTRATION": "open",
            MARK: str(self.folder),
        }
        if not self.ray:
            ours["KALEPOOL_RAY_ADDRESS"] = "none"
        return {**kept, "RAY_OVERRIDE_RESOURCES": ONE_CORE, **self._clock.environment, **ours}

    def start(self, *arguments: str, log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`kalepool` with these arguments."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "kalepool", *arguments],
                env=environment or self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start_devnet(self) -> None:
        """The network's own clock is right whatever this machine's is."""
        times = ["--ledger-seconds", f"{self.times.ledger:g}", "--block-seconds", str(self.times.block)]
        arguments = ["--port", self.rpc_url.rpartition(":")[2], "--data", str(self.folder / "devnet"), *times]
        environment = {name: value for name, value in self.environment().items() if name not in self._clock.environment}
        log = self.folder / "devnet.log"
        self.devnet = self.start("devnet", "--faults", "--rivals", "1", *arguments, log=log, environment=environment)

    def start_miner(self) -> None:
        """A miner from elsewhere, with a thread of its own. It is never disturbed."""
        answer = self.http.post(f"{self.api_url}/miner/register", json={"name": "chaos"})
        answer.raise_for_status()
        environment = {
            **os.environ,
            "KALEPOOL_ENV_FILE": "",
            "KALEPOOL_API_KEY": answer.json()["api_key"],
            MARK: str(self.folder),
        }
        arguments = ["mine", "--url", self.api_url, "--threads", "1", "--rig", "chaos"]
        miner = self.start(*arguments, log=self.folder / "miner.log", environment=environment)
        psutil.Process(miner.pid).nice(10)
        self._extra.append(miner)

    def second_coordinator(self) -> subprocess.Popen[bytes]:
        """Another one with the same key, which stands by."""
        environment = self.process("coordinator").environ()
        made = self.start("coordinate", "--no-ray", log=self.folder / "second.log", environment=environment)
        self._extra.append(made)
        return made

    def parts(self) -> dict[str, psutil.Process]:
        """The children of `kalepool up`, by what they are."""
        found: dict[str, psutil.Process] = {}
        assert self.up is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.up.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    words = child.cmdline()
                    if words and Path(words[0]).name == "postgres":
                        found["postgres"] = child
                    elif words[1:3] == ["-m", "kalepool"] and words[3] in COMMANDS:
                        found[COMMANDS[words[3]]] = child
        return found

    def process(self, part: str) -> psutil.Process:
        """A part's process; of Ray's, the daemon or one of the workers."""
        if part in ("raylet", "worker"):
            coordinator = self.process("coordinator")
            for child in coordinator.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    title = " ".join(child.cmdline())
                    if ("raylet/raylet" in title) if part == "raylet" else title.startswith("ray::"):
                        return child
            raise StageError(f"there is no {part}")
        if part == "devnet":
            assert self.devnet is not None
            return psutil.Process(self.devnet.pid)
        try:
            return self.parts()[part]
        except KeyError:
            raise StageError(f"there is no {part}: {self.last_words()}") from None

    def left(self) -> list[int]:
        """Everything that was started here and still runs."""
        found: list[int] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.pid != os.getpid() and process.environ().get(MARK) == str(self.folder)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def last_words(self) -> str:
        return " / ".join(self.log.read_text(errors="replace").splitlines()[-5:])

    # --- looks

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the pool's database; none while it does not answer."""
        try:
            if self._connection is None or self._connection.closed:
                url = running_url(self.data / "postgres")
                if url is None:
                    return []
                self._connection = psycopg.connect(url, autocommit=True, connect_timeout=3)
            cursor = self._connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
        except (
            psycopg.OperationalError,
            psycopg.errors.UndefinedTable,
            psycopg.errors.InsufficientPrivilege,
        ):  # gone since, or not migrated yet
            self._disconnect()
            return []

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def serves(self) -> bool:
        """Whether all parts run and the API answers."""
        if set(self.parts()) != {"api", "coordinator", "postgres"}:
            return False
        with contextlib.suppress(httpx2.HTTPError):
            return self.http.get(f"{self.api_url}/info").status_code == 200
        return False

    def searches(self) -> bool:
        """Whether a worker of the pool's own Ray has hashed in the last seconds; True where it has none."""
        return not self.ray or bool(self.ask(WORKS))

    def _runs(self) -> bool:
        if self.up is None or self.up.poll() is not None:
            raise StageError(f"`kalepool up` ended: {self.last_words()}")
        return bool(self.ask("SELECT true FROM plantings WHERE outcome = 'planted' LIMIT 1"))

    def _wait(self, done: Callable[[], object], seconds: float, complaint: str) -> None:
        if not wait_for(done, seconds):
            raise StageError(f"{complaint}: {self.last_words()}")

    # --- levers

    def spoil(self, **fault: object) -> None:
        """The RPC server does that from now on."""
        self.http.post(f"{self.rpc_url}/faults", json=fault).raise_for_status()

    def mend(self) -> None:
        """The RPC server is itself again."""
        self.http.delete(f"{self.rpc_url}/faults").raise_for_status()

    def set_clock(self, seconds: int) -> None:
        """This machine's clock is off by so many seconds, for all the pool's processes."""
        self._clock.set(seconds)

    @property
    def has_clock(self) -> bool:
        return bool(self._clock.environment)

    def give_kale(self, wallet: str, kale: int) -> None:
        answer = self.http.get(f"{self.rpc_url}/friendbot", params={"addr": wallet, "kale": str(kale)}, timeout=30.0)
        answer.raise_for_status()

    # --- the end

    def settle(self, seconds: float) -> bool:
        """Plants no more, and waits until nothing is under way. False where something still was."""
        paused = wait_for(lambda: self.ask("UPDATE pool_switches SET planting_paused = true RETURNING 1") or None, 20.0)
        return paused and wait_for(lambda: self.ask(NOTHING_LEFT) == [(True,)], seconds, pause=0.5)

    def end(self) -> None:
        """As by Ctrl-C. StageError where it takes longer than it may."""
        assert self.up is not None
        self._disconnect()
        self.up.send_signal(signal.SIGINT)
        try:
            self.up.wait(60.0)
        except subprocess.TimeoutExpired:
            self.up.kill()
            self.up.wait()
            raise StageError(f"`kalepool up` does not end: {self.last_words()}") from None

    def end_extra(self) -> None:
        for process in self._extra:
            process.terminate()
        for process in self._extra:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10.0)


WORKS = """
SELECT true FROM workers
WHERE status = 'alive' AND hashes_per_second > 0 AND last_seen_at > now() - interval '10 seconds' LIMIT 1
"""

NOTHING_LEFT = """
SELECT NOT EXISTS (SELECT FROM submissions WHERE status = 'open')
   AND NOT EXISTS (SELECT FROM withdrawals WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT FROM block_operations b JOIN plantings p USING (block_index)
                   WHERE b.status = 'open' AND p.outcome = 'planted')
   AND NOT EXISTS (SELECT FROM plantings p WHERE outcome = 'planted'
        AND NOT EXISTS (SELECT FROM harvests h WHERE h.block_index = p.block_index AND h.farmer_id = p.farmer_id
                        AND h.outcome = 'harvested')
        AND NOT EXISTS (SELECT FROM pooler_compensations c
                        WHERE c.block_index = p.block_index AND c.farmer_id = p.farmer_id))
"""


def wait_for(done: Callable[[], object], seconds: float, *, pause: float = 0.1) -> bool:
    """Whether it was done within that time."""
    give_up_at = time.monotonic() + seconds
    while not done():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(pause)
    return True


def family(process: psutil.Process) -> Iterator[psutil.Process]:
    """A process and all below it."""
    yield process
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from process.children(recursive=True)


class _WrongClock:
    """The library of clock.c, and the file with its offset. Without a C compiler the clock is always right."""

    def __init__(self, environment: dict[str, str], offset: Path) -> None:
        self.environment, self._offset = environment, offset

    @classmethod
    def make(cls, folder: Path) -> _WrongClock:
        library, offset = folder / "clock.so", folder / "clock"
        compiler = shutil.which("cc") if sys.platform == "linux" else None
        offset.write_bytes(struct.pack("q", 0))
        source = str(Path(__file__).with_name("clock.c"))
        if (
            compiler is None
            or subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]).returncode
        ):
            return cls({}, offset)
        for path in (library, offset):
            path.chmod(0o755)  # PostgreSQL may run as another user
        return cls({"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(offset)}, offset)

    def set(self, seconds: int) -> None:
        with self._offset.open("r+b") as file, mmap.mmap(file.fileno(), 8) as page:
            page[:] = struct.pack("q", seconds)
