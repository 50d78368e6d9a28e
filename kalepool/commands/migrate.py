"""`kalepool migrate`: the database's schema."""

from __future__ import annotations

import asyncio

import typer

from kalepool.commands.pool import database_url, read_settings
from kalepool.log import configure
from kalepool.logins import Login


def migrate() -> None:
    """Bring the database's schema up to date. Starts the embedded server for it where that does not run."""
    from kalepool.database import migrate as bring_up_to_date

    configure("warning")  # what was applied is said below
    with database_url(read_settings(), Login.MIGRATE, new=True) as url:
        applied = asyncio.run(bring_up_to_date(url))
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")
