"""`kalepool miner`: external miners and their keys."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.commands.pool import SHOWN_ONCE, read_settings, with_database_open
from kalepool.database import Database
from kalepool.errors import ConflictError

miner = typer.Typer(add_completion=False, no_args_is_help=True, help="Add external miners.")


@miner.callback()
def _miner() -> None:
    """Add external miners."""


@miner.command("add")
def miner_add(
    name: Annotated[str, typer.Argument(help="What the pool calls it: a name that no other miner has.")],
    payout_wallet: Annotated[str | None, typer.Option(help="The G… address that is paid.")] = None,
) -> None:
    """Add an external miner and print its API key, once. `kalepool mine` and any other client work with it."""
    from kalepool.services.mining.miners import NewMiner, create_invite, find_miner, register

    settings = read_settings()

    async def add(database: Database) -> NewMiner:
        if other := await find_miner(database, name):
            raise ConflictError(
                f"miner {other} is called {name!r} already: choose another name; for another key of the "
                "same miner see POST /operator/keys"
            )
        invite = await create_invite(database, name, uses=1, valid_seconds=60)
        return await register(database, settings, name, payout_wallet, invite.invite)

    new = with_database_open(settings, add)
    typer.echo(f"miner_id  {new.miner.miner_id}\nkey       {new.key}\n{SHOWN_ONCE}")
