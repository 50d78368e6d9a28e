"""`kalepool up --api-workers 2` as a user starts it: one port, two processes, of which a killed one is replaced."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from kalepool.processes import wait_until_gone
from tests.support.installed import Home

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.platform != "linux", reason="several processes share a port on Linux alone"),
]

LISTENS = "0A"


def listeners(port: int) -> int:
    """How many sockets listen there: the system gives each its part of the connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(place.rpartition(":")[2], 16) == port and state == LISTENS for _, place, _, state, *_ in rows)


@pytest.mark.slow(25, "a pool without a Ray; a killed process of its API starts again after five seconds")
def test_two_processes_serve_one_is_replaced_and_none_outlives_ctrl_c(home: Home) -> None:
    options = ("--ray-address", "none", "--farmers", "0", "--api-workers", "2")
    log = home.data.parent / "up.log"

    def until(done: Callable[[], object], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end and pool.poll() is None, log.read_text()
            time.sleep(0.1)

    def workers() -> set[int]:
        return {pid for pid, title in home.titles().items() if "--shares-port" in title}

    with log.open("wb") as output:
        pool = home.start("up", *options, stdout=output, stderr=output, start_new_session=True)
    try:
        until(lambda: re.search(r"^API: http://127\.0\.0\.1:(\d+)/docs$", log.read_text(), re.MULTILINE), 90)
        port = int(re.findall(r"127\.0\.0\.1:(\d+)/docs", log.read_text())[0])
        until(lambda: listeners(port) == 2, 60)
        first = workers()
        assert len(first) == 2

        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        until(lambda: listeners(port) == 1, 10)
        assert (
            httpx2.get(f"http://127.0.0.1:{port}/info", timeout=20).status_code == 200
        )  # what only the leader answers
        until(lambda: listeners(port) == 2, 60)
        second = workers()
        assert len(second) == 2 and second & first == first - {killed}

        os.killpg(pool.pid, signal.SIGINT)  # what a terminal does with its foreground group
        assert pool.wait(30) == 0, log.read_text()
        assert wait_until_gone([*home.left(), *second], 2), "something outlived it"
        assert listeners(port) == 0
    finally:
        pool.kill()
        pool.wait()
