"""`kalepool api`: the app under uvicorn."""

from __future__ import annotations

import uvicorn

from kalepool.api.app import create_app
from kalepool.config import Settings

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
"""Requests under way may go on for so long when the process is told to stop."""


def serve(settings: Settings) -> None:
    """Serves the API at settings.api_host and api_port until SIGINT or SIGTERM. Raises ConfigError, DatabaseError."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    uvicorn.Server(config).run()
