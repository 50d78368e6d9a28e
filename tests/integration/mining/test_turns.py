"""Whose turn it is, read from the database, and external rigs that follow it."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from uuid import UUID

from kalepool.config import Settings
from kalepool.database import Database, new_id
from kalepool.policy import turns
from kalepool.policy.vardiff import Pace
from kalepool.services.mining import miners
from kalepool.services.mining.dealer import Rig
from kalepool.services.mining.service import Mining
from kalepool.services.owed import read_owed
from tests.integration.mining.conftest import Field, make_field


async def add_block(field: Field, index: int, zeros: dict[UUID, int | None], bounds: tuple[int, int]) -> None:
    """A block with these pails, None for one without work."""
    await field.execute(
        "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, "
        "min_zeros, max_zeros, staked_total_stroops, normalized_total) VALUES (%s, %s, %s, 0, 9, 0, 9, %s, %s, 0, 0) "
        "ON CONFLICT DO NOTHING",
        *(index, bytes(32), datetime.now(UTC), *bounds),
    )
    for farmer_id, best in zeros.items():
        await field.execute(
            "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops) "
            "VALUES (%s, %s, %s, %s, 'planted', 0)",
            *(new_id(), index, field.pooler_id, farmer_id),
        )
        for one in () if best is None else {best, max(best - 1, 0)}:  # a work may be improved
            await field.execute(
                "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, zeros, gap) "
                "VALUES (%s, %s, %s, %s, 'worked', %s, 5)",
                *(new_id(), index, field.pooler_id, farmer_id, one),
            )


async def test_what_the_database_says_is_what_the_policy_defines(field: Field, database: Database) -> None:
    dice, other = random.Random(5), await make_field(field.url, farmers=2)
    past: list[dict[UUID, int]] = []
    for index in range(30, 40):
        for pool in (field, other):
            bounds = dice.choice(((0, 0), (5, 8), (2, 9)))
            if pool is other:
                bounds = before
            before = bounds
            pails = {farmer: dice.choice((None, *range(11))) for farmer in pool.farmers if dice.random() < 0.7}
            await add_block(pool, index, pails, bounds)
            if index >= 32:
                past.append({farmer: turns.zero_points(zeros, *bounds) for farmer, zeros in pails.items()})
    expected = turns.owed(past)
    assert await read_owed(database, 40, 8) == expected and len(set(expected.values())) > 2


async def test_rigs_serve_whom_most_is_owed(field: Field, database: Database, settings: Settings) -> None:
    first, second, *_ = field.farmers
    lucky = {farmer: 8 if farmer not in (first, second) else 5 for farmer in field.farmers}
    await add_block(field, 39, lucky, (5, 8))
    await add_block(field, 40, {first: 8, second: 5}, (5, 8))
    await add_block(field, 41, {}, (5, 8))
    await field.open_block(41)
    async with Mining.open(database, settings) as mining:
        miner = await miners.register(database, settings, "tester")
        now = datetime.now(UTC)
        for number in range(3):
            rig = Rig(miner.miner.miner_id, str(number), 1000 + number, Pace(2**24, now), seen_at=now, proven=True)
            mining.dealer.rigs[rig.searcher] = rig
        mining.dealer.deal(now)
        given = {rig.given.place.farmer_id for rig in mining.dealer.rigs.values() if rig.given}
        assert given == {second}
