"""`kalepool coordinate`: the coordinator as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.commands.pool import read_settings, with_database_url
from kalepool.log import configure
from kalepool.logins import Login
from kalepool.tracing import tracing


def coordinate(
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Search with external miners alone.")] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Use this Ray cluster ('auto': the one on this machine), not one of our own.")
    ] = None,
) -> None:
    """Run the coordinator: watch the chain, have farmers planted, search, hand in work, harvest.

    One that is started beside another of the same pooler stands by, and takes over when that one dies or freezes.
    """
    from kalepool.coordinator import run

    settings = with_database_url(read_settings(), Login.COORDINATOR)
    if no_ray or ray_address:
        settings = settings.model_copy(update={"ray_address": "none" if no_ray else ray_address})
    configure(settings.log_level)
    with tracing(settings.otlp_url, "coordinator"):
        run(settings)
