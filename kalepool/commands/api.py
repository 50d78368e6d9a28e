"""`kalepool api`: the API and custody as a process, or as several."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.commands.pool import read_settings, with_database_url
from kalepool.log import configure
from kalepool.logins import Login
from kalepool.tracing import tracing


def api(
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes behind the one address (KALEPOOL_API_WORKERS; 1)."),
    ] = None,
    shares_port: Annotated[bool, typer.Option("--shares-port", hidden=True, help="One of several workers.")] = False,
) -> None:
    """Run the API and custody: the only processes that open farmers' keys.

    Started on several machines with the same database, or with several workers, one process leads: it alone sends to
    the chain. The others serve miners and the page's streams beside it, and one of them takes its place when it ends.
    """
    settings = with_database_url(read_settings(), Login.API)
    configure(settings.log_level)
    count = settings.api_workers if workers is None else workers
    if count > 1:
        from kalepool.up.workers import run_workers

        raise typer.Exit(run_workers(settings, count))
    from kalepool.api import serve

    with tracing(settings.otlp_url, "api", share_part=settings.otlp_share_part):
        serve(settings, shares_port=shares_port)
