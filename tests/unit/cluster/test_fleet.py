"""What is said of a Ray that does not start or take us, with a Ray that is played."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from kalepool.cluster import fleet
from kalepool.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def reachable(address: str) -> str:
        return address

    monkeypatch.setattr(fleet, "_reachable", reachable)
    before = dict(os.environ)  # a local Ray's settings go there, and what OpenCL's loader is told: for C to read, too
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("it hung up"),
        TimeoutError("the node timed out during startup"),
        RuntimeError("Version mismatch: the cluster was started with another"),
        Exception("whatever"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("address", [None, "192.0.2.1:6379"])
async def test_whatever_ray_raises_is_told_with_its_likely_causes(
    error: BaseException, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray  # which reads its environment once: not before a test that sets it

    def init(**_: Any) -> None:
        raise error

    def shutdown() -> None:
        raise RuntimeError("it was never up")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", shutdown)
    with pytest.raises(ConfigError) as caught:
        async with fleet.connect(address, cpus=0, gpus=0):
            raise AssertionError("connected")
    said = str(caught.value)
    if address is None:
        assert "does not start on this machine" in said
    else:
        assert address in said and "another token" in said and f"Ray {ray.__version__}" in said
