"""What was lost while the pool itself was away, or did not answer, is nobody else's fault."""

from __future__ import annotations

from typing import cast

import pytest

from kalepool.coordinator.pool_api import PoolApi
from kalepool.coordinator.process import Coordinator
from kalepool.coordinator.state import CoordinatedFarmer
from kalepool.services import presence, upkeep
from tests.integration.services.test_crashes import do

pytestmark = pytest.mark.anyio


async def fault(farm) -> list[tuple]:
    """Of the stake planted in block 0 and not worked, once that is over."""
    await farm.end_block()
    await farm.start_block(1)
    assert await upkeep.record_losses(farm.ctx) == 1
    return await farm.rows("SELECT fault, code FROM pooler_compensations")


async def test_who_is_not_seen_for_a_while_was_away(farm) -> None:
    database = farm.ctx.database
    for _ in range(2):
        await presence.beat(database)
    await farm.rows("UPDATE pool_presence SET seen_at = now() - interval '10 seconds'")
    await presence.beat(database)
    assert await farm.rows("SELECT count(*) FROM pool_absences") == [(0,)], "a beat that was missed is no absence"
    await farm.rows("UPDATE pool_presence SET seen_at = now() - interval '60 seconds'")
    await presence.beat(database)
    await presence.beat(database)
    assert await farm.rows("SELECT round(extract(epoch FROM ended_at - begun_at)) FROM pool_absences") == [(60,)]


@pytest.mark.parametrize(
    ("begun", "seconds", "expected"),
    [
        (200, 60, ("backend", "pool-away")),
        (10, 130, ("pooler", "work-missing")),  # back before works were due
        (200, 0.1, ("pooler", "work-missing")),
        (310, 60, ("pooler", "work-missing")),  # when they were not due any more
    ],
)
async def test_a_stake_that_is_lost_while_the_pool_is_away_is_its_own_fault(
    farm, begun: int, seconds: float, expected: tuple[str, str]
) -> None:
    await farm.add_farmers(1)
    await do(farm, "plant", 0, farm.farmers[0].farmer_id, 0)
    block = (await farm.ctx.chain.read_blocks([0]))[0]
    await farm.rows(
        "INSERT INTO pool_absences VALUES (to_timestamp(%s), to_timestamp(%s))",
        block.timestamp + begun,
        block.timestamp + begun + seconds,
    )
    assert await fault(farm) == [expected]


async def test_a_work_that_the_api_did_not_answer_is_an_attempt(farm) -> None:
    (farmer,) = await farm.add_farmers(1)
    await do(farm, "plant", 0, farmer.farmer_id, 0)
    coordinator = Coordinator(
        farm.settings.model_copy(update={"ledger_seconds": 9.0}),
        farm.pooler_id,
        farm.ctx.chain,
        farm.ctx.database,
        cast(PoolApi, None),
    )
    coordinator._live_by(await farm.ctx.chain.read_limits())
    state = coordinator.state
    assert state.nominal_ledger_seconds == farm.devnet.node.ledger_seconds, "as the network says"
    state.saw_farmers([CoordinatedFarmer(farmer.farmer_id, farmer.custodial_wallet, True)])
    state.unanswered[0, farmer.custodial_wallet] = 60.0
    for _ in range(2):
        await coordinator._record_unanswered()
    assert await farm.rows("SELECT outcome, code, seconds_left FROM works") == [("failed", "api-unavailable", 60.0)]
    assert await fault(farm) == [("backend", "api-unavailable")]
