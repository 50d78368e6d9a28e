"""`kalepool api`: the app under uvicorn."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from kalepool.api.app import create_app
from kalepool.api.connections import guarded
from kalepool.api.forwarding import SiblingDoor
from kalepool.api.limits import Holders
from kalepool.config import Settings, require_public_url, require_relayer_key
from kalepool.errors import ConfigError, KalepoolError
from kalepool.hardening import forbid_looking_in
from kalepool.heartbeat import ADDRESS, beat
from kalepool.units import reason_of

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
"""Requests under way may go on for so long when the process is told to stop."""

BACKLOG = 4096
"""Connections that wait to be accepted: all miners come back at once after a restart."""

BEAT_SECONDS = 1.0
"""How often it tells who started it that it works, where that wants to know."""

OTHER_FILES = 300
"""Files that are open besides strangers' connections."""


class Server(uvicorn.Server):
    """Ends what waits for jobs or news when it is told to stop: else every open stream would hold it up."""

    def __init__(
        self,
        app: FastAPI,
        config: uvicorn.Config,
        metrics: socket.socket | None = None,
        siblings: socket.socket | None = None,
    ) -> None:
        """`metrics`: where the metrics are to be had as well. `siblings`: where other processes of the API ask."""
        super().__init__(config)
        self._app = app
        self._metrics = metrics
        self._siblings = siblings
        self._more: list[asyncio.Server] = []
        self._beating: asyncio.Task[None] | None = None
        self.has_failed = False
        app.state.end = self._end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._siblings is not None:  # before this process is seen to lead
            config = uvicorn.Config(
                SiblingDoor(self._app),
                http="httptools",
                ws="none",
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
            config.load()
            await self._serve_too(config, self._siblings)
        await super().startup(sockets)
        if self._metrics is not None:
            await self._serve_too(self.config, self._metrics)
        self.servers += self._more
        if ADDRESS in os.environ:
            self._beating = asyncio.create_task(_beat())
        gc.collect()
        gc.freeze()  # what is there now stays: looking it all through again would hold up every request for 40 ms

    async def _serve_too(self, config: uvicorn.Config, listener: socket.socket) -> None:
        made = cast("Callable[..., asyncio.Protocol]", config.http_protocol_class)

        def connection() -> asyncio.Protocol:
            return made(config=config, server_state=self.server_state, app_state=self.lifespan.state)

        loop = asyncio.get_running_loop()
        self._more.append(await loop.create_server(connection, sock=listener, backlog=BACKLOG))

    def _end(self) -> None:
        """The process cannot go on."""
        self.has_failed = True
        self._end_waiting()
        self.should_exit = True

    def _end_waiting(self) -> None:
        for part in ("mining", "viewing"):
            if waited_for := getattr(self._app.state, part, None):
                waited_for.end_waiting()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._end_waiting()
        super().handle_exit(sig, frame)


class CustodyServer(Server):
    """The same for a process that holds the master key: nobody looks into it once its port is open, which `kalepool up`
    has to see."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            forbid_looking_in()


class OurWords(logging.Filter):
    """Why the app does not start: Starlette gives uvicorn a traceback to log, whose last line has our words for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage().strip()
        if said.startswith("Traceback ") and (ours := re.match(r"kalepool\.errors\.\w+: (.+)", said.splitlines()[-1])):
            record.msg, record.args = ours[1], ()
        return True


async def _beat() -> None:
    while True:
        beat()
        await asyncio.sleep(BEAT_SECONDS)


def serve(settings: Settings, *, shares_port: bool = False) -> None:
    """Serves the API at settings.api_host and api_port until SIGINT or SIGTERM. Raises ConfigError, DatabaseError.

    shares_port: other processes listen there too, each for its part of the connections.
    """
    require_public_url(settings)
    require_relayer_key(settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every open stream is a file
    if 0 < most < settings.api_connections + OTHER_FILES:
        settings = settings.model_copy(update={"api_connections": max(most - OTHER_FILES, 1)})
    logging.getLogger("uvicorn.error").addFilter(OurWords())
    app = create_app(settings)
    holders = app.state.shared["connections"] = Holders(settings.api_connections_per_address)
    with ExitStack() as stack:
        metrics_socket = _metrics_socket(settings, stack, shares_port=shares_port)
        if metrics_socket is not None:
            app.state.metrics_port = settings.api_metrics_port
        siblings = stack.enter_context(_siblings_socket(settings))
        host, port = siblings.getsockname()[:2]
        app.state.sibling_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        server = CustodyServer(app, configured(app, settings, holders), metrics_socket, siblings)
        if not shares_port:
            require_free(settings.api_host, settings.api_port)
        server.run(shared_sockets(settings.api_host, settings.api_port) if shares_port else None)
    if server.has_failed:
        raise KalepoolError("this API process cannot go on; its log says why: start it again")


def configured(app: FastAPI, settings: Settings, holders: Holders | None = None) -> uvicorn.Config:
    """How the app is served; `holders`: where connections of each address are counted. Whose word is taken for where
    requests come from is the app's to say, not uvicorn's."""
    return uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        http=guarded(settings, holders),  # pyright: ignore[reportArgumentType]
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def shared_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket at every address of `host`, on a port that several processes have: the system gives each new connection
    to one of those that listen. Raises ConfigError where it is taken."""
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, (name, _, *rest) in found:
            own = socket.socket(family)
            bound.append(own)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            own.bind((name, port, *rest))
            port = port or own.getsockname()[1]
    except OSError as error:
        for each in bound:
            each.close()
        raise _cannot_listen(host, port, error) from None
    return bound


def require_free(host: str, port: int) -> None:
    """Raises ConfigError where the API cannot listen there: uvicorn would find it out late, and in its own words."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, (name, _, *rest) in found:
            socket.create_server((name, port, *rest), family=family).close()  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"the API cannot listen on {host}:{port} ({reason_of(error)}): set KALEPOOL_API_HOST and KALEPOOL_API_PORT"
    )


def _siblings_socket(settings: Settings) -> socket.socket:
    host, port = settings.api_sibling_host, settings.api_sibling_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"other API processes cannot be listened to on {host}:{port} ({error.strerror}): set "
            "KALEPOOL_API_SIBLING_HOST to an address of this machine, KALEPOOL_API_SIBLING_PORT to a free port"
        ) from None


def _metrics_socket(settings: Settings, stack: ExitStack, *, shares_port: bool) -> socket.socket | None:
    port = settings.api_metrics_port
    if port is None:
        return None
    try:
        bound = socket.create_server(("127.0.0.1", port), reuse_port=shares_port)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served on port {port} ({error.strerror}): set KALEPOOL_API_METRICS_PORT to a free one"
        ) from None
    return stack.enter_context(bound)
