"""The database: migrations, queries, what it refuses, and what it survives."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kalepool import database as module
from kalepool.database import Database, migrate, new_id
from kalepool.errors import DatabaseError, DatabaseUnavailableError, DuplicateRowError
from kalepool.logins import Login
from kalepool.postgres import Postgres

pytestmark = pytest.mark.anyio
TABLES = ("plantings", "works", "harvests")


async def raw(url: str, command: str, parameters: Mapping[str, object] | tuple[object, ...] = ()) -> list[tuple]:
    """Straight SQL as the database's owner, past everything of ours."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(command.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def add_farmer(database: Database, url: str) -> tuple[UUID, UUID]:
    pooler, farmer = new_id(), new_id()
    await database.execute("insert_pooler", pooler_id=pooler, name=str(pooler), max_farmers=10)
    await raw(
        url,
        "INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, "
        "stake_percentage) VALUES (%s, %s, %s, '', '', '', 0.1)",
        (farmer, pooler, str(farmer)),
    )
    return pooler, farmer


async def add_events(url: str, pooler: UUID, farmer: UUID, block: int, *, stake: int = 7, reward: int = 5) -> None:
    both = (block, pooler, farmer)
    await raw(
        url,
        "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, transaction_hash) "
        "VALUES (%s, %s, %s, %s, 'planted', %s, %s)",
        (new_id(), *both, stake, b"\1" * 32),
    )
    for attempt in range(2):
        await raw(
            url,
            "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, "
            "transaction_hash) VALUES (%s, %s, %s, %s, 'worked', %s, %s, %s, 9, %s)",
            (new_id(), *both, 2**64 - 1, bytes(32), 4 + attempt, new_id().bytes * 2),
        )
    await raw(
        url,
        "INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops, "
        "forecast_stroops, transaction_hash) VALUES (%s, %s, %s, %s, 'harvested', %s, %s, %s, %s)",
        (new_id(), *both, reward, stake, reward, b"\3" * 32),
    )


async def test_migrating_again_changes_nothing_and_two_at_once_wait(postgres: Postgres) -> None:
    url = postgres.create_database("migrate_twice")
    first, second = await asyncio.gather(migrate(url), migrate(url))
    assert sorted(first + second) == list(module.migrations())
    assert await migrate(url) == []


def test_every_migration_has_a_number_of_its_own() -> None:
    numbers = [int(name.partition("_")[0]) for name in module.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_changed_or_unknown_migration_is_refused(database_url: str) -> None:
    await raw(database_url, "UPDATE migrations SET checksum = 'other'")
    with pytest.raises(DatabaseError, match="was changed after"):
        await migrate(database_url)
    await raw(database_url, "INSERT INTO migrations (name, checksum) VALUES ('9999_later.sql', '')")
    with pytest.raises(DatabaseError, match="newer kalepool"):
        await migrate(database_url)


async def test_an_empty_database_is_refused_until_it_is_migrated(postgres: Postgres) -> None:
    url = postgres.create_database("not_migrated")
    with pytest.raises(DatabaseError, match="kalepool migrate"):
        async with Database.open(url):
            pass
    await migrate(url)
    async with Database.open(url) as database:
        assert await database.fetch_all("select_farmers", pooler_id=None) == []


async def test_a_dead_address_is_one_clear_line_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        async with Database.open(f"postgresql://me:hunter2@/pool?host={tmp_path}"):
            pass
    assert "hunter2" not in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("command", ["UPDATE {} SET block_index = 2", "DELETE FROM {}", "TRUNCATE {}"])
async def test_events_are_append_only_even_for_the_owner(database_url: str, table: str, command: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        await raw(database_url, command.format(table))


async def test_the_processes_work_as_a_role_that_may_only_add_events(database: Database, database_url: str) -> None:
    async with database.transaction() as session:
        cursor = await session._connection.execute("SELECT current_user")
        assert await cursor.fetchone() == (Login.API,)
    for table in TABLES:
        rights = await raw(
            database_url,
            "SELECT string_agg(right_, ',' ORDER BY right_) FROM unnest(ARRAY['INSERT','SELECT','UPDATE','DELETE',"
            "'TRUNCATE']) right_ WHERE has_table_privilege(%s, %s, right_)",
            (Login.API, table),
        )
        assert rights == [("INSERT,SELECT",)]


@pytest.mark.parametrize("count", [0, 1, module.ROWS_AT_ONCE, module.ROWS_AT_ONCE + 1, 3 * module.ROWS_AT_ONCE])
async def test_long_lists_are_whole_and_let_others_go_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(module, "queries", lambda: {"numbers": "SELECT n FROM generate_series(1, %(count)s) n"})
    breaks, sleep = [], asyncio.sleep

    async def counted(seconds: float) -> None:
        breaks.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", counted)
    assert [row["n"] for row in await database.fetch_all("numbers", count=count)] == list(range(1, count + 1))
    assert breaks.count(0) == max(count - 1, 0) // module.ROWS_AT_ONCE


async def test_the_largest_numbers_of_the_chain_fit(database: Database, database_url: str) -> None:
    pooler, farmer = await add_farmer(database, database_url)
    largest = 2**127 - 1
    await add_events(database_url, pooler, farmer, 2**32 - 1, stake=largest, reward=largest)
    row = await database.fetch_one("select_farmer_performance", farmer_id=farmer)
    assert row and row["staked_stroops"] == largest and isinstance(row["staked_stroops"], int)
    async with database.transaction() as session:
        cursor = await session._connection.execute("SELECT nonce, created_at FROM works")
        nonce, created_at = (await cursor.fetchall())[0]
    assert nonce == 2**64 - 1 and isinstance(nonce, int)
    assert created_at.utcoffset() == timedelta(0) and abs(created_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_performance_sums_are_not_multiplied_by_a_join(database: Database, database_url: str) -> None:
    pooler, farmer = await add_farmer(database, database_url)
    for block in (1, 2, 3):
        await add_events(database_url, pooler, farmer, block)
    row = await database.fetch_one("select_farmer_performance", farmer_id=farmer)
    assert row
    assert (row["blocks_planted"], row["blocks_worked"], row["blocks_harvested"]) == (3, 3, 3)
    assert (row["staked_stroops"], row["rewarded_stroops"], row["forecast_stroops"]) == (21, 15, 15)
    assert (row["best_zeros"], row["success_rate"]) == (5, 1.0)


async def test_one_open_intent_and_one_applied_plant_per_farmer_and_block(
    database: Database, database_url: str
) -> None:
    _, farmer = await add_farmer(database, database_url)

    async def intend(action: str, status: str, block: int | None = 1) -> None:
        submission = new_id()
        closed = None if status == "open" else datetime.now(UTC)
        await raw(
            database_url,
            "INSERT INTO submissions (submission_id, action, source_account, sequence, transaction_hash, envelope_xdr, "
            "valid_until, status, closed_at) VALUES (%s, %s, 'G', 1, %s, '', now(), %s, %s)",
            (submission, action, submission.bytes * 2, status, closed),
        )
        await raw(
            database_url,
            "INSERT INTO submission_items (submission_id, action, block_index, farmer_id, status) "
            "VALUES (%s, %s, %s, %s, %s)",
            (submission, action, block, farmer, status),
        )

    await intend("plant", "failed")
    await intend("plant", "open")
    await intend("plant", "open", block=2)
    for action, status, block in [("work", "open", 1), ("trustline", "open", None), ("harvest", "applied", 1)]:
        await intend(action, status, block)
    await intend("work", "applied")
    await intend("work", "applied")  # a later work with more zeros is allowed
    for action, status, block in [
        ("plant", "open", 1),
        ("plant", "applied", 1),
        ("work", "open", 1),
        ("harvest", "open", 1),
        ("harvest", "applied", 1),
        ("trustline", "open", None),
    ]:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await intend(action, status, block)


async def test_a_transaction_is_all_or_nothing_and_names_the_constraint(database: Database) -> None:
    key = {"role": "operator", "subject_id": None, "subject_wallet": None, "label": "", "expires_at": None}
    with pytest.raises(DuplicateRowError) as caught:
        async with database.transaction() as session:
            await session.execute("insert_pooler", pooler_id=new_id(), name="undone", max_farmers=1)
            await session.execute("insert_api_key", key_id=new_id(), key_hash=b"1" * 32, **key)
            await session.execute("insert_api_key", key_id=new_id(), key_hash=b"1" * 32, **key)
    assert caught.value.constraint == "api_keys_key_hash_key"
    assert await database.fetch_one("select_pooler_by_name", name="undone") is None


@pytest.mark.parametrize("becomes", [None, psycopg.errors.QueryCanceled("canceled")])
async def test_a_cancellation_that_is_lost_on_its_way_ends_the_task_all_the_same(
    database: Database, becomes: Exception | None
) -> None:
    """The pool of connections, and wait_for before Python 3.12, lose one that comes with what they wait for."""
    begun = asyncio.Event()

    async def loses_it() -> None:
        async with database.transaction():
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            if becomes is not None:
                raise becomes

    task = asyncio.create_task(loses_it())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_rows_go_in_one_call(database: Database) -> None:
    rows = [{"pooler_id": new_id(), "name": f"p{i}", "max_farmers": 1} for i in range(500)]
    assert await database.execute_many("insert_pooler", rows) == 500
    assert await database.execute_many("insert_pooler", rows[:3]) == 0
    assert await database.fetch_one("select_pooler_by_name", name="p499")


async def test_notifications_arrive_after_the_commit_and_not_without(database: Database) -> None:
    heard = database.listen("news")
    assert await anext(heard) == ""  # connected: look at the tables
    with pytest.raises(RuntimeError):
        async with database.transaction() as session:
            await session.notify("news", "undone")
            raise RuntimeError
    async with database.transaction() as session:
        await session.notify("news", "done")
    assert await asyncio.wait_for(anext(heard), 30) == "done"
    await heard.aclose()  # pyright: ignore[reportAttributeAccessIssue]


async def test_queries_and_listeners_survive_a_kill_of_the_server(tmp_path: Path) -> None:
    server = Postgres.start(tmp_path / "pg")
    url = server.create_database("kalepool")
    await migrate(url)
    async with Database.open(url) as database:
        heard = database.listen("news")
        assert await anext(heard) == ""
        await database.execute("insert_pooler", pooler_id=new_id(), name="kept", max_farmers=1)
        server.process.kill()
        server.process.wait()
        server = Postgres.start(tmp_path / "pg")
        try:
            row = await database.fetch_one("select_pooler_by_name", name="kept")  # committed: still there
            assert row and row["max_farmers"] == 1
            assert await asyncio.wait_for(anext(heard), 30) == ""  # again: something may have been missed
            await database.notify("news", "back")
            assert await asyncio.wait_for(anext(heard), 30) == "back"
            await heard.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        finally:
            server.stop()


async def test_the_pool_is_back_with_the_server_however_long_it_was_away(
    postgres: Postgres, database_url: str, tmp_path: Path
) -> None:
    """Five connections die at once. Nobody asks meanwhile but one, so that the pool alone has to try again."""
    parts = conninfo_to_dict(database_url)
    name = f".s.PGSQL.{parts['port']}"
    door = tmp_path / name
    door.symlink_to(Path(str(parts["host"])) / name)
    async with Database.open(make_conninfo(database_url, host=str(tmp_path)), wait_seconds=20.0) as database:

        async def hold() -> None:
            async with database.transaction():
                await asyncio.sleep(0.2)

        await asyncio.gather(*(hold() for _ in range(5)))
        door.unlink()
        await raw(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()",
        )
        asked = asyncio.create_task(database.fetch_one("select_paused"))
        await asyncio.sleep(3.5)  # a pause that doubles has it wait until the seventh second
        door.symlink_to(Path(str(parts["host"])) / name)
        async with asyncio.timeout(3.0):
            assert await asked == {"planting_paused": False}
            await asyncio.gather(*(database.fetch_one("select_paused") for _ in range(10)))


async def test_every_named_query_is_understood_by_the_database(database: Database) -> None:
    """PREPARE checks each query's tables, columns and syntax without running it."""
    async with database.transaction() as session:
        for name, text in module.queries().items():
            try:
                await session._connection.execute(b"PREPARE q AS " + _numbered(text))
            except psycopg.Error as error:
                pytest.fail(f"{name}: {error}")
            await session._connection.execute("DEALLOCATE q")


def _numbered(text: bytes) -> bytes:
    """%(name)s parameters as $1, $2 …, as psycopg sends them."""
    names: list[bytes] = []

    def number(match: re.Match[bytes]) -> bytes:
        if match[1] not in names:
            names.append(match[1])
        return b"$%d" % (names.index(match[1]) + 1)

    return re.sub(rb"%\((\w+)\)s", number, text).replace(b"%%", b"%").rstrip().rstrip(b";")


@asynccontextmanager
async def relay(url: str, folder: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """The server through a socket of our own, and a call after which the connections there are pass nothing on and
    stay open, as over a network that lost them. New ones work."""
    parts = conninfo_to_dict(url)
    name = f".s.PGSQL.{parts['port']}"
    epoch = 0
    pumps: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, born: int) -> None:
        while data := await reader.read(65536):
            if born != epoch:
                await asyncio.sleep(3600)
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server, from_server = await asyncio.open_unix_connection(f"{parts['host']}/{name}")
        writers.extend((writer, from_server))
        for way in ((reader, from_server), (to_server, writer)):
            pumps.add(asyncio.create_task(pump(*way, epoch)))

    def lose() -> None:
        nonlocal epoch
        epoch += 1

    server = await asyncio.start_unix_server(accept, folder / name)
    try:
        yield make_conninfo(url, host=str(folder)), lose
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_a_listener_whose_connection_died_without_a_word_finds_out(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(module, "BEAT_ANSWER_SECONDS", 2.0)
    with tempfile.TemporaryDirectory() as folder:  # a socket's path is short
        async with relay(database_url, Path(folder)) as (url, lose), Database.open(url) as far:
            heard = aiter(far.listen("news"))
            assert await anext(heard) == ""
            await asyncio.sleep(0.5)  # it lives through heartbeats
            await database.notify("news", "1")
            assert await asyncio.wait_for(anext(heard), 30) == "1"
            lose()
            await database.notify("news", "2")
            assert await asyncio.wait_for(anext(heard), 30) == "", "look at the tables: something was missed"
            await database.notify("news", "3")
            assert await asyncio.wait_for(anext(heard), 30) == "3"
