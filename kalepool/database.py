"""The one door to PostgreSQL: migrations, named queries from sql/, transactions and notifications.

Numbers without fraction come back as int (money, nonces), others as Decimal; times as aware datetimes in UTC; hashes as
bytes. Every error is a DatabaseError: DuplicateRowError for a unique constraint, DatabaseUnavailableError when trying
again later makes sense; or NotLeadingError, see fencing.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, Self, TypeVar, overload
from uuid import UUID

import psycopg
import structlog
import uuid_utils.compat
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.pool_async import AddConnection, MaintenanceTask

from kalepool.errors import (
    ConfigError,
    ConflictError,
    DatabaseError,
    DatabaseFullError,
    DatabaseUnavailableError,
    DuplicateRowError,
    KalepoolError,
    NotLeadingError,
)
from kalepool.fencing import present_fence
from kalepool.logins import Login

log = structlog.get_logger()

Row = TypeVar("Row")
MIGRATION_LOCK = 0x6B616C65  # "kale"
BEAT_SECONDS = 20.0  # how often a connection that only listens asks whether the server is still there
BEAT_ANSWER_SECONDS = 10.0
NOT_LEADING = "KP001"
"""The SQLSTATE of what a leadership that is over wanted to write: see the migration of coordinators."""

NO_ROOM = (psycopg.errors.DiskFull, psycopg.errors.ConfigurationLimitExceeded)
RECONNECT_SECONDS = 0.5  # between two tries to reach a server that is away, however long it has been
CONNECT_SECONDS = 3  # for one try: what is lost on the way is sent again after ever longer waits, a new try is not
ROWS_AT_ONCE = 250  # are made of what the server sent before others get their turn


def new_id() -> UUID:
    """A UUIDv7: unique, and ordered by time."""
    return uuid_utils.compat.uuid7()


def as_row(record: Any) -> dict[str, Any]:
    """A flat dataclass by its columns: asdict copies each value, too slow for thousands."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def first_id(at: datetime) -> UUID:
    """The lowest UUIDv7 of a moment: its first 48 bits are the milliseconds since 1970 (RFC 9562)."""
    return UUID(int=max(math.floor(at.timestamp() * 1000), 0) << 80)


def id_time(id: UUID) -> datetime:
    """When a UUIDv7 was made, in UTC, to the millisecond."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)


# ----------------------------------------------------------------------------------------------------------------------
# The files


@cache
def sql_folder() -> Path:
    """The folder of migrations and queries: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "sql", package.parent / "sql") if folder.is_dir())


@cache
def queries() -> Mapping[str, bytes]:
    """Every named query of sql/queries by its name. Raises DatabaseError where a name is used twice."""
    found: dict[str, bytes] = {}
    for path in sorted((sql_folder() / "queries").glob("*.sql")):
        _, *parts = re.split(r"^-- name: *(\S+) *$", path.read_text(), flags=re.MULTILINE)
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise DatabaseError(f"two queries are called {name}, one of them in {path}")
            found[name] = text.strip().encode()
    return found


@cache
def migrations() -> Mapping[str, str]:
    """The text of every migration by its file name, in order."""
    return {path.name: path.read_text() for path in sorted((sql_folder() / "migrations").glob("*.sql"))}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------------------------
# Migrations


async def migrate(url: str, *, lock_seconds: float = 60.0) -> list[str]:
    """Bring the database's schema up to date. Returns the names of the migrations that were applied now.

    Each is one transaction. Two that run at once wait for each other. Raises DatabaseError when an applied migration's
    text has changed since, or the database knows one that this version does not.
    """
    applied: list[str] = []
    with _translated(place_of(url)):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10) as connection:
            await _lock_migrations(connection, lock_seconds)
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations "
                "(name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
            )
            for name in await _missing_migrations(connection):
                text = migrations()[name]
                async with connection.transaction():
                    await connection.execute(text.encode())
                    await connection.execute(
                        "INSERT INTO migrations (name, checksum) VALUES (%s, %s)", (name, _checksum(text))
                    )
                log.info("migration_applied", name=name)
                applied.append(name)
            await connection.execute((sql_folder() / "roles.sql").read_bytes())
    return applied


async def _lock_migrations(connection: psycopg.AsyncConnection[Any], seconds: float) -> None:
    """Polled: a blocking lock would deadlock with a migration that builds an index concurrently."""
    try:
        await _lock(connection, MIGRATION_LOCK, seconds)
    except TimeoutError:
        raise DatabaseError(f"another process has been migrating the database for {seconds:.0f} s") from None


async def _lock(
    connection: psycopg.AsyncConnection[Any], key: int, seconds: float | None, look_seconds: float = 0.05
) -> None:
    """Take the advisory lock for this connection's lifetime. Raises TimeoutError when another has it all the time."""
    async with asyncio.timeout(seconds):
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            if (await cursor.fetchone() or (False,))[0]:
                return
            await asyncio.sleep(look_seconds)


async def _missing_migrations(connection: psycopg.AsyncConnection[Any]) -> list[str]:
    cursor = await connection.execute("SELECT name, checksum FROM migrations")
    applied: dict[str, str] = dict(await cursor.fetchall())
    ours = migrations()
    if unknown := sorted(applied.keys() - ours.keys()):
        raise DatabaseError(f"the database was made by a newer kalepool: this one does not know {', '.join(unknown)}")
    for name, checksum in applied.items():
        if checksum != _checksum(ours[name]):
            raise DatabaseError(f"migration {name} was changed after it was applied to this database")
    return [name for name in ours if name not in applied]


# ----------------------------------------------------------------------------------------------------------------------
# Queries


class Session:
    """Runs named queries on one connection. `Database.transaction()` gives one."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    @overload
    async def fetch_all(self, query: str, /, *, row: type[Row], **parameters: object) -> list[Row]: ...
    @overload
    async def fetch_all(self, query: str, /, *, row: None = None, **parameters: object) -> list[dict[str, Any]]: ...
    async def fetch_all(self, query: str, /, *, row: type[Any] | None = None, **parameters: object) -> list[Any]:
        """All rows, as dicts or as `row`, a dataclass whose fields are the columns."""
        with _translated(query):
            factory = dict_row if row is None else class_row(row)
            async with self._connection.cursor(row_factory=factory) as cursor:
                await cursor.execute(queries()[query], parameters)
                rows = await cursor.fetchmany(ROWS_AT_ONCE)
                while len(rows) < cursor.rowcount:
                    await asyncio.sleep(0)
                    rows += await cursor.fetchmany(ROWS_AT_ONCE)
                return rows

    @overload
    async def fetch_one(self, query: str, /, *, row: type[Row], **parameters: object) -> Row | None: ...
    @overload
    async def fetch_one(self, query: str, /, *, row: None = None, **parameters: object) -> dict[str, Any] | None: ...
    async def fetch_one(self, query: str, /, *, row: type[Any] | None = None, **parameters: object) -> Any:
        """The first row, or None."""
        with _translated(query):
            factory = dict_row if row is None else class_row(row)
            async with self._connection.cursor(row_factory=factory) as cursor:
                await cursor.execute(queries()[query], parameters)
                return await cursor.fetchone()

    async def execute(self, query: str, /, **parameters: object) -> int:
        """Run a query that gives no rows. Returns how many rows it touched."""
        with _translated(query):
            return (await self._connection.execute(queries()[query], parameters)).rowcount

    async def execute_many(self, query: str, rows: Iterable[Mapping[str, object]], /) -> int:
        """Run it once per row, all in one round trip. Returns how many rows were touched in all."""
        with _translated(query):
            async with self._connection.cursor() as cursor:
                await cursor.executemany(queries()[query], rows)
                return cursor.rowcount

    async def notify(self, channel: str, payload: str = "") -> None:
        """Tell the listeners of `channel` once this transaction is committed. At most 8,000 bytes."""
        with _translated(channel):
            await self._connection.execute("SELECT pg_notify(%s, %s)", (channel, payload))


async def _beat(connection: psycopg.AsyncConnection[Any]) -> None:
    """Raises OperationalError where the server does not answer. Notices that come meanwhile are kept."""
    try:
        async with asyncio.timeout(BEAT_ANSWER_SECONDS):
            await connection.execute("SELECT")
    except TimeoutError:
        raise psycopg.OperationalError(f"no answer within {BEAT_ANSWER_SECONDS:g} s") from None


async def _lead(connection: psycopg.AsyncConnection[Any]) -> None:
    """Holds the lease of the leadership that is acted for until the transaction's end. What it does when it is over is
    refused, whatever it is."""
    fence = present_fence()
    if fence is not None:
        await connection.execute("SELECT require_leadership(%s, %s)", (fence.pooler_id, fence.number))


class _Pool(AsyncConnectionPool[Any]):
    """A pool that is back as soon as the server is. The library's waits twice as long after every try, without a bound;
    and one dead connection would not tell it of the others, of which each costs who asks a longer wait."""

    _last_drain = float("-inf")

    async def schedule_task(self, task: MaintenanceTask, delay: float) -> None:
        await super().schedule_task(task, min(delay, RECONNECT_SECONDS) if isinstance(task, AddConnection) else delay)

    async def check_all(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """As check_connection. Where this one is dead, all are made anew: they went with the server."""
        try:
            await self.check_connection(connection)
        except psycopg.Error:
            now = time.monotonic()
            if now - self._last_drain > RECONNECT_SECONDS:
                self._last_drain = now
                await self.drain()
            raise


class Database:
    """A pool of connections. Its own query methods are one transaction each; `transaction()` joins several."""

    def __init__(self, pool: AsyncConnectionPool[Any], url: str) -> None:
        self._pool = pool
        self._url = url

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, role: Login | None = Login.API, connections: int = 10, wait_seconds: float = 10.0
    ) -> AsyncGenerator[Self]:
        """Connect, and check that the schema is this version's.

        role: what to step down to where the address's login may do more. connections: the most at once. wait_seconds:
        how long a query waits for a free or returning connection.
        """
        with _translated(place_of(url)):
            # One plain connection first: it fails with the reason, which a pool keeps to itself.
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10) as connection:
                cursor = await connection.execute("SELECT to_regclass('migrations') IS NOT NULL")
                ready = (await cursor.fetchone() or (False,))[0]
                if not ready or await _missing_migrations(connection):
                    raise DatabaseError("the database's schema is not up to date: run `kalepool migrate`")
        pool: _Pool

        async def check(connection: psycopg.AsyncConnection[Any]) -> None:
            await pool.check_all(connection)

        pool = _Pool(
            url,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_SECONDS},
            min_size=1,
            max_size=connections,
            timeout=wait_seconds,
            reconnect_timeout=float("inf"),
            configure=partial(_configure, role=role),
            check=check,
            open=False,
        )
        async with pool:
            yield cls(pool, url)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Session]:
        """One transaction: committed at the end of the block, undone when it raises."""
        with _translated("transaction"):
            async with self._pool.connection() as connection, connection.transaction():
                await _lead(connection)
                yield Session(connection)

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        with _translated("connection"):
            async with self._pool.connection() as connection:
                if present_fence() is None:
                    yield Session(connection)
                    return
                async with connection.transaction():
                    await _lead(connection)
                    yield Session(connection)

    @overload
    async def fetch_all(self, query: str, /, *, row: type[Row], **parameters: object) -> list[Row]: ...
    @overload
    async def fetch_all(self, query: str, /, *, row: None = None, **parameters: object) -> list[dict[str, Any]]: ...
    async def fetch_all(self, query: str, /, *, row: type[Any] | None = None, **parameters: object) -> list[Any]:
        """As Session.fetch_all."""
        async with self._session() as session:
            return await session.fetch_all(query, row=row, **parameters)

    @overload
    async def fetch_one(self, query: str, /, *, row: type[Row], **parameters: object) -> Row | None: ...
    @overload
    async def fetch_one(self, query: str, /, *, row: None = None, **parameters: object) -> dict[str, Any] | None: ...
    async def fetch_one(self, query: str, /, *, row: type[Any] | None = None, **parameters: object) -> Any:
        """As Session.fetch_one."""
        async with self._session() as session:
            return await session.fetch_one(query, row=row, **parameters)

    async def execute(self, query: str, /, **parameters: object) -> int:
        """As Session.execute."""
        async with self._session() as session:
            return await session.execute(query, **parameters)

    async def execute_many(self, query: str, rows: Iterable[Mapping[str, object]], /) -> int:
        """As Session.execute_many, all rows or none."""
        async with self.transaction() as session:
            return await session.execute_many(query, rows)

    async def write(self) -> None:
        """Whether it answers and has room to write. Raises DatabaseError: DatabaseFullError where it has none."""
        with _translated("write"):
            async with self._pool.connection() as connection:
                await _write(connection)

    async def notify(self, channel: str, payload: str = "") -> None:
        """Tell the listeners of `channel`, in this and other processes."""
        async with self._session() as session:
            await session.notify(channel, payload)

    async def listen(self, channel: str) -> AsyncIterator[str]:
        """The payloads sent to `channel`, for ever, on a connection of its own that is made again when it breaks.

        An empty string comes first after every (re)connection: something may have been missed, look at the tables. One
        that died without a word is found out within BEAT_SECONDS and BEAT_ANSWER_SECONDS.
        """
        command = sql.SQL("LISTEN {}").format(sql.Identifier(channel))
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=10
                ) as connection:
                    await connection.execute(command)
                    yield ""
                    while True:
                        async for notice in connection.notifies(timeout=BEAT_SECONDS):
                            yield notice.payload
                        await _beat(connection)
            except psycopg.OperationalError as error:
                log.warning("listening_interrupted", channel=channel, error=str(error).strip())
                await asyncio.sleep(0.25)

    async def hold_lock(
        self, name: str, wait_seconds: float | None, *, release_seconds: float | None = None, look_seconds: float = 0.05
    ) -> AsyncGenerator[None]:
        """Hold the lock of this name, which one process at a time can, on a connection of its own.

        Yields each time it is taken: once now, and again when the connection broke and was made anew. release_seconds:
        the server gives it to others after so long without a word of this process. look_seconds: how often it is asked
        for. Raises ConflictError when somebody else has held it for `wait_seconds`.
        """
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        beat_seconds = BEAT_SECONDS if release_seconds is None else release_seconds / 4
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=10
                ) as connection:
                    if release_seconds is not None:
                        milliseconds = str(round(release_seconds * 1000))
                        await connection.execute(
                            "SELECT set_config('idle_session_timeout', %s, false)", (milliseconds,)
                        )
                    await _lock(connection, key, wait_seconds, look_seconds)
                    yield
                    while True:
                        async for _ in connection.notifies(timeout=beat_seconds):  # none come
                            pass
                        await _beat(connection)
            except TimeoutError:
                raise ConflictError(f"another process holds {name!r}: end it first") from None
            except psycopg.OperationalError as error:
                log.warning("lock_interrupted", lock=name, error=str(error).strip())
                await asyncio.sleep(0.25)


async def _configure(connection: psycopg.AsyncConnection[Any], role: Login | None) -> None:
    connection.adapters.register_loader("numeric", _NumberLoader)
    await connection.execute(
        "SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', '30s', false)"
    )
    await connection.execute(
        "SELECT set_config('role', rolname, false) FROM pg_roles "
        "WHERE rolname = %s AND pg_has_role(session_user, oid, 'MEMBER')",
        (role,),
    )


async def answers(url: str) -> None:
    """Returns when the server has written something for somebody new, however long that takes. Raises DatabaseError."""
    with _translated(place_of(url)):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await _write(connection)


async def _write(connection: psycopg.AsyncConnection[Any]) -> None:
    """Something that needs room on the disk, and a commit that is flushed to it. It leaves nothing behind: a message in
    the log of changes that nobody reads, and a temporary file, for ten thousand numbers do not fit into 64 kB."""
    async with connection.transaction():
        await connection.execute("SELECT set_config('work_mem', '64kB', true)")
        await connection.execute("SELECT count(*) FROM generate_series(1, 10000)")
        await connection.execute("SELECT pg_logical_emit_message(true, 'kalepool', '')")


class _NumberLoader(Loader):
    """NUMERIC as int where it has no fraction: money and nonces are whole."""

    def load(self, data: Any) -> int | Decimal:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else Decimal(text)


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """psycopg's errors as ours. `where`: the query's name, or the database's.

    A cancellation may come with the answer, or as an error of the query's, and is lost then: whoever was to end would
    go on for ever. So it is raised again here.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
    except psycopg.Error as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise _ours(error, where) from error


def _ours(error: psycopg.Error, where: str) -> KalepoolError:
    if isinstance(error, psycopg.errors.UniqueViolation):
        return DuplicateRowError(on_a_line(error), constraint=error.diag.constraint_name or "")
    if isinstance(error, NO_ROOM):
        return DatabaseFullError(f"the database cannot write, its disk is full ({where}): {on_a_line(error)}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | PoolTimeout):
        return DatabaseUnavailableError(f"the database does not answer ({where}): {on_a_line(error)}")
    if error.sqlstate == NOT_LEADING:
        return NotLeadingError(on_a_line(error).partition(";")[0])
    return DatabaseError(f"{where}: {on_a_line(error)}")


def on_a_line(error: Exception) -> str:
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines() if line.strip())


def place_of(url: str) -> str:
    """Which database an address means, without its password. Raises ConfigError for what is no address."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its message repeats the address, password and all
        raise ConfigError(
            "the address of the database, KALEPOOL_DATABASE_URL or DATABASE_URL, is none: "
            "write it as postgresql://user@host/name"
        ) from None
    return (
        f"{parts.get('dbname') or 'default database'} at {parts.get('host') or parts.get('hostaddr') or 'this machine'}"
    )
