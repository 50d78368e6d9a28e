"""`kalepool custody`: the master key, and what only its holder may change."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from kalepool.commands.pool import read_settings, with_database_open
from kalepool.logins import Login

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


@custody.command()
def bind() -> None:
    """After an upgrade with KALEPOOL_MASTER_KEY: bind every secret to its payout wallet, as the database has it now.

    With a key file the API does it by itself. See first that the payout wallets are right: `kalepool farmer list`.
    """
    from kalepool.custody import bind as bind_all

    settings = read_settings()
    typer.echo(f"{with_database_open(settings, lambda database: bind_all(settings, database))} secrets bound")


@custody.command()
def payout(
    farmer: Annotated[UUID, typer.Argument(help="The farmer's id.")],
    wallet: Annotated[str, typer.Argument(help="The wallet that is to be paid out to from now on, G….")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Have a farmer's money go to another wallet. Needs the master key: no writer of the database can do it."""
    from kalepool.custody import open_custody
    from kalepool.database import Database
    from kalepool.services.seals import change_payout_wallet

    settings = read_settings()

    async def change(database: Database) -> str:
        return await change_payout_wallet(await open_custody(settings, database), database, farmer, wallet)

    if not yes:
        typer.confirm(f"Everything that farmer {farmer} owns is to go to {wallet} from now on. Go on?", abort=True)
    typer.echo(f"paid out to {wallet} from now on, no more to {with_database_open(settings, change, Login.MIGRATE)}")
