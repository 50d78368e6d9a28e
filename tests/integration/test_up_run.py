"""How a run of `kalepool up` ends."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from kalepool.up.follow import Voice
from kalepool.up.run import _until_stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("promised", [True, False])
def test_a_run_that_is_stopped_has_not_kept_its_promise(number: signal.Signals, promised: bool) -> None:
    async def work() -> int:
        os.kill(os.getpid(), number)
        await asyncio.sleep(30)
        return 0

    status = asyncio.run(_until_stopped(work(), Voice(), promised=promised))
    assert status == (128 + number if promised else 0)


def test_a_run_that_was_not_stopped_has_its_own_status() -> None:
    async def work() -> int:
        return 1

    assert asyncio.run(_until_stopped(work(), Voice(), promised=True)) == 1
