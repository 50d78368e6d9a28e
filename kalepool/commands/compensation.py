"""`kalepool compensation`: what is owed to farmers for lost stakes, and an operator's yes."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from kalepool.commands.pool import ALL, AsJson, ask_api, confirm, operate, show_json, show_rows
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.units import amount

compensation = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List what is owed for lost stakes, and have it paid."
)

COLUMNS = (
    "compensation_id",
    "block_index",
    "farmer_id",
    "fault",
    "owed_stroops",
    "standing",
    "paid_at",
    "wait_message",
)


@compensation.command("list")
def compensation_list(
    everything: Annotated[bool, typer.Option("--all", help="What was paid, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what is owed for lost stakes and not paid, and what it waits for; the newest first."""
    from kalepool.services.operators import compensations

    async def read(_: Settings, database: Database) -> list[dict[str, Any]]:
        paid = None if everything else False
        rows = await compensations(database, None, paid, None, after=None, limit=ALL)
        return [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in rows]

    show_rows(operate(read), COLUMNS, as_json=as_json)


@compensation.command("pay")
def compensation_pay(
    compensation_id: Annotated[UUID, typer.Argument(help="See `compensation list`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say yes: it is paid from the operator's part of the treasury with the next round, once there is enough."""
    from kalepool.services.operators import read_compensation

    found = operate(lambda _, database: read_compensation(database, compensation_id))
    if not yes:
        confirm(f"Pay {amount(found.owed_stroops)} KALE to farmer {found.farmer_id}?", yes=yes)
    path = f"/operator/compensations/{compensation_id}/approval"
    made = operate(lambda settings, database: ask_api(settings, database, "PUT", path))
    if as_json:
        show_json(made)
    else:
        typer.echo(f"approved: {amount(found.owed_stroops)} KALE to farmer {found.farmer_id} with the next round")
