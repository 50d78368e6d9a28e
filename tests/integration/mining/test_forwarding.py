"""Two API processes in one: what the one that does not lead passes on, to whom, and as whose."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from kalepool.api import create_app, forwarding
from kalepool.api.server import Server, configured
from kalepool.database import Database
from kalepool.services.keys import Role, create_key
from tests.integration.mining.test_api import SLOW, good_nonces, settings_of
from tests.support.served import tell_to_stop

pytestmark = pytest.mark.anyio


@dataclass
class Served:
    app: FastAPI
    url: str
    server: Server

    def client(self, key: str | None = None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    @property
    def door(self) -> str:
        return f"http://{self.app.state.sibling_address}"


@asynccontextmanager
async def serving(settings) -> AsyncIterator[Served]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as siblings,
        socket.create_server(("127.0.0.1", 0)) as metrics,
    ):
        app = create_app(settings)
        app.state.sibling_address = f"127.0.0.1:{siblings.getsockname()[1]}"
        app.state.metrics_port = metrics.getsockname()[1]
        config = configured(app, settings)
        server = Server(app, config, metrics, siblings)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  uvicorn says so by a flag only
            await asyncio.sleep(0.02)
        try:
            yield Served(app, f"http://127.0.0.1:{listener.getsockname()[1]}", server)
        finally:
            tell_to_stop(server)
            await task


@pytest.fixture
async def two(field, database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Served, Served]]:
    await field.open_block(41)
    settings = settings_of(database_url, tmp_path, trusted_proxies="127.0.0.1")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(settings))
        second = await stack.enter_async_context(serving(settings))
        async with asyncio.timeout(30):
            while not (first.app.state.peers.siblings.others and second.app.state.peers.siblings.leader):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield first, second


async def test_what_only_the_leader_does_is_passed_on_as_whose_it_was(two, database: Database):
    leader, other = two
    assert leader.app.state.lead.leads and not other.app.state.lead.leads
    async with other.client() as anybody:
        assert (await anybody.get("/alive")).status_code == 204
        made = await anybody.post("/miner/register", json={"name": "x"}, headers={"X-Forwarded-For": "203.0.113.9"})
        assert made.status_code == 201 and made.headers.get_list("date") and len(made.headers.get_list("date")) == 1
        # counted where it was sent to, against who sent it
        assert set(leader.app.state.limits._full_at) >= {"203.0.113.9"}
        assert (await anybody.get("/info?" + "a=%2F")).json()["network"]["name"] == "devnet"
        assert (await anybody.post("/miner/register", content=b"x" * 20_000)).status_code == 413
        assert (await anybody.get("/nothing")).status_code == 404
        head = await anybody.head("/info")
        assert head.status_code == 200 and not head.content
        page = await anybody.get("/", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
        assert page.status_code == 200 and "<html" in page.text
        cross = await anybody.get("/auth", headers={"Origin": "https://wallet.example"})
        assert cross.headers.get_list("access-control-allow-origin") == ["*"]
        # metrics without a key, at the port for them alone
        port = other.app.state.metrics_port
        assert (await anybody.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
        assert (await anybody.get("/metrics")).status_code == 401
        async with anybody.stream("GET", "/events") as events:  # drawn by the leader
            async for line in events.aiter_lines():
                if line.startswith("data: "):
                    assert "verdict" in json.loads(line[6:])
                    break


async def test_a_rig_is_given_the_same_job_whichever_process_is_asked(two):
    leader, other = two
    async with other.client() as anybody:
        key = (await anybody.post("/miner/register", json={"name": "x"})).json()["api_key"]
    async with leader.client(key) as one, other.client(key) as two_:
        first = (await one.get("/miner/job", params=SLOW | {"wait": "5"})).json()
        again = await two_.get("/miner/job", params=SLOW | {"wait": "5"})
        assert again.json() == first
        asked = two_.get("/miner/job", params=SLOW | {"wait": "0.5", "after": first["job_id"]})
        assert (await asked).status_code == 204  # it waits, and does not go round
        nonces = good_nonces(first, 2)
        for client, nonce in zip((one, two_), nonces, strict=True):
            answer = await client.post("/miner/shares", json={"job_id": first["job_id"], "nonce": nonce})
            assert answer.json()["results"][0]["outcome"] == "accepted"
        async with two_.stream("GET", "/miner/jobs/stream", params=SLOW) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    assert json.loads(line[6:])["block_index"] == 41
                    break
        limits = (leader.app.state.limits, other.app.state.limits)
        hits = sum(max(each._full_at.values()) > 0 for each in limits)
        assert hits == 2


async def test_a_siblings_door_is_for_siblings(two):
    leader, other = two
    async with httpx2.AsyncClient(timeout=30) as client:
        for headers in ({}, {"X-Kalepool-Token": "0" * 32}):
            for path in ("/info", "/parts", "/alive"):
                answer = await client.get(leader.door + path, headers=headers)
                assert answer.status_code == 403, path
        token = {"X-Kalepool-Token": leader.app.state.peers.siblings.token}
        assert (await client.get(leader.door + "/parts", headers=token)).json()["parts"]["en"]["verdict"]
        assert (await client.get(other.door + "/parts", headers=token)).status_code == 503
    # what a stranger says at the front door is believed by nobody
    async with leader.client() as anybody:
        said = {"X-Kalepool-Metrics": "1"} | token
        assert (await anybody.get("/metrics", headers=said)).status_code == 401
    async with other.client() as anybody:
        assert (await anybody.get("/metrics", headers=said)).status_code == 401


async def test_when_the_leader_ends_the_other_leads_and_nothing_is_refused_meanwhile(
    field, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await field.open_block(41)
    settings = settings_of(database_url, tmp_path)
    operator = (await create_key(database, Role.OPERATOR)).key
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        await first.enter_async_context(serving(settings))
        other = await stack.enter_async_context(serving(settings))
        async with other.client(operator) as asking:
            assert (await asking.get("/health")).json()["components"]["processes"]["detail"] == "2 API processes"
            ending = asyncio.create_task(first.aclose())
            while not ending.done():
                assert (await asking.get("/info")).status_code == 200
                await asyncio.sleep(0.05)
            assert (await asking.get("/info")).status_code == 200
            assert other.app.state.lead.leads
            assert (await asking.get("/health")).json()["components"]["processes"]["state"] == "none"
        # nobody leads, and nobody will soon
        monkeypatch.setattr(forwarding, "TAKEOVER_SECONDS", 0.3)
        other.app.state.lead.leads = False
        async with other.client() as anybody:
            refused = await anybody.get("/info")
            assert refused.status_code == 503 and refused.json()["code"] == "no-leader"
            assert refused.headers["Retry-After"] == "1"
            assert (await anybody.get("/alive")).status_code == 204
        other.app.state.lead.leads = True


async def test_who_is_told_that_another_leads_ends(field, database: Database, database_url: str, tmp_path: Path):
    """As one whose lock was given to another while it was frozen."""
    settings = settings_of(database_url, tmp_path)
    async with serving(settings) as woken:
        await database.execute("take_lead")
        await field.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with asyncio.timeout(30):
            while not woken.server.should_exit:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert woken.server.has_failed
