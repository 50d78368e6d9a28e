"""A Ray of our own whose daemon dies or hangs is lost at once, and another one searches within seconds."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from kalepool.cluster import fleet as ray_fleet
from kalepool.cluster.fleet import RayFleet, StuckRayError, connect
from kalepool.cluster.members import Cluster, FleetLostError, Member, WorkerError
from kalepool.cluster.messages import WorkerReport

from .conftest import job

pytestmark = [pytest.mark.anyio, pytest.mark.ray]

LOST_SECONDS = {signal.SIGKILL: 12.0, signal.SIGSTOP: 20.0}
"""At most, on a busy machine. Ray asks a daemon that is silent three times, as kalepool/cluster/ray.json says."""


def raylets() -> set[psutil.Process]:
    """Of this process: other tests' too, whose clusters may not be quite gone."""
    return {child for child in psutil.Process().children(recursive=True) if child.name() == "raylet"}


async def search(fleet: RayFleet, serial: int, searches: asyncio.Event) -> None:
    """Until the fleet is lost."""

    async def next_serial() -> int:
        return serial

    def on_report(_: Member, report: WorkerReport) -> None:
        if report.hashes:
            searches.set()

    cluster = Cluster(fleet, next_serial, on_report)
    cluster.publish(job(1, 3, 14))
    await cluster.run()


@pytest.mark.slow(25, "three Rays start, and Ray takes six seconds to miss a daemon that hangs")
async def test_a_ray_whose_daemon_dies_or_hangs_is_lost_and_another_one_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # too long a path for Ray's sockets
    others = raylets()
    for turn, number in enumerate((signal.SIGKILL, signal.SIGSTOP)):
        async with connect(None, cpus=0, gpus=0) as fleet:
            searches = asyncio.Event()
            task = asyncio.create_task(search(fleet, turn, searches))
            await asyncio.wait_for(searches.wait(), 30)
            (raylet,) = raylets() - others
            raylet.send_signal(number)
            began = time.monotonic()
            with pytest.raises(FleetLostError, match="has to be started again"):
                await asyncio.wait_for(task, LOST_SECONDS[number])
        print(f"{number.name}: ended {time.monotonic() - began:.1f} s after it")
        assert raylets() <= others
    async with connect(None, cpus=0, gpus=0) as fleet:
        assert len(await fleet.places()) == 1
    with pytest.raises(WorkerError, match="does not answer"):
        await fleet.places()  # as a task would that is still looking while Ray is left
    assert raylets() <= others


async def test_a_ray_that_does_not_let_go_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray_fleet, "ORDERLY_SECONDS", 0.1)
    monkeypatch.setattr(ray_fleet, "END_SECONDS", 0.1)
    monkeypatch.setattr(ray, "shutdown", lambda: time.sleep(0.5))
    with pytest.raises(StuckRayError, match="does not let this process go"):
        await ray_fleet._leave(ray)
