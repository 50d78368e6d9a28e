"""Parts that hang: noticed, told over the webhook, killed and started again. Those that stood still with us are not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from kalepool.config import Settings
from kalepool.heartbeat import ADDRESS, Heartbeats
from kalepool.processes import spawn
from kalepool.up import pulse as module
from kalepool.up.alarms import Alarms
from kalepool.up.pulse import NotServingError, Pulse, Pulses, ask_database, ask_heart, ask_http, minded
from kalepool.up.supervisor import Service, Supervisor
from tests.integration.services.test_alerts import Receiver, receiving
from tests.support.pool import Pool, running_pool
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux names the sender of a beat"),
]

SERVER = """
import http.server, sys
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
BEATING = """
import time
from kalepool.heartbeat import beat
while True:
    beat()
    time.sleep(0.05)
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"ASK_SECONDS": 0.05, "STEADY_SECONDS": 0.3, "BEAT_SECONDS": 1.0}.items():
        monkeypatch.setattr(module, name, seconds)


def child(folder: Path, name: str, code: str, *arguments: str, **environment: str) -> Service:
    log = folder / f"{name}.log"

    def start() -> subprocess.Popen[bytes]:
        return spawn([sys.executable, "-c", code, *arguments], environment={**os.environ, **environment}, log=log)

    return Service(name, start, log)


def told_to(receiver: Receiver) -> Alarms:
    return Alarms(Settings.load(alert_webhook=SecretStr(f"http://127.0.0.1:{receiver.port}/x"), _env_file=None))


async def until(condition: Callable[[], object], supervisor: Supervisor, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            supervisor.check()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def asked(supervisor: Supervisor, receiver: Receiver, *pulses: Pulse) -> AsyncIterator[None]:
    alarms = told_to(receiver)
    tasks = [asyncio.create_task(Pulses(supervisor, alarms, pulses).run()), asyncio.create_task(alarms.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended


@pytest.mark.usefixtures("quick")
async def test_a_server_that_hangs_is_told_of_and_replaced(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    port = free_port()
    service = child(tmp_path, "server", SERVER, str(port))
    supervisor.add(service)
    async with receiving() as receiver, httpx2.AsyncClient(timeout=1.0) as client:
        pulse = Pulse(
            "server", lambda: ask_http(client, f"http://127.0.0.1:{port}/"), answer_seconds=1.0, patience_seconds=1.2
        )
        async with asked(supervisor, receiver, pulse):
            await until(lambda: is_open(port), supervisor)
            first = supervisor.pid("server")
            os.kill(first, signal.SIGSTOP)
            await until(lambda: supervisor.pid("server") != first, supervisor)
            await until(lambda: {"raised", "resolved"} <= {one["state"] for one in receiver.taken}, supervisor)
    assert any("has not answered for" in line and "it is killed" in line for line in said)
    assert [one["key"] for one in receiver.taken] == ["part-down:server"] * 2
    assert pulse.patience_seconds == 2.4, "the next time it is given twice as long"


@pytest.mark.usefixtures("quick")
async def test_a_child_whose_heart_stops_is_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    with Heartbeats() as heartbeats:
        assert heartbeats.address
        supervisor.add(child(tmp_path, "heart", BEATING, **{ADDRESS: heartbeats.address}))
        async with receiving() as receiver:
            pulse = Pulse("heart", lambda: ask_heart(heartbeats, supervisor, "heart"), 1.0, 1.0)
            async with asked(supervisor, receiver, pulse):
                first = supervisor.pid("heart")
                await until(lambda: heartbeats.silent_seconds(first) is not None, supervisor)
                await asyncio.sleep(1)
                assert supervisor.pid("heart") == first, "it beats"
                os.kill(first, signal.SIGSTOP)
                await until(lambda: supervisor.pid("heart") != first, supervisor)
                second = supervisor.pid("heart")
                await until(lambda: heartbeats.silent_seconds(second) is not None, supervisor)


async def test_another_s_beats_count_for_nobody() -> None:
    with Heartbeats() as heartbeats:
        environment = {**os.environ, ADDRESS: heartbeats.address or ""}
        stranger = subprocess.Popen([sys.executable, "-c", BEATING], env=environment)  # noqa: ASYNC220
        try:
            async with asyncio.timeout(30):
                while heartbeats.silent_seconds(stranger.pid) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert heartbeats.silent_seconds(os.getpid()) is None
        finally:
            stranger.kill()
            stranger.wait()
        assert heartbeats.silent_seconds(stranger.pid) is None, "it has ended"


def test_who_stood_still_itself_blames_nobody() -> None:
    pulse = Pulse("part", no_answer, 5.0, 15.0)
    pulse.fails(100.0, silent=True)
    assert not pulse.is_hung(114.9) and pulse.is_hung(115.0) and pulse.is_down(115.0)
    pulse.fails(116.0, silent=False)  # it answers that it starts: no silence any more, and still down
    assert not pulse.is_hung(200.0) and pulse.is_down(200.0)
    pulse.works(201.0)
    assert not pulse.is_down(300.0) and not pulse.is_steady(201.0 + module.STEADY_SECONDS - 0.1)
    assert pulse.is_steady(201.0 + module.STEADY_SECONDS)


@pytest.mark.usefixtures("quick")
async def test_a_question_that_we_slept_through_is_no_silence(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(child(tmp_path, "part", "import time; time.sleep(60)"))
    first = supervisor.pid("part")
    asked_times = 0

    async def ask() -> None:
        nonlocal asked_times
        asked_times += 1
        if asked_times == 1:
            time.sleep(module.OWN_LAG_SECONDS + 0.5)  # noqa: ASYNC251  # as if this process had been stopped
            await asyncio.sleep(1)

    async with receiving() as receiver:
        pulse = Pulse("part", ask, answer_seconds=0.2, patience_seconds=0.1)
        async with asked(supervisor, receiver, pulse):
            await until(lambda: asked_times > 3, supervisor)
        assert supervisor.pid("part") == first and not receiver.taken


async def no_answer() -> None:
    raise TimeoutError


async def test_a_database_that_starts_has_not_gone_silent(database_url: str) -> None:
    await ask_database(database_url)
    with pytest.raises(NotServingError):
        await ask_database("postgresql://nobody@127.0.0.1:1/none")


PARTS = ("api", "coordinator", "postgres", "devnet")


@pytest.mark.slow(40, "four parts of a real pool are stopped, one after the other, and have to come back")
@pytest.mark.pool
async def test_every_part_of_a_pool_that_hangs_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"ANSWER_SECONDS": 4.0, "PATIENCE_SECONDS": 4.0, "STEADY_SECONDS": 0.5}.items():
        monkeypatch.setattr(module, name, seconds)
    async with receiving() as receiver, running_pool(1, 0.5, 15, "none") as pool:
        supervisor, alarms = pool.supervisor, told_to(receiver)
        with Heartbeats() as heartbeats:
            supervisor.add(pool.parts.coordinator(pool.urls.coordinator, pool.key, heartbeats.address))
            await until(lambda: heartbeats.silent_seconds(supervisor.pid("coordinator")) is not None, supervisor, 30)
            async with minded(pool.parts, pool.urls.api, supervisor, heartbeats, alarms):
                for name in PARTS:
                    first, began = supervisor.pid(name), time.monotonic()
                    os.kill(first, signal.SIGSTOP)
                    await until(lambda name=name: said_of(receiver, name) == ["raised"], supervisor, 30)
                    assert name != "api" or not await serves(pool), "it was told while the API hangs"
                    await until(lambda name=name, first=first: supervisor.pid(name) != first, supervisor, 30)
                    await until(lambda name=name: said_of(receiver, name) == ["raised", "resolved"], supervisor, 30)
                    print(f"{name}: works again {time.monotonic() - began:.1f} s after it was stopped")
            assert await serves(pool)
            supervisor.stop("coordinator")


def said_of(receiver: Receiver, name: str) -> list[str]:
    return [one["state"] for one in receiver.taken if one["key"] == f"part-down:{name}"]


async def serves(pool: Pool) -> bool:
    try:
        return (await pool.client.get(f"{pool.parts.api_url}/info", timeout=2.0)).is_success
    except httpx2.HTTPError:
        return False


def is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
