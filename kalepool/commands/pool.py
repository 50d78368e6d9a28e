"""What the commands share: the settings, the pool that runs in the data folder, its database and its API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConfigError, InputError, KalepoolError, NotFoundError
from kalepool.log import configure
from kalepool.logins import Login
from kalepool.postgres import Postgres, running_url
from kalepool.services.keys import Role
from kalepool.units import plain
from kalepool.up.folder import DataFolder, Running, find_running
from kalepool.view.screen import print_whole

Pooler = Annotated[str, typer.Option("--pooler", help="The pooler's name.")]


AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


OWN_POOLER = "home"


ALL = 1_000_000
"""Rows of a list: a command shows it whole."""


SHOWN_ONCE = "The key is not kept and cannot be shown again."


T = TypeVar("T")


def read_settings() -> Settings:
    """The environment's settings; what they leave open is filled in from a `kalepool up` that runs here."""
    settings = Settings.load()
    running = find_running(settings.data_dir)
    if running is None or running.network != settings.network:
        return settings
    return settings.model_copy(update=open_in(settings, running))


def open_in(settings: Settings, running: Running) -> dict[str, Any]:
    names = ("rpc_url", "friendbot_url", "api_url", "ledger_seconds", "block_seconds")
    return {name: getattr(running, name) for name in names if getattr(settings, name) is None}


def with_database_url(settings: Settings, login: Login) -> Settings:
    """For a process on its own: the database that is configured, or that a running `kalepool up` has."""
    if settings.database_url is None:
        url = running_url(settings.data_dir / "postgres", login=login)
        if url is None:
            raise ConfigError("no database: set DATABASE_URL, or start `kalepool up`")
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
    return settings


def no_pool(settings: Settings) -> ConfigError:
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
def database_url(settings: Settings, login: Login = Login.API, *, new: bool = False) -> Iterator[str]:
    """For one look: the configured database, the running embedded one, or that one started for as long as it takes.

    new: make the embedded one where there is none; else that is a ConfigError, and no folder is made.
    """
    if settings.database_url is not None:
        owners = settings.migrate_database_url if login is Login.MIGRATE else None
        yield (owners or settings.database_url).get_secret_value()
        return
    data = settings.data_dir / "postgres"
    url = running_url(data, login=login)
    if url is not None:
        yield url
        return
    if not new and not (data / "PG_VERSION").exists():
        raise no_pool(settings)
    with (
        DataFolder(settings.data_dir) as folder,
        Postgres.start(data, programs=settings.postgres_bin, log_file=folder.logs / "postgres.log") as server,
    ):
        server.create_pool_database()
        yield server.url(login=login)


def with_database_open(
    settings: Settings, work: Callable[[Database], Awaitable[T]], login: Literal[Login.API, Login.MIGRATE] = Login.API
) -> T:
    """Run `work` on the open database; as its owner where `login` says so."""

    async def run(url: str) -> T:
        role = None if login is Login.MIGRATE else login
        async with Database.open(url, role=role, connections=2) as database:
            return await work(database)

    configure("warning")
    with database_url(settings, login) as url:
        return asyncio.run(run(url))


async def find_pooler(database: Database, name: str) -> UUID:
    from kalepool.services import poolers

    found = await poolers.find_pooler(database, name)
    if found is None:
        raise NotFoundError(f"no pooler is called {name!r}: `kalepool pooler add {name}` makes one")
    return found


async def ask_api(
    settings: Settings, database: Database, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One call as an operator. Who reaches the database may make itself a key; this one ends with the minute."""
    import httpx2

    from kalepool.services.keys import create_key

    url = settings.own_api_url
    soon = datetime.now(UTC) + timedelta(minutes=1)
    key = (await create_key(database, Role.OPERATOR, label="command line", expires_at=soon)).key
    async with httpx2.AsyncClient(base_url=url, timeout=60.0) as client:
        try:
            answer = await client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
        except httpx2.TransportError as error:
            raise ConfigError(
                f"the API does not answer at {url} ({error}): start `kalepool up` or `kalepool api`"
            ) from None
    if answer.is_success:
        return answer.json() if answer.content else {}
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError):
        detail = answer.text[:300]
    if answer.status_code == 401:
        raise ConfigError(
            f"the API at {url} is another pool's: it knows no key of this database; set KALEPOOL_API_URL to this pool's"
        )
    if answer.status_code < 500:
        raise InputError(f"the API says {answer.status_code}: {detail}")
    raise KalepoolError(f"the API says {answer.status_code}: {detail}")


def operate(work: Callable[[Settings, Database], Awaitable[T]]) -> T:
    """Run `work` with the settings and the open database of the pool that is meant."""
    settings = read_settings()
    return with_database_open(settings, lambda database: work(settings, database))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost, unless --yes was given. Ends the command with status 1 at a no."""
    if not yes and not typer.confirm(question):
        typer.echo("Nothing was changed.")
        raise typer.Exit(1)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list as a table of these columns, or whole as JSON."""
    if as_json:
        show_json(rows)
        return
    table = Table(box=None, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[column])) for column in columns))
    show(table)


def show_json(found: Any) -> None:
    typer.echo(json.dumps(found, indent=1, default=str))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else plain(str(value))


def show(*parts: Any) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 140
    for part in parts:
        print_whole(console, part)
