"""`kalepool operator`: keys for operators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from kalepool.commands.pool import (
    ALL,
    SHOWN_ONCE,
    AsJson,
    operate,
    read_settings,
    show_json,
    show_rows,
    with_database_open,
)
from kalepool.names import require_name
from kalepool.services.keys import Role

operator = typer.Typer(add_completion=False, no_args_is_help=True, help="Make and list operators' keys.")


@operator.command("add")
def operator_add(
    label: Annotated[str, typer.Argument(help="Who it is for.")],
    as_json: AsJson = False,
) -> None:
    """Make an operator's API key and print it, once."""
    from kalepool.services.keys import create_key

    require_name(label)
    new = with_database_open(read_settings(), lambda database: create_key(database, Role.OPERATOR, label=label))
    if as_json:
        show_json({"key_id": new.key_id, "key": new.key})
    else:
        typer.echo(f"key_id  {new.key_id}\nkey     {new.key}\n{SHOWN_ONCE}")


@operator.command("list")
def operator_list(as_json: AsJson = False) -> None:
    """List the operators' keys that may be used. `kalepool key revoke` ends one."""
    from kalepool.services.keys import all_keys

    now = datetime.now(UTC)
    rows = operate(lambda _settings, database: all_keys(database, Role.OPERATOR, None, after=None, limit=ALL))
    shown = [row for row in rows if row["revoked_at"] is None and (row["expires_at"] or now) >= now]
    show_rows(shown, ("key_id", "label", "created_at", "expires_at"), as_json=as_json)
