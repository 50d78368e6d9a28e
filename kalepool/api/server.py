"""`kalepool api`: the app under uvicorn."""

from __future__ import annotations

import gc
import resource
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from kalepool.api.app import create_app
from kalepool.config import Settings
from kalepool.hardening import forbid_looking_in

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
"""Requests under way may go on for so long when the process is told to stop."""

BACKLOG = 4096
"""Connections that wait to be accepted: all miners come back at once after a restart."""


class Server(uvicorn.Server):
    """Ends what waits for jobs or news when it is told to stop: else every open stream would hold it up."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()  # what is there now stays: looking it all through again would hold up every request for 40 ms

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
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every open stream is a file
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    CustodyServer(app, config).run()
