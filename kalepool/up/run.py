"""All of `kalepool up` in order: start, wait until each part serves, watch, close the books, end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from rich.console import Console
from rich.text import Text

from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.database import Database, migrate
from kalepool.errors import ConfigError, RpcUnavailableError
from kalepool.heartbeat import Heartbeats, beat
from kalepool.processes import listens
from kalepool.services.health import what_is_known
from kalepool.units import plain
from kalepool.up.alarms import Alarms
from kalepool.up.books import Books
from kalepool.up.demo import ensure_farmers, ensure_pooler
from kalepool.up.folder import DataFolder, Running
from kalepool.up.follow import LOOK_PATIENCE_SECONDS, RunWatch, Voice, show
from kalepool.up.parts import DatabaseUrls, Parts, needs_devnet, shares_user
from kalepool.up.pulse import minded
from kalepool.up.report import RunReport, blocks_table, close, farmers_table, with_search
from kalepool.up.supervisor import Supervisor
from kalepool.view.moment import MomentReader
from kalepool.view.screen import print_whole

READY_SECONDS = 60.0  # for a part to serve
CHECK_SECONDS = 0.25
BEAT_SECONDS = 1.0
LAST_LOOK_SECONDS = 1.0  # for the table after Ctrl-C
RPC_RETRY_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is to do. `blocks`: stop after so many finished blocks, None: until interrupted."""

    blocks: int | None
    farmers: int
    rivals: int


def run(settings: Settings, options: Options) -> int:
    """Run until interrupted or done. Returns the exit status.

    With `blocks`: 0 when all was well in them, 1 when not, 128 + the signal's number when one came before they were
    done. Without: 0 at any of the signals that end it.
    """
    with DataFolder(settings.data_dir) as folder, Heartbeats() as heartbeats:
        folder.require_network(settings.network)
        voice = Voice()
        supervisor = Supervisor(voice.say)
        try:
            work = _run(settings, options, folder, supervisor, heartbeats, voice)
            return asyncio.run(_until_stopped(work, voice, promised=options.blocks is not None))
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):  # from here on another Ctrl-C means: at once
                signal.signal(number, lambda *_: supervisor.kill_all())
            supervisor.stop_all()


async def _until_stopped(work: Awaitable[int], voice: Voice, *, promised: bool) -> int:
    """Ctrl-C, SIGTERM and a closed terminal end the run in an orderly way; that is a failure only of what was promised
    to be done before."""
    task = asyncio.ensure_future(work)
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    beating = asyncio.create_task(_beat())
    try:
        return await task
    except asyncio.CancelledError:
        voice.say("stopping …")
        return 128 + came[0] if promised and came else 0
    finally:
        beating.cancel()


async def _beat() -> None:
    """Tell systemd, where it started us and wants to know, that we work."""
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)


async def _run(
    settings: Settings,
    options: Options,
    folder: DataFolder,
    supervisor: Supervisor,
    heartbeats: Heartbeats,
    voice: Voice,
) -> int:
    alarms = Alarms(settings)
    parts = Parts.plan(settings, folder)
    if shares_user(settings):
        voice.say("Ray runs as the API's user here: who takes over a worker can read the master key (SECURITY.md)")
    urls = await _start_database(parts, supervisor, voice)
    if needs_devnet(settings):
        supervisor.add(parts.devnet(options.rivals))
        url, port = parts.rpc_url, int(parts.rpc_url.rpartition(":")[2])
        await _wait_for(supervisor, "devnet", port, lambda client: _devnet_serves(client, url))
        rivals = f", {options.rivals} rival farmers" if options.rivals else ""
        times = f"ledgers of {parts.network.ledger_seconds:g} s, blocks of {parts.network.block_seconds} s"
        voice.say(f"devnet: {parts.rpc_url}, {times}{rivals}")
    folder.claim_network(settings.network)  # not before: what did not start has no history
    parts = await _start_api(parts, urls.api, supervisor)
    voice.say(f"page: {parts.api_url}/")
    voice.say(f"API: {parts.api_url}/docs")
    if settings.kale_price_xlm is None and (unknown := what_is_known(settings)):
        voice.say(unknown)
    folder.publish(_running(parts))
    async with (
        Database.open(urls.api, connections=3) as database,
        Chain(parts.network, fee_cap_stroops=settings.fee_cap_stroops) as chain,
        _guarded(supervisor, voice),
        minded(parts, urls.api, supervisor, heartbeats, alarms),
    ):
        pooler_id, key = await ensure_pooler(database, settings)

        async def begin() -> Books:
            if options.farmers:
                await ensure_farmers(database, chain, parts.api_url, pooler_id, options.farmers, voice.say)
            return await Books.open(database, chain, pooler_id)

        books = await patiently(begin, voice)
        for name in parts.coordinators():
            supervisor.add(parts.coordinator(urls.coordinator, key, heartbeats.address, name))
        reader = MomentReader(
            database,
            chain,
            min_spare_stroops=settings.min_spare_stroops,
            pooler_id=pooler_id,
            balances=True,
            patience_seconds=LOOK_PATIENCE_SECONDS,
        )
        watch = RunWatch(reader, books.since, parts.network.block_seconds)
        title = f"kalepool on {settings.network}   page {parts.api_url}/   API {parts.api_url}/docs"
        try:
            await show(watch, voice, title, options.blocks, f"{parts.api_url}/health")
        except asyncio.CancelledError:
            await _last_look(books, watch, voice)
            raise
        for name in reversed(parts.coordinators()):
            supervisor.stop(name)
        report = await books.close(watch.finished()[: options.blocks])
    report = with_search(report, saw_search=watch.saw_search)
    _print(report, voice)
    return 1 if report.problems else 0


async def patiently(work: Callable[[], Awaitable[T]], voice: Voice) -> T:
    """Does the work once the RPC server answers, and says what it waits for: database, API and page run meanwhile."""
    said = ""
    while True:
        try:
            return await work()
        except RpcUnavailableError as error:
            if str(error) != said:
                voice.say(f"waiting for the RPC server (KALEPOOL_RPC_URL): {error}")
            said = str(error)
            await asyncio.sleep(RPC_RETRY_SECONDS)


async def _start_database(parts: Parts, supervisor: Supervisor, voice: Voice) -> DatabaseUrls:
    if parts.settings.database_url is not None:
        urls = DatabaseUrls.of_own(parts.settings, parts.settings.database_url)
        voice.say("database: as configured")
    else:
        service, urls = parts.postgres()
        supervisor.adopt(service)
        voice.say(f"database: embedded PostgreSQL in {parts.folder.path / 'postgres'}")
    await migrate(urls.migrate)
    return urls


async def _start_api(parts: Parts, database_url: str, supervisor: Supervisor) -> Parts:
    """Start the API and wait until it serves; on another port where its own was taken by somebody quicker."""
    while True:
        supervisor.add(parts.api(database_url))
        url = f"{parts.api_url}/info"
        try:
            # Several processes serve it, and the child keeps the port for them.
            port = parts.api_port if parts.settings.api_workers == 1 else None
            await _wait_for(supervisor, "api", port, lambda client, url=url: _answers(client, url))
            return parts
        except ConfigError:
            elsewhere = parts.with_another_port() if supervisor.failed_to_start("api") else None
            if elsewhere is None:
                raise
            supervisor.stop("api")
            parts = elsewhere


async def _wait_for(
    supervisor: Supervisor, name: str, port: int | None, serves: Callable[[httpx2.AsyncClient], Awaitable[bool]]
) -> None:
    """Until this child, and nobody else who may have its `port`, serves."""
    give_up_at = time.monotonic() + READY_SECONDS
    async with httpx2.AsyncClient(timeout=5.0) as client:
        while True:
            if reason := supervisor.failed_to_start(name):
                raise ConfigError(reason)
            with contextlib.suppress(httpx2.HTTPError):
                if (port is None or listens(supervisor.pid(name), port)) and await serves(client):
                    return
            if time.monotonic() > give_up_at:
                raise ConfigError(f"{name} does not serve after {READY_SECONDS:.0f} s: look into its log")
            await asyncio.sleep(0.05)


async def _answers(client: httpx2.AsyncClient, url: str) -> bool:
    await client.get(url)
    return True


async def _devnet_serves(client: httpx2.AsyncClient, url: str) -> bool:
    answer = await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"})
    return answer.status_code == 200 and "result" in answer.json()


def _running(parts: Parts) -> Running:
    network = parts.network
    return Running(
        pid=os.getpid(),
        network=network.name,
        rpc_url=parts.rpc_url,
        friendbot_url=network.friendbot_url,
        api_url=parts.api_url,
        ledger_seconds=network.ledger_seconds,
        block_seconds=network.block_seconds,
    )


@contextlib.asynccontextmanager
async def _guarded(supervisor: Supervisor, voice: Voice) -> AsyncIterator[None]:
    """Dead children are started again while the body runs."""

    async def guard() -> None:
        while True:
            try:
                supervisor.check()
            except Exception as error:  # whatever it is, the others are still to be looked after
                voice.say(f"looking after the children: {type(error).__name__}: {error}")
            await asyncio.sleep(CHECK_SECONDS)

    task = asyncio.create_task(guard())
    try:
        yield
    finally:
        task.cancel()


async def _last_look(books: Books, watch: RunWatch, voice: Voice) -> None:
    """The blocks that were done, for who stopped the run; it must not hold up the end."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(LAST_LOOK_SECONDS):
            if finished := watch.finished():
                _print(close(await books.blocks(finished), [], {}, {}), voice)


def _print(report: RunReport, voice: Voice) -> None:
    console = voice.console if voice.has_terminal else Console(width=120)
    print_whole(console, blocks_table(report))
    if report.lines:
        print_whole(console, farmers_table(report))
    for problem in report.problems:
        console.print(Text(plain(problem), style="bold red"))
