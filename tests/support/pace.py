"""How fast this machine is just now: the tests' bounds of processor time are for one that has little else to do."""

from __future__ import annotations

import time
import timeit

USUAL_SECONDS = 0.00035
"""What `_work` takes where the bounds were set."""


def _work() -> None:
    found = {}
    for number in range(2_000):
        found[number] = str(number)


def slowness() -> float:
    """How many times as long as there it takes here and now, by the thread's own clock; at least 1."""
    return max(min(timeit.repeat(_work, timer=time.thread_time, number=1, repeat=5)) / USUAL_SECONDS, 1.0)
