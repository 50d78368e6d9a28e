"""The API as `kalepool api` runs it, in this process and on a real port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from kalepool.api import create_app
from kalepool.api.server import Server


@asynccontextmanager
async def served(settings) -> AsyncIterator[tuple[str, Server]]:
    """The API on a free port, as `kalepool api` runs it; told to stop at the end."""
    app = create_app(settings)
    server = Server(app, uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", server
    finally:
        tell_to_stop(server)
        await running


def tell_to_stop(server: Server) -> None:
    """As SIGTERM does, which uvicorn would raise again when it has stopped."""
    server.handle_exit(signal.SIGTERM, None)
    server._captured_signals.clear()
