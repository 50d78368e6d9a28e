"""`kalepool miner`: external miners and their keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from kalepool.commands.pool import (
    ALL,
    SHOWN_ONCE,
    AsJson,
    ask_api,
    operate,
    read_settings,
    show_json,
    show_rows,
    with_database_open,
)
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConfigError, ConflictError, CustodyError, NotFoundError
from kalepool.names import require_name
from kalepool.services.keys import Role
from kalepool.units import plain

miner = typer.Typer(add_completion=False, no_args_is_help=True, help="Add, list and show external miners.")

NO_WALLET = (
    "warning: without a payout wallet nothing that it earns is paid, and who has the key may set any: the miner sets "
    "it by PATCH /miner/me, or make it anew with --payout-wallet G…"
)

Called = Annotated[str, typer.Argument(metavar="MINER", help="Its id or name: see `miner list`.")]


@miner.command("add")
def miner_add(
    name: Annotated[str, typer.Argument(help="What the pool calls it: a name that no other miner has.")],
    payout_wallet: Annotated[str | None, typer.Option(help="The G… address that is paid.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an external miner and print its API key, once. `kalepool mine` and any other client work with it.

    Its payout wallet is sealed with the master key: by the API, where that is not here.
    """
    from kalepool.custody import open_custody
    from kalepool.services.mining.miners import create_invite, find_miner, register

    require_name(name)
    settings = read_settings()

    async def add(database: Database) -> tuple[str, str]:
        if other := await find_miner(database, name):
            raise ConflictError(
                f"miner {other} is called {name!r} already: choose another name; for another key of the "
                f"same miner: kalepool miner key {other}"
            )
        invite = (await create_invite(database, name, uses=1, valid_seconds=60)).invite
        try:
            custody = await open_custody(settings, database)
        except (ConfigError, CustodyError):  # it is the API's alone
            body = {"name": name, "payout_wallet": payout_wallet, "invite": invite}
            made = await ask_api(settings, database, "POST", "/miner/register", body)
            return made["miner_id"], made["api_key"]
        new = await register(database, custody, settings, name, payout_wallet, invite)
        return str(new.miner.miner_id), new.key

    miner_id, key = with_database_open(settings, add)
    if as_json:
        show_json({"miner_id": miner_id, "key": key})
    else:
        typer.echo(f"miner_id  {miner_id}\nkey       {key}\n{SHOWN_ONCE}")
    if payout_wallet is None:
        typer.echo(NO_WALLET, err=True)


@miner.command("list")
def miner_list(as_json: AsJson = False) -> None:
    """List external miners, in the order of their registration."""
    rows = operate(lambda _settings, database: _all(database))
    show_rows(rows, ("name", "miner_id", "status", "payout_wallet", "banned_until", "last_seen_at"), as_json=as_json)


@miner.command("show")
def miner_show(called: Called, as_json: AsJson = False) -> None:
    """Show an external miner: where it is paid to, whether it is banned and why, when it was last heard of."""
    found = operate(lambda _settings, database: _find(database, called))
    if as_json:
        show_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name:<16}  {'-' if value is None else plain(str(value))}")


@miner.command("key")
def miner_key(called: Called, as_json: AsJson = False) -> None:
    """Make another key for a miner and print it, once. Keys that it has go on: `kalepool key revoke` ends one."""

    async def make(settings: Settings, database: Database) -> dict[str, Any]:
        found = await _find(database, called)
        body = {"role": Role.MINER, "subject_id": str(found["miner_id"]), "label": found["name"]}
        return await ask_api(settings, database, "POST", "/operator/keys", body)

    made = operate(make)
    if as_json:
        show_json({"key_id": made["key_id"], "key": made["api_key"]})
    else:
        typer.echo(f"key_id  {made['key_id']}\nkey     {made['api_key']}\n{SHOWN_ONCE}")


async def _all(database: Database) -> list[dict[str, Any]]:
    from kalepool.services.mining.miners import miners_page

    return [asdict(found) for found in await miners_page(database, after=None, limit=ALL)]


async def _find(database: Database, called: str) -> dict[str, Any]:
    """The one miner of this id or name. Raises NotFoundError, ConflictError where several are called so."""
    rows = await _all(database)
    found = [row for row in rows if called == row["name"] or called == str(row["miner_id"])]
    if not found:
        raise NotFoundError(f"no miner has the id or name {called!r}: see `kalepool miner list`")
    if len(found) > 1:
        ids = ", ".join(str(row["miner_id"]) for row in found)
        raise ConflictError(f"{len(found)} miners are called {called!r}: name one by its id: {ids}")
    return found[0]
