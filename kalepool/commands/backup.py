"""`kalepool backup`, `restore` and `move`: the pool's database as a file, and somewhere else."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from kalepool.commands.pool import AsJson, Yes, confirm, database_url, read_settings, show_json
from kalepool.config import Settings
from kalepool.errors import ConfigError, InputError
from kalepool.logins import Login
from kalepool.postgres import bundled_programs, running_url
from kalepool.units import counted
from kalepool.up.folder import find_running

NOT_THERE = "It holds no master key: keep {key} apart from it; without that key the wallets in it cannot be used."


def backup(
    file: Annotated[Path, typer.Argument(help="A new file; it gets mode 0600.")], as_json: AsJson = False
) -> None:
    """Write the pool's database to a file, as it is at this moment. The pool may run meanwhile."""
    from kalepool.custody import key_file_path
    from kalepool.dumps import dump

    settings = read_settings()
    with database_url(settings, Login.MIGRATE) as url:
        dump(url, file, _programs(settings))
    size = file.stat().st_size
    if as_json:
        show_json({"file": str(file), "bytes": size})
        return
    typer.echo(f"{file}, {size / 1e6:.1f} MB, was written.")
    typer.echo(NOT_THERE.format(key="KALEPOOL_MASTER_KEY" if settings.master_key else key_file_path(settings)))
    if settings.network == "devnet":
        typer.echo("The devnet's chain is not in it.")


def restore(
    file: Annotated[Path, typer.Argument(help="What `kalepool backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="In place of the database that is there.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back: all of it, or nothing. The pool must not run.

    If ledgers took transactions of the pool's since the backup, it finds that out at its next start and pays nobody
    before an operator has looked.
    """
    from kalepool import dumps

    settings = read_settings()
    _require_stopped(settings)
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    with database_url(settings, Login.MIGRATE, new=True) as url:
        dumps.require_unused(url)
        if not dumps.is_empty(url):
            if not replace:
                raise ConfigError(
                    "there is a database already: `kalepool backup` it, then say --replace, or choose another "
                    "KALEPOOL_DATA_DIR or DATABASE_URL"
                )
            confirm("The database that is there is lost with this. Go on?", yes=yes)
        dumps.restore(url, file, _programs(settings))
        applied = _bring_up_to_date(url)
    opens = _opens(settings)
    if as_json:
        show_json({"restored": str(file), "migrations": applied, "master_key_opens_it": opens is None})
    else:
        more = f", and {counted(len(applied), 'migration')} applied" if applied else ""
        typer.echo(f"{file} was put back{more}.")
        if opens is not None:
            typer.echo(f"Its wallets cannot be used yet: {opens}")


def move(
    to: Annotated[str, typer.Argument(help="Address of an empty database, as postgresql://user:password@host/name.")],
    as_json: AsJson = False,
) -> None:
    """Copy the pool's database to another PostgreSQL. The pool must not run; nothing is removed here.

    For another machine: `kalepool backup` here, copy the file and the master key, `kalepool restore` there.
    """
    from kalepool import dumps
    from kalepool.database import place_of

    settings = read_settings()
    _require_stopped(settings)
    try:
        place_of(to)
    except ConfigError:  # the address may hold a password
        raise InputError("that is no address of a database: write it as postgresql://user:password@host/name") from None
    if not dumps.is_empty(to):
        raise ConfigError("the other database has tables already: give the address of an empty one")
    copy = settings.data_dir / "move.dump"
    with ExitStack() as stack:
        url = stack.enter_context(database_url(settings, Login.MIGRATE))
        dumps.require_unused(url)
        copy.unlink(missing_ok=True)
        stack.callback(copy.unlink, missing_ok=True)
        dumps.dump(url, copy, _programs(settings))
        dumps.restore(to, copy, _programs(settings))
        _bring_up_to_date(to)
    if as_json:
        show_json({"moved": True})
    else:
        typer.echo("It is copied. Set DATABASE_URL to the new address, then start the pool.")


def _programs(settings: Settings) -> Path:
    return settings.postgres_bin or bundled_programs()


def _require_stopped(settings: Settings) -> None:
    if (running := find_running(settings.data_dir)) is not None or running_url(settings.data_dir / "postgres"):
        who = f" (process {running.pid})" if running else ""
        raise ConfigError(f"the pool runs here{who}: `kalepool pause --wait`, then stop it")


def _bring_up_to_date(url: str) -> list[str]:
    from kalepool.database import migrate

    return asyncio.run(migrate(url))


def _opens(settings: Settings) -> str | None:
    """Why the master key that is here does not open what is in the database; None where it does."""
    from kalepool.commands.pool import with_database_open
    from kalepool.custody import key_file_path, open_custody, read_key_file
    from kalepool.errors import CustodyError

    try:
        if settings.master_key is None:
            read_key_file(key_file_path(settings))  # else one would be made
        with_database_open(settings, lambda database: open_custody(settings, database))
    except CustodyError as error:
        return str(error)
    return None
