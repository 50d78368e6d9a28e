"""`kalepool pooler`: poolers and their keys."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kalepool.commands.pool import (
    ALL,
    SHOWN_ONCE,
    AsJson,
    ask_api,
    find_pooler,
    operate,
    read_settings,
    show_json,
    show_rows,
    with_database_open,
)
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.names import require_name

pooler = typer.Typer(add_completion=False, no_args_is_help=True, help="Add, list, open and close poolers.")

Name = Annotated[str, typer.Argument(help="The pooler's name.")]


@pooler.command("add")
def pooler_add(
    name: Annotated[str, typer.Argument(help="A name of its own.")],
    max_farmers: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="How many farmers it may have (KALEPOOL_POOLER_FARMERS).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a pooler and print its API key, once."""
    from kalepool.services.poolers import add_pooler

    require_name(name)
    settings = read_settings()
    limit = max_farmers or settings.pooler_farmers
    new = with_database_open(settings, lambda database: add_pooler(database, name, limit))
    if as_json:
        show_json({"pooler_id": new.pooler_id, "key": new.key})
    else:
        typer.echo(f"pooler_id  {new.pooler_id}\nkey        {new.key}\n{SHOWN_ONCE}")


@pooler.command("list")
def pooler_list(as_json: AsJson = False) -> None:
    """List poolers: whether farmers may come by themselves, how many each has, and what is owed to them."""
    from kalepool.services.poolers import summaries

    rows = operate(lambda _settings, database: summaries(database, after=None, limit=ALL))
    columns = ("name", "pooler_id", "status", "open", "planting_paused", "registered", "active", "max_farmers")
    show_rows(rows, columns, as_json=as_json)


@pooler.command("open")
def pooler_open(name: Name, as_json: AsJson = False) -> None:
    """Let farmers register at a pooler by themselves."""
    _change(name, open_to_all=True, as_json=as_json)


@pooler.command("close")
def pooler_close(name: Name, as_json: AsJson = False) -> None:
    """Take no more farmers that come by themselves. Those that are there stay."""
    _change(name, open_to_all=False, as_json=as_json)


def _change(name: str, *, open_to_all: bool, as_json: bool) -> None:
    async def change(settings: Settings, database: Database) -> dict[str, Any]:
        path = f"/operator/poolers/{await find_pooler(database, name)}"
        return await ask_api(settings, database, "PATCH", path, {"open": open_to_all})

    changed = operate(change)
    if as_json:
        show_json(changed)
    else:
        typer.echo(
            "Farmers may register there by themselves."
            if changed["open"]
            else "Farmers cannot register there by themselves."
        )
