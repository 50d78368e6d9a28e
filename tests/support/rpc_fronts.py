"""Several RPC servers in front of one devnet, each with faults of its own, and a count of what they are asked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from aiohttp import web

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.http_server import HttpServer

RATE_WINDOW_SECONDS = 1.0


class Manner(Enum):
    """How a server is."""

    WELL = auto()
    DEAD = auto()  # it takes no connection
    SILENT = auto()  # it takes connections, and answers nothing
    PAGE = auto()  # it answers a web page
    BEHIND = auto()  # by `ledgers_behind`
    FORGETFUL = auto()  # it knows of no transaction
    LIMITED = auto()  # it answers 429 to more than `per_second` requests in a second


class LateNode:
    """A devnet's node as it was some ledgers ago. What is sent to it reaches the network."""

    def __init__(self, node: Node, ledgers: int) -> None:
        self._node = node
        self._told: deque[Any] = deque(maxlen=ledgers + 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def look(self) -> None:
        """Remember how the chain is now."""
        told = self._node.told()
        if not self._told or told.latest.sequence != self._told[-1].latest.sequence:
            self._told.append(replace(told, entries=dict(told.entries)))

    def told(self) -> Any:
        return self._told[0]

    def told_transaction(self, digest: bytes, method: str) -> Any:
        return Node.told_transaction(self, digest, method)  # pyright: ignore[reportArgumentType]


class ForgetfulNode:
    """A devnet's node that has lost all transactions."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def told_transaction(self, digest: bytes, method: str) -> None:
        return None


class Front:
    """One server. `requests`: every one that came, with when and its method; `refused`: those over its limit."""

    def __init__(self, node: Node, manner: Manner, *, per_second: int = 15, ledgers_behind: int = 3) -> None:
        self.manner = manner
        self.url = ""
        self.per_second = per_second
        self.requests: list[tuple[float, str]] = []
        self.refused = 0
        self.late = LateNode(node, ledgers_behind)
        others: dict[Manner, Any] = {Manner.BEHIND: self.late, Manner.FORGETFUL: ForgetfulNode(node)}
        self._servers = {manner: HttpServer(others.get(manner, node), with_faults=True) for manner in Manner}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.manner is Manner.DEAD:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError("dead")
        now = time.monotonic()
        self.requests.append((now, (await request.json())["method"]))
        if self.manner is Manner.SILENT:
            await asyncio.sleep(3600)
        if self.manner is Manner.PAGE:
            return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")
        if self.manner is Manner.LIMITED and self.in_last_second(now) > self.per_second:
            self.refused += 1
            return web.Response(status=429, text="too many requests")
        return await self._servers[self.manner].serve_rpc(request)

    def in_last_second(self, now: float) -> int:
        return sum(1 for at, _ in reversed(self.requests[-1000:]) if at > now - RATE_WINDOW_SECONDS)

    def most_in_a_second(self) -> tuple[int, Counter[str]]:
        """The most requests in any second, and of which methods they were."""
        best: tuple[int, Counter[str]] = (0, Counter())
        first = 0
        for last, (at, _) in enumerate(self.requests):
            while self.requests[first][0] <= at - RATE_WINDOW_SECONDS:
                first += 1
            if last - first + 1 > best[0]:
                best = last - first + 1, Counter(method for _, method in self.requests[first : last + 1])
        return best


@asynccontextmanager
async def fronts(node: Node, *manners: Manner) -> AsyncIterator[list[Front]]:
    """Servers on free ports of this machine."""
    made = [Front(node, manner) for manner in manners]
    runners: list[web.AppRunner] = []

    async def remember() -> None:
        while True:
            for front in made:
                front.late.look()
            await asyncio.sleep(0.01)

    remembering = asyncio.create_task(remember())
    try:
        for front in made:
            app = web.Application()
            app.router.add_post("/{key}", front.serve)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            front.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-key"
        yield made
    finally:
        remembering.cancel()
        await asyncio.gather(remembering, return_exceptions=True)
        for runner in runners:
            await runner.cleanup()
