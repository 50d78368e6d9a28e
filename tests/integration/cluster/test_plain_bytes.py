"""A worker machine that was taken over, on a real Ray: what it says runs nothing in the coordinator."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from kalepool.cluster.fleet import RayFleet, connect
from kalepool.cluster.members import Cluster, FalseReportError, WorkerError
from kalepool.cluster.messages import MOST_BYTES

pytestmark = [pytest.mark.anyio, pytest.mark.ray]


def changed_worker(taken: Path) -> Any:
    """A worker that hands over an object that makes the file `taken` where it is unpickled. Made here, so that Ray
    sends it along."""

    class Payload(Exception):
        def __reduce__(self) -> Any:
            return Path.touch, (taken,)

    class Changed:
        def __init__(self, serial: int, threads: int, backend: str | None = None) -> None:
            if serial == 3:
                raise Payload

        def hello(self) -> Any:
            return Payload()

        def exchange(self, packed: bytes | None, serial: int | None, wait_seconds: float) -> Any:
            if packed is None:
                raise Payload
            return packed * (MOST_BYTES + 1)

        def assign(self, packed: bytes) -> None:
            raise Payload

        def leave_when_forgotten(self) -> None:
            raise Payload

    return Changed


@pytest.mark.slow(15, "a Ray starts, and three workers")
async def test_what_a_changed_worker_says_runs_nothing_in_the_coordinator(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    async with connect(None, cpus=0, gpus=0) as fleet:
        import ray

        groups: dict[str, Any] = {"concurrency_groups": {"report": 1, "ctl": 1}}
        fleet._actor_class = ray.remote(**groups)(changed_worker(taken))
        (place,) = await fleet.places()

        handle = fleet.start(place, 1)
        with pytest.raises(FalseReportError, match="would have to be unpickled"):
            await handle.hello()
        with pytest.raises(WorkerError, match="its code failed"):
            await handle.exchange(None, None, 0.0)
        with pytest.raises(FalseReportError, match=f"{MOST_BYTES + 1} bytes"):
            await handle.exchange(b"x", None, 0.0)
        handle.assign(b"x")  # nobody waits for what comes of it: Ray would look into it by itself
        with pytest.raises(FalseReportError):
            await handle.hello()
        handle.kill()

        unborn = fleet.start(place, 3)
        with pytest.raises(WorkerError, match="ACTOR_DIED"):
            await unborn.hello()

        await _refused(fleet)
        assert not taken.exists(), "a worker ran code in the coordinator"


async def _refused(fleet: RayFleet) -> None:
    """Its place gets no other worker for a while."""
    serials = itertools.count(10)

    async def next_serial() -> int:
        return next(serials)

    cluster = Cluster(fleet, next_serial, lambda *_: None)
    running = asyncio.create_task(cluster.run())
    async with asyncio.timeout(30):
        while not cluster.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "would have to be unpickled" in next(iter(cluster.refused.values())) and not cluster.members
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
