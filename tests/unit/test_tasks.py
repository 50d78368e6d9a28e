"""Tasks end for certain, also when a cancellation is lost on its way."""

from __future__ import annotations

import asyncio

import pytest

from kalepool.tasks import end_tasks

pytestmark = pytest.mark.anyio


async def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    lost = asyncio.Event()

    async def loses_the_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as a library does whose answer came at the same moment
            lost.set()
        await asyncio.Event().wait()

    async def fails_at_its_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("nobody's")

    tasks = [asyncio.create_task(loses_the_first()), asyncio.create_task(fails_at_its_end())]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end_tasks(tasks)
    assert lost.is_set() and all(task.done() for task in tasks)
    await end_tasks([])
