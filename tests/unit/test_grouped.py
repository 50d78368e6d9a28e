"""A crowd of questions is a few turns; nobody is given an answer older than its question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest

from kalepool import grouped
from kalepool.fencing import Fence, act_for, present_fence
from kalepool.grouped import Grouped

pytestmark = pytest.mark.anyio


class Oracle:
    """Knows the even numbers, and fails on a negative one. Each turn waits until it may end."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.fences: list[Fence | None] = []

    async def __call__(self, questions: Sequence[int]) -> Mapping[int, str]:
        self.turns.append(sorted(questions))
        self.fences.append(present_fence())
        self.began.set()
        await self.may_end.wait()
        if min(questions) < 0:
            raise ValueError("negative")
        return {each: f"{each} in turn {len(self.turns)}" for each in questions if each % 2 == 0}


async def test_a_crowd_is_asked_for_once_and_each_has_its_own_answer() -> None:
    oracle = Oracle()
    asked = Grouped(oracle)
    answers = await asyncio.gather(*(asked.answer(number % 50) for number in range(100)))
    assert oracle.turns == [list(range(50))]
    assert answers == [f"{number % 50} in turn 1" if number % 2 == 0 else None for number in range(100)]


async def test_what_comes_while_others_are_asked_for_is_asked_for_after_them() -> None:
    """The database may have changed since they were: a key that was ended is not honoured by an older look."""
    oracle = Oracle()
    asked = Grouped(oracle)
    oracle.may_end.clear()
    first = asyncio.create_task(asked.answer(2))
    await oracle.began.wait()
    second = asyncio.create_task(asked.answer(2))
    await asyncio.sleep(0)
    oracle.may_end.set()
    assert [await first, await second] == ["2 in turn 1", "2 in turn 2"]


async def test_a_turn_is_bounded_and_an_error_is_its_groups_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "MOST_QUESTIONS", 3)
    oracle = Oracle()
    asked = Grouped(oracle)
    numbers = [-2, 0, 2, 4, 6]
    answers = await asyncio.gather(*(asked.answer(number) for number in numbers), return_exceptions=True)
    assert oracle.turns == [[-2, 0, 2], [4, 6]]
    assert [type(answer) for answer in answers] == [ValueError] * 3 + [str] * 2


async def test_who_hangs_up_takes_nobody_along_and_lends_nobody_its_leadership() -> None:
    oracle = Oracle()
    asked = Grouped(oracle)
    oracle.may_end.clear()
    act_for(Fence(UUID(int=1), 1))
    try:
        gone, stays = (asyncio.create_task(asked.answer(2)) for _ in range(2))
        await oracle.began.wait()
    finally:
        act_for(None)
    gone.cancel()
    await asyncio.sleep(0)
    oracle.may_end.set()
    assert await stays == "2 in turn 1"
    assert oracle.fences == [None], "the same look is for others, too"


async def test_at_the_end_nobody_waits_for_ever() -> None:
    oracle = Oracle()
    asked = Grouped(oracle)
    oracle.may_end.clear()
    waiting = asyncio.create_task(asked.answer(2))
    await oracle.began.wait()
    assert asked._asking is not None
    asked._asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    oracle.may_end.set()
    assert await asked.answer(2) == "2 in turn 2"
