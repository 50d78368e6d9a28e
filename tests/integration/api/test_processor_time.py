"""No route holds the event loop: all of them are timed with a large pool in the database."""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import events
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import sha256

import psycopg
import pytest
from stellar_sdk import StrKey

from kalepool.devnet import genesis, wire
from kalepool.devnet.ledger.ledger_entries import Data
from kalepool.networks import Network
from kalepool.protocol.model import FARM_INDEX
from kalepool.services.farmers import find_farmer
from tests.integration.api.test_roles import EVERYBODY, OPERATOR, TABLE, Call, Cast, ask, cast
from tests.support.pace import slowness

pytestmark = pytest.mark.anyio

__all__ = ["cast"]

MINERS, FARMERS, BLOCKS = 500, 1_000, 2_000
FULL = 114
"""The newest blocks, in which every miner brought shares: the longest page of credits and its window."""

MOST_SECONDS = 0.05

LESS = {"GET /": 0.025}
"""Of a page that everybody comes to."""
TRIES = 3

ROUTE: ContextVar[str] = ContextVar("ROUTE")

FILL = f"""
SET session_replication_role = replica;  -- no look-up of every foreign key
SET work_mem = '64MB';
INSERT INTO miners (miner_id, name) SELECT gen_random_uuid(), 'miner ' || n FROM generate_series(1, {MINERS}) n;
INSERT INTO rigs (miner_id, name, difficulty) SELECT miner_id, '', 4096 FROM miners;
INSERT INTO hashrates (sampled_at, searcher, hashes_per_second)
SELECT now() - make_interval(secs => 10 * n), searcher, 1000 FROM rigs, generate_series(1, 60) n;
INSERT INTO block_operations (block_index, pooler_id, entropy, started_at, status, closed_at)
SELECT n, pooler_id, sha256(n::text::bytea), now() - make_interval(secs => 300 * ({BLOCKS} - n)),
       CASE WHEN n = {BLOCKS} THEN 'open' ELSE 'finished' END, CASE WHEN n < {BLOCKS} THEN now() END
FROM poolers, generate_series(1, {BLOCKS}) n WHERE name = 'ours';
INSERT INTO block_terms (block_index, platform_fee, miner_fee_part, pplns_blocks)
SELECT n, 0.05, 1, 12 FROM generate_series(1, {BLOCKS}) n;
INSERT INTO share_counts (block_index, miner_id, outcome, shares, credited_hashes)
SELECT n, miner_id, 'accepted', 10, 40960 + n FROM miners, generate_series({BLOCKS} - {FULL}, {BLOCKS}) n
UNION ALL
SELECT n, miner_id, 'accepted', 10, 40960 + n FROM (SELECT * FROM miners ORDER BY miner_id LIMIT 5) AS few,
       generate_series(1, {BLOCKS} - {FULL} - 1) n;
CREATE TEMPORARY TABLE played AS
SELECT n AS block_index, farmer_id, pooler_id FROM generate_series(1, {BLOCKS}) n
JOIN LATERAL (SELECT farmer_id, pooler_id FROM farmers ORDER BY farmer_id
              LIMIT CASE WHEN n > {BLOCKS} - 3 THEN {FARMERS} WHEN n > {BLOCKS} - 60 THEN 50 ELSE 2 END) f ON true;
INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops, transaction_hash, ledger)
SELECT gen_random_uuid(), block_index, pooler_id, farmer_id, 'planted', 100000000,
       sha256(block_index::text::bytea || farmer_id::text::bytea), 1 FROM played;
INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap, transaction_hash,
                   ledger)
SELECT gen_random_uuid(), block_index, pooler_id, farmer_id, 'worked', 1, sha256(''), 7, 12,
       sha256(block_index::text::bytea || farmer_id::text::bytea), 1 FROM played;
INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, stake_stroops,
                      forecast_stroops, transaction_hash, ledger)
SELECT gen_random_uuid(), block_index, pooler_id, farmer_id, 'harvested', 1234567, 100000000, 1234567,
       sha256(block_index::text::bytea || farmer_id::text::bytea), 1 FROM played WHERE block_index < {BLOCKS};
INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, hashes_per_second)
SELECT gen_random_uuid(), nextval('searcher_ids'), 'node', 'cpu', 'avx2', 8, '', 1000 FROM generate_series(1, 20);
UPDATE poolers SET max_farmers = 2000;
INSERT INTO house_hashes SELECT n, 1000000 FROM generate_series(1, {BLOCKS}) n;
ANALYZE;
"""

FARMERS_OF_POOL = """
INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet,
                     stake_percentage, status, metadata)
SELECT gen_random_uuid(), (SELECT pooler_id FROM poolers WHERE name = 'ours'), wallet, '', '',
       (SELECT payout_wallet FROM farmers LIMIT 1), 0.1, 'active', '{"name": "somebody"}'
FROM unnest(%s::text[]) wallet
"""


@dataclass
class Stopwatch:
    """The processor time of each step of the event loop, by the route that it was done for."""

    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def running(self) -> Iterator[None]:
        plain, longest = events.Handle._run, self.longest

        def timed(self: events.Handle) -> None:
            route = self._context.get(ROUTE, None)
            begun = time.thread_time()
            plain(self)
            if route is not None:
                longest[route] = max(longest[route], time.thread_time() - begun)

        events.Handle._run = timed
        try:
            yield
        finally:
            events.Handle._run = plain


def most_at_once(api, operation: str) -> dict[str, str]:
    """The most that can be asked for at once, by the description."""
    method, _, path = operation.partition(" ")
    parameters = api.app.openapi()["paths"].get(path, {}).get(method.lower(), {}).get("parameters", [])
    return {each["name"]: str(each["schema"]["maximum"]) for each in parameters if each["name"] == "limit"}


def newest(cast: Cast) -> dict:
    return {"pooler_id": str(cast.pooler_id), "block_index": BLOCKS}


def works(cast: Cast) -> dict:
    farmer_id = str(cast.farmer.farmer_id)
    return newest(cast) | {"submissions": [{"farmer_id": farmer_id, "nonce": str(n)} for n in range(1_000)]}


BODIES = {
    "POST /plant": newest,
    "POST /work": works,
    "POST /harvest": lambda cast: newest(cast) | {"block_index": BLOCKS - 1},
    "POST /miner/shares": lambda _: {"shares": [{"job_id": "none", "nonce": str(n)} for n in range(100)]},
}
"""Other than in the table: as much as there can be."""

PAGES = {
    "GET /metrics": Call({OPERATOR}),
    **{f"GET {path}": Call(EVERYBODY) for path in ("/", "/docs", "/openapi.json", "/events")},
    "GET /block/{index}": Call(EVERYBODY),
    "GET /farmer/{farmer_id}": Call(EVERYBODY),
    "GET /miner/{miner_id}": Call(EVERYBODY),
}


@dataclass
class CastOfMany(Cast):
    """The same, in the newest block that is over."""

    async def path(self, template: str, own_key: str | None) -> str:
        known = template.replace("{index}", str(BLOCKS - 1)).replace("{block_index}", str(BLOCKS - 1))
        return await super().path(known, own_key)


@pytest.fixture(autouse=True)
def old_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A devnet whose farm has seen so many blocks already."""
    made = genesis._contract_entries

    def entries(network: Network, close_time: int) -> list[Data]:
        kale = wire.contract_hash(network.contract_id)
        plain = genesis.pack_instance

        def pack(contract: bytes, code: bytes, storage: dict[str, object]) -> Data:
            return plain(contract, code, storage | {FARM_INDEX.name: BLOCKS - 1} if contract == kale else storage)

        with monkeypatch.context() as patch:
            patch.setattr(genesis, "pack_instance", pack)
            return made(network, close_time)

    monkeypatch.setattr(genesis, "_contract_entries", entries)


async def fill(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        wallets = [StrKey.encode_ed25519_public_key(sha256(b"%d" % n).digest()) for n in range(FARMERS)]
        await connection.execute(FARMERS_OF_POOL, (wallets,))
        await connection.execute(FILL.encode())


async def time_one(api, cast: Cast, operation: str, call: Call) -> None:
    ROUTE.set(operation)
    wish = replace(call, body=BODIES.get(operation, call.body), params=call.params | most_at_once(api, operation))
    who = OPERATOR if OPERATOR in call.may else min(call.may)
    answer = await asyncio.create_task(ask(api, cast, operation, wish, who, 1))
    assert answer is None or answer.status_code not in (401, 403, 422, 429, 500), answer.text


@pytest.mark.slow(8, "fills a database with a large pool")
async def test_no_route_holds_the_loop(api, cast: Cast) -> None:
    farm = api.farm
    await farm.pass_time(300)
    await farm.start_block(BLOCKS)
    await fill(farm.database_url)
    [(farmer_id,)] = await farm.rows("SELECT farmer_id FROM plantings WHERE block_index = 1 LIMIT 1")
    [(miner_id,)] = await farm.rows("SELECT miner_id FROM share_counts WHERE block_index = 1 LIMIT 1")
    farmer = await find_farmer(cast.database, farmer_id)
    assert farmer is not None
    cast = CastOfMany(**{**vars(cast), "farmer": farmer, "miner_id": miner_id})
    watch, held = Stopwatch(), dict[str, str]()
    gc.collect()
    gc.freeze()  # as the server does
    calls = PAGES | TABLE
    try:
        with watch.running():
            # The first request of a process, of whichever route, makes what all of them use; and a machine that was
            # held up for a moment counts it as the process's: who holds the loop does so each time.
            for operation, call in [("GET /health", calls["GET /health"]), *calls.items()]:
                for _ in range(TRIES):
                    watch.longest.pop(operation, None)
                    most = LESS.get(operation, MOST_SECONDS) * slowness()
                    await time_one(api, cast, operation, call)
                    if watch.longest[operation] < most:
                        held.pop(operation, None)
                        break
                    held[operation] = f"{1000 * watch.longest[operation]:.0f} of {1000 * most:.0f} ms"
    finally:
        gc.unfreeze()
    assert watch.longest.keys() == calls.keys()
    longest = sorted(watch.longest.items(), key=lambda each: -each[1])[:10]
    print("the longest held it for", {route: f"{1000 * seconds:.1f} ms" for route, seconds in longest})
    assert not held, f"how long a route held the event loop: {held}"
