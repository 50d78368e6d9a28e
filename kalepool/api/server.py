"""`kalepool api`: the app under uvicorn."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from kalepool.api.app import create_app
from kalepool.api.connections import guarded
from kalepool.config import Settings, require_public_url, require_relayer_key
from kalepool.errors import ConfigError
from kalepool.hardening import forbid_looking_in

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
"""Requests under way may go on for so long when the process is told to stop."""

BACKLOG = 4096
"""Connections that wait to be accepted: all miners come back at once after a restart."""

OTHER_FILES = 300
"""Files that are open besides strangers' connections."""


class Server(uvicorn.Server):
    """Ends what waits for jobs or news when it is told to stop: else every open stream would hold it up."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, metrics: socket.socket | None = None) -> None:
        """`metrics`: where the metrics are to be had as well."""
        super().__init__(config)
        self._app = app
        self._metrics = metrics

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._metrics is not None:
            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_server(self._connection, sock=self._metrics))
        gc.collect()
        gc.freeze()  # what is there now stays: looking it all through again would hold up every request for 40 ms

    def _connection(self) -> asyncio.Protocol:
        made = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for part in ("mining", "viewing"):
            if waited_for := getattr(self._app.state, part, None):
                waited_for.end_waiting()
        super().handle_exit(sig, frame)


class CustodyServer(Server):
    """The same for a process that holds the master key: nobody looks into it once its port is open, which `kalepool up`
    has to see."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            forbid_looking_in()


def serve(settings: Settings) -> None:
    """Serves the API at settings.api_host and api_port until SIGINT or SIGTERM. Raises ConfigError, DatabaseError."""
    require_public_url(settings)
    require_relayer_key(settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every open stream is a file
    if 0 < most < settings.api_connections + OTHER_FILES:
        settings = settings.model_copy(update={"api_connections": max(most - OTHER_FILES, 1)})
    app = create_app(settings)
    with _metrics_socket(settings) as metrics_socket:
        if metrics_socket is not None:
            app.state.metrics_port = settings.api_metrics_port
        CustodyServer(app, configured(app, settings), metrics_socket).run()


def configured(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the app is served. Whose word is taken for where requests come from is the app's to say, not uvicorn's."""
    return uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=guarded(settings),  # pyright: ignore[reportArgumentType]
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


@contextmanager
def _metrics_socket(settings: Settings) -> Iterator[socket.socket | None]:
    port = settings.api_metrics_port
    if port is None:
        yield None
        return
    try:
        bound = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served on port {port} ({error.strerror}): set KALEPOOL_API_METRICS_PORT to a free one"
        ) from None
    with bound:
        yield bound
