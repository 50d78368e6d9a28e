"""A closed block's share log, and what `kalepool verify-credits` finds with it and the chain alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

import httpx2
import pytest

from kalepool.api import create_app
from kalepool.api.limits import RateLimits
from kalepool.commands import verify_credits
from kalepool.commands.verify_credits import verify
from kalepool.errors import InputError, NotFoundError
from kalepool.policy.credits import HOUSE
from kalepool.policy.shares import below_for
from kalepool.protocol.hashing import hash_work
from kalepool.services.books import ledgers
from kalepool.services.farmers import Farmer
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import closing, miners, share_logs
from kalepool.services.mining.credits import Credits, fix_terms
from kalepool.services.retention import prune
from kalepool.units import kale

from ..conftest import FarmUnderTest, open_farm

pytestmark = pytest.mark.anyio


async def mined(
    farm: FarmUnderTest, http: httpx2.AsyncClient, name: str, shares: int, own: Farmer | None = None
) -> str:
    """Registers a miner, which brings so many shares of a job; SOLO for a farmer of its `own`. Returns its id."""
    wallet = {"payout_wallet": own.payout_wallet} if own is not None else {}
    new = (await http.post("/miner/register", json={"name": name, **wallet})).json()
    auth = {"Authorization": f"Bearer {new['api_key']}"}
    slow = {"hashes_per_second": "1", "wait": "10"} | ({"solo": str(own.farmer_id)} if own is not None else {})
    job = (await http.get("/miner/job", params=slow, headers=auth)).json()
    assert job["solo"] == (own is not None)
    nonces, start, entropy = [], int(job["nonce_start"]), bytes.fromhex(job["entropy"])
    while len(nonces) < shares:
        digest = hash_work(job["block_index"], start, entropy, job["farmer"])
        if int.from_bytes(digest[:8], "big") < below_for(int(job["difficulty"])):
            nonces.append(start)
        start += 1
    sent = [{"job_id": job["job_id"], "nonce": str(nonce)} for nonce in nonces]
    answer = await http.post("/miner/shares", json={"shares": sent}, headers=auth)
    assert {each["outcome"] for each in answer.json()["results"]} == {"accepted"}, answer.text
    return new["miner_id"]


async def operated(farm: FarmUnderTest, index: int, entropy: bytes) -> None:
    await farm.rows(
        "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, now())",
        *(index, farm.pooler_id, entropy),
    )


async def over(farm: FarmUnderTest) -> None:
    await farm.rows("UPDATE block_operations SET status = 'finished', closed_at = now() WHERE status = 'open'")


async def best_share(farm: FarmUnderTest, farmer: Farmer) -> int:
    """The nonce of the best SOLO share for a farmer in block 1."""
    [(nonce,)] = await farm.rows(
        "SELECT nonce FROM shares WHERE block_index = 1 AND farmer_id = %s AND solo ORDER BY hash LIMIT 1",
        farmer.farmer_id,
    )
    return int(nonce)


@asynccontextmanager
async def closed_pool(
    database_url: str, tmp_path: Any, *, solo: bool = False
) -> AsyncIterator[tuple[FarmUnderTest, httpx2.AsyncClient]]:
    """A pool on a devnet whose block 1 is closed: two farmers, two miners that really hashed, and the house. `solo`:
    each farmer's owner has a rig, too; the first one's is worked with what that found, the other one's is not."""
    async with AsyncExitStack() as stack:
        farm = await open_farm(stack, database_url, tmp_path, miner_registration="open")
        app = create_app(farm.settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        app.state.limits = RateLimits(farm.settings.model_copy(update={"requests_per_minute": 10_000}))
        transport = httpx2.ASGITransport(app=app)
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://pool"))
        await farm.add_farmers(2)
        # Block 0 is another's: it is over on the chain, and the pool's miners hashed in it.
        first = (await farm.ctx.chain.read_blocks([0])).get(0)
        if first is None:
            await farm.start_block(0)
            first = (await farm.ctx.chain.read_blocks([0]))[0]
        await operated(farm, 0, first.entropy)
        await mined(farm, http, "early", 2)
        await farm.end_block()
        await over(farm)
        assert not (await plant.plant(farm.ctx, 1, farm.pooler_id)).failed
        second = (await farm.ctx.chain.read_blocks([1]))[1]
        await operated(farm, 1, second.entropy)
        await mined(farm, http, "one", 3)
        await mined(farm, http, "two", 1)
        nonces = [Submission(each.farmer_id, await farm.nonce(each, 1, zeros=1)) for each in farm.farmers]
        if solo:
            for each in farm.farmers:
                await mined(farm, http, f"owner of {each.farmer_id}", 2, own=each)
            nonces[0] = Submission(farm.farmers[0].farmer_id, await best_share(farm, farm.farmers[0]))
        await fix_terms(farm.ctx.database, farm.settings)
        assert not (await work.work(farm.ctx, 1, farm.pooler_id, nonces)).refused
        await farm.end_block()
        await farm.start_block(2)
        assert not (await harvest.harvest(farm.ctx, farm.pooler_id, 1)).failed
        await farm.rows("INSERT INTO house_hashes VALUES (1, 7000)")
        for index in range(2, 6):
            await operated(farm, index, bytes(32))
        await over(farm)
        await fix_terms(farm.ctx.database, farm.settings)
        await closing.close_blocks(farm.ctx.database, Credits(farm.ctx.database, farm.settings))
        assert (await http.get("/miner/blocks/1/closing")).is_success
        yield farm, http


def tampered(http: httpx2.AsyncClient, change: Any) -> httpx2.AsyncClient:
    """The same pool, by somebody who changes its answers on the way: change(path, bytes) gives bytes."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        found = await http.get(request.url.path)
        return httpx2.Response(found.status_code, content=change(request.url.path, found.content))

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://pool")


def lying(http: httpx2.AsyncClient, lines: Any) -> httpx2.AsyncClient:
    """A pool that changes the log of block 1 by `lines`, and names in its closing the log that it shows."""
    shown: dict[str, bytes] = {}

    def change(path: str, content: bytes) -> bytes:
        return shown.get(path, content)

    async def prepare() -> None:
        log = lines((await http.get("/miner/blocks/1/shares")).content.splitlines(keepends=True))
        told = (await http.get("/miner/blocks/1/closing")).json()
        told["logs"][-1] |= {"sha256": hashlib.sha256(b"".join(log)).hexdigest(), "shares": len(log) - 1}
        names = "".join(f"{each['block_index']} {each['sha256']}\n" for each in told["logs"])
        told["window_hash"] = hashlib.sha256(names.encode()).hexdigest()
        shown["/miner/blocks/1/shares"] = b"".join(log)
        shown["/miner/blocks/1/closing"] = json.dumps(told).encode()

    made = tampered(http, change)
    made.prepare = prepare  # pyright: ignore[reportAttributeAccessIssue]
    return made


@pytest.mark.slow(12, "two blocks on the devnet, with shares that miners really found")
async def test_credits_are_reckoned_again_from_what_is_public(database_url: str, tmp_path, capsys, monkeypatch) -> None:
    async with closed_pool(database_url, tmp_path) as (farm, http):
        chain = farm.ctx.chain
        report = await verify(http, chain, 1)
        assert (report.differs, report.unproven) == ([], [])
        assert report.shares == 6 and report.miners[HOUSE].hashes == 7000
        posted = dict(
            await farm.rows("SELECT substr(credit, 7), amount_stroops::bigint FROM transfers WHERE event = 'credited'")
        )
        earned = {name: each.earns_stroops for name, each in report.miners.items() if name != HOUSE}
        assert earned == posted and len(posted) == 3
        [(fees,)] = await farm.rows("SELECT fees_stroops::bigint FROM block_closings WHERE block_index = 1")
        assert sum(each.earns_stroops for each in report.miners.values()) == fees > 0
        verify_credits._show(report)
        assert "Block 1: 6 shares hashed again; as the pool posted it" in capsys.readouterr().out
        json.dumps(asdict(report))

        # The same bytes each time, whatever the page; and the books name them.
        log = (await http.get("/miner/blocks/1/shares")).content
        head, *lines = log.splitlines()
        assert json.loads(head)["house_hashes"] == "7000" and len(lines) == 4
        told = (await http.get("/miner/blocks/1/closing")).json()
        assert told["logs"][-1] == {"block_index": 1, "sha256": hashlib.sha256(log).hexdigest(), "shares": 4}
        [(note,)] = await farm.rows("SELECT note FROM transfers WHERE cause = 'kept/1'")
        assert note == f"share logs {told['window_hash']}"

        monkeypatch.setattr(share_logs, "PAGE", 2)
        assert (await http.get("/miner/blocks/1/shares")).content == log

        # What a farmer is shown of it, and everybody.
        operator = (await create_key(farm.ctx.database, Role.OPERATOR)).key
        rewards = dict(await farm.rows("SELECT farmer_id, reward_stroops::bigint FROM harvests"))
        for farmer_id, reward in rewards.items():
            asked = await http.get(f"/farmers/{farmer_id}", headers={"Authorization": f"Bearer {operator}"})
            assert (asked.json()["fee_rate"], asked.json()["fee_owed_stroops"]) == ("0.05", str(reward * 5 // 100))
        page = await http.get("/books", headers={"Accept": "text/html,*/*"})
        assert "default-src 'none'" in page.headers["Content-Security-Policy"] and "Accept" in page.headers["Vary"]
        assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=|https?://", page.text)
        assert told["logs"][-1]["sha256"] in page.text and 'href="/miner/blocks/1/shares"' in page.text
        assert kale(fees) in page.text and (await http.get("/books")).json()["head"]

        # Without a chain, or one that has forgotten, it says so.
        assert "nothing was held against the chain" in (await verify(http, None, 1)).unproven[0]
        with pytest.raises(InputError, match="block 5 is not closed"):
            await verify(http, chain, 5)

        # A log that was changed on the way: a share of another nonce, one less, another hash.
        def replaced(old: bytes, new: bytes) -> Any:
            return lambda path, content: content.replace(old, new) if path.endswith("1/shares") else content

        nonce = json.loads(lines[0])["nonce"]
        for change, said in (
            (replaced(nonce.encode(), str(int(nonce) + 1).encode()), "has the hash"),
            (replaced(lines[0] + b"\n", b""), "has 3 shares, its closing says 4"),
            (replaced(json.loads(lines[0])["hash"].encode(), b"0" * 64), f"the log says {'0' * 64}"),
        ):
            found = (await verify(tampered(http, change), chain, 1)).differs
            assert said in found[0] and any("SHA-256" in line for line in found), found
            assert any("were credited" in line for line in found)

        # A pool that lies, and stands by it: the hashes, the chain and the stroops tell.
        for change, said in (
            (lambda log: log[:-1], "were credited"),
            (lambda log: [*log, log[-1]], "was there before"),
            (lambda log: [log[0].replace(b"7000", b"9000"), *log[1:]], "were credited"),
            (lambda log: [log[0].replace(log[0][27:29], b"zz"), *log[1:]], "no head"),
            (lambda log: [*log[:-1], log[-1].replace(b'"difficulty":"4096"', b'"difficulty":"8192000"')], "target"),
        ):
            liar = lying(http, change)
            await liar.prepare()  # pyright: ignore[reportAttributeAccessIssue]
            assert any(said in line for line in (await verify(liar, chain, 1)).differs), said

        def less(path: str, content: bytes) -> bytes:
            if not path.endswith("closing"):
                return content
            told = json.loads(content)
            told["harvests"][0]["reward_stroops"] = str(int(told["harvests"][0]["reward_stroops"]) - 20)
            return json.dumps(told).encode()

        assert any("brought" in line for line in (await verify(tampered(http, less), chain, 1)).differs)

        # The database was changed past the pool.
        before = await farm.rows("SELECT nonce FROM shares WHERE block_index = 1 AND miner_id IS NOT NULL LIMIT 1")
        await farm.rows("UPDATE shares SET nonce = nonce + 1 WHERE nonce = %s", before[0][0])
        assert any("SHA-256" in line for line in (await verify(http, chain, 1)).differs)

        # What is old goes, and nobody is shown a part of it.
        await farm.rows(
            "UPDATE shares SET found_at = now() - interval '9 days', share_id = overlay(share_id::text "
            "placing '00000000' from 1)::uuid WHERE nonce = %s",
            before[0][0] + 1,
        )
        await prune(farm.ctx.database, farm.settings)
        gone = await http.get("/miner/blocks/1/shares")
        assert gone.status_code == 404 and "for 7 days" in gone.json()["detail"]
        with pytest.raises(InputError, match="not kept any more"):
            await verify(http, chain, 1)


@pytest.mark.slow(12, "two blocks on the devnet, with shares that miners really found")
async def test_solo_pays_the_service_fee_and_can_be_checked_from_what_is_public(database_url: str, tmp_path) -> None:
    async with closed_pool(database_url, tmp_path, solo=True) as (farm, http):
        chain, (own, other) = farm.ctx.chain, farm.farmers
        report = await verify(http, chain, 1)
        assert (report.differs, report.unproven) == ([], [])
        assert await ledgers.faults(farm.ctx.database) == []

        # The service fee of what the owner's rig found; the farmer's fee, which miners share, of the other's.
        rows = await farm.rows("SELECT farmer_id, solo, reward_stroops::bigint, fee_stroops::bigint FROM harvests")
        taken = {row[0]: row[1:] for row in rows}
        (solo, reward, service), (common, rival, fee) = taken[own.farmer_id], taken[other.farmer_id]
        assert (solo, service) == (True, reward // 100) and (common, fee) == (False, rival * 5 // 100)
        assert service > 0 < fee
        told = (await http.get("/miner/blocks/1/closing")).json()
        assert (told["fees_stroops"], told["shared_stroops"]) == (str(service + fee), str(fee))
        # Those with SOLO shares alone are in no part; all that was hashed is there to be hashed again.
        owners = [str(row[0]) for row in await farm.rows("SELECT miner_id FROM miners WHERE name LIKE 'owner%%'")]
        assert all(report.miners[each].hashes == report.miners[each].earns_stroops == 0 for each in owners)
        assert all(report.miners[each].shares == 2 for each in owners) and not set(owners) & told["credits"].keys()
        assert int(told["kept_stroops"]) + sum(map(int, told["credits"].values())) == service + fee
        assert int(told["kept_stroops"]) >= service
        # It is the farmer's, to the stroop: what it owes is the service fee.
        operator = (await create_key(farm.ctx.database, Role.OPERATOR)).key
        auth = {"Authorization": f"Bearer {operator}"}
        assert (await http.get(f"/farmers/{own.farmer_id}", headers=auth)).json()["fee_owed_stroops"] == str(service)

        # A stranger has no rig that hashes for it alone.
        new = (await http.post("/miner/register", json={"name": "s", "payout_wallet": other.payout_wallet})).json()
        auth = {"Authorization": f"Bearer {new['api_key']}"}
        refused = await http.get("/miner/job", params={"solo": own.custodial_wallet}, headers=auth)
        assert refused.status_code == 403 and refused.json()["code"] == "farmer-not-own"

        # A pool that lies: of whose work it was, and of the nonce that it was made with.
        log = (await http.get("/miner/blocks/1/shares")).content.splitlines()
        found = [json.loads(line) for line in log if b'"solo":true' in line]
        assert {each["farmer"] for each in found} == {own.custodial_wallet, other.custodial_wallet}
        theirs = next(each["nonce"] for each in found if each["farmer"] == other.custodial_wallet)

        def lie(farmer: Farmer, **changes: object) -> Any:
            def change(path: str, content: bytes) -> bytes:
                if not path.endswith("closing"):
                    return content
                told = json.loads(content)
                for each in told["harvests"]:
                    if each["farmer"] == farmer.custodial_wallet:
                        each |= changes
                return json.dumps(told).encode()

            return change

        for change, said in (
            (lie(own, solo=False), "was not SOLO by the closing"),
            (lie(own, solo=False, nonce="7"), "was not made with the nonce 7"),
            (lie(other, solo=True), "is no SOLO share's"),
            (lie(other, solo=True, nonce=theirs), f"was not made with the nonce {theirs}"),
        ):
            differs = (await verify(tampered(http, change), chain, 1)).differs
            assert any(said in line for line in differs), (said, differs)


async def test_a_log_that_is_not_whole_is_named_and_never_shown(farm) -> None:
    settings = farm.settings.model_copy(update={"miner_registration": "open"})
    miner = (await miners.register(farm.ctx.database, farm.ctx.custody, settings, "m")).miner.miner_id
    for index in range(5):
        await operated(farm, index, bytes(32))
    await over(farm)
    await farm.rows("INSERT INTO share_counts VALUES (0, %s, 'accepted', 1, 4096)", miner)
    assert await share_logs.write_logs(farm.ctx.database) == 1
    assert await share_logs.write_logs(farm.ctx.database) == 0
    [found] = await share_logs.logs_of(farm.ctx.database, 0, 9)
    assert (found.sha256, found.shares) == (None, 0)
    with pytest.raises(NotFoundError, match="not kept any more"):
        await share_logs.open_log(farm.ctx.database, settings, 0)
    with pytest.raises(NotFoundError, match="block 1 has no share log"):
        await share_logs.open_log(farm.ctx.database, settings, 1)
