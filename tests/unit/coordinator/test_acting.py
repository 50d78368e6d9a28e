"""What the answers of the pool's API make of the state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from stellar_sdk import Keypair

from kalepool.actions import ActionName
from kalepool.chain import Farm, Ledger
from kalepool.coordinator.acting import Acting
from kalepool.coordinator.pool_api import ApiError, PoolApi
from kalepool.coordinator.state import CoordinatedFarmer, State
from kalepool.policy.schedule import Plant, Submit
from kalepool.protocol.model import Block

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FARMERS = [CoordinatedFarmer(UUID(int=number), Keypair.random().public_key, True) for number in range(3)]
WALLETS = [farmer.wallet for farmer in FARMERS]


class Pool:
    """The pool's API, played: each call is answered by `answer`. `seconds`: how long into block 7 it is."""

    def __init__(self) -> None:
        self.seconds = 280.0
        self.answer: Callable[..., Awaitable[dict[str, Any]]]
        self.state = State(block_seconds=300, nominal_ledger_seconds=5)
        self.state.saw_ledger(Ledger(1056, NOW + timedelta(seconds=280)))
        self.state.saw_farmers(FARMERS)
        self.see_block(7)
        self.acting = Acting(self.state, cast(PoolApi, self), self.now, works_per_call=20, on_change=lambda: None)

    def see_block(self, index: int, seconds: int = 0) -> None:
        block = Block(int(NOW.timestamp()) + seconds, 0, 0, 0, 10, 0, 6, bytes([index]) * 32, 0, 0)
        self.state.saw_farm(Farm(1056, None, index, block, block, False))

    async def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    async def plant(self, index: int, places: int | None, stake_stroops: int | None) -> dict[str, Any]:
        return await self.answer(index)

    async def work(self, index: int, submissions: object) -> dict[str, Any]:
        return await self.answer(index)

    async def done(self) -> None:
        """When no call is under way any more."""
        await asyncio.gather(*self.acting._calls)


def fails(code: str) -> Callable[[int], Awaitable[dict[str, Any]]]:
    async def answer(_: int) -> dict[str, Any]:
        raise ApiError("it says no", code)

    return answer


async def test_a_plant_that_ends_late_leaves_the_next_blocks_alone() -> None:
    pool = Pool()
    old, new = asyncio.Event(), asyncio.Event()

    async def answer(index: int) -> dict[str, Any]:
        await (old if index == 7 else new).wait()
        raise ApiError("no answer", "api-unavailable")

    pool.answer = answer
    pool.acting.start([Plant(7, (WALLETS[0],))], 1056)
    pool.see_block(8, 300)
    pool.acting.start([Plant(8, (WALLETS[0],))], 1060)
    old.set()
    await asyncio.sleep(0.01)
    assert pool.state.planting == {WALLETS[0]: 8}
    new.set()
    await pool.done()
    assert pool.state.planting == {}


async def test_who_the_api_does_not_plant_is_asked_for_again_later() -> None:
    pool = Pool()

    async def answer(_: int) -> dict[str, Any]:
        return {"planted": [], "failed": []}

    pool.answer = answer
    pool.acting.start([Plant(7, (WALLETS[0],))], 1056)
    await pool.done()
    assert pool.state.failures[ActionName.PLANT, WALLETS[0], 7].code == "not-eligible"


def refuses(*codes: str, landed: int | None = None) -> Callable[[int], Awaitable[dict[str, Any]]]:
    accepted = {"farmer_id": str(FARMERS[0].farmer_id), "zeros": 3, "gap": 50, "ledger": landed, "already": False}

    async def answer(_: int) -> dict[str, Any]:
        refused = [{"farmer_id": str(FARMERS[1].farmer_id), "code": code} for code in codes]
        return {"accepted": [accepted] if landed else [], "refused": refused}

    return answer


async def inclusion_of(
    answer: Callable[[int], Awaitable[dict[str, Any]]], seconds: float, next_seen: bool
) -> list[int]:
    """What is learnt of a call that was decided in ledger 1056, four before the end of the block, and took so long."""
    pool = Pool()

    async def late(index: int) -> dict[str, Any]:
        pool.seconds += seconds
        if next_seen:
            pool.see_block(8, 300)
        return await answer(index)

    pool.answer = late
    pool.acting.start([Submit(7, wallet, 1, 3, "final") for wallet in WALLETS[:2]], 1056)
    await pool.done()
    return list(pool.state.inclusion_ledgers)


@pytest.mark.parametrize("code", ["timeout", "in-flight", "transaction-expired", "deadline-passed"])
async def test_works_that_were_tried_in_vain_count_with_the_ledgers_that_passed(code: str) -> None:
    assert await inclusion_of(refuses(code), 12, False) == [3]  # two ledgers passed without it
    assert await inclusion_of(refuses(code, landed=1057), 12, False) == [3]
    assert await inclusion_of(refuses(code, landed=1060), 12, False) == [4]
    assert await inclusion_of(refuses(code), 1, False) == []  # nothing passed: nothing is known


@pytest.mark.parametrize("answer", [fails("block-over"), refuses("block-over"), refuses("pail-missing")])
async def test_works_that_came_when_the_block_was_over_count_with_the_ledgers_it_had_left(answer: Any) -> None:
    assert await inclusion_of(answer, 40, True) == [4]


@pytest.mark.parametrize(
    "answer", [fails("api-unavailable"), fails("database-unavailable"), refuses("rpc-unavailable"), refuses("not-best")]
)
async def test_what_did_not_answer_says_nothing_of_ledgers(answer: Any) -> None:
    assert await inclusion_of(answer, 40, True) == []


async def test_an_answer_that_is_none_says_nothing_of_ledgers() -> None:
    async def broken(_: int) -> dict[str, Any]:
        raise OSError("connection refused")

    assert await inclusion_of(broken, 40, True) == []


async def test_a_call_that_was_not_answered_is_an_attempt() -> None:
    """With the time that the block had left when it was first made: it may have been in time."""
    pool = Pool()
    work = Submit(7, WALLETS[0], 5, 3, "final")
    for code, ledger in (("api-unavailable", 1056), ("api-unavailable", 1058), ("timeout", 1059)):
        pool.answer = fails(code)
        pool.acting.start([work], ledger)
        await pool.done()
    assert pool.state.unanswered == {(7, WALLETS[0]): 5 * pool.state.ledgers_left(1056)}
    assert pool.state.ledgers_left(1056) > 0
