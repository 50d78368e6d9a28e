"""The coordinator against a real pool (database, devnet, API as processes), with workers in its own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from kalepool.cluster.placement import WorkerPlace
from kalepool.config import Settings
from kalepool.coordinator import planner, process
from kalepool.coordinator.process import Coordinator, coordinator
from kalepool.errors import ConfigError
from kalepool.policy.planting import PlantingPlan, PlantingQuestion, plan_block
from kalepool.policy.price_gate import PriceGate
from tests.support.pool import Pool, running_pool
from tests.support.thread_fleet import ThreadFleet

pytestmark = pytest.mark.anyio

FARMERS = 4
BLOCK_SECONDS = 15


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with running_pool(FARMERS, 0.5, BLOCK_SECONDS) as made:
        yield made


def settings(pool: Pool, key: str | None = None, **changes: Any) -> Settings:
    return Settings.load(
        network="devnet",
        rpc_url=pool.parts.rpc_url,
        ledger_seconds=0.5,
        block_seconds=BLOCK_SECONDS,
        database_url=pool.urls.coordinator,
        api_url=pool.parts.api_url,
        api_key=key or pool.key,
        **{"metrics_port": pool.metrics_port} | changes,
    )


@asynccontextmanager
async def running(pool: Pool, **changes: Any) -> AsyncIterator[tuple[Coordinator, ThreadFleet]]:
    fleet = ThreadFleet(WorkerPlace("node", "here", "cpu", 0, 1))

    @asynccontextmanager
    async def given() -> AsyncIterator[ThreadFleet]:
        yield fleet

    async with coordinator(settings(pool, **changes)) as made:
        task = asyncio.create_task(made.run(given()))
        try:
            yield made, fleet
        finally:
            task.cancel()
            ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)  # it ran until it was told to end


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def price_between(question: PlantingQuestion) -> float:
    """What a KALE has to be worth for half of the farmers to be planted: the middle of all such prices."""
    prices = [1e-7 * 1.02**step for step in range(1000)]
    half = [price for price in prices if _at(question, price).places == FARMERS // 2]
    return half[len(half) // 2]


def _at(question: PlantingQuestion, price: float) -> PlantingPlan:
    return plan_block(replace(question, gate=PriceGate(question.gate.fees, price), budget_stroops=None))


@pytest.mark.slow(25, "a whole pool is started, and has to plant none, some or all")
async def test_whom_to_plant_hangs_on_what_a_kale_is_worth(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PlantingQuestion] = []

    def planned_by(question: PlantingQuestion) -> PlantingPlan:
        asked.append(question)
        return plan_block(question)

    monkeypatch.setattr(planner, "plan_block", planned_by)
    async with await psycopg.AsyncConnection.connect(pool.urls.api, autocommit=True) as connection:

        async def rows(query: str) -> list[tuple]:
            return await (await connection.execute(query.encode())).fetchall()

        # Some 1,800 others, as the database remembers them of the block before: a pail earns a little above one KALE.
        await connection.execute(
            "INSERT INTO blocks (block_index, entropy, started_at, min_gap, max_gap, min_stake_stroops, "
            "max_stake_stroops, min_zeros, max_zeros, staked_total_stroops, normalized_total, final) "
            "VALUES (0, decode(repeat('00', 32), 'hex'), now(), 2, 52, 0, 0, 5, 8, 0, 1800 * 50, true)"
        )

        def planned(places: int) -> Callable[[], Awaitable[bool]]:
            async def is_planned() -> bool:
                return (places,) in await rows("SELECT places FROM block_plans")

            return is_planned

        planted = "SELECT count(*) FROM plantings WHERE outcome = 'planted'"
        async with running(pool, kale_price_xlm=0.002) as (poor, _):
            await until(planned(0), 30)
            await asyncio.sleep(2)
            assert await rows(planted) == [(0,)] and poor.state.plan and poor.state.plan.sat_out == FARMERS
            said = "obody is planted: at 0.002 XLM for a KALE a pail brings less than the 0.00615 XLM it costs"
            assert said in (await pool.client.get(f"{pool.parts.api_url}/")).text
            metrics = await pool.metrics()
            assert metrics["kalepool_farmers_sitting_out"] == FARMERS and metrics["kalepool_kale_price_xlm"] == 0.002
            text = (await pool.client.get(f"http://127.0.0.1:{pool.metrics_port}/metrics")).text
            assert f'kalepool_farmers_sitting_out_by_reason{{reason="price"}} {float(FARMERS)}' in text
            assert 'kalepool_farmers_sitting_out_by_reason{reason="budget"} 0.0' in text
        async with running(pool, kale_price_xlm=0.05, xlm_per_day=0.0):
            await until(lambda: _has(rows, "SELECT reason FROM block_plans", ("budget",)), 30)
            assert await rows(planted) == [(0,)]
        # Few others, so that each pail brings clearly less than the one before: at some price half of them pay.
        await connection.execute("UPDATE blocks SET normalized_total = 4 * 50 WHERE block_index = 0")
        async with running(pool, kale_price_xlm=0.05, xlm_per_day=0.0):
            before = len(asked)
            await until(lambda: _after(before + 1, asked), 20)
        price = price_between(asked[-1])
        async with running(pool, kale_price_xlm=price) as (choosy, _):
            await until(lambda: _has(rows, planted, (FARMERS // 2,)), 30)
            await asyncio.sleep(1)
            assert await rows(planted) == [(FARMERS // 2,)]
            plan = choosy.state.plan
            assert plan is not None and plan.places == FARMERS // 2
            said = f"{FARMERS - FARMERS // 2} of {FARMERS} farmers sit it out, by turns: at {price:.4g} XLM for a KALE"
            assert said in (await pool.client.get(f"{pool.parts.api_url}/")).text
            assert (await pool.metrics())["kalepool_farmers_sitting_out"] == FARMERS - FARMERS // 2
        in_a_block = f"{planted} GROUP BY block_index ORDER BY 1 DESC LIMIT 1"
        async with running(pool, kale_price_xlm=0.05):
            await until(planned(FARMERS), 30)
            await until(lambda: _has(rows, in_a_block, (FARMERS,)), 30)


async def _after(count: int, asked: list[PlantingQuestion]) -> bool:
    return len(asked) > count


async def _has(rows: Callable[[str], Awaitable[list[tuple]]], query: str, row: tuple) -> bool:
    return row in await rows(query)


@pytest.mark.slow(35, "the coordinator is started again in a block, which then has to end")
async def test_blocks_are_planted_worked_and_harvested_over_a_restart(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await psycopg.AsyncConnection.connect(pool.urls.api, autocommit=True) as connection:

        async def rows(query: str) -> list[tuple]:
            return await (await connection.execute(query.encode())).fetchall()

        async def has_shares() -> bool:
            found = await rows("SELECT farmer_id, max(zeros) FROM shares WHERE block_index = 1 GROUP BY 1")
            # Not each of them: zeros up to the block's min_zeros earn nothing, so search stays with one farmer then.
            return len(found) == FARMERS and max(zeros for _, zeros in found) >= 3

        async with running(pool) as (first, fleet):
            await until(has_shares, 2 * BLOCK_SECONDS + 30)

            # Another stands by, and does nothing.
            async with coordinator(settings(pool, metrics_port=None)) as second:
                standing = asyncio.create_task(second.run())
                await asyncio.sleep(1.0)
                assert not standing.done() and second.leadership.leader and second.state.farm is None
                standing.cancel()
                await asyncio.gather(standing, return_exceptions=True)

            metrics = await pool.metrics()
            assert metrics["kalepool_block"] == 1 and metrics["kalepool_farmers"] == FARMERS
            assert metrics["kalepool_shares_rejected_total"] == 0
            assert metrics["kalepool_hashes_total"] > 0
            best = {wallet: first.state.best_zeros(wallet) for wallet in first.state.farmers}
            assert fleet.started

        # Told to stop in mid-block, it handed in what there was: no stake hangs on when it comes back.
        worked_now = "SELECT count(DISTINCT farmer_id) FROM works WHERE block_index = 1 AND outcome = 'worked'"
        assert await rows(worked_now) == [(FARMERS,)]

        # Started again, it knows what had been found before any worker finds it again.
        assert await rows("SELECT count(*) FROM workers WHERE status = 'alive'") == [(0,)]
        async with running(pool) as (again, _):

            async def remembers() -> bool:
                return bool(again.state.records) and all(again.state.best_zeros(w) >= z for w, z in best.items())

            await until(remembers, 30)

            async def harvested() -> bool:
                done = await rows("SELECT planted, worked, harvested FROM block_completion WHERE block_index = 1")
                return done == [(FARMERS, FARMERS, FARMERS)]

            await until(harvested, 2 * BLOCK_SECONDS)
        worked = await rows(
            "SELECT custodial_wallet, max(zeros) FROM works JOIN farmers USING (farmer_id) "
            "WHERE block_index = 1 AND outcome = 'worked' GROUP BY 1"
        )
        assert all(zeros >= best[wallet] for wallet, zeros in worked)
        assert await rows("SELECT status, reason FROM block_operations WHERE block_index = 1") == [("finished", None)]
        assert await rows("SELECT final FROM blocks WHERE block_index = 1") == [(True,)]
        # Each thing happened once.
        assert await rows("SELECT count(*) FROM plantings WHERE block_index = 1 AND outcome = 'planted'") == [
            (FARMERS,)
        ]
        assert await rows("SELECT count(*) FROM harvests WHERE block_index = 1 AND outcome = 'harvested'") == [
            (FARMERS,)
        ]

    # Whatever becomes of Ray, the coordinator goes on without workers.
    tries = 0

    @asynccontextmanager
    async def broken(*_: object, **__: object) -> AsyncIterator[ThreadFleet]:
        nonlocal tries
        tries += 1
        raise RuntimeError("Ray has its moods")
        yield

    monkeypatch.setattr(process, "connect", broken)
    monkeypatch.setattr(process, "RECONNECT_SECONDS", 0.1)
    async with coordinator(settings(pool)) as alone:
        task = asyncio.create_task(alone.run())

        async def tried_again() -> bool:
            assert not task.done()
            return tries >= 3 and alone.state.index is not None

        await until(tried_again, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with pytest.raises(ConfigError, match="not a key of this pool"):
        async with coordinator(settings(pool, key="kp_wrong")):
            pass
    assert "kp_" not in json.dumps(str(settings(pool)))
