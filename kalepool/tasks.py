"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 2.0


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels these tasks, and again until each has ended; what they raise is nobody's.

    Once is not enough: a cancellation that comes together with what a library waits for may be lost (Python 3.11's
    wait_for, in the database's pool), and a loop would go on for ever.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()
