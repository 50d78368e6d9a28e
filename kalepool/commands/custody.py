"""`kalepool custody`: the master key."""

from __future__ import annotations

import typer

from kalepool.commands.pool import read_settings, with_database_open

custody = typer.Typer(add_completion=False, no_args_is_help=True, help="Look after the master key.")


@custody.callback()
def _custody() -> None:
    """Look after the master key."""


@custody.command()
def rotate() -> None:
    """Seal every secret under a new master key, all or none. A running API goes on.

    With a key file the new key is made here. With KALEPOOL_MASTER_KEY, set it to NEW,OLD first and to NEW afterwards.
    """
    from kalepool.custody import rotate as seal_again

    settings = read_settings()
    typer.echo(f"{with_database_open(settings, lambda database: seal_again(settings, database))} secrets sealed again")
