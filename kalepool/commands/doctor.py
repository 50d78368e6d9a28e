"""`kalepool doctor`: everything that can be wrong with a pool and its machine, with the way out."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import typer

from kalepool.commands.pool import AsJson, database_url, open_in, show_json
from kalepool.config import Settings
from kalepool.errors import ConfigError, KalepoolError
from kalepool.logins import Login
from kalepool.units import counted, plain
from kalepool.up.folder import find_running

PATIENCE_SECONDS = 10.0
"""What does not answer in this time is wrong."""

CLOCK_SECONDS = 20.0
"""Ledgers close every five seconds or so; a clock that is further off than this is wrong."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108

LEAST_FILES = 4096
"""Ray and the API open some hundreds each, every stream of a miner one more."""


class Severity(StrEnum):
    WELL = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is. `way_out`: what to do about it, empty where nothing is."""

    what: str
    state: Severity
    said: str
    way_out: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Look at the settings, the data folder, the keys, the database, the chain, the API and this machine.

    Changes nothing. The exit status is 1 where something is wrong.
    """
    settings = Settings.load()  # what is wrong with these is said like everywhere
    running = find_running(settings.data_dir)
    here = running is not None and running.network == settings.network
    if running is not None and here:
        settings = settings.model_copy(update=open_in(settings, running))
    found = [*_machine(), *_folder(settings), *_master_key(settings)]
    found += _database(settings)
    found += asyncio.run(_outside(settings))
    if as_json:
        show_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            typer.echo(f"{finding.state:<6} {finding.what:<12} {plain(finding.said)}")
            if finding.way_out:
                typer.echo(f"{'':<19} {plain(finding.way_out)}")
    if any(finding.state is Severity.WRONG for finding in found):
        raise typer.Exit(1)


def _machine() -> Iterator[Finding]:
    import resource

    from kernels import backends

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = files >= LEAST_FILES
    yield Finding(
        "open files", Severity.WELL if enough else Severity.LOOK, f"{files} at most",
        "" if enough else f"ulimit -n {LEAST_FILES}, or LimitNOFILE={LEAST_FILES} in the unit: a busy pool needs them",
    )  # fmt: skip
    shared = Path(SHARED_MEMORY)
    if shared.is_dir():
        room = shutil.disk_usage(shared).free
        few = room < 256e6
        yield Finding(
            SHARED_MEMORY, Severity.LOOK if few else Severity.WELL, f"{room / 1e6:.0f} MB free",
            "Ray keeps its objects there: give a container --shm-size=1g" if few else "",
        )  # fmt: skip
    yield Finding("search", Severity.WELL, f"{', '.join(backends())} on {os.cpu_count()} cores")


def _folder(settings: Settings) -> Iterator[Finding]:
    from kalepool.services.health import disk_room

    folder = settings.data_dir.absolute()
    if not folder.exists():
        yield Finding("data folder", Severity.LOOK, f"no {folder}", "`kalepool up` makes it; or set KALEPOOL_DATA_DIR")
        return
    mode = folder.stat().st_mode & 0o777
    allowed = 0o711 if os.getuid() == 0 else 0o700
    if not os.access(folder, os.W_OK):
        yield Finding(
            "data folder", Severity.WRONG, f"{folder} cannot be written to", "start as its owner, or chown it"
        )
    elif mode & ~allowed:
        yield Finding(
            "data folder", Severity.WRONG, f"{folder} is open to others ({mode:o})", f"chmod {allowed:o} {folder}"
        )
    else:
        yield Finding("data folder", Severity.WELL, str(folder))
    room = asyncio.run(disk_room(settings))
    yield Finding(
        "disk", Severity.WRONG if room.is_low else Severity.WELL, f"{room.free_bytes / 1e6:.0f} MB free",
        f"KALEPOOL_MIN_FREE_MB wants {settings.min_free_mb}: make room" if room.is_low else "",
    )  # fmt: skip


def _master_key(settings: Settings) -> Iterator[Finding]:
    from kalepool.custody import key_file_path, read_key_file

    path = key_file_path(settings)
    if settings.master_key is not None:
        yield Finding("master key", Severity.WELL, "in KALEPOOL_MASTER_KEY")
    elif not path.exists():
        yield Finding(
            "master key",
            Severity.LOOK,
            f"no {path}",
            "the first start makes it; a pool that ran before needs its own back",
        )
    else:
        with _said("master key", "put the file back from its backup, of mode 0600") as failed:
            count = len(read_key_file(path))
            failed.append(Finding("master key", Severity.WELL, f"{path}, {counted(count, 'key')}"))
        yield from failed


def _database(settings: Settings) -> Iterator[Finding]:
    from kalepool.custody import open_custody
    from kalepool.database import Database
    from kalepool.services.alerts import count_to_check, open_alerts

    async def look(url: str) -> list[Finding]:
        found = []
        async with Database.open(url, role=None, connections=1) as database:
            with _said("seals", "put that key's master.key back from its copy, of mode 0600") as opened:
                await open_custody(settings, database)
                opened.append(Finding("seals", Severity.WELL, "the master key opens what it sealed"))
            found += opened
            found += [Finding("alert", Severity.WRONG, alert.message) for alert in await open_alerts(database)]
            if count := await count_to_check(database):
                said = f"{counted(count, 'stake')} may have come back"
                found.append(Finding("to check", Severity.LOOK, said, "GET /operator/compensations?standing=to-check"))
        return found

    found: list[Finding] = []
    way_out = "start `kalepool up`, or see that DATABASE_URL is right and its server runs"
    with _said("database", way_out) as failed, database_url(settings, Login.MIGRATE) as url:
        found = asyncio.run(look(url))
        failed.append(Finding("database", Severity.WELL, "answers"))
    yield from failed
    yield from found


async def _outside(settings: Settings) -> list[Finding]:
    chain, api = await asyncio.gather(_chain(settings), _api(settings))
    return [*chain, *api]


async def _chain(settings: Settings) -> list[Finding]:
    from kalepool.chain import ChainReader

    if settings.chain.rpc_url is None:
        where = "`kalepool up` starts a devnet" if settings.network == "devnet" else "set KALEPOOL_RPC_URL"
        return [Finding("chain", Severity.LOOK, f"no RPC server for {settings.network}", where)]

    async def look() -> list[Finding]:
        async with ChainReader.of(settings) as chain:
            await chain.servers.require_one_network()
            health = await chain.read_health()
            await chain.read_limits()
            farm = await chain.read_farm()
            servers = chain.servers.describe()
        off = abs((datetime.now(UTC) - health.ledger.closed_at).total_seconds())
        late = off > CLOCK_SECONDS + chain.network.ledger_seconds
        took = f"answered in {1000 * health.latency_seconds:.0f} ms"
        return [
            Finding("chain", Severity.WELL, f"ledger {health.ledger.sequence}, {took}{servers and f'; {servers}'}"),
            Finding(
                "clock", Severity.LOOK if late else Severity.WELL, f"{off:.0f} s from the last ledger",
                "set this machine's clock (NTP); or the RPC server is behind" if late else "",
            ),
            Finding("contract", Severity.LOOK, "takes no plants now: it is paused", "wait: nothing can be done here")
            if farm.paused
            else Finding("contract", Severity.WELL, f"block {farm.index}"),
        ]  # fmt: skip

    return await _asked("chain", look, "see that KALEPOOL_RPC_URL is right and that server can be reached from here")


async def _api(settings: Settings) -> list[Finding]:
    import httpx2

    async def look() -> list[Finding]:
        async with httpx2.AsyncClient(base_url=settings.own_api_url, timeout=PATIENCE_SECONDS) as client:
            try:
                parts = (await client.get("/health")).json()["components"]
            except (httpx2.TransportError, ValueError, KeyError) as error:
                raise ConfigError(f"no pool's API at {settings.own_api_url} ({type(error).__name__})") from None
        return [Finding("api", Severity.WELL, f"answers at {settings.own_api_url}"), *of_parts(parts)]

    return await _asked("api", look, "start `kalepool up`, or set KALEPOOL_API_URL")


def of_parts(parts: dict[str, dict[str, str]]) -> list[Finding]:
    """What the API's health says of parts that are not well, and of a price that is not set where it should be."""
    return [
        Finding(name, Severity.LOOK if part["state"] in ("starting", "none") else Severity.WRONG, part["detail"])
        for name, part in parts.items()
        if part["state"] not in ("up", "none") or (name == "price" and part["state"] == "none" and part["detail"])
    ]


async def _asked(what: str, look: Callable[[], Awaitable[list[Finding]]], way_out: str) -> list[Finding]:
    found: list[Finding] = []
    with _said(what, way_out) as failed:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await look()
        except TimeoutError:
            raise ConfigError(f"no answer within {PATIENCE_SECONDS:.0f} s") from None
    return [*failed, *found]


@contextmanager
def _said(what: str, way_out: str) -> Iterator[list[Finding]]:
    """Makes a finding of what is raised."""
    found: list[Finding] = []
    try:
        yield found
    except KalepoolError as error:
        found.append(Finding(what, Severity.WRONG, str(error), way_out))
