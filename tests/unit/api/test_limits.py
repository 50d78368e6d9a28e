"""Rates, sizes and times, without a network; the rest is in tests/integration/api/test_connections.py."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi import FastAPI, Request
from httpx2 import ASGITransport, AsyncClient

from kalepool.api import bodies, problems
from kalepool.api.bodies import BodyLimits
from kalepool.api.limits import RateLimits, network_of
from kalepool.api.problems import Problem
from kalepool.config import Settings
from kalepool.services.keys import Role

pytestmark = pytest.mark.anyio


def rates(**values: int) -> RateLimits:
    return RateLimits(Settings(**values, _env_file=None))  # pyright: ignore[reportCallIssue, reportArgumentType]


async def test_a_subject_has_its_requests_a_minute_and_no_more() -> None:
    limited = rates(requests_per_minute=3, pooler_requests_per_minute=5)
    ours, other = uuid4(), uuid4()
    for _ in range(3):
        limited.hit_subject(Role.FARMER, ours)
    with pytest.raises(Problem) as refused:
        limited.hit_subject(Role.FARMER, ours)
    assert refused.value.status == 429
    assert refused.value.headers is not None
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    limited.hit_subject(Role.FARMER, other)
    pooler = uuid4()
    for _ in range(5):
        limited.hit_subject(Role.POOLER, pooler)
    with pytest.raises(Problem):
        limited.hit_subject(Role.POOLER, pooler)


async def test_what_is_dear_counts_for_more() -> None:
    limited = rates(miner_shares_per_minute=50)
    ours = uuid4()
    limited.hit_subject(Role.MINER, ours, 20)
    limited.hit_subject(Role.MINER, ours, 20)
    with pytest.raises(Problem):
        limited.hit_subject(Role.MINER, ours, 20)
    limited.hit_subject(Role.MINER, ours, 10)


def app() -> FastAPI:
    made = FastAPI()
    made.add_middleware(BodyLimits)
    problems.install(made)

    @made.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @made.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a detail nobody should read")

    return made


async def slow_body():
    """A body that never ends."""
    import asyncio

    yield b"x"
    await asyncio.Event().wait()


async def large_body():
    for _ in range(3):
        yield bytes(bodies.MOST_BYTES_OF_STRANGERS // 2)


async def test_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    transport = ASGITransport(app=app(), raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://pool") as client:
        assert (await client.post("/size", content=bytes(1000))).json() == 1000
        announced = await client.post("/size", content=bytes(bodies.MOST_BYTES_OF_STRANGERS + 1))
        streamed = await client.post("/size", content=large_body())
        late = await client.post("/size", content=slow_body())
        broken = await client.get("/broken")
    assert [answer.status_code for answer in (announced, streamed, late, broken)] == [413, 413, 408, 500]
    for answer in (announced, streamed, late, broken):
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail", "code"}
    assert "nobody" not in broken.text


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_customer_is_one_caller(host: str, whose: str) -> None:
    assert network_of(host) == whose
