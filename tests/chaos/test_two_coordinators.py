"""The coordinator that leads is frozen in every phase of a block, with another beside it, and goes on 30 s later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.chaos.cells import PHASES
from tests.chaos.driver import ASSET
from tests.chaos.history import History
from tests.chaos.oracle import judge
from tests.chaos.record import Record
from tests.chaos.stage import NOTHING_LEFT
from tests.support.pool import Pool, running_pool

pytestmark = [pytest.mark.anyio, pytest.mark.pool, pytest.mark.acceptance]

FARMERS, LEDGER_SECONDS, BLOCK_SECONDS = 3, 0.5, 12
LEASE_SECONDS = 1.0
FROZEN_SECONDS = 30.0
THROWN_OUT_SECONDS = 4.0
"""One that is frozen within a transaction is thrown out of it by then."""

AUDIT = """
CREATE TABLE audit (written TEXT, under TEXT, leads BIGINT);
GRANT INSERT ON audit TO PUBLIC;
GRANT SELECT ON coordinator_leases TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit SELECT TG_TABLE_NAME, nullif(current_setting('kalepool.fence', true), ''), max(fence)
    FROM coordinator_leases;
    RETURN NULL;
END $$;
"""
"""Notes under which number everything is written, and which one leads then."""

WRITTEN = ("submissions", "blocks", "block_operations", "block_plans", "shares")


class Crew:
    """Coordinators of one pool, as processes, and who of them leads."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self._pool, self._folder = pool, folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.frozen: dict[int, float] = {}

    def add(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KALEPOOL_")} | {
            "KALEPOOL_ENV_FILE": "",
            "KALEPOOL_NETWORK": "devnet",
            "KALEPOOL_RPC_URL": self._pool.parts.rpc_url,
            "KALEPOOL_LEDGER_SECONDS": f"{LEDGER_SECONDS:g}",
            "KALEPOOL_BLOCK_SECONDS": str(BLOCK_SECONDS),
            "KALEPOOL_DATABASE_URL": self._pool.urls.coordinator,
            "KALEPOOL_API_URL": self._pool.parts.api_url,
            "KALEPOOL_API_KEY": self._pool.key,
            "KALEPOOL_COORDINATOR_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        }
        log = self._folder / f"{len(self._processes)}.log"
        with log.open("wb") as output:
            made = subprocess.Popen(
                [sys.executable, "-m", "kalepool", "coordinate", "--no-ray"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes[made.pid] = made

    def log(self, pid: int) -> str:
        return (self._folder / f"{list(self._processes).index(pid)}.log").read_text()

    def freeze(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self.frozen[pid] = time.monotonic()

    async def wake(self) -> None:
        """Each one when its time has come."""
        for pid, since in self.frozen.items():
            await asyncio.sleep(max(since + FROZEN_SECONDS - time.monotonic(), 0.0))
            os.kill(pid, signal.SIGCONT)

    def end(self) -> list[int]:
        """Their exit statuses."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        return [process.wait(60.0) for process in self._processes.values()]

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def crew_of(pool: Pool, folder: Path) -> AsyncIterator[Crew]:
    crew = Crew(pool, folder)
    try:
        yield crew
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-40:], sep="\n")
        raise
    finally:
        crew.kill()


@pytest.mark.slow(120, "the leader is frozen for 30 s in each phase of a block, and all has to be harvested after")
@pytest.mark.skipif(sys.platform != "linux", reason="a stopped process is Linux's")
async def test_whoever_wakes_from_a_freeze_does_nothing_that_another_does_by_now(tmp_path: Path) -> None:
    async with running_pool(FARMERS, LEDGER_SECONDS, BLOCK_SECONDS, rivals=1) as pool, crew_of(pool, tmp_path) as crew:
        with psycopg.connect(pool.urls.migrate, autocommit=True) as connection:

            def ask(query: str) -> list[tuple[Any, ...]]:
                cursor = connection.execute(query.encode())
                return cursor.fetchall() if cursor.description else []

            async def until(query: str, seconds: float) -> Any:
                async with asyncio.timeout(seconds):
                    while not (found := ask(query)):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                return found[0][0]

            ask(AUDIT)
            for table in WRITTEN:
                ask(f"CREATE TRIGGER note AFTER INSERT OR UPDATE ON {table} EXECUTE FUNCTION note()")
            block = -1
            for phase, query in PHASES.items():
                crew.add()
                if not crew.frozen:
                    crew.add()
                alive = (
                    "SELECT count(*) FROM coordinators WHERE seen_at > now() - interval '4 seconds' HAVING count(*) > 1"
                )
                await until(alive, 20.0)
                place = query.replace("%(farmers)s", str(FARMERS)).replace("%(after)s", str(block))
                block = await until(place, 3 * BLOCK_SECONDS + 30.0)
                fence, leader = ask("SELECT fence, place FROM coordinator_leases")[0]
                crew.freeze(int(leader.rpartition("/")[2]))
                begun = time.monotonic()
                await until(f"SELECT true FROM coordinator_leases WHERE fence > {fence}", 30.0)
                print(f"{phase} of block {block}: taken over after {time.monotonic() - begun:.2f} s")
                assert time.monotonic() - begun < LEASE_SECONDS + THROWN_OUT_SECONDS + 10.0  # of a busy machine
            await crew.wake()
            async with asyncio.timeout(30):
                while not all("leadership_lost" in crew.log(pid) for pid in crew.frozen):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for pid in crew.frozen:
                after = crew.log(pid).partition("leadership_lost")[2].partition("coordinator_leads")[0]
                assert not [word for word in ("planted", "worked", "harvested", "Traceback") if word in after], after

            ask("UPDATE pool_switches SET planting_paused = true")
            await until(f"SELECT true FROM ({NOTHING_LEFT}) AS settled (yes) WHERE yes", 6 * BLOCK_SECONDS + 30.0)
            assert set(crew.end()) == {0}
            assert ask("SELECT * FROM audit WHERE under::bigint <> leads") == []
            numbers = {
                written: {under for name, under, _ in ask("SELECT * FROM audit") if name == written}
                for written in WRITTEN
            }
            assert all(len(under - {None}) >= len(PHASES) for under in numbers.values()), numbers
            assert ask("SELECT count(*) FROM coordinators") == [(0,)]
        record = Record.read(pool.urls.migrate)
        history = await asyncio.to_thread(History.read, pool.parts.rpc_url, ASSET, record.own_accounts())
        assert judge(history, record) == []
        assert len({row["block_index"] for row in record.plantings}) > len(PHASES)
