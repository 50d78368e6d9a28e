"""A year of a pool in a database: how large it gets, whether what is old goes, how fast the page's queries stay.

Every day's rows are written as the pool writes them (288 blocks, three transactions of each farmer in each, envelopes
as long as the devnet's, ten shares, three workers' points for the charts), ending now. Then what is old is removed
as the API does it, and every query of the page and of /metrics is timed.

    python -m benchmarks.year [--farmers 50] [--days 365]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from kalepool.config import Settings
from kalepool.database import Database, migrate
from kalepool.postgres import Postgres
from kalepool.services.retention import prune

TARGET = "every query within 50 ms"
BLOCKS_A_DAY = 288
ENVELOPE = {"plant": 1488, "work": 848, "harvest": 972}  # characters, as measured on the devnet

SETUP = """
CREATE FUNCTION id_of(at timestamptz, what text) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || substr(md5(what), 1, 19))::uuid $$;
CREATE FUNCTION hash_of(what text) RETURNS bytea LANGUAGE sql AS $$
    SELECT decode(md5(what) || md5(what || '!'), 'hex') $$;
INSERT INTO poolers (pooler_id, name, max_farmers) VALUES (gen_random_uuid(), 'year', {farmers});
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet,
                     stake_percentage, status)
    SELECT gen_random_uuid(), pooler_id, 'G' || n, '', '', 'G', 0.1, 'active'
    FROM poolers, generate_series(1, {farmers}) n;
CREATE TABLE places AS SELECT row_number() OVER () AS n, farmer_id, pooler_id, custodial_wallet FROM farmers;
"""

DAY = """
CREATE TEMP TABLE pails AS
    SELECT b AS block, f.*, %(start)s::timestamptz + make_interval(secs => (b - %(first)s) * 300) AS at
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) b, places f ORDER BY b, n;
CREATE TEMP TABLE parts AS
    SELECT p.*, a.action, a.size, a.late, p.at + make_interval(secs => a.late) AS sent,
           id_of(p.at + make_interval(secs => a.late), a.action || p.block || ' ' || p.n) AS submission_id,
           hash_of(a.action || p.block || ' ' || p.n) AS hash
    FROM (VALUES ('plant', {plant}, 5), ('work', {work}, 285), ('harvest', {harvest}, 310)) a (action, size, late),
         pails p
    ORDER BY a.late, p.block, p.n;
INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, min_zeros,
                    max_zeros, staked_total_stroops, normalized_total, final)
    SELECT DISTINCT block, hash_of(block::text), at, 1, 60, 0, 10, 5, 9, 10, 10, true FROM pails;
INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, seen_at, status, closed_at)
    SELECT DISTINCT block, pooler_id, hash_of(block::text), at, at, 'finished', at + interval '300 seconds' FROM pails;
INSERT INTO submissions (submission_id, action, pooler_id, source_account, sequence, transaction_hash, envelope_xdr,
                         valid_until, status, ledger, fee_stroops, created_at, closed_at)
    SELECT submission_id, action, pooler_id, custodial_wallet, block, hash,
           rpad('', size, encode(hash, 'base64') || md5(submission_id::text) || md5(block::text || n)), sent, 'applied',
           block * 60, 50000, sent, sent + interval '6 seconds' FROM parts;
INSERT INTO submission_items (submission_id, action, block_index, farmer_id, amount_stroops, nonce, zeros, status)
    SELECT submission_id, action, block, farmer_id, 1000000, 7, 8, 'applied' FROM parts;
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, submission_id,
                       transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'planted', 1000000, submission_id, hash, block * 60, sent
    FROM parts WHERE action = 'plant';
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, submission_id,
                   transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'worked', 7, hash, 8, 50, submission_id, hash, block * 60, sent
    FROM parts WHERE action = 'work';
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops,
                      forecast_stroops, submission_id, transaction_hash, ledger, created_at)
    SELECT submission_id, block, pooler_id, farmer_id, 'harvested', 2000000, 1000000, 2000000, submission_id, hash,
           block * 60, sent FROM parts WHERE action = 'harvest';
DROP TABLE parts;
"""

RECENT = """
INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, found_at)
    SELECT id_of(at + make_interval(secs => z * 20), block || ' ' || n || ' ' || z), block, farmer_id, 1, z,
           hash_of(block || ' ' || n || ' ' || z), z, at + make_interval(secs => z * 20)
    FROM pails, generate_series(1, 10) z;
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
    SELECT %(start)s::timestamptz + make_interval(secs => s * 10), w, 40e6
    FROM generate_series(0, 8639) s, generate_series(1, 3) w;
"""
"""Of what is removed after some days, only those and a few more are written: the rest would be gone."""


async def fill(connection: psycopg.AsyncConnection[Any], farmers: int, days: int) -> None:
    await connection.execute("SET session_replication_role = replica")  # no triggers: nobody listens
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(SETUP.format(farmers=farmers).encode())
    for day in range(days):
        left = days - day
        given = {"first": day * BLOCKS_A_DAY, "last": (day + 1) * BLOCKS_A_DAY - 1}
        start = (
            await (await connection.execute("SELECT now() - make_interval(days => %s)", (left,))).fetchone() or (0,)
        )[0]
        for text in (DAY.format(**ENVELOPE), RECENT if left <= 9 else ""):
            for statement in filter(str.strip, text.split(";\n")):
                await connection.execute(statement.encode(), {**given, "start": start})
        await connection.execute("DROP TABLE pails")


async def sizes(connection: psycopg.AsyncConnection[Any]) -> dict[str, int]:
    """Bytes of every table with its indexes, the largest first."""
    rows = await connection.execute(
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        "'public'::regnamespace ORDER BY 2 DESC"
    )
    return {name: size for name, size in await rows.fetchall() if size > 1_000_000}


async def timed(database: Database, newest: int) -> dict[str, float]:
    """The median of five calls of each query, in milliseconds."""
    asked: dict[str, dict[str, Any]] = {
        "select_farmers_in_block": {"pooler_id": None, "block_index": newest, "everybody": True},
        "select_blocks_done": {"pooler_id": None, "from_index": 0, "to_index": newest, "limit": 60},
        "select_searchers": {},
        "select_last_loss": {"pooler_id": None, "before_index": newest},
        "select_gauges": {"day_blocks": BLOCKS_A_DAY},
        "select_worker_counts": {"silent_seconds": 30},
        "count_unsearched": {"early_seconds": 30, "silent_seconds": 30},
        "select_forgotten": {"newest_index": newest - 3},
    }
    found = {}
    for query, given in asked.items():
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await database.fetch_all(query, **given)
            took.append((time.perf_counter() - began) * 1000)
        found[query] = median(took)
    return found


async def main(farmers: int, days: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="kalepool-year-") as folder,
        Postgres.start(Path(folder) / "data") as server,
    ):
        url = server.create_database("kalepool")
        await migrate(url)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            began = time.monotonic()
            await fill(connection, farmers, days)
            await connection.execute("DROP TABLE places")
            before = sum((await sizes(connection)).values())
            print(
                f"{days} days of {farmers} farmers written in {time.monotonic() - began:.0f} s: {before / 1e6:.0f} MB"
            )
            began, removed = time.monotonic(), {}
            async with Database.open(url) as database:
                while any((done := await prune(database, Settings.load(_env_file=None))).values()):
                    removed = {query: removed.get(query, 0) + rows for query, rows in done.items()}
            print(f"what was old was removed in {time.monotonic() - began:.0f} s: {removed}")
            await connection.execute("VACUUM (FULL, ANALYZE)")
            after = await sizes(connection)
            print(f"size: {sum(after.values()) / 1e6:.0f} MB")
            for name, size in after.items():
                print(f"  {name:20} {size / 1e6:8.1f} MB")
            async with Database.open(url) as database:
                took = await timed(database, days * BLOCKS_A_DAY - 1)
            for query, milliseconds in sorted(took.items(), key=lambda one: -one[1]):
                print(f"  {query:26} {milliseconds:7.1f} ms")
            print(f"{TARGET}: {'kept' if max(took.values()) < 50 else 'missed'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farmers", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args()
    asyncio.run(main(given.farmers, given.days))
