"""Copies of the pool's database as files of PostgreSQL's own tools, pg_dump and pg_restore."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from kalepool.database import on_a_line, place_of
from kalepool.errors import ConflictError, DatabaseError, DatabaseUnavailableError, InputError

OF_LIBPQ = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
}
"""Parts of an address and the variables that carry them: on a command line everybody could read the password."""

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"


def dump(url: str, file: Path, programs: Path) -> None:
    """Write the database to a new file of mode 0600, as it is at this moment; others go on meanwhile.

    Raises ConflictError where the file is there already, InputError where it cannot be written, and DatabaseError with
    pg_dump's last words.
    """
    if file.exists():
        what = "a folder: name a file in it" if file.is_dir() else "there already: choose another name"
        raise ConflictError(f"{file} is {what}")
    beside = file.with_name(f"{file.name}.part")
    try:
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None
    try:
        _run(programs / "pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={beside}")
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.rename(file)
    finally:
        beside.unlink(missing_ok=True)


def require_unused(url: str) -> None:
    """Raises ConflictError while others are connected to the database: a pool's processes, a psql."""
    with _connected(url) as connection:
        row = connection.execute(OTHERS).fetchone()
    if row and row[0]:
        raise ConflictError(f"{row[0]} others are connected to the database: stop the pool first")


def is_empty(url: str) -> bool:
    """Whether there are no tables. Raises DatabaseError, and ConfigError for what is no address."""
    with _connected(url) as connection:
        row = connection.execute(TABLES).fetchone()
    return not row or not row[0]


def restore(url: str, file: Path, programs: Path) -> None:
    """Put back what `dump` wrote, all or nothing, in place of whatever the database holds.

    Raises DatabaseError with pg_restore's last words.
    """
    _run(programs / "pg_restore", None, "--list", str(file))  # before anything is lost: whether it can be read at all
    with _connected(url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.commit()
    _run(
        programs / "pg_restore", url, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error",
        f"--dbname={_variables(url)['PGDATABASE']}", str(file),
    )  # fmt: skip


def _run(program: Path, url: str | None, *arguments: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "KALEPOOL_"))}
    environment = {**kept, **(_variables(url) if url else {}), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [str(program), *arguments], env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise DatabaseError(f"{program} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise DatabaseError(f"{program.name} failed: {done.stderr.strip()[-500:]}")


def _variables(url: str) -> Mapping[str, str]:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise DatabaseError("the database's address cannot be read") from None
    return {OF_LIBPQ[name]: str(value) for name, value in parts.items() if name in OF_LIBPQ and value is not None}


def _connected(url: str) -> psycopg.Connection:
    place = place_of(url)
    try:
        return psycopg.connect(url, connect_timeout=10)
    except psycopg.Error as error:
        raise DatabaseUnavailableError(f"the database does not answer ({place}): {on_a_line(error)}") from None
