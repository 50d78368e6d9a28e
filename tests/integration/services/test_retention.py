"""What is old goes, in batches; sums, events, and what paid somebody stay."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from kalepool.cluster.fleet import SYSTEM_CONFIG
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.services import retention

pytestmark = pytest.mark.anyio

# Of each table a row for every day of the last hundred. Ids are UUIDv7 of the same moment.
FILL = """
CREATE FUNCTION id_of(at timestamptz) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || substr(md5(random()::text), 1, 19))::uuid $$;
CREATE TEMP TABLE days AS SELECT n, now() - make_interval(days => n, mins => 1) AS at FROM generate_series(0, 99) n;
INSERT INTO poolers (pooler_id, name) VALUES (gen_random_uuid(), 'p');
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet,
                     stake_percentage)
    SELECT gen_random_uuid(), pooler_id, 'G', '', '', 'G', 0.1 FROM poolers;
INSERT INTO miners (miner_id, name) VALUES (gen_random_uuid(), 'm');
INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, found_at)
    SELECT id_of(at), n, farmer_id, 1, n, decode(repeat('00', 32), 'hex'), 5, at FROM days, farmers;
INSERT INTO share_counts (block_index, miner_id, outcome, shares) SELECT n, miner_id, 'accepted', 1 FROM days, miners;
INSERT INTO refused_shares (miner_id, request_id, outcome, detail, refused_at)
    SELECT miner_id, n::text::bytea, 'stale', '', at FROM days, miners;
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second) SELECT at, 1, 1 FROM days;
INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, status, last_seen_at)
    SELECT id_of(at), n, 'h/1', 'cpu', 'b', 1, '1', CASE n WHEN 99 THEN 'alive' ELSE 'gone' END, at FROM days;
INSERT INTO alerts (alert_id, key, kind, message, raised_at, resolved_at)
    SELECT id_of(at), n::text, CASE n % 3 WHEN 0 THEN 'stake-lost' ELSE 'rpc-down' END, '', at,
           CASE n % 3 WHEN 1 THEN at END FROM days;
INSERT INTO submissions (submission_id, action, source_account, sequence, transaction_hash, envelope_xdr, valid_until,
                         status, created_at, closed_at)
    SELECT id_of(at), action, 'G', n, decode(md5(action || n) || md5(n::text), 'hex'), 'AAAA', at,
           CASE n WHEN 98 THEN 'open' ELSE 'applied' END, at, CASE n WHEN 98 THEN NULL ELSE at END
    FROM days, unnest(ARRAY['plant', 'work', 'payment']) action;
"""


async def counts(connection: psycopg.AsyncConnection) -> dict[str, int]:
    tables = ("shares", "share_counts", "refused_shares", "hashrates", "workers", "alerts", "submissions")
    found = {}
    for table in tables:
        found[table] = (await (await connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone() or (0,))[
            0
        ]
    query = "SELECT count(*) FROM submissions WHERE envelope_xdr <> ''"
    found["envelopes"] = (await (await connection.execute(query)).fetchone() or (0,))[0]
    return found


async def test_what_is_old_goes_and_sums_stay(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    settings = Settings.load(share_days=7, chart_days=3, alert_days=30, envelope_days=10, _env_file=None)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(FILL.encode())
        async with Database.open(database_url) as database:
            removed = await retention.prune(database, settings)
            assert await retention.prune(database, settings) == dict.fromkeys(removed, 0)
        assert await counts(connection) == {
            "shares": 7,
            "share_counts": 100,
            "refused_shares": 1,
            "hashrates": 3,
            "workers": 4 + 1,  # and the one that is there, whenever it was seen
            "alerts": 30 + 23,  # and those that are not over
            "submissions": 300,
            "envelopes": 100 + 2 * 10 + 2,  # all payments; the last days' plants and works; what is open
        }


async def test_no_look_takes_long_however_much_is_old(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    monkeypatch.setattr(retention, "MOST_BATCHES", 2)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(FILL.encode())
        async with Database.open(database_url) as database:
            removed = await retention.prune(database, Settings.load(_env_file=None))
    assert removed["delete_old_shares"] == removed["empty_old_envelopes"] == 14


def test_ray_s_logs_are_bounded_wherever_it_is_started() -> None:
    assert SYSTEM_CONFIG["event_stats_print_interval_ms"] == 3_600_000, "a page of figures an hour, not a minute"
    root = Path(__file__).parents[3]
    assert json.loads((root / "kalepool/cluster/ray.json").read_text()) == SYSTEM_CONFIG
    for place in ("cluster.yaml", "docs/operating.md"):
        assert (root / place).read_text().count("RAY_ROTATION_MAX_BYTES=5000000 RAY_ROTATION_BACKUP_COUNT=1") == 2, (
            place
        )
    assert '"RAY_ROTATION_MAX_BYTES", "5000000"' in (root / "kalepool/cluster/fleet.py").read_text()
