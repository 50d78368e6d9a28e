"""`kalepool operator`: keys for operators."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.commands.pool import SHOWN_ONCE, read_settings, with_database_open
from kalepool.services.keys import Role

operator = typer.Typer(add_completion=False, no_args_is_help=True, help="Make keys for operators.")


@operator.callback()
def _operator() -> None:
    """Make keys for operators."""


@operator.command("add")
def operator_add(label: Annotated[str, typer.Argument(help="Who it is for.")]) -> None:
    """Make an operator's API key and print it, once."""
    from kalepool.services.keys import create_key

    new = with_database_open(read_settings(), lambda database: create_key(database, Role.OPERATOR, label=label))
    typer.echo(f"key_id  {new.key_id}\nkey     {new.key}\n{SHOWN_ONCE}")
