"""`kalepool key`: everybody's keys for the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from kalepool.commands.pool import ALL, AsJson, Yes, ask_api, confirm, operate, show_json, show_rows
from kalepool.services.keys import Role

key = typer.Typer(add_completion=False, no_args_is_help=True, help="List and revoke keys for the API.")


@key.command("list")
def key_list(
    role: Annotated[Role | None, typer.Option("--role", help="Only keys of this role.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that ended, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List keys, the newest first. Secrets are not among them: each was shown once."""
    from kalepool.services.keys import all_keys

    now = datetime.now(UTC)
    rows = operate(lambda _settings, database: all_keys(database, role, None, after=None, limit=ALL))
    shown = [row for row in rows if every or (row["revoked_at"] is None and (row["expires_at"] or now) >= now)]
    show_rows(
        shown, ("key_id", "role", "label", "subject_id", "created_at", "expires_at", "revoked_at"), as_json=as_json
    )


@key.command("revoke")
def key_revoke(
    key_id: Annotated[UUID, typer.Argument(help="Its id: see `key list`.")], yes: Yes = False, as_json: AsJson = False
) -> None:
    """End a key, at once and for good."""
    confirm(f"End key {key_id}? Whoever uses it is refused from then on.", yes=yes)
    operate(lambda settings, database: ask_api(settings, database, "DELETE", f"/operator/keys/{key_id}"))
    if as_json:
        show_json({"key_id": key_id, "revoked": True})
    else:
        typer.echo("It has ended.")
