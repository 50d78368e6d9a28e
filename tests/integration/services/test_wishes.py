"""What a farmer wishes of its stake: a most in a block, and a pause, which gives no claim to turns missed meanwhile."""

from __future__ import annotations

import pytest

from kalepool.coordinator.state import CoordinatedFarmer
from kalepool.policy.turns import FIRST
from kalepool.services import owed
from kalepool.services.farmers import Wishes, change_wishes
from kalepool.services.farming import plant
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio


async def test_a_farmer_that_pauses_is_planted_no_more_and_gains_nothing_by_it(farm) -> None:
    first, second, third = await farm.add_farmers(3)
    database = farm.ctx.database

    async def planted(index: int) -> dict:
        return {
            row.farmer_id: row.stake_stroops for row in (await plant.plant(farm.ctx, index, farm.pooler_id)).planted
        }

    async def may_plant() -> dict:
        rows = await database.fetch_all("select_coordinated_farmers", row=CoordinatedFarmer, pooler_id=farm.pooler_id)
        assert {row.stake_of(100 * KALE) for row in rows if row.farmer_id == second.farmer_id} == {2 * KALE}
        return {row.farmer_id: row.may_plant for row in rows}

    await change_wishes(database, second.farmer_id, Wishes(stake_most_stroops=2 * KALE))
    stakes = await planted(0)
    assert stakes == {first.farmer_id: 10 * KALE, second.farmer_id: 2 * KALE, third.farmer_id: 10 * KALE}
    await change_wishes(database, second.farmer_id, Wishes(paused=True))
    assert await may_plant() == {first.farmer_id: True, second.farmer_id: False, third.farmer_id: True}
    await farm.end_block()
    assert set(await planted(1)) == {first.farmer_id, third.farmer_id}
    await farm.rows(
        "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, max_stake_stroops, "
        "min_zeros, max_zeros, staked_total_stroops, normalized_total, final, ledger) SELECT i, sha256('x'), "
        "now() - interval '1 s', 0, 1, 0, 1, 0, 5, 1, 1, true, 1 FROM generate_series(0, 1) i"
    )
    await farm.rows(
        "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, nonce, hash, zeros, gap) "
        "SELECT gen_random_uuid(), 1, pooler_id, farmer_id, 'worked', 1, sha256('x'), 5, 1 FROM farmers"
        f" WHERE farmer_id <> '{second.farmer_id}'"
    )
    assert second.farmer_id not in await owed.read_claims(database, 2, 1)
    await change_wishes(database, second.farmer_id, Wishes(paused=False))
    rows = await database.fetch_all("select_owed", first=1, last=1, first_counts=FIRST)
    debts = {row["farmer_id"]: (row["zeros"], row["reward"]) for row in rows}
    assert debts.get(second.farmer_id, (0, 0)) == (0, 0), "a pause is no way forward"
    await farm.rows("UPDATE farmers SET resumed_at = NULL")
    assert (await owed.read_claims(database, 2, 1))[second.farmer_id] > 0, "who was passed over has a claim"
    await farm.end_block()
    await change_wishes(database, second.farmer_id, Wishes(unlimited=True))
    assert (await planted(2))[second.farmer_id] > 2 * KALE
