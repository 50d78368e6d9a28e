"""A server that denies what the ledger has makes no pail lost."""

from __future__ import annotations

from typing import cast

import pytest

from kalepool.services.absences import Absences
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission

pytestmark = pytest.mark.anyio


def test_gone_is_what_was_missed_often_and_long_enough() -> None:
    now = [0.0]
    absences = Absences(seconds=60.0, looks=3, clock=lambda: now[0])
    assert [absences.miss("pail") for _ in range(5)] == [False] * 5, "often, within a moment"
    now[0] = 60.0
    assert not absences.miss("other")
    absences.found("pail")
    assert not absences.miss("pail"), "it was there meanwhile"
    now[0] = 120.0
    assert not absences.miss("pail")
    assert absences.miss("pail")


async def test_a_server_that_denies_entries_makes_no_stake_lost(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    farm.ctx.absences = Absences()
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    await farm.end_block()
    await farm.start_block(1)

    read_farm = farm.ctx.chain.read_farm

    async def read_farm_then_deny():
        found = await read_farm()
        farm.devnet.node.faults.add({"kind": "lie", "method": "getLedgerEntries", "count": 0})
        return found

    monkeypatch.setattr(farm.ctx.chain, "read_farm", read_farm_then_deny)
    denied = await harvest.harvest(farm.ctx, farm.pooler_id, 0)
    assert [failure.code for failure in denied.failed] == ["absence-unconfirmed"]
    monkeypatch.undo()
    farm.devnet.node.faults.clear()
    assert await farm.rows("SELECT count(*) FROM pooler_compensations") == [(0,)]

    (harvested,) = cast(list[harvest.Harvested], (await harvest.harvest(farm.ctx, farm.pooler_id, 0)).harvested)
    assert harvested.transaction_hash is not None, "by us"
