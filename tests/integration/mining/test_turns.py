"""Whose turn it is, read from the database, and external rigs that follow it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from kalepool.config import Settings
from kalepool.database import Database, new_id
from kalepool.policy import turns
from kalepool.policy.vardiff import Pace
from kalepool.protocol.model import Block, Pail
from kalepool.services.mining import miners
from kalepool.services.mining.dealer import Rig
from kalepool.services.mining.service import Mining
from kalepool.services.owed import read_claims
from tests.integration.mining.conftest import CUSTODY, Field, make_field

pytestmark = pytest.mark.anyio


def gap_of(zeros: int) -> int:
    """A work's gap in `add_block`: some below the block's least, some above its most. A later work has more of both."""
    return 3 * zeros // 2


def stake_of(farmer_id: UUID) -> int:
    return farmer_id.int % 12


async def add_block(field: Field, index: int, zeros: Mapping[UUID, int | None], bounds: tuple[int, int]) -> None:
    """A block with these pails, None for one without work; gaps of 2 to 9 count, and stakes of 0 to 9."""
    await field.execute(
        "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, "
        "min_zeros, max_zeros, staked_total_stroops, normalized_total) VALUES (%s, %s, %s, 2, 9, 0, 9, %s, %s, 0, 0) "
        "ON CONFLICT DO NOTHING",
        *(index, bytes(32), datetime.now(UTC), *bounds),
    )
    for farmer_id, best in zeros.items():
        await field.execute(
            "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, stake_stroops) "
            "VALUES (%s, %s, %s, %s, 'planted', %s)",
            *(new_id(), index, field.pooler_id, farmer_id, stake_of(farmer_id)),
        )
        for one in () if best is None else {best, max(best - 1, 0)}:  # a work may be improved
            await field.execute(
                "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, zeros, gap) "
                "VALUES (%s, %s, %s, %s, 'worked', %s, %s)",
                *(new_id(), index, field.pooler_id, farmer_id, one, gap_of(one)),
            )


async def fail_to_plant(field: Field, index: int, farmer_id: UUID) -> None:
    await field.execute(
        "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, code, fault) "
        "VALUES (%s, %s, %s, %s, 'failed', 'underfunded', 'farmer')",
        *(new_id(), index, field.pooler_id, farmer_id),
    )


async def test_who_was_away_for_hours_comes_back_with_what_it_was_owed(field: Field, database: Database) -> None:
    away, other, *_ = field.farmers
    await add_block(field, 100, dict.fromkeys(field.farmers, 8) | {away: 7}, (5, 8))
    before = (await read_claims(database, 101, 288))[away]
    assert before == 750_000, "three zeros for the three others, two for this one"
    for index in range(101, 130):
        await fail_to_plant(field, index, away)
        await add_block(field, index, {farmer: 8 for farmer in field.farmers if farmer != away}, (5, 8))
    await field.execute("UPDATE farmers SET status = 'leaving' WHERE farmer_id = %s", other)
    await add_block(field, 130, {farmer: 8 for farmer in field.farmers if farmer not in (away, other)}, (5, 8))
    debts = await read_claims(database, 130, 288)
    assert debts[away] == pytest.approx(before * (288 - 29) / 288, abs=1), "only fading"
    debts = await read_claims(database, 131, 288)
    assert debts[other] < 0, "nor does who leaves earn more"
    assert debts[away] > before, "but whom the pool leaves out is owed its part"


async def test_what_the_database_says_is_what_the_policy_defines(field: Field, database: Database) -> None:
    dice, other = random.Random(5), await make_field(field.url, farmers=2)
    pools = (field, other)
    zeros: list[dict[int, dict[UUID, float]]] = [{}, {}]
    rewards: list[dict[int, dict[UUID, float]]] = [{}, {}]
    planted_once: set[UUID] = set()
    itself = next(iter(field.farmers))
    await field.execute("UPDATE farmers SET plants_itself = true WHERE farmer_id = %s", itself)
    for index in range(30, 40):
        bounds = dice.choice(((0, 0), (5, 8), (2, 9)))
        for number, pool in enumerate(pools):
            pails = {farmer: dice.choice((None, *range(11))) for farmer in pool.farmers if dice.random() < 0.7}
            await add_block(pool, index, pails, bounds)
            away = [farmer for farmer in pool.farmers if farmer not in pails and dice.random() < 0.5]
            for farmer in away:
                await fail_to_plant(pool, index, farmer)
            if index >= 32 and pails:
                left_out = planted_once.difference(pails, away, [itself]).intersection(pool.farmers)
                none = dict.fromkeys(left_out, 0)
                paying = {farmer: turns.zeros_had(best, *bounds) for farmer, best in pails.items()}
                block = Block(0, 2, 0, bounds[0], 9, 9, bounds[1], bytes(32), 0, 0)
                parts = {
                    farmer: Pail(0, None if best is None else gap_of(best), stake_of(farmer), best)
                    for farmer, best in pails.items()
                    if farmer != itself
                }
                zeros[number][index] = paying | none
                rewards[number][index] = turns.rewards_had(block, parts) | none
            planted_once |= pails.keys()
    rows = await database.fetch_all("select_owed", first=32, last=39, first_counts=turns.FIRST)
    for name, had in (("zeros", zeros), ("reward", rewards)):
        debts = {row["farmer_id"]: int(row[name]) for row in rows}
        assert debts == pytest.approx({itself: 0} | turns.owed(had[0], 40, 8) | turns.owed(had[1], 40, 8), abs=1)
        assert len(set(debts.values())) > 2 and bool(debts[itself]) == (name == "zeros")
    claims = {row["farmer_id"]: turns.claim(int(row["zeros"]), int(row["reward"])) for row in rows}
    assert await read_claims(database, 40, 8) == claims


async def test_rigs_serve_whom_most_is_owed(field: Field, database: Database, settings: Settings) -> None:
    first, second, *_ = field.farmers
    lucky = {farmer: 8 if farmer not in (first, second) else 5 for farmer in field.farmers}
    await add_block(field, 39, lucky, (5, 8))
    await add_block(field, 40, {first: 8, second: 5}, (5, 8))
    await add_block(field, 41, {}, (5, 8))
    await field.open_block(41)
    async with Mining.open(database, settings) as mining:
        miner = await miners.register(database, CUSTODY, settings, "tester")
        now = datetime.now(UTC)
        for number in range(3):
            rig = Rig(miner.miner.miner_id, str(number), 1000 + number, Pace(2**20, now), seen_at=now, proven=True)
            mining.dealer.rigs[rig.searcher] = rig
        mining.dealer.deal(now)
        given = {rig.given.place.farmer_id for rig in mining.dealer.rigs.values() if rig.given}
        assert given == {second}


async def test_nobody_hashes_for_who_wishes_to_be_left_out(
    field: Field, database: Database, settings: Settings
) -> None:
    """Unless it is planted already: what was begun is ended."""
    planted, paused, *rest = field.farmers
    await field.execute("UPDATE farmers SET paused = true WHERE farmer_id = ANY(%s)", [planted, paused])
    await field.open_block(41)
    await add_block(field, 41, {planted: None}, (5, 8))
    async with Mining.open(database, settings) as mining:
        assert set(mining.dealer.places) == {planted, *rest}


async def test_nobody_hashes_for_whom_the_plan_leaves_out(field: Field, database: Database, settings: Settings) -> None:
    """Though they have the fewest zeros: that work would be for nothing. Another plan is heard of at once."""
    planted, left_out = list(field.farmers)[:2], set(list(field.farmers)[2:])
    await field.open_block(41)
    plan = (
        "INSERT INTO block_plans (block_index, pooler_id, farmers, places, stake_stroops, reward_stroops, "
        "pail_fee_stroops, price_xlm, reason) VALUES (41, %s, 4, %s, 0, 0, 0, 0.01, 'price')"
    )
    async with Mining.open(database, settings) as mining:

        async def served(wanted: set[UUID]) -> None:
            async with asyncio.timeout(30):
                while set(mining.dealer.places) != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        await served(set(field.farmers))
        await add_block(field, 41, {planted[0]: None}, (5, 8))
        await field.execute(plan, field.pooler_id, 2)
        await served(set(field.farmers))  # one place is free, and who gets it is not known
        await add_block(field, 41, {planted[1]: None}, (5, 8))
        await served(set(planted))
        for farmer in planted:
            mining.dealer.places[farmer].zeros = 8
        miner, now = await miners.register(database, CUSTODY, settings, "tester"), datetime.now(UTC)
        rig = Rig(miner.miner.miner_id, "0", 1000, Pace(2**20, now), seen_at=now, proven=True)
        mining.dealer.rigs[rig.searcher] = rig
        mining.dealer.deal(now)
        assert rig.given is not None and rig.given.place.farmer_id in planted
        await field.execute("UPDATE block_plans SET places = 3")
        await served(left_out | set(planted))
        # What all are raised to is heard of as well.
        await field.execute("UPDATE block_plans SET least_zeros = 5")
        async with asyncio.timeout(30):
            while {place.least_zeros for place in mining.dealer.places.values()} != {5}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for place in mining.dealer.places.values():
            place.zeros = 4 if place.farmer_id == planted[1] else 5
        mining.dealer.deal(datetime.now(UTC) + timedelta(seconds=5))
        assert rig.given.place.farmer_id == planted[1]
