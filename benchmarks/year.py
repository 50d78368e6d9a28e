"""A year of a pool in a database: how large it gets, whether what is old goes, how fast what is asked for stays.

Every day's rows are written as the pool writes them (288 blocks; of each farmer a plant, a work and a harvest in each,
with their transactions and four entries of the books; five miners' shares, credits and payouts), up to now. The last
WHOLE days are written whole (envelopes as long as the devnet's, ten shares a pail, three workers' points of the charts,
refused shares, alerts), and after each of them the pool's own chores run as of that evening: retention, settling, and
what autovacuum does. Days before are written as retention leaves them.

Then the API is started on it, in this process and without a chain, and asked for every page and everything that is
had by
GET, five times; each of its queries is timed, those of its chores too.

    python -m benchmarks.year [--farmers 50] [--days 365] [--whole 30] [--folder FOLDER]

With --folder the database is kept, and another run goes on from where it was ended; --seconds ends one after so long
(exit code 3). Exits with 1 where a query that
somebody waits for takes 50 ms, or retention and settling take more of a day than a hundredth.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import httpx2
import psycopg
from stellar_sdk import Keypair

from kalepool import database as database_module
from kalepool.api import create_app
from kalepool.config import Settings
from kalepool.database import Database, migrate
from kalepool.postgres import Postgres
from kalepool.services.farmers import Farmer
from kalepool.services.holdings import Holdings
from kalepool.services.keys import Role, create_key
from kalepool.services.retention import prune
from kalepool.services.settling import settle
from kalepool.view.farm import read_farm, read_sums

BLOCKS_A_DAY = 288
MOST_MS = 50.0
MOST_OF_A_DAY = 864.0
"""Seconds for the chores of a day."""

ENVELOPE = {"plant": 1488, "work": 848, "harvest": 972}  # characters, as measured on the devnet
MINERS, SHARES, WORKERS = 5, 10, 3

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "work_mem": "256MB",
}
FAST |= {"max_wal_size": "2GB", "maintenance_work_mem": "1GB", "shared_buffers": "1GB", "autovacuum": "off"}
"""While it is written. It is measured with the settings that the pool's own server has."""

SETUP = """
CREATE FUNCTION id_of(at timestamptz, what text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(what), 1, 19))::uuid $$;
CREATE FUNCTION hash_of(what text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT decode(md5(what) || md5(what || '!'), 'hex') $$;
INSERT INTO poolers (pooler_id, name, max_farmers, open) VALUES (gen_random_uuid(), 'year', {farmers}, true);
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, owner_wallet,
                     stake_percentage, status, fee_rate, metadata, registered_at, activated_at)
    SELECT gen_random_uuid(), pooler_id, 'G' || rpad(n::text, 55, 'A'), '', '', 'G' || rpad(n::text, 55, 'B'),
           'G' || rpad(n::text, 55, 'B'), 0.1, 'active', 0.05, jsonb_build_object('name', 'farmer ' || n),
           now() - make_interval(days => {days}), now() - make_interval(days => {days})
    FROM poolers, generate_series(1, {farmers}) n;
INSERT INTO miners (miner_id, name, payout_wallet) SELECT gen_random_uuid(), 'miner ' || n, 'G'
    FROM generate_series(1, {miners}) n;
INSERT INTO rigs (miner_id, name) SELECT miner_id, 'rig' FROM miners;
CREATE TABLE places AS SELECT row_number() OVER () AS n, farmer_id, pooler_id, custodial_wallet FROM farmers;
CREATE TABLE rig_places AS SELECT row_number() OVER () AS n, miner_id, searcher FROM rigs;
CREATE TABLE written (days integer NOT NULL, ends timestamptz NOT NULL);
INSERT INTO written VALUES (0, now());
"""

WITHOUT_INDEXES = """
CREATE TABLE made_later AS
    SELECT CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, coalesce(c.conname, ''),
                            pg_get_constraintdef(c.oid)) END AS definition,
           CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
                ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::regclass, coalesce(c.conname, '')) END
                    AS removal
    FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
    WHERE i.indrelid::regclass::text = ANY (%s) AND NOT i.indisprimary;
"""
"""Indexes of the large tables are made once most of the rows are there."""

DAYS = """
CREATE TEMP TABLE pails AS
    SELECT b AS block, f.*, %(start)s::timestamptz + make_interval(secs => (b - %(first)s) * 300) AS at
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) b, places f ORDER BY b, n;
CREATE TEMP TABLE parts AS
    SELECT p.*, a.action, a.size, p.at + make_interval(secs => a.late) AS sent,
           id_of(p.at + make_interval(secs => a.late), a.action || p.block || ' ' || p.n) AS submission_id,
           hash_of(a.action || p.block || ' ' || p.n) AS hash
    FROM (VALUES ('plant', {plant}, 5), ('work', {work}, 285), ('harvest', {harvest}, 310)) a (action, size, late),
         pails p
    ORDER BY p.at + make_interval(secs => a.late), p.n;
INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, min_zeros,
                    max_zeros, staked_total_stroops, normalized_total, final)
    SELECT DISTINCT ON (block) block, hash_of(block::text), at, 1, 60, 0, 10, 5, 9, 10, 10, true FROM pails;
INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, seen_at, status, closed_at)
    SELECT DISTINCT ON (block) block, pooler_id, hash_of(block::text), at, at, 'finished', at + interval '300 seconds'
    FROM pails;
INSERT INTO block_terms SELECT DISTINCT ON (block) block, 0.05, 0.5, 10, at FROM pails;
INSERT INTO block_plans SELECT DISTINCT ON (block) block, pooler_id, 50, 50, 1000000, 100000000, 50000, 0.001, NULL, at
    FROM pails;
INSERT INTO house_hashes (block_index, hashes) SELECT DISTINCT block, 30000000000 FROM pails;
INSERT INTO share_logs SELECT DISTINCT ON (block) block, hash_of('log' || block), 500, at + interval '900 seconds'
FROM pails;
INSERT INTO block_closings (block_index, fees_stroops, shared_stroops, window_blocks, closed_at, window_hash)
    SELECT DISTINCT ON (block) block, 5000000, 2500000, 10, at + interval '1200 seconds', hash_of('w' || block)
        FROM pails;
INSERT INTO share_counts (block_index, miner_id, outcome, shares, credited_hashes)
    SELECT b, miner_id, outcome, shares, shares * 1048576
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) b, rig_places,
         (VALUES ('accepted', 90), ('stale', 2)) o (outcome, shares);
INSERT INTO submissions (submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr,
                         valid_until, status, ledger, fee_stroops, created_at, closed_at, submitter)
    SELECT submission_id, action, pooler_id, custodial_wallet, block, hash,
           CASE WHEN %(whole)s
                THEN rpad('', size, encode(hash, 'base64') || md5(submission_id::text) || md5(block::text || n))
                    ELSE '' END,
           sent, 'applied', block * 60, 50000, sent, sent + interval '6 seconds', 'direct' FROM parts;
INSERT INTO submission_items (submission_id, action, block_index, farmer_id, amount_stroops, nonce, hash, zeros, status)
    SELECT submission_id, action, block, farmer_id, 1000000, CASE action WHEN 'work' THEN 7 END,
           CASE action WHEN 'work' THEN hash END, CASE action WHEN 'work' THEN 8 END, 'applied' FROM parts;
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, submission_id,
                       transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'planted', 1000000, submission_id, hash, block * 60, sent
    FROM parts WHERE action = 'plant';
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, submission_id,
                   transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'worked', 7, hash, 8, 50, submission_id, hash, block * 60, sent
    FROM parts WHERE action = 'work';
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops,
                      forecast_stroops, fee_stroops, submission_id, transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'harvested', 2000000, 1000000, 2000000, 100000, submission_id,
           hash, block * 60, sent FROM parts WHERE action = 'harvest';
CREATE TEMP TABLE entries AS
    SELECT concat_ws('/', e.what, block, farmer_id) AS cause, e.event, e.debit || coalesce('/' || f1, '') AS debit,
           e.credit || coalesce('/' || f2, '') AS credit, e.amount, block, block * 60 AS ledger, hash, sent AS at
    FROM parts CROSS JOIN LATERAL (VALUES
        ('plant', 'plant', 'planted', 'pail', farmer_id, 'wallet', farmer_id, 1000000),
        ('harvest', 'stake', 'stake-back', 'wallet', farmer_id, 'pail', farmer_id, 1000000),
        ('harvest', 'reward', 'rewarded', 'wallet', farmer_id, 'farmer', farmer_id, 2000000),
        ('harvest', 'fee', 'fee', 'farmer', farmer_id, 'fee-due', NULL::uuid, 100000))
        e (action, what, event, debit, f1, credit, f2, amount)
    WHERE e.action = parts.action
    UNION ALL
    SELECT concat_ws('/', 'credit', block, miner_id), 'credited', 'fee-due', 'miner/' || miner_id, 500000, block,
        NULL, NULL,
           at + interval '1200 seconds'
    FROM (SELECT DISTINCT ON (block) block, at FROM pails) b, rig_places
    UNION ALL
    SELECT concat_ws('/', 'kept', block), 'kept', 'fee-due', 'operator', 2500000, block, NULL, NULL,
           at + interval '1200 seconds'
    FROM (SELECT DISTINCT ON (block) block, at FROM pails) b
    UNION ALL
    SELECT concat_ws('/', 'paid', block, miner_id), 'paid', 'miner/' || miner_id, 'treasury', 144000000, NULL,
        block * 60,
           hash_of('pay' || block || miner_id), at
    FROM (SELECT DISTINCT ON (block) block, at FROM pails) b, rig_places WHERE block %% 288 = 0;
INSERT INTO book_accounts (account)
    SELECT debit FROM entries UNION SELECT credit FROM entries ON CONFLICT DO NOTHING;
UPDATE book_accounts a SET balance_stroops = a.balance_stroops + m.moved
    FROM (SELECT account, sum(moved) AS moved FROM (
              SELECT debit AS account, amount AS moved FROM entries UNION ALL SELECT credit, -amount FROM entries) e
          GROUP BY account) m
    WHERE m.account = a.account;
INSERT INTO transfers (number, cause, event, debit, credit, amount_stroops, block_index, ledger, transaction_hash,
                       posted_at, hash)
    SELECT h.number + row_number() OVER (ORDER BY at, cause), cause, event, debit, credit, amount, block, e.ledger,
        e.hash,
           at, hash_of(cause)
    FROM entries e, book_head h ORDER BY at, cause;
UPDATE book_head SET number = (SELECT max(number) FROM transfers);
INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, stake_stroops,
                                  forecast_stroops, created_at)
    SELECT id_of(at, 'lost' || block), block, pooler_id, farmer_id, 'network', 'not-worked', 1000000, 2000000, at
    FROM pails WHERE block %% 288 = 7 AND n = 1;
DROP TABLE parts;
DROP TABLE entries;
"""

RECENT = """
INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, found_at)
    SELECT id_of(at + make_interval(secs => z * 20), block || ' ' || n || ' ' || z), block, farmer_id, 1, z,
           hash_of(block || ' ' || n || ' ' || z), z, at + make_interval(secs => z * 20)
    FROM pails, generate_series(1, {shares}) z;
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
    SELECT %(start)s::timestamptz + make_interval(secs => s * 10), w, 40e6
    FROM generate_series(0, 8639) s, generate_series(1000, 1000 + {workers}) w;
INSERT INTO refused_shares (miner_id, request_id, outcome, detail, refused_at)
    SELECT miner_id, decode(md5(b || ' ' || s || miner_id), 'hex'), 'stale', '', %(start)s::timestamptz
           + make_interval(secs => (b - %(first)s) * 300)
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) b, generate_series(1, 2) s, rig_places;
INSERT INTO alerts (alert_id, key, kind, message, raised_at, told_at, resolved_at, end_told_at)
    SELECT id_of(at, 'alert' || block), 'k' || block, 'rpc-down', 'the RPC server does not answer', at, at, at, at
    FROM pails WHERE block %% 12 = 0 AND n = 1;
"""

waits: ContextVar[str | None] = ContextVar("waits", default=None)
"""The path that is asked for, or None in a chore."""


# ----------------------------------------------------------------------------------------------------------------------
# Writing


async def fill(url: str, farmers: int, days: int, whole: int, until: float) -> list[dict[str, float]] | None:
    """Writes what is not written yet. Returns what the chores took after each whole day, in seconds, and removed; None
    where it was not done by `until`."""
    chores: list[dict[str, float]] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")  # no triggers: nobody listens
        if not await _one(connection, "SELECT to_regclass('written') IS NOT NULL"):
            await connection.execute(SETUP.format(farmers=farmers, days=days, miners=MINERS).encode())
            await _name_wallets(connection)
            if days > whole:
                await _drop_indexes(connection)
        ends: datetime = await _one(connection, "SELECT ends FROM written")
        done: int = await _one(connection, "SELECT days FROM written")
        while done < days:
            if time.monotonic() > until:
                return None
            if done >= days - whole and await _one(connection, "SELECT to_regclass('made_later') IS NOT NULL"):
                began = time.monotonic()
                await _make_indexes(connection)
                await _vacuum(connection, *TABLES)
                async with Database.open(url) as database:
                    steps = await settle(database, ends - timedelta(days=days - done))
                print(f"indexes, vacuum, {steps} steps of settling in {time.monotonic() - began:.0f} s", flush=True)
            step = 1 if done >= days - whole else min(5, days - whole - done)
            began = time.monotonic()
            async with connection.transaction():
                await _write(connection, done, step, ends - timedelta(days=days - done), done >= days - whole)
            done += step
            print(f"day {done}: {step / (time.monotonic() - began):.2f} days a second", flush=True)
            if done > days - whole:
                chores.append(await _do_chores(url, connection, ends - timedelta(days=days - done)))
                print(f"  chores: {chores[-1]}", flush=True)
    return chores


async def _drop_indexes(connection: psycopg.AsyncConnection[Any]) -> None:
    named = WITHOUT_INDEXES.replace("ANY (%s)", f"ANY ('{{{','.join(TABLES)}}}')")
    await connection.execute(named.encode())
    for (removal,) in await (await connection.execute("SELECT removal FROM made_later")).fetchall():
        await connection.execute(removal.encode())


async def _make_indexes(connection: psycopg.AsyncConnection[Any]) -> None:
    for (definition,) in await (await connection.execute("SELECT definition FROM made_later")).fetchall():
        await connection.execute(definition.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS").encode())
    await connection.execute("DROP TABLE made_later")


async def _name_wallets(connection: psycopg.AsyncConnection[Any]) -> None:
    """The API wants addresses that are some."""
    rows = await (await connection.execute("SELECT farmer_id FROM farmers")).fetchall()
    for (farmer_id,) in rows:
        wallet, owner = Keypair.random().public_key, Keypair.random().public_key
        await connection.execute(
            "UPDATE farmers SET custodial_wallet = %s, payout_wallet = %s, owner_wallet = %s WHERE farmer_id = %s",
            (wallet, owner, owner, farmer_id),
        )
    owner = Keypair.random().public_key
    await connection.execute("UPDATE miners SET payout_wallet = %s", (owner,))


async def _write(connection: psycopg.AsyncConnection[Any], done: int, step: int, start: datetime, whole: bool) -> None:
    given = {
        "first": done * BLOCKS_A_DAY,
        "last": (done + step) * BLOCKS_A_DAY - 1,
        "start": start,
        "whole": whole,
    }
    for text in (DAYS.format(**ENVELOPE), RECENT.format(shares=SHARES, workers=WORKERS) if whole else ""):
        for statement in filter(str.strip, text.split(";\n")):
            await connection.execute(statement.encode(), given)
    await connection.execute("DROP TABLE pails")
    await connection.execute("UPDATE written SET days = %s", (done + step,))


TABLES = ("submissions", "submission_items", "plantings", "works", "harvests", "transfers")


async def _do_chores(url: str, connection: psycopg.AsyncConnection[Any], now: datetime) -> dict[str, float]:
    began, removed = time.monotonic(), 0
    async with Database.open(url) as database:
        while some := sum((await prune(database, Settings.load(_env_file=None), now)).values()):
            removed += some
        pruned = time.monotonic()
        await settle(database, now)
        settled = time.monotonic()
    await _vacuum(connection, "submissions", "shares", "hashrates", "refused_shares", "alerts")
    took = {"prune": pruned - began, "settle": settled - pruned, "vacuum": time.monotonic() - settled}
    return {name: round(seconds, 1) for name, seconds in took.items()} | {"removed": removed}


async def _vacuum(connection: psycopg.AsyncConnection[Any], *tables: str) -> None:
    for table in tables:
        await connection.execute(f"VACUUM (ANALYZE) {table}".encode())


async def _one(connection: psycopg.AsyncConnection[Any], query: str) -> Any:
    return (await (await connection.execute(query.encode())).fetchone() or (None,))[0]


# ----------------------------------------------------------------------------------------------------------------------
# Measuring


async def sizes(url: str) -> dict[str, int]:
    """Bytes of every table with its indexes, the largest first."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        rows = await connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
            "'public'::regnamespace AND relname NOT IN ('places', 'rig_places', 'written') ORDER BY 2 DESC"
        )
        return dict(await rows.fetchall())


class Timed:
    """Times every named query, by who waits for it."""

    def __init__(self) -> None:
        self.took: dict[tuple[str, bool], list[float]] = defaultdict(list)

    def install(self) -> None:
        for name in ("fetch_all", "fetch_one", "execute"):
            self._wrap(name, getattr(database_module.Session, name))

    def _wrap(self, name: str, method: Any) -> None:
        async def timed(session: Any, query: str, /, **given: Any) -> Any:
            began = time.perf_counter()
            try:
                return await method(session, query, **given)
            finally:
                self.took[query, waits.get() is not None].append((time.perf_counter() - began) * 1000)

        setattr(database_module.Session, name, timed)


@asynccontextmanager
async def asking(url: str, folder: Path) -> AsyncGenerator[tuple[Any, dict[str, httpx2.AsyncClient], dict[str, str]]]:
    """The API on this database with no chain behind it, clients by role, and values of its paths' parameters."""
    async with AsyncExitStack() as stack:
        settings = Settings.load(
            network="devnet", rpc_url="http://127.0.0.1:9", data_dir=folder, database_url=url,
            requests_per_minute=10**6,
            share_days=7, _env_file=None,
        )  # fmt: skip
        app = create_app(settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        db = app.state.context.database
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            known = {
                "pooler_id": str(await _one(connection, "SELECT pooler_id FROM poolers")),
                "farmer_id": str(await _one(connection, "SELECT farmer_id FROM places WHERE n = 1")),
                "miner_id": str(await _one(connection, "SELECT miner_id FROM rig_places WHERE n = 1")),
                "block_index": str(await _one(connection, "SELECT max(block_index) FROM blocks") - 5),
                "submission_id": str(await _one(connection, "SELECT max(submission_id::text) FROM submissions")),
            }
        known |= {"index": known["block_index"], "account": f"wallet/{known['farmer_id']}"}
        keys = {
            "nobody": None,
            "operator": await create_key(db, Role.OPERATOR, label="year"),
            "pooler": await create_key(db, Role.POOLER, subject_id=UUID(known["pooler_id"])),
            "farmer": await create_key(db, Role.FARMER, subject_id=UUID(known["farmer_id"])),
            "miner": await create_key(db, Role.MINER, subject_id=UUID(known["miner_id"])),
        }
        clients = {}
        for role, key in keys.items():
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            headers = {"Authorization": f"Bearer {key.key}"} if key else {}
            clients[role] = await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://pool", headers=headers, timeout=120)
            )
        yield app, clients, known


ENDLESS = ("stream", "/events", ".csv", "/exports", "/entries")
"""Streams, and files of all that there was."""


PAGES = ("/", "/block/{index}", "/farmer/{farmer_id}", "/miner/{miner_id}", "/books", "/find?q=12", "/metrics", "/mine")


def paths_of(app: Any, known: dict[str, str]) -> list[str]:
    """Every page, and everything that is described and had by GET and is not endless, with parameters filled in."""
    found = list(PAGES)
    for path, methods in app.openapi()["paths"].items():
        if "get" in methods and not any(word in path for word in ENDLESS):
            found.append(path)
    return sorted({path.format_map(known) for path in found if set(re.findall(r"{(\w+)}", path)) <= known.keys()})


async def ask(url: str, folder: Path) -> tuple[Timed, dict[str, float]]:
    """Asks for everything. Returns the queries' times, and what a path took, the median, in milliseconds."""
    timed, took = Timed(), {}
    timed.install()
    async with asking(url, folder) as (app, clients, known):
        await asyncio.sleep(5)  # the chores' first round
        for path in paths_of(app, known):
            for role, client in clients.items():
                waits.set(path)
                each, answer = [], None
                for _ in range(5):
                    began = time.perf_counter()
                    answer = await client.get(path)
                    each.append((time.perf_counter() - began) * 1000)
                assert answer is not None
                if answer.status_code in (401, 403):
                    continue
                took[path.replace(known["farmer_id"], "F").replace(known["miner_id"], "M")] = median(each)
                if answer.status_code >= 400:
                    print(f"  {path} as {role}: {answer.status_code} {answer.text[:100]}", flush=True)
                break
        waits.set("its own page")
        db, id = app.state.context.database, UUID(known["farmer_id"])
        farmer = await db.fetch_one("select_farmer_of_any_pooler", row=Farmer, farmer_id=id)
        for _ in range(5):
            await db.fetch_all("select_holdings", farmer_id=id)
            sums = await read_sums(db, id)
            await read_farm(db, farmer, Holdings(None, True, 0, 0, 0), sums, min_spare_stroops=0, block_seconds=300)
        waits.set(None)
    return timed, took


def report(timed: Timed, took: dict[str, float]) -> list[str]:
    """Prints the slowest of each. Returns the queries that people wait too long for."""
    for path, ms in sorted(took.items(), key=lambda one: -one[1])[:12]:
        print(f"  {ms:8.1f} ms  GET {path}")
    wrong = []
    for (query, waited), times in sorted(timed.took.items(), key=lambda one: -median(one[1]))[:25]:
        print(f"  {median(times):8.1f} ms, {max(times):8.1f} at most  {query}{'' if waited else ' (a chore)'}")
        if waited and median(times) >= MOST_MS:
            wrong.append(query)
    print(f"{len(took)} paths asked, {sum(waited for _, waited in timed.took)} queries that somebody waits for")
    return wrong


async def main(farmers: int, days: int, whole: int, folder: Path, seconds: float) -> int:
    data = folder / "data"
    with Postgres.start(data, settings=FAST) as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'kalepool'").fetchone()
        url = server.url("kalepool") if there else server.create_database("kalepool")
        await migrate(url)
        began = time.monotonic()
        chores = await fill(url, farmers, days, min(whole, days), began + seconds)
        if chores is None:
            return 3
        print(f"{days} days of {farmers} farmers, written in {time.monotonic() - began:.0f} s", flush=True)
    with Postgres.start(data) as server:
        url = server.url("kalepool")
        after = await sizes(url)
        print(f"size: {sum(after.values()) / 1e6:.0f} MB")
        for name, size in list(after.items())[:16]:
            print(f"  {name:20} {size / 1e6:8.1f} MB")
        timed, took = await ask(url, folder)
        wrong = report(timed, took)
    slow = max((day["prune"] + day["settle"] for day in chores), default=0.0)
    print(f"chores of a day: {slow:.0f} s at most; queries of 50 ms and more: {', '.join(wrong) or 'none'}")
    return 1 if wrong or slow > MOST_OF_A_DAY else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farmers", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--whole", type=int, default=30)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kalepool-year-") as temporary:
        folder = given.folder or Path(temporary)
        sys.exit(asyncio.run(main(given.farmers, given.days, given.whole, folder, given.seconds)))
