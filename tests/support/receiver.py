"""Whoever receives webhooks: an HTTP server that keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


@dataclass
class Received:
    """A request. Names of headers are in small letters."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Receiver:
    """head: what it answers, None for nothing at all. `connections`: how many there were."""

    head: str | None = "200 OK"
    taken: list[Received] = field(default_factory=list)
    refused: list[Received] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    decide: Callable[[Received], str] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                assert first.startswith("POST ")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                received = Received(headers, await reader.readexactly(int(headers["content-length"])))
                head = self.decide(received) if self.decide else self.head
                if head is None:
                    await asyncio.sleep(3600)
                assert head is not None
                (self.taken if head.startswith("2") else self.refused).append(received)
                writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def types(self) -> list[str]:
        return [each.json["type"] for each in self.taken]


@asynccontextmanager
async def receiving(certificate: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"https://localhost:{port}/hook" if certificate else f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def documented_verify() -> Callable[[str, dict[str, str], bytes], None]:
    """The function that docs/webhooks.md shows to receivers."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names["verify"]
