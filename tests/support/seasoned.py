"""A pool with a past and a present, for what shows it: a block harvested, a stake lost, shares, workers, miners, and a
farmer that waits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from stellar_sdk import Keypair

from kalepool.services import farmers
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission

RATES = {"cpu": 2.4e6, "cuda": 4.1e9, "a rig": 9.0e6}


@dataclass(frozen=True)
class Seasoned:
    """What can be looked at. Block 0 is over and block 1 runs. `waiting`: a farmer that is not funded."""

    farmers: list[Any]
    waiting: Any
    miner_ids: list[UUID]


async def season(farm, miner_names: tuple[str, ...] = ("ann", "ben"), farmer_name: str = "Ann") -> Seasoned:
    """Of a fresh `farm`: three of its four farmers work block 0, the fourth loses its stake there; all are planted in
    block 1, where two have a share."""
    planted = await farm.add_farmers(4)
    waits = await farmers.register(
        farm.ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"), {"name": farmer_name}
    )
    await farm.rows("UPDATE farmers SET metadata = jsonb_build_object('name', %s::text)", farmer_name)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await _open(farm, 0)
    await farm.pass_time(5)
    nonces = [Submission(each.farmer_id, await farm.nonce(each, 0, zeros=1)) for each in planted[:3]]
    await work.work(farm.ctx, 0, farm.pooler_id, nonces)
    await farm.end_block()
    await farm.start_block(1)
    await harvest.harvest(farm.ctx, farm.pooler_id, block_index=0)
    await plant.plant(farm.ctx, 1, farm.pooler_id)
    await _open(farm, 1)
    for each in planted[:2]:
        await share(farm, each.farmer_id, 1)
    await _search(farm)
    return Seasoned(planted, waits.farmer, [await _mine(farm, name) for name in miner_names])


async def share(farm, farmer_id: UUID, index: int, zeros: int = 6) -> None:
    """A share of the first worker's for this farmer."""
    digest = bytes(zeros // 2) + hashlib.sha256(farmer_id.bytes + bytes([index])).digest()[zeros // 2 :]
    await farm.rows(
        "INSERT INTO shares (share_id, block_index, farmer_id, searcher, nonce, hash, zeros) "
        "VALUES (gen_random_uuid(), %s, %s, 1, %s, %s, %s)",
        *(index, farmer_id, int.from_bytes(digest[-8:]), digest, zeros),
    )


async def _open(farm, index: int) -> None:
    """As the coordinator does when it sees a block."""
    await farm.rows(
        "UPDATE block_operations SET status = 'finished', closed_at = now() WHERE status = 'open' AND block_index < %s",
        index,
    )
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, now())",
        *(index, farm.pooler_id, hashlib.sha256(bytes([index])).digest()),
    )


async def _search(farm) -> None:
    """Two workers of ours search, and did for an hour."""
    for kind in ("cpu", "cuda"):
        await farm.rows(
            "WITH worker AS (INSERT INTO workers (worker_id, searcher, node, kind, backend, threads, version, "
            "hashes_per_second, best_zeros) VALUES (gen_random_uuid(), nextval('searcher_ids'), 'cellar', %s, %s, 8, "
            "'1', %s, 6) RETURNING searcher) "
            "INSERT INTO hashrates SELECT now() - part * interval '10 seconds', searcher, "
            "%s * (1 + 0.1 * sin(part / 9.0)) FROM worker, generate_series(0, 350) part",
            *(kind, kind, RATES[kind], RATES[kind]),
        )


async def _mine(farm, name: str) -> UUID:
    """A miner with a rig and shares in both blocks."""
    [(miner_id,)] = await farm.rows(
        "INSERT INTO miners (miner_id, name, last_seen_at) VALUES (gen_random_uuid(), %s, now()) RETURNING miner_id",
        name,
    )
    await farm.rows(
        "WITH rig AS (INSERT INTO rigs (miner_id, name) VALUES (%s, %s) RETURNING searcher) "
        "INSERT INTO hashrates SELECT now() - part * interval '10 seconds', searcher, %s "
        "FROM rig, generate_series(0, 120) part",
        *(miner_id, name, RATES["a rig"]),
    )
    for index, outcome, count in ((0, "accepted", 40), (1, "accepted", 17), (1, "stale", 2)):
        await farm.rows(
            "INSERT INTO share_counts VALUES (%s, %s, %s, %s, %s)", *(index, miner_id, outcome, count, count * 10**9)
        )
    return miner_id
