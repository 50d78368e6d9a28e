"""Each process logs in to the embedded server as a role that may do what it needs. What one that was taken cannot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kalepool.coordinator.leadership import Leadership
from kalepool.database import Database, migrate, new_id, queries, sql_folder
from kalepool.errors import DatabaseError
from kalepool.fencing import fenced
from kalepool.logins import Login
from kalepool.postgres import Postgres, running_url
from tests.integration.test_database import _numbered, add_events, add_farmer

pytestmark = pytest.mark.anyio

POOL_LOGINS = [Login.API, Login.COORDINATOR]
REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """As `kalepool up` starts it, migrated, with a farmer who was planted."""
    with Postgres.start(tmp_path_factory.mktemp("logins") / "data", settings={"fsync": "off"}) as running:
        running.create_pool_database()
        asyncio.run(migrate(running.url(login=Login.MIGRATE)))

        async def fill() -> None:
            async with Database.open(running.url(login=Login.API)) as database:
                await add_events(running.url(), *await add_farmer(database, running.url()), 1)

        asyncio.run(fill())
        yield running


def attack(server: Postgres, login: Login, command: str) -> None:
    with psycopg.connect(server.url(login=login), autocommit=True) as connection:
        connection.execute(command.encode())


@pytest.mark.parametrize("login", POOL_LOGINS)
@pytest.mark.parametrize(
    "command",
    [
        "ALTER ROLE {login} SUPERUSER",
        "ALTER ROLE postgres PASSWORD 'mine'",
        "SET ROLE postgres",
        "SET ROLE kalepool_migrate",
        "SET SESSION AUTHORIZATION postgres",
        "CREATE ROLE mine SUPERUSER LOGIN",
        "GRANT kalepool_migrate TO {login}",
        "CREATE DATABASE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION file_fdw",
        "COPY farmers TO PROGRAM 'id'",
        "COPY hashrates FROM PROGRAM 'id'",
        "COPY hashrates FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "ALTER SYSTEM SET archive_command = 'id'",
        "ALTER TABLE plantings DISABLE TRIGGER append_only",
        "SET session_replication_role = replica",
        "UPDATE plantings SET stake_stroops = 1",
        "DELETE FROM harvests",
        "TRUNCATE works",
        "DROP TABLE works",
        "UPDATE migrations SET checksum = ''",
        "UPDATE farmers SET payout_wallet = 'GTHIEF'",
        "UPDATE farmers SET custodial_wallet = 'GTHIEF'",
        "UPDATE farmers SET deposit_stroops = 0",
        "UPDATE farmers SET registered_by = 'operator'",
        "UPDATE accounts SET address = 'GTHIEF'",
        "UPDATE withdrawals SET destination = 'GTHIEF'",
        "UPDATE api_keys SET role = 'operator', subject_id = NULL",
        "UPDATE browser_sessions SET key_id = session_id",
        "UPDATE browser_sessions SET expires_at = 'infinity'",
        "DELETE FROM farmers",
        "DELETE FROM operator_actions",
        "UPDATE book_accounts SET balance_stroops = 0",
        "INSERT INTO transfers SELECT * FROM transfers",
        "UPDATE transfers SET amount_stroops = 1",
        "DELETE FROM book_head",
    ],
)
def test_a_login_that_was_taken_cannot(server: Postgres, login: Login, command: str) -> None:
    with pytest.raises(REFUSED):
        attack(server, login, command.format(login=login))


@pytest.mark.parametrize(
    "command",
    [
        "SELECT secret_sealed FROM farmers",
        "SELECT * FROM accounts",
        "SELECT * FROM job_key",
        "SELECT payout_wallet FROM farmers",
        "INSERT INTO api_keys (key_id, key_hash, role) VALUES (gen_random_uuid(), sha256('mine'), 'operator')",
        "UPDATE api_keys SET revoked_at = NULL",
        "UPDATE farmers SET stake_percentage = 1",
        "UPDATE farmers SET status = 'leaving'",
        "INSERT INTO withdrawals SELECT gen_random_uuid(), farmer_id, 'x', 'KALE', 1, 'GTHIEF' FROM farmers",
        "INSERT INTO plantings SELECT * FROM plantings",
        "UPDATE submissions SET status = 'failed'",
        "SELECT envelope_xdr FROM submissions",
        "UPDATE shares SET credited_hashes = 1",
        "INSERT INTO works SELECT * FROM works",
        "INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, credited_hashes) "
        "SELECT gen_random_uuid(), 1, farmer_id, 1, 1, sha256('x'), 1, 10^18 FROM farmers",
        "SELECT nextval('job_serials')",
        "SELECT post_transfers('{x}', '{x}', '{treasury}', '{outside}', '{1}', '{1}', '{1}', '{}', '{}')",
    ],
)
def test_the_coordinator_reads_no_secret_makes_no_key_and_credits_nobody(server: Postgres, command: str) -> None:
    with pytest.raises(REFUSED):
        attack(server, Login.COORDINATOR, command)


@pytest.mark.parametrize("login", list(Login))
@pytest.mark.parametrize("password", [None, "", "postgres", "0" * 64])
def test_nobody_gets_in_without_the_password(server: Postgres, login: Login, password: str | None) -> None:
    parts = conninfo_to_dict(server.url(login=login))
    parts.pop("password")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(make_conninfo(**parts, **({} if password is None else {"password": password})))


def test_the_passwords_are_in_one_closed_file_and_in_no_other(server: Postgres) -> None:
    file = server.data_dir.with_name("data.logins")
    assert file.stat().st_mode & 0o777 == 0o600
    texts = [path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()]
    for password in server.passwords.values():
        assert not any(password.encode() in text for text in texts), "not even in the server's log"
        assert password not in repr(server)
    file.chmod(0o640)
    try:
        assert running_url(server.data_dir) is None, "not used while others may read them"
    finally:
        file.chmod(0o600)


COORDINATOR_FILES = ["coordinator.sql", "owed.sql"]
"""The second is services/owed.py's, by which the coordinator orders its farmers."""


@pytest.mark.parametrize("login", POOL_LOGINS)
def test_each_may_run_its_own_queries(server: Postgres, login: Login) -> None:
    """EXPLAIN checks the rights to every table and column. A new query has to be thought of in sql/roles.sql."""
    files = COORDINATOR_FILES if login is Login.COORDINATOR else ["*"]
    ours = b"".join(path.read_bytes() for each in files for path in (sql_folder() / "queries").glob(each))
    names = [name for name in queries() if b"-- name: " + name.encode() + b"\n" in ours]
    owners_alone = {"update_farmer_payout"}
    if login is Login.COORDINATOR:
        names.append("select_api_keys")
    assert len(names) > 10
    refused = {}
    with psycopg.connect(server.url(login=login), autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        for name in names:
            connection.execute(b"PREPARE q AS " + _numbered(queries()[name]))
            row = connection.execute(
                "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'q'"
            ).fetchone()
            nulls = ", ".join(["NULL"] * (row[0] if row else 0))
            try:
                connection.execute(f"EXPLAIN EXECUTE q{f'({nulls})' if nulls else ''}".encode())
            except psycopg.errors.InsufficientPrivilege as error:
                refused[name] = str(error)
            connection.execute("DEALLOCATE q")
    assert refused.keys() == (owners_alone if login is Login.API else set()), refused


async def test_the_coordinator_does_its_part(server: Postgres) -> None:
    async with Database.open(server.url(login=Login.COORDINATOR), role=Login.COORDINATOR) as database:
        assert await database.fetch_all("select_next_searchers", count=2)
        with psycopg.connect(server.url(), autocommit=True) as owner:
            found = owner.execute("SELECT pooler_id FROM poolers").fetchone()
        assert found is not None
        leadership = Leadership(database, found[0], 4.0)
        with fenced(await leadership.stand_by()):
            await database.execute(
                "insert_worker_shares",
                **{
                    name: []
                    for name in (
                        "share_ids",
                        "block_indexes",
                        "farmer_ids",
                        "searchers",
                        "nonces",
                        "hashes",
                        "zeros",
                        "found_at",
                    )
                },
            )
        await leadership.confirm()
        await leadership.give_up()
        heard = database.listen("shares")
        assert await anext(heard) == ""
        await database.execute("notify_shares", payloads=["{}"])
        assert await asyncio.wait_for(anext(heard), 30) == "{}"
        await heard.aclose()  # pyright: ignore[reportAttributeAccessIssue]


async def test_one_login_for_all_steps_down(database: Database, database_url: str) -> None:
    """A server of somebody else's with a single login."""
    async with Database.open(database_url, role=Login.COORDINATOR) as stepped_down:
        with pytest.raises(DatabaseError, match="permission denied"):
            await stepped_down.fetch_all("select_accounts")
    with pytest.raises(DatabaseError, match="permission denied"):
        await database.execute(
            "update_farmer_payout",
            row_id=new_id(),
            payout_wallet="",
            payout_memo=None,
            owner_wallet=None,
            secret_sealed=b"",
            master_key_id="",
        )


async def test_a_server_of_an_earlier_version_is_closed_and_handed_over(tmp_path: Path) -> None:
    """It trusted whoever reached its socket, and everything was its superuser's."""
    data = tmp_path / "data"
    with Postgres.start(data) as server:
        await migrate(server.create_database("kalepool"))
        before = server.url(login=Login.API)
    data.with_name("data.logins").unlink()
    (data / "pg_hba.conf").write_text("local all all trust\n")
    with Postgres.start(data) as server:
        server.create_pool_database()
        assert await migrate(server.url(login=Login.MIGRATE)) == []
        for url in (before, make_conninfo(before, user="postgres", password="")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url)
        with psycopg.connect(server.url(login=Login.MIGRATE)) as connection:
            connection.execute("ALTER TABLE farmers ADD COLUMN later INTEGER")
            connection.execute(
                "CREATE OR REPLACE FUNCTION tell_block() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'"
            )
        async with Database.open(server.url(login=Login.API)) as database:
            assert await database.fetch_all("select_farmers", pooler_id=None) == []


def test_lost_passwords_are_told_and_can_be_set_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Postgres.start(data):
        pass
    file = data.with_name("data.logins")
    file.write_text(json.dumps(dict.fromkeys(Login, "0" * 64)))
    with pytest.raises(DatabaseError, match="remove it"):
        Postgres.start(data)
    file.unlink()
    with Postgres.start(data) as server:
        assert server.create_database("kalepool") == server.url()
