"""`kalepool custody`: the master key, and what only its holder may change."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from kalepool.commands.pool import OWN_POOLER, Pooler, find_pooler, read_settings, with_database_open
from kalepool.database import Database
from kalepool.logins import Login
from kalepool.units import amount, counted

custody = typer.Typer(add_completion=False, no_args_is_help=True, help="Look after the master key.")


@custody.callback()
def _custody() -> None:
    """Look after the master key."""


@custody.command()
def rotate() -> None:
    """Seal every secret under a new master key, all or none. A running API goes on.

    With a key file the new key is made here, in front of those before. With KALEPOOL_MASTER_KEY, set it to NEW,OLD
    first and to NEW afterwards. Keep old keys in a safe: only they bring back the wallets that were made under them.
    """
    from kalepool.custody import key_file_path
    from kalepool.custody import rotate as seal_again

    settings = read_settings()
    typer.echo(f"{with_database_open(settings, lambda database: seal_again(settings, database))} secrets sealed again")
    kept = "KALEPOOL_MASTER_KEY with all its keys" if settings.master_key else key_file_path(settings)
    typer.echo(
        f"Keep a copy of {kept} again, in a safe place: it has the new key, and the old ones, which wallets hang on."
    )


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
    wallet: Annotated[str, typer.Argument(help="The wallet that is to be paid out to from now on: G…, M… or C….")],
    memo: Annotated[
        str | None, typer.Option(help="A memo that goes with it, as text:…, id:… or hash:…: exchanges ask for one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Have a farmer's money go to another wallet. Needs the master key: no writer of the database can do it."""
    from kalepool.chain import require_destination
    from kalepool.custody import open_custody
    from kalepool.services.seals import change_payout_wallet

    settings = read_settings()

    async def change(database: Database) -> str:
        return await change_payout_wallet(await open_custody(settings, database), database, farmer, wallet, memo)

    to = require_destination(wallet, memo)
    if not yes:
        typer.confirm(f"Everything that farmer {farmer} owns is to go to {to} from now on. Go on?", abort=True)
    typer.echo(f"paid out to {to} from now on, no more to {with_database_open(settings, change, Login.MIGRATE)}")


@custody.command()
def recover(
    pooler: Pooler = OWN_POOLER,
    payout_wallet: Annotated[
        str | None, typer.Option("--payout-wallet", help="Make farmers of them that are paid out to this G… address.")
    ] = None,
    wallets: Annotated[list[str] | None, typer.Option("--wallet", help="Only this custodial wallet.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Find every farmer's wallet on the ledger by the master key alone, and bring back what the database lacks.

    Without --payout-wallet nothing is changed. With it each wallet that is nobody's becomes a farmer that stakes
    nothing; `kalepool farmer leave` then pays out all it holds.
    """
    from kalepool.chain import ChainReader
    from kalepool.custody import key_file_path, open_custody, read_key_file
    from kalepool.services.farmers import require_account_address
    from kalepool.services.wallets import DerivedWallet, bring_back, find_wallets

    settings = read_settings()
    if settings.master_key is None:
        read_key_file(key_file_path(settings))  # one that is made now brings nothing back
    if payout_wallet is not None:
        require_account_address(payout_wallet)

    async def look(database: Database) -> list[DerivedWallet]:
        async with ChainReader.of(settings) as chain:
            return await find_wallets(chain, await open_custody(settings, database), database)

    found = with_database_open(settings, look, Login.MIGRATE)
    for wallet in found:
        account = wallet.account
        held = f"{amount(account.kale_stroops or 0)} KALE, {amount(account.native_stroops)} XLM"
        whose = f"farmer {wallet.farmer_id}" if wallet.farmer_id else "nobody's"
        typer.echo(f"{wallet.number:>6}  {account.address}  {held}  {whose}")
    wanted = [
        wallet for wallet in found if wallet.farmer_id is None and (not wallets or wallet.account.address in wallets)
    ]
    typer.echo(f"{counted(len(found), 'wallet')} on the ledger, {len(wanted)} to be brought back")
    if payout_wallet is None or not wanted:
        return
    if not yes and not typer.confirm(f"Make farmers of {len(wanted)} that are paid out to {payout_wallet}?"):
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)

    async def restore(database: Database) -> int:
        pooler_id = await find_pooler(database, pooler)
        return len(await bring_back(await open_custody(settings, database), database, wanted, pooler_id, payout_wallet))

    typer.echo(f"{with_database_open(settings, restore, Login.MIGRATE)} farmers brought back")
