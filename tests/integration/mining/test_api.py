"""External miners over HTTP: what each call answers, and how soon."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.routing import Router

from kalepool.api import create_app
from kalepool.config import Settings
from kalepool.database import Database, new_id
from kalepool.policy.ranges import COUNTERS
from kalepool.policy.vardiff import MIN_DIFFICULTY
from kalepool.protocol.hashing import farmer_bytes
from kalepool.services import operators
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import credits, miners
from kernels import Template, find
from tests.integration.mining.conftest import CUSTODY
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

SLOW = {"hashes_per_second": "1"}


def settings_of(database_url: str, folder: Path, **more: object) -> Settings:
    return Settings.load(
        database_url=database_url,
        data_dir=folder,
        rpc_url="http://127.0.0.1:9",  # no chain: nothing here needs one
        requests_per_minute=10_000,
        miner_registration="open",
        **more,
    )


@dataclass
class Pool:
    app: FastAPI
    url: str
    database: Database
    field: Any
    server: uvicorn.Server

    def break_connections(self) -> None:
        """As a network does that fails: nobody is told."""
        for connection in list(self.server.server_state.connections):
            assert connection.transport is not None
            connection.transport.abort()

    def client(self, key: str | None = None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    async def miner(self, name: str = "tester") -> httpx2.AsyncClient:
        async with self.client() as anybody:
            answer = await anybody.post("/miner/register", json={"name": name})
        assert answer.status_code == 201, answer.text
        return self.client(answer.json()["api_key"])


@contextlib.asynccontextmanager
async def serving(settings: Settings, field: Any, database: Database) -> AsyncIterator[Pool]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  uvicorn says so by a flag only
            await asyncio.sleep(0.02)
        try:
            yield Pool(app, f"http://127.0.0.1:{listener.getsockname()[1]}", database, field, server)
        finally:
            app.state.mining.end_waiting()
            server.should_exit = True
            await task


@pytest.fixture
async def pool(field, database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Pool]:
    await field.open_block(41)
    async with serving(settings_of(database_url, tmp_path), field, database) as pool:
        yield pool


def good_nonces(job: dict[str, Any], count: int) -> list[str]:
    """As a miner finds them, from what the job says alone."""
    template = Template(job["block_index"], bytes.fromhex(job["entropy"]), farmer_bytes(job["farmer"]))
    start, found = int(job["nonce_start"]), []
    while len(found) < count:
        nonce = find(template, start, 1 << 22, int(job["target"], 16))
        assert nonce is not None
        found.append(str(nonce))
        start = nonce + 1
    return found


async def test_registration_by_invitation(field, database: Database, database_url: str, tmp_path: Path):
    settings = settings_of(database_url, tmp_path).model_copy(update={"miner_registration": "invite"})
    operator_key = (await create_key(database, Role.OPERATOR)).key
    async with serving(settings, field, database) as pool, pool.client() as anybody:
        refused = await anybody.post("/miner/register", json={"name": "x"})
        assert refused.status_code == 403 and refused.json()["code"] == "invite-needed"
        assert (await anybody.post("/miner/invites", json={})).status_code == 401
        async with pool.client(operator_key) as operator:
            assert (await operator.get("/miner/me")).json()["detail"].startswith("an operator's key may not do this")
            made = (await operator.post("/miner/invites", json={"uses": 2, "label": "friends"})).json()
        form = {"name": "x", "invite": made["invite"]}
        wrong = await anybody.post("/miner/register", json=form | {"payout_wallet": "G" + "A" * 55})
        assert wrong.status_code == 422
        answers = [await anybody.post("/miner/register", json=form) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 403]
        keys = {answer.json()["api_key"] for answer in answers[:2]}
        assert len(keys) == 2
        async with pool.client(keys.pop()) as miner:
            assert (await miner.get("/miner/me")).json()["name"] == "x"
            assert (await miner.post("/miner/invites", json={})).status_code == 403
    stored = await field.execute("SELECT key_hash FROM api_keys UNION ALL SELECT invite_hash FROM miner_invites")
    assert all(len(row[0]) == 32 for row in stored)


async def test_a_job_says_all_and_ranges_never_overlap(pool: Pool):
    async with await pool.miner() as one, await pool.miner("other") as other:
        job = (await one.get("/miner/job", params=SLOW)).json()
        assert job["block_index"] == 41
        assert job["entropy"] == (await pool.field.execute("SELECT entropy FROM block_operations"))[0][0].hex()
        assert job["farmer"] in pool.field.farmers.values()
        assert job["difficulty"] == str(MIN_DIFFICULTY) and int(job["target"], 16) == 2**64 // MIN_DIFFICULTY
        assert job["nonce_count"] == str(COUNTERS)
        same = await one.get("/miner/job", params=SLOW | {"after": job["job_id"], "wait": "0.1"})
        assert same.status_code == 204
        whole = (
            await one.get("/miner/job", params={"rig": "b", "whole_zeros": "true", "hashes_per_second": "1e7"})
        ).json()
        assert whole["target"].strip("0") == "1"
        jobs = [job, whole, (await other.get("/miner/job")).json(), (await other.get("/miner/job?rig=c")).json()]
        starts = sorted(int(each["nonce_start"]) for each in jobs)
        assert all(after - before >= COUNTERS for before, after in pairwise(starts))
        assert len({each["farmer"] for each in jobs}) == 4, "spread over the farmers"


async def test_a_new_block_and_its_end_are_told_at_once(pool: Pool):
    async with await pool.miner() as polling, await pool.miner() as streaming:
        first = (await polling.get("/miner/job")).json()
        waiting = asyncio.create_task(polling.get("/miner/job", params={"after": first["job_id"], "wait": "10"}))
        async with streaming.stream("GET", "/miner/jobs/stream") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()

            async def event() -> tuple[str, dict[str, Any]]:
                fields: dict[str, str] = {}
                async for line in lines:
                    if not line and "data" in fields:
                        return fields["event"], json.loads(fields["data"])
                    name, _, value = line.partition(": ")
                    fields[name] = value
                raise AssertionError("the stream ended")

            name, told = await event()
            assert (name, told["block_index"]) == ("job", 41)
            began = time.monotonic()
            await pool.field.open_block(42)
            name, told = await event()
            assert (name, told["block_index"]) == ("job", 42)
            assert (await waiting).json()["block_index"] == 42
            assert time.monotonic() - began < 10  # without the word of the database it would never be told
            await pool.field.execute("UPDATE block_operations SET status = 'finished', closed_at = now()")
            assert await event() == ("idle", {})
            await pool.field.open_block(43)
            assert (await event())[1]["block_index"] == 43
        gone = await polling.get("/miner/job", params={"after": told["job_id"], "wait": "5"})
        assert gone.json()["block_index"] == 43


async def test_who_cannot_be_planted_is_not_hashed_for(pool: Pool):
    async with await pool.miner() as miner:
        job = (await miner.get("/miner/job")).json()
        [lost] = [farmer_id for farmer_id, wallet in pool.field.farmers.items() if wallet == job["farmer"]]
        await pool.field.execute(
            "INSERT INTO plantings (event_id, block_index, pooler_id, farmer_id, outcome, code, fault) "
            "VALUES (%s, 41, %s, %s, 'failed', 'underfunded', 'farmer')",
            *(new_id(), pool.field.pooler_id, lost),
        )
        following = (await miner.get("/miner/job", params={"after": job["job_id"], "wait": "5"})).json()
        assert following["farmer"] != job["farmer"]


async def test_shares_one_or_many_and_the_same_again(pool: Pool):
    async with await pool.miner() as miner:
        job = (await miner.get("/miner/job", params=SLOW)).json()
        one, two = good_nonces(job, 2)
        share = {"job_id": job["job_id"], "nonce": one}
        answer = await miner.post("/miner/shares", json=share, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
        [result] = answer.json()["results"]
        assert result["outcome"] == "accepted" and result["credited_hashes"] == str(MIN_DIFFICULTY)
        again = await miner.post("/miner/shares", json=share, headers={"Idempotency-Key": "k"})
        assert again.json() == answer.json()
        batch = {"shares": [share, {"job_id": job["job_id"], "nonce": two}, {"job_id": "?", "nonce": "?"}]}
        answer = await miner.post("/miner/shares", json=batch)
        assert [each["outcome"] for each in answer.json()["results"]] == ["duplicate", "accepted", "malformed"]
        for wrong in ({}, {"shares": []}, {"shares": [share] * 101}, {"job_id": 1, "nonce": 2}, [share], None):
            refused = await miner.post("/miner/shares", json=wrong)
            assert refused.status_code == 422 and refused.json()["errors"], wrong
        for wrong, where in (
            ({**share, "nonce": 5}, "body.nonce"),
            ({"shares": [{**share, "nonce": 5}]}, "body.shares.0.nonce"),
        ):
            refused = (await miner.post("/miner/shares", json=wrong)).json()
            assert refused["detail"] == f"{where}: Input should be a valid string", (
                "of what was sent, and of that alone"
            )
        assert (await miner.post("/miner/shares", content=b"\xff{")).status_code == 422
        lone = await miner.post("/miner/shares", content=json.dumps(share | {"nonce": "\ud800"}))
        assert lone.status_code == 422
        me = (await miner.get("/miner/me")).json()
        assert me["shares"]["accepted"] == 2 and me["shares"]["malformed"] == 1 and me["standing"] == "ok"
        rate = me["hashrate"]["1m"]
        assert rate["hashes_per_second"] == pytest.approx(2 * MIN_DIFFICULTY / 60)
        assert 0 < rate["low"] < rate["hashes_per_second"] < rate["high"]
        assert [rig["name"] for rig in me["rigs"]] == [""]


async def test_a_stream_without_news_says_that_it_is_there(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    """Else who follows it takes it for dead. Its pings are no job told again, and ask no database."""
    monkeypatch.setattr("kalepool.api.routes.miner.PING_SECONDS", 0.2)
    async with await pool.miner() as miner, miner.stream("GET", "/miner/jobs/stream") as stream:
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-cache", "no")
        lines: list[str] = []

        async def refused(*_: object) -> bool:
            raise AssertionError("a ping asked whose the key is")

        async with asyncio.timeout(30):
            async for line in stream.aiter_lines():
                lines.append(line)
                if line == ": ping":
                    monkeypatch.setattr("kalepool.api.routes.miner.still_valid", refused)
                if lines.count(": ping") == 3:
                    break
    told = [line.partition(":")[0] for line in lines if line and line != ": ping"]
    assert told == ["event", "data", "id"]


async def test_who_reads_no_more_and_breaks_off_is_not_counted_as_there(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Four streams of a rig may be open: those that are gone must not shut out the next, nor fill the log."""
    monkeypatch.setattr("kalepool.api.routes.miner.PING_SECONDS", 0)
    host, _, port = pool.url.removeprefix("http://").partition(":")
    async with await pool.miner() as miner:
        head = f"GET /miner/jobs/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {miner.headers['Authorization']}\r\n\r\n"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.sendall(head.encode())
        async with asyncio.timeout(30):
            while not (rigs := [rig for rig in pool.app.state.mining.dealer.rigs.values() if rig.streams]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            open_: list[Any] = list(pool.server.server_state.connections)
            [connection] = [each for each in open_ if not each.cycle.response_complete]
            connection.transport.set_write_buffer_limits(1 << 12)
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            while not connection.flow.write_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    [rig] = rigs
    gc.disable()
    try:
        async with asyncio.timeout(30):
            while rig.streams:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
    assert not [record for record in caplog.records if record.exc_info], caplog.text


async def test_shares_go_past_the_routing_and_everything_else_through_it(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    """Hundreds of shares come a second, and finding their route costs as much as the rest of the call."""
    routed: list[tuple[str, str]] = []
    plain = Router.__call__

    async def route(self: Router, scope: Any, receive: Any, send: Any) -> None:
        routed.append((scope["method"], scope["path"]))
        await plain(self, scope, receive, send)

    monkeypatch.setattr(Router, "__call__", route)
    async with await pool.miner() as miner, pool.client() as anybody:
        job = (await miner.get("/miner/job", params=SLOW)).json()
        [nonce, other] = good_nonces(job, 2)
        routed.clear()
        offer = {"job_id": job["job_id"], "nonce": nonce}
        brought = await miner.post("/v1/miner/shares", json=offer | {"nonce": other})
        assert brought.json()["results"][0]["outcome"] == "accepted"
        assert (await miner.post("/miner/shares", json=offer)).json()["results"][0]["outcome"] == "accepted"
        wrong = await miner.post("/miner/shares", json={"job_id": 1})
        assert wrong.status_code == 422 and {each["where"] for each in wrong.json()["errors"]} == {
            "body.job_id",
            "body.nonce",
        }
        assert (await anybody.post("/miner/shares", json=offer)).status_code == 401
        assert routed == []
        assert (await miner.get("/miner/shares")).status_code == 405
        assert (await miner.post("/miner/shares/", json=offer)).status_code in (307, 404)
        assert len(routed) == 2


async def test_rubbish_is_told_to_wait_and_then_to_stay_away(pool: Pool):
    async with await pool.miner() as miner:
        rubbish = {"shares": [{"job_id": "", "nonce": ""}] * 20}
        assert (await miner.post("/miner/shares", json=rubbish)).status_code == 200
        assert (await miner.post("/miner/shares", json=rubbish)).status_code == 200
        slowed = await miner.post("/miner/shares", json=rubbish)
        assert slowed.status_code == 429 and slowed.json()["code"] == "slowed"
        assert int(slowed.headers["Retry-After"]) >= 1
        assert (await miner.get("/miner/me")).json()["standing"] == "slowed"
        answers = [await miner.post("/miner/shares", json=rubbish) for _ in range(80)]
        banned = answers[-1]
        assert banned.status_code == 403 and banned.json()["code"] == "banned"
        assert 500 < int(banned.headers["Retry-After"]) <= 600
        assert (await miner.get("/miner/job")).json()["code"] == "banned"
        assert (await miner.get("/miner/jobs/stream")).status_code == 403
        assert (await miner.get("/miner/me")).json()["standing"] == "banned"


async def test_only_miners_mine(pool: Pool):
    keys = [None, "kale_miner_" + "x" * 43]
    keys += [(await create_key(pool.database, role, subject_id=new_id())).key for role in (Role.POOLER, Role.FARMER)]
    for key, status in zip(keys, (401, 401, 403, 403), strict=True):
        async with pool.client(key) as stranger:
            answers = [
                await stranger.get(path) for path in ("/miner/job", "/miner/jobs/stream", "/miner/me", "/miner/credits")
            ]
            answers.append(await stranger.post("/miner/shares", json={"job_id": "", "nonce": ""}))
            assert [answer.status_code for answer in answers] == [status] * 5


async def test_credits_follow_from_the_published_totals(pool: Pool):
    field = pool.field
    async with await pool.miner("one") as one, await pool.miner("two") as two:
        ids = [(await miner.get("/miner/me")).json()["miner_id"] for miner in (one, two)]
        brought = {20: (7, 0), 38: (1000, 500), 40: (1, 2000), 41: (333, 0)}
        for index, parts in brought.items():
            for miner_id, hashes in zip(ids, parts, strict=True):
                if hashes:
                    await field.execute(
                        "INSERT INTO share_counts VALUES (%s, %s, 'accepted', 1, %s)", *(index, miner_id, hashes)
                    )
        farmer_id = next(iter(field.farmers))
        await field.open_block(40)
        await field.execute("UPDATE block_operations SET status = 'finished', closed_at = now() WHERE block_index = 40")
        await field.execute(
            "INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, "
            "stake_stroops, transaction_hash) VALUES (%s, 40, %s, %s, 'harvested', 100000019, 0, %s)",
            *(new_id(), field.pooler_id, farmer_id, bytes(32)),
        )
        page = (await one.get("/miner/credits")).json()
        assert [item["block_index"] for item in page["items"]] == [41, 40, 38, 20] and page["next"] is None
        first = (await one.get("/miner/credits", params={"limit": 3})).json()
        second = (await one.get("/miner/credits", params={"limit": 3, "after": first["next"]})).json()
        assert first["items"] + second["items"] == page["items"] and second["next"] is None
        forty = page["items"][1]
        assert (forty["window_hashes"], forty["window_total_hashes"]) == ("1001", "3501")
        assert forty["fee_stroops"] == "5000000" and forty["final"] is True
        credits = [
            int(item["credit_stroops"]) for item in (forty, (await two.get("/miner/credits")).json()["items"][1])
        ]
        assert sum(credits) == 5_000_000
        assert credits[0] == pytest.approx(5_000_000 * 1001 / 3501, abs=1)
        async with pool.client() as anybody:
            totals = (await anybody.get("/miner/blocks/40")).json()
            assert {each["miner_id"]: int(each["credit_stroops"]) for each in totals["miners"]} == dict(
                zip(ids, credits, strict=True)
            )
            assert (await anybody.get("/miner/blocks/7")).status_code == 404


async def test_a_lone_share_earns_no_more_than_its_part_of_all_hashes(field, database: Database, settings: Settings):
    """One share of 4,096 hashes, beside our own workers' millions: in their block, and in those after."""
    miner = (await miners.register(database, CUSTODY, settings, "lone")).miner
    worker_id, after_restart = new_id(), new_id()

    async def report(worker_id: UUID, hashes: int) -> None:
        names = {"nodes": ["n"], "kinds": ["cpu"], "backends": [""], "threads": [1], "versions": [""]}
        found = {"speeds": [1.0], "hashes": [hashes], "best_zeros": [5], "searchers": [worker_id.int % 2**40]}
        await database.execute("upsert_workers", worker_ids=[worker_id], **names, **found)

    await report(worker_id, 1_000)  # before any block: it counts for none
    for index in (41, 42):
        await field.open_block(index)
        await report(worker_id, 1_000 + (index - 40) * 3_000_000)
        await report(worker_id, 1_000 + (index - 40) * 3_000_000)
        if index == 41:
            await report(after_restart, 1_000_000)
            await database.execute(
                "insert_offers", **_one_share(miner.miner_id, next(iter(field.farmers)), index, 4_096)
            )
        await field.execute(
            "INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, "
            "stake_stroops) VALUES (%s, %s, %s, %s, 'harvested', 200000000, 0)",
            *(new_id(), index, field.pooler_id, next(iter(field.farmers))),
        )
        await field.execute("UPDATE block_operations SET status = 'finished', closed_at = now()")
    blocks = await credits.Credits(database, settings).read([41, 42])
    assert [block.fee_stroops for block in blocks] == [10_000_000, 10_000_000]
    for block, all_hashes in zip(reversed(blocks), (4_004_096, 7_004_096), strict=True):
        assert sum(block.window_hashes.values()) == all_hashes
        assert block.credits[str(miner.miner_id)] == pytest.approx(10_000_000 * 4_096 / all_hashes, abs=1)
        assert sum(block.credits.values()) == 10_000_000, "the rest is the house's"


def _one_share(miner_id: UUID, farmer_id: UUID, index: int, credited: int) -> dict[str, list]:
    share = {
        "share_ids": new_id(),
        "block_indexes": index,
        "farmer_ids": farmer_id,
        "searchers": 1,
        "miner_ids": miner_id,
        "nonces": 1,
        "hashes": bytes(32),
        "zeros": 3,
        "credited": credited,
        "request_ids": b"1",
        "solo": [False],
        "news": "",
    }
    none = ("refused_block_indexes", "refused_miner_ids", "refused_request_ids", "outcomes", "details")
    return {name: [value] for name, value in share.items()} | {name: [] for name in none}


async def test_settled_blocks_are_read_once(field, database: Database, settings: Settings):
    """What changes is read again, what cannot change any more is not."""
    miner = (await miners.register(database, CUSTODY, settings, "one")).miner
    for index in range(40, 46):
        await field.open_block(index)
        await field.execute("INSERT INTO share_counts VALUES (%s, %s, 'accepted', 1, 100)", *(index, miner.miner_id))
    await field.execute("UPDATE block_operations SET status = 'finished', closed_at = now() WHERE block_index < 45")
    read = credits.Credits(database, settings)
    before = await read.read([45, 44, 41])
    await field.execute("UPDATE share_counts SET credited_hashes = 200")
    after = await read.read([45, 44, 41])
    assert [block.settled for block in after] == [False, False, True]
    assert after[2] == before[2] and [block.credited_hashes[str(miner.miner_id)] for block in after] == [200, 200, 100]


async def test_a_setting_changes_no_past_blocks_credits(field, database: Database):
    """Fee and window are fixed when a block is first seen. What is lost keeps no block from being final."""
    before, after = [
        Settings(platform_fee=fee, pplns_blocks=blocks, _env_file=None)  # pyright: ignore[reportCallIssue]
        for fee, blocks in ((0.05, 2), (0.5, 1))
    ]
    miner = await miners.register(database, CUSTODY, before.model_copy(update={"miner_registration": "open"}), "one")
    farmer_id = next(iter(field.farmers))

    async def harvested(index: int) -> None:
        for earlier in (index - 1, index):
            await field.execute(
                "INSERT INTO share_counts VALUES (%s, %s, 'accepted', 1, 100) ON CONFLICT DO NOTHING",
                *(earlier, miner.miner.miner_id),
            )
        await field.open_block(index)
        await field.execute(
            "INSERT INTO harvests (event_id, block_index, pooler_id, farmer_id, outcome, reward_stroops, "
            "stake_stroops) VALUES (%s, %s, %s, %s, 'harvested', 1000, 0)",
            *(new_id(), index, field.pooler_id, farmer_id),
        )

    async def read(index: int, settings: Settings) -> tuple[int, int, int]:
        (block,) = await credits.Credits(database, settings).read([index])
        return block.fee_stroops, block.window_blocks, sum(block.window_hashes.values())

    await harvested(40)
    assert await credits.fix_terms(database, before) == 2
    assert await credits.fix_terms(database, after) == 0
    await harvested(42)
    await credits.fix_terms(database, after)
    assert await read(40, after) == await read(40, before) == (50, 2, 200)
    assert await read(42, before) == (500, 1, 100)
    assert await operators.rewards_since(database, datetime.now(UTC) - timedelta(hours=1)) == (2000, 550)

    other = list(field.farmers)[1]
    await field.execute(
        "INSERT INTO works (event_id, block_index, pooler_id, farmer_id, outcome, zeros, gap) "
        "VALUES (%s, 40, %s, %s, 'worked', 3, 5)",
        *(new_id(), field.pooler_id, other),
    )
    await field.execute("UPDATE block_operations SET status = 'finished', closed_at = now()")
    (block,) = await credits.Credits(database, after).read([40])
    assert not block.final
    await field.execute(
        "INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, "
        "stake_stroops, forecast_stroops) VALUES (%s, 40, %s, %s, 'backend', 'block-missing', 1, 2)",
        *(new_id(), field.pooler_id, other),
    )
    (block,) = await credits.Credits(database, after).read([40])
    assert block.final, "the pail was lost: nothing is to come any more"


@pytest.mark.slow(8, "the API starts twice, and shares have to be found")
async def test_the_client_survives_kill_9_of_the_pool(field, database: Database, database_url: str, tmp_path: Path):
    """`kalepool mine` as a user starts it, against `kalepool api` as an operator does."""
    await field.open_block(41)
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "DATABASE_"))}
    environment = clean | {
        "KALEPOOL_DATABASE_URL": database_url,
        "KALEPOOL_DATA_DIR": str(tmp_path),
        "KALEPOOL_RPC_URL": "http://127.0.0.1:9",
        "KALEPOOL_API_PORT": str(port),
        "KALEPOOL_MINER_SHARE_SECONDS": "0.5",
        "KALEPOOL_BLOCK_SECONDS": "300",  # a block that is past gives no jobs
    }
    python = [sys.executable, "-m", "kalepool"]
    miner_id = (await database.fetch_one("insert_miner", miner_id=new_id(), name="x", payout_wallet=None) or {})[
        "miner_id"
    ]
    key = (await create_key(database, Role.MINER, subject_id=miner_id)).key

    def start_api() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*python, "api"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def until_shares(block: int, count: int) -> None:
        while True:
            [(shares,)] = await field.execute("SELECT count(*) FROM shares WHERE block_index = %s", block)
            if shares >= count:
                return
            assert mine.poll() is None, said.read_text()
            await asyncio.sleep(0.1)

    api = start_api()
    options = ["--url", f"http://127.0.0.1:{port}", "--threads", "1", "--rig", "r"]
    said = tmp_path / "said"
    with said.open("w") as output:
        mine = subprocess.Popen(  # noqa: ASYNC220
            [*python, "mine", *options], env=clean | {"KALEPOOL_API_KEY": key, "PYTHONUNBUFFERED": "1"}, stdout=output
        )
    try:
        async with asyncio.timeout(180):
            await until_shares(41, 2)
            api.kill()
            api.wait()
            while "no connection to the pool" not in said.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await field.open_block(42)
            api = start_api()
            await until_shares(42, 2)
        mine.send_signal(signal.SIGINT)
        mine.wait(60)
    finally:  # whatever became of the miner, nothing is left behind
        mine.kill()
        mine.wait()
        api.kill()
        api.wait()
    output = said.read_text()
    assert mine.returncode == 0, output
    assert "accepted" in output and key not in output
    counts = await field.execute(
        "SELECT sum(shares), (SELECT count(*) FROM shares) FROM share_counts WHERE outcome = 'accepted'"
    )
    assert counts[0][0] == counts[0][1]
