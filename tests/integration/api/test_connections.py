"""Strangers' connections, heads, bodies and words, at a server that runs: each attack is carried out."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from kalepool.api import bodies, connections, create_app
from kalepool.api.connections import RESERVED, Doors
from kalepool.api.limits import Holders
from kalepool.api.proxies import Proxies
from kalepool.api.server import Server, configured
from kalepool.config import Settings
from kalepool.errors import ConfigError
from kalepool.services.keys import Role, create_key

pytestmark = pytest.mark.anyio


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1500):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within half a minute")


async def require_limit(ask: Callable[[int], Awaitable[httpx2.Response]]) -> None:
    """Of 60 requests a minute: the 61st is refused, or one later for each second that they took."""
    begun, answered = time.monotonic(), 0
    while (status := (await ask(answered)).status_code) == 200:
        answered += 1
        assert answered <= 61 + time.monotonic() - begun
    assert status == 429 and answered >= 60


@dataclass
class Served:
    """A server and where it is."""

    server: Server
    port: int
    app: Any

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from one of this machine's own addresses."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    def client(self, address: str = "127.0.0.1", **options: Any) -> httpx2.AsyncClient:
        transport = httpx2.AsyncHTTPTransport(local_address=address, retries=0)
        options = {"timeout": 30.0} | options
        return httpx2.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{self.port}", **options)

    async def until_open(self, connections: int) -> None:
        await until(lambda: len(self.server.server_state.connections) == connections)


@asynccontextmanager
async def serving(settings: Settings, **changes: Any) -> AsyncIterator[Served]:
    settings = settings.model_copy(update={"api_host": "127.0.0.1", "api_port": 0, **changes})
    app = create_app(settings)
    metrics = socket.create_server(("127.0.0.1", 0))
    app.state.metrics_port = metrics.getsockname()[1]
    server = Server(app, configured(app, settings), metrics)
    with metrics:
        running = asyncio.create_task(server._serve())
        await until(lambda: running.done() or (server.started and len(server.servers) == 2))
        try:
            yield Served(server, server.servers[0].sockets[0].getsockname()[1], app)
        finally:
            server.should_exit = True
            for part in (app.state.mining, app.state.viewing):
                part.end_waiting()
            await running


@pytest.fixture
def start(farm) -> Callable[..., contextlib.AbstractAsyncContextManager[Served]]:
    return lambda **changes: serving(farm.settings, **changes)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side closes, or says that it has; fails where it does not."""
    came = b""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):
            while some := await reader.read(65536):
                came += some
    return came


async def test_heads_and_bodies_that_dribble_are_cut_off(start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris, and slow post: each byte comes in time, the whole never does."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 1.0)
    head = b"GET /info HTTP/1.1\r\nHost: pool\r\n"
    post = b"POST /miner/register HTTP/1.1\r\nHost: pool\r\nContent-Type: application/json\r\n"
    whole = b"GET /info HTTP/1.1\r\nHost: pool\r\n\r\n"
    attacks = {
        "nothing at all": (b"", b"", b""),
        "a head, line by line": (b"", head, b"X-a: b\r\n"),
        "a second head": (whole, head, b"X-a: b\r\n"),
        "a body, byte by byte": (b"", post + b"Content-Length: 1000\r\n\r\n", b"x"),
        "a body in chunks": (b"", post + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    }
    async with start() as served, served.client("127.0.0.9") as honest:

        async def dribble(whole: bytes, first: bytes, again: bytes) -> bytes:
            reader, writer = await served.connect()
            if whole:  # answered before more is begun: an answer that is under way when time is up is broken off
                writer.write(whole)
                answered = await reader.readuntil(b"\r\n\r\n")
                [length] = re.findall(rb"(?i)content-length: (\d+)", answered)
                await reader.readexactly(int(length))
            writer.write(first)
            answer = asyncio.create_task(ended(reader))
            while not answer.done():
                with contextlib.suppress(ConnectionError):
                    writer.write(again)
                    await writer.drain()
                await asyncio.sleep(0.05)
            writer.close()
            return await answer

        tries = [asyncio.create_task(dribble(*attack)) for attack in attacks.values() for _ in range(5)]
        await asyncio.sleep(0.3)
        assert (await honest.get("/info")).status_code == 200
        answers = await asyncio.gather(*tries)
        for number, answer in enumerate(answers):
            name = list(attacks)[number // 5]
            assert answer.startswith(b"HTTP/1.1 408 "), (name, answer)
            assert b"urn:kalepool:problem:request-timeout" in answer, name
        # who waits between two whole requests is not cut off
        for _ in range(2):
            assert (await honest.get("/info")).status_code == 200
            await asyncio.sleep(1.2)
        await served.until_open(1)


async def test_a_head_without_an_end_is_cut_off(start) -> None:
    async with start() as served:
        reader, writer = await served.connect()
        writer.write(b"GET /info HTTP/1.1\r\n")
        for number in range(20):
            writer.write(b"X-%d: %s\r\n" % (number, bytes(8192).replace(b"\0", b"x")))
        answer = await ended(reader)  # lost where more of the head was under way
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_an_answer_that_is_not_read_is_broken_off(start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STUCK_SECONDS", 0.4)
    async with start(requests_per_minute=100_000) as served:
        reader, writer = await served.connect()
        writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(400):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: pool\r\n\r\n")
        await served.until_open(1)
        await served.until_open(0)
        writer.close()
        del reader


async def test_one_address_does_not_take_all_connections(start) -> None:
    """1,000 from one address: 500 are taken, as the settings say, and everybody else still comes in."""
    async with start() as served:
        opened = []
        for _ in range(1000):
            opened.append(await served.connect("127.0.0.2"))
        await served.until_open(500)
        refused = [answer for reader, _ in opened[500:510] if (answer := await ended(reader))]
        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"problem:busy" in answer for answer in refused)
        assert len(refused) == 10
        async with served.client("127.0.0.3") as other:
            assert (await other.get("/info")).status_code == 200
        for _, writer in opened:
            writer.close()
        await served.until_open(0)
        async with served.client("127.0.0.2") as back:
            assert (await back.get("/info")).status_code == 200


def test_strangers_leave_room_for_this_machine() -> None:
    settings = Settings(api_connections=100, api_connections_per_address=2, _env_file=None)  # pyright: ignore[reportCallIssue]
    doors = Doors(settings)
    taken = [host for n in range(200) if doors.enter(host := f"2001:db8:0:{n:x}::1") is None]
    assert len(taken) == 100
    refused = doors.enter("203.0.113.9")
    assert refused is not None
    assert refused.status == 503
    assert [doors.enter("127.0.0.1") is None for _ in range(3)] == [True, True, False]
    local = [host for n in range(200) if doors.enter(host := f"127.0.1.{n}") is None]
    assert len(local) == RESERVED - 2
    for host in taken + local:
        doors.leave(host)
    assert doors.enter("203.0.113.9") is None
    # a customer's whole /64 is one address
    assert [doors.enter(f"2001:db8::{n}") is None for n in range(3)] == [True, True, False]


async def test_one_address_does_not_take_all_places_of_the_page(start) -> None:
    async with start(requests_per_minute=1000) as served:
        streams = [served.client("127.0.0.2") for _ in range(51)]
        async with contextlib.AsyncExitStack() as stack:
            statuses, lines = [], []
            for client in streams:
                answer = await stack.enter_async_context(client.stream("GET", "/events"))
                statuses.append(answer.status_code)
                lines.append(answer.aiter_lines())
                await anext(lines[-1])
            assert statuses == [200] * 50 + [503]
            other = await stack.enter_async_context(served.client("127.0.0.3").stream("GET", "/events"))
            assert other.status_code == 200
        await until(lambda: not served.app.state.viewing.viewers)


async def test_a_large_body_needs_a_key(start, farm) -> None:
    operator = await create_key(farm.ctx.database, Role.OPERATOR, label="test")
    large, largest = b'"' + bytes(20_000) + b'"', b'"' + bytes(bodies.MOST_BYTES) + b'"'
    keyed = {"Authorization": f"Bearer {operator.key}"}

    async def streamed(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 5000):
            yield body[start : start + 5000]

    async with start() as served, served.client() as client:
        for headers, body, status in (
            ({}, large, 413),
            ({"Authorization": "Bearer kp_made-up"}, large, 413),
            ({"Authorization": f"Basic {operator.key}"}, large, 413),
            (keyed, large, 422),
            (keyed, largest, 413),
            ({}, large[:5000], 401),
        ):
            for content in (body, streamed(body)):
                answer = await client.post("/miner/invites", content=content, headers=headers)
                assert answer.status_code == status, (headers, len(body), answer.text)


async def test_a_forged_word_of_where_one_comes_from_is_not_believed(start) -> None:
    async with start() as served, served.client("127.0.0.2") as forger, served.client("127.0.0.3") as other:
        await require_limit(lambda n: forger.get("/info", headers={"X-Forwarded-For": f"198.51.100.{n}"}))
        assert (await other.get("/info")).status_code == 200


async def test_through_a_trusted_proxy_each_client_has_its_own_limits(start) -> None:
    async with (
        start(trusted_proxies="127.0.0.2, 10.0.0.0/8") as served,
        served.client("127.0.0.2") as proxy,
        served.client("127.0.0.3") as other,
    ):
        # What the client wrote itself comes first; what the proxy heard is last, and another proxy's word before it.
        said = ["198.51.100.{n}, 203.0.113.7", "198.51.100.{n}, 203.0.113.7, 10.1.2.3", "garbage, 203.0.113.7:4711"]
        headers = [{"X-Forwarded-For": said[n % 3].format(n=n)} for n in range(200)]
        await require_limit(lambda n: proxy.get("/info", headers=headers[n]))
        assert (await proxy.get("/info", headers={"X-Forwarded-For": "203.0.113.8"})).status_code == 200
        # not through it, the same words are nothing
        assert (await other.get("/info", headers=headers[0])).status_code == 200


async def test_a_client_behind_a_proxy_has_so_many_requests_under_way(start) -> None:
    """The proxy's own connections are not counted by address, or its first clients would shut out all others."""
    async with (
        start(trusted_proxies="127.0.0.2", api_connections_per_address=5) as served,
        contextlib.AsyncExitStack() as stack,
    ):
        statuses = []
        for number in range(12):
            client = await stack.enter_async_context(served.client("127.0.0.2"))
            headers = {"X-Forwarded-For": f"203.0.113.{number % 2}"}
            answer = await stack.enter_async_context(client.stream("GET", "/events", headers=headers))
            statuses.append(answer.status_code)
        assert statuses == [200] * 10 + [503] * 2


def test_proxies_are_named_by_addresses() -> None:
    proxies = Proxies("192.0.2.1, 2001:db8::/32")
    assert "192.0.2.1" in proxies
    assert "::ffff:192.0.2.1" in proxies
    assert "2001:db8::9" in proxies
    assert "192.0.2.2" not in proxies
    assert "" not in proxies
    assert proxies.client(["[2001:db9::1]:80"]) == "2001:db9::1"
    assert proxies.client(["unknown"]) is None
    assert proxies.client([]) is None
    for wrong in ("proxy.example", "10.0.0.1/8", "*"):
        with pytest.raises(ConfigError, match="KALEPOOL_TRUSTED_PROXIES"):
            Proxies(wrong)


async def test_metrics_have_a_port_of_their_own(start) -> None:
    async with start(trusted_proxies="127.0.0.1") as served, httpx2.AsyncClient(timeout=30) as client:
        port = served.app.state.metrics_port
        assert "kalepool_component_up" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Host": f"127.0.0.1:{port}"}):
            answer = await client.get(f"http://127.0.0.1:{served.port}/metrics", headers=headers)
            assert answer.status_code == 401


def test_who_holds_nothing_is_forgotten() -> None:
    holders = Holders(2)
    for number in range(1000):
        assert holders.has_room(str(number))
        holders.take(str(number))
        holders.give_back(str(number))
    assert not holders._held
