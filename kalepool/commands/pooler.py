"""`kalepool pooler`: poolers and their keys."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.commands.pool import SHOWN_ONCE, read_settings, with_database_open

pooler = typer.Typer(add_completion=False, no_args_is_help=True, help="Add poolers.")


@pooler.callback()
def _pooler() -> None:
    """Add poolers."""


@pooler.command("add")
def pooler_add(
    name: Annotated[str, typer.Argument(help="A name of its own.")],
    max_farmers: Annotated[
        int | None, typer.Option(min=1, help="How many farmers it may have (KALEPOOL_POOLER_FARMERS).")
    ] = None,
) -> None:
    """Add a pooler and print its API key, once."""
    from kalepool.services.poolers import add_pooler

    settings = read_settings()
    limit = max_farmers or settings.pooler_farmers
    new = with_database_open(settings, lambda database: add_pooler(database, name, limit))
    typer.echo(f"pooler_id  {new.pooler_id}\nkey        {new.key}\n{SHOWN_ONCE}")
