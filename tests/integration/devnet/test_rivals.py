"""Rivals farm with everybody else, so that the bounds of blocks move."""

from __future__ import annotations

import asyncio

import pytest

from kalepool.devnet.soroban.kale_state import read_farm
from kalepool.devnet.testing import running_devnet

pytestmark = pytest.mark.anyio


async def test_rivals_plant_work_and_harvest() -> None:
    async with running_devnet(block_seconds=40, rivals=4) as devnet:
        farms = {}
        harvests = 0
        for _ in range(400):
            # Rivals answer each ledger before the next one closes.
            for _ in range(20):
                await asyncio.sleep(0)
            closed = await devnet.close_ledger(1)
            harvests += sum(b"harvest" in record.envelope and record.success for record in closed.transactions)
            farm = read_farm(devnet.node.ledger)
            if farm.block is not None:
                farms[farm.index] = farm.block
            if len(farms) > 4 and harvests >= 8:
                break
        last = farms[max(farms)]
        assert last.max_stake > last.min_stake > 0
        assert last.max_gap > last.min_gap > 0
        assert harvests >= 8
