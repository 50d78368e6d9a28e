"""The short commands: one process each, or one look. `up`, `devnet`, `mine` and `bench` have files of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ChainError, ConfigError, ConflictError, InputError, KalepoolError, NotFoundError
from kalepool.log import configure
from kalepool.postgres import Postgres, running_url
from kalepool.units import plain
from kalepool.up.folder import DataFolder, Running, find_running

farmer = typer.Typer(add_completion=False, no_args_is_help=True, help="Add, list and show farmers, and let them go.")
pooler = typer.Typer(add_completion=False, no_args_is_help=True, help="Add poolers.")
miner = typer.Typer(add_completion=False, no_args_is_help=True, help="Add external miners.")
operator = typer.Typer(add_completion=False, no_args_is_help=True, help="Make keys for operators.")
custody = typer.Typer(add_completion=False, no_args_is_help=True, help="Look after the master key.")

Pooler = Annotated[str, typer.Option("--pooler", help="The pooler's name.")]
Called = Annotated[str, typer.Argument(metavar="FARMER", help="Its id, custodial wallet or name: see `farmer list`.")]
OWN_POOLER = "home"
PATIENCE_SECONDS = 8.0
"""`kalepool status` waits for the chain no longer."""

SHOWN_ONCE = "The key is not kept and cannot be shown again."
T = TypeVar("T")


# ----------------------------------------------------------------------------------------------------------------------
# Processes


def api() -> None:
    """Run the API and custody: the only process that opens farmers' keys."""
    from kalepool.api import serve

    settings = _with_database(_settings())
    configure(settings.log_level)
    serve(settings)


def coordinate(
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Search with external miners alone.")] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Use this Ray cluster ('auto': the one on this machine), not one of our own.")
    ] = None,
) -> None:
    """Run the coordinator: watch the chain, have farmers planted, search, hand in work, harvest."""
    from kalepool.coordinator import run

    settings = _with_database(_settings())
    if no_ray or ray_address:
        settings = settings.model_copy(update={"ray_address": "none" if no_ray else ray_address})
    configure(settings.log_level)
    run(settings)


# ----------------------------------------------------------------------------------------------------------------------
# The database


def migrate() -> None:
    """Bring the database's schema up to date. Starts the embedded server for it where that does not run."""
    from kalepool.database import migrate as bring_up_to_date

    with _database_url(_settings(), new=True) as url:
        applied = asyncio.run(bring_up_to_date(url))
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")


@custody.callback()
def _custody() -> None:
    """Look after the master key."""


@custody.command()
def rotate() -> None:
    """Seal every secret under a new master key, all or none. A running API goes on.

    With a key file the new key is made here. With KALEPOOL_MASTER_KEY, set it to NEW,OLD first and to NEW afterwards.
    """
    from kalepool.custody import rotate as seal_again

    settings = _settings()
    typer.echo(f"{_with(settings, lambda database: seal_again(settings, database))} secrets sealed again")


@pooler.callback()
def _pooler() -> None:
    """Add poolers."""


@pooler.command("add")
def pooler_add(
    name: Annotated[str, typer.Argument(help="A name of its own.")],
    max_farmers: Annotated[int | None, typer.Option(min=1, help="How many farmers it may have (100).")] = None,
) -> None:
    """Add a pooler and print its API key, once."""
    from kalepool.services.poolers import add_pooler

    settings = _settings()
    limit = max_farmers or settings.pooler_farmers
    new = _with(settings, lambda database: add_pooler(database, name, limit))
    typer.echo(f"pooler_id  {new.pooler_id}\nkey        {new.key}\n{SHOWN_ONCE}")


@miner.callback()
def _miner() -> None:
    """Add external miners."""


@miner.command("add")
def miner_add(
    name: Annotated[str, typer.Argument(help="What the pool calls it: a name that no other miner has.")],
    payout_wallet: Annotated[str | None, typer.Option(help="The G… address that is paid.")] = None,
) -> None:
    """Add an external miner and print its API key, once. `kalepool mine` and any other client work with it."""
    from kalepool.services.mining.miners import NewMiner, create_invite, register

    settings = _settings()

    async def add(database: Database) -> NewMiner:
        if other := await database.fetch_one("select_miner_called", name=name):
            raise ConflictError(
                f"miner {other['miner_id']} is called {name!r} already: choose another name; for another key of the "
                "same miner see POST /operator/keys"
            )
        invite = await create_invite(database, name, uses=1, valid_seconds=60)
        return await register(database, settings, name, payout_wallet, invite.invite)

    new = _with(settings, add)
    typer.echo(f"miner_id  {new.miner.miner_id}\nkey       {new.key}\n{SHOWN_ONCE}")


@operator.callback()
def _operator() -> None:
    """Make keys for operators."""


@operator.command("add")
def operator_add(label: Annotated[str, typer.Argument(help="Who it is for.")]) -> None:
    """Make an operator's API key and print it, once."""
    from kalepool.services.keys import create_key

    new = _with(_settings(), lambda database: create_key(database, "operator", label=label))
    typer.echo(f"key_id  {new.key_id}\nkey     {new.key}\n{SHOWN_ONCE}")


# ----------------------------------------------------------------------------------------------------------------------
# Farmers


@farmer.command("add")
def farmer_add(
    payout_wallet: Annotated[str, typer.Argument(help="The G… address that is paid when the farmer leaves.")],
    stake_percentage: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Part of the KALE balance staked in each block: 0.1 is a tenth, 1 is everything (0.1)."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What you call it: a name that no other farmer has.")] = None,
    pooler: Pooler = OWN_POOLER,
) -> None:
    """Register a farmer: makes its custodial wallet, and says what that has to be funded with."""
    from kalepool.live.farmer import farmers_called

    settings = _settings()

    async def add(database: Database) -> dict[str, Any]:
        body: dict[str, Any] = {"pooler_id": str(await _pooler_id(database, pooler)), "payout_wallet": payout_wallet}
        if name is not None:
            for other in await farmers_called(database, name):
                if other.status != "departed":
                    raise ConflictError(f"farmer {other.farmer_id} is called {name!r} already: choose another --name")
            body["metadata"] = {"name": name}
        if stake_percentage is not None:
            body["stake_percentage"] = stake_percentage
        return await _ask_api(settings, database, "POST", "/farmers/register", body)

    made = _with(settings, add)
    native = int(made["missing"]["native_stroops"])
    typer.echo(f"farmer_id         {made['farmer_id']}")
    typer.echo(f"custodial_wallet  {made['custodial_wallet']}")
    typer.echo(f"api_key           {made['api_key']}")
    typer.echo(f"The farmer {made['stake']}.")
    typer.echo(f"The key cannot be shown again. Send {native / 10**7:g} XLM to the custodial wallet; the rest follows.")


@farmer.command("list")
def farmer_list(pooler: Annotated[str | None, typer.Option("--pooler", help="Only this pooler's.")] = None) -> None:
    """List farmers."""

    async def read(database: Database) -> list[dict[str, Any]]:
        pooler_id = await _pooler_id(database, pooler) if pooler else None
        return await database.fetch_all("select_farmers", pooler_id=pooler_id)

    table = Table(box=None, header_style="dim")
    table.add_column("name", no_wrap=True, max_width=24)
    for heading in ("farmer_id", "status", "stake", "custodial_wallet"):
        table.add_column(heading, no_wrap=True)
    for row in _with(_settings(), read):
        stake = f"{float(row['stake_percentage']):.1%}"
        name = Text(plain(str(row["metadata"].get("name") or "-")))
        table.add_row(name, str(row["farmer_id"]), row["status"], stake, row["custodial_wallet"])
    _print(table)


@farmer.command("show")
def farmer_show(called: Called) -> None:
    """Show a farmer: its wallets, its balances on the chain, how it did, and what it waits for."""
    from kalepool.live.farmer import Line, describe, find_farmer

    settings = _settings()

    async def read(database: Database) -> list[Line]:
        path = f"/farmers/{(await find_farmer(database, called)).farmer_id}"
        found = await _ask_api(settings, database, "GET", path)
        goes = found["status"] in ("leaving", "departed")
        return describe(found, await _ask_api(settings, database, "GET", f"{path}/leave") if goes else None)

    for name, value in _with(settings, read):
        typer.echo(f"{name:<16}  {value}")


@farmer.command("leave")
def farmer_leave(
    called: Called,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let a farmer go: no plants from now on; after its last harvest everything goes to its payout wallet."""
    from kalepool.live.farmer import find_farmer, paid, waits

    settings = _settings()
    known = _with(settings, lambda database: find_farmer(database, called))
    if not yes:
        name = plain(known.name or str(known.farmer_id))
        typer.echo(
            f"{name} is planted for no more, and after its last harvest all its KALE and XLM go to its payout wallet\n"
            f"{known.payout_wallet}; its custodial wallet is closed. There is no way back."
        )
        if not typer.confirm(f"Let {name} go?"):
            typer.echo("Nothing was changed.")
            raise typer.Exit(1)
    path = f"/farmers/{known.farmer_id}/leave"
    found = _with(settings, lambda database: _ask_api(settings, database, "POST", path))
    if found["status"] == "departed":
        typer.echo(f"It has departed, {paid(found)}.")
        return
    typer.echo(f"It leaves; {waits(found)}.")
    typer.echo(f"It goes on by itself; `kalepool farmer show {known.farmer_id}` says how far it is.")


# ----------------------------------------------------------------------------------------------------------------------
# Status


def status() -> None:
    """Show the block, the farmers, the workers and the last blocks, once.

    Where the chain cannot be read, what the database knows is shown, and the exit status is 1.
    """
    from kalepool.chain import ChainReader
    from kalepool.live.screen import render, workers_table
    from kalepool.live.view import View, read_view

    settings = _settings()
    if settings.network == "devnet" and settings.rpc_url is None:
        raise _no_pool(settings)

    async def read(database: Database) -> tuple[View, str | None]:
        try:
            async with ChainReader(settings.chain) as chain, asyncio.timeout(PATIENCE_SECONDS):
                return await read_view(database, chain, None), None
        except TimeoutError:
            server = urlsplit(settings.chain.rpc_url or "").hostname  # the rest of the address may hold a key
            trouble = f"the RPC server {server} did not answer within {PATIENCE_SECONDS:g} s"
        except ChainError as error:
            trouble = str(error)
        return await read_view(database, None, None), trouble

    view, trouble = _with(settings, read)
    title = f"kalepool on {settings.network}" + (f"   page {settings.api_url}/" if settings.api_url else "")
    seconds = settings.chain.block_seconds
    _print(render(view, view.at, [], title=title, block_seconds=seconds, height=10_000))
    if view.workers:
        _print(workers_table(view.workers))
    if trouble:
        raise ChainError(f"the chain cannot be read: {trouble}")


# ----------------------------------------------------------------------------------------------------------------------
# What they share


def _settings() -> Settings:
    """The environment's settings; what they leave open is filled in from a `kalepool up` that runs here."""
    settings = Settings.load()
    running = find_running(settings.data_dir)
    if running is None or running.network != settings.network:
        return settings
    return settings.model_copy(update=_open_in(settings, running))


def _open_in(settings: Settings, running: Running) -> dict[str, Any]:
    names = ("rpc_url", "friendbot_url", "api_url", "ledger_seconds", "block_seconds")
    return {name: getattr(running, name) for name in names if getattr(settings, name) is None}


def _with_database(settings: Settings) -> Settings:
    """For a process on its own: the database that is configured, or that a running `kalepool up` has."""
    if settings.database_url is None:
        url = running_url(settings.data_dir / "postgres")
        if url is None:
            raise ConfigError("no database: set DATABASE_URL, or start `kalepool up`")
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
    return settings


def _no_pool(settings: Settings) -> ConfigError:
    note = settings.data_dir / "up.json"
    running = find_running(settings.data_dir)
    if running is not None and running.network == settings.network:
        return ConfigError("the pool that runs here has another database: set DATABASE_URL to its address")
    if running is not None:
        return ConfigError(
            f"the pool here is on {running.network}, not {settings.network}: set KALEPOOL_NETWORK={running.network}"
        )
    where = f"{note}" if note.is_absolute() else f"{note} in {Path.cwd()}"
    found = f"{where} is of one that ended" if note.exists() else f"no {where}"
    return ConfigError(f"no pool here: {found}; start `kalepool up`, or go to its folder (KALEPOOL_DATA_DIR)")


@contextmanager
def _database_url(settings: Settings, *, new: bool = False) -> Iterator[str]:
    """For one look: the configured database, the running embedded one, or that one started for as long as it takes.

    new: make the embedded one where there is none; else that is a ConfigError, and no folder is made.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    data = settings.data_dir / "postgres"
    url = running_url(data)
    if url is not None:
        yield url
        return
    if not new and not (data / "PG_VERSION").exists():
        raise _no_pool(settings)
    with (
        DataFolder(settings.data_dir) as folder,
        Postgres.start(data, programs=settings.postgres_bin, log_file=folder.logs / "postgres.log") as server,
    ):
        yield server.create_database("kalepool")


def _with(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on the open database."""

    async def run(url: str) -> T:
        async with Database.open(url, connections=2) as database:
            return await work(database)

    configure("warning")
    with _database_url(settings) as url:
        return asyncio.run(run(url))


async def _pooler_id(database: Database, name: str) -> UUID:
    found = await database.fetch_one("select_pooler_by_name", name=name)
    if found is None:
        raise NotFoundError(f"no pooler is called {name!r}: `kalepool pooler add {name}` makes one")
    return found["pooler_id"]


async def _ask_api(
    settings: Settings, database: Database, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One call as an operator. Who reaches the database may make itself a key; this one ends with the minute."""
    import httpx2

    from kalepool.services.keys import create_key

    url = settings.own_api_url
    soon = datetime.now(UTC) + timedelta(minutes=1)
    key = (await create_key(database, "operator", label="command line", expires_at=soon)).key
    async with httpx2.AsyncClient(base_url=url, timeout=60.0) as client:
        try:
            answer = await client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
        except httpx2.TransportError as error:
            raise ConfigError(
                f"the API does not answer at {url} ({error}): start `kalepool up` or `kalepool api`"
            ) from None
    if answer.is_success:
        return answer.json()
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError):
        detail = answer.text[:300]
    if answer.status_code < 500:
        raise InputError(f"the API says {answer.status_code}: {detail}")
    raise KalepoolError(f"the API says {answer.status_code}: {detail}")


def _print(*parts: Any) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 140
    for part in parts:
        console.print(part)
