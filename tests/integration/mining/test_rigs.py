"""Rigs come and go: containers with another name at every start, fleets under one key, and who was away for a week."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from kalepool.api import limits
from kalepool.api.limits import RateLimits
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConflictError, NotFoundError
from kalepool.policy.conduct import Standing
from kalepool.policy.shares import ShareOutcome
from kalepool.policy.vardiff import FIRST_STEPS, MIN_DIFFICULTY
from kalepool.services.keys import Role
from kalepool.services.mining import Mining, homes, miners, service
from kalepool.services.mining.service import Offer
from tests.integration.mining.conftest import CUSTODY
from tests.integration.mining.test_shares import SLOW, find_nonces, given_job

pytestmark = pytest.mark.anyio


class Clock:
    """The service's, moved on by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real, self.ahead = service.steady_now, timedelta(0)
        for each in (service, homes):
            monkeypatch.setattr(each, "steady_now", lambda: self._real() + self.ahead)

    def now(self) -> datetime:
        return service.steady_now()


async def test_a_container_starts_a_hundred_and_one_times(
    database: Database, field, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """By its host name, which is another one at each start. Places are few, and two rigs that stay keep theirs."""
    clock = Clock(monkeypatch)
    await field.open_block(41)
    miner_id = (await miners.register(database, CUSTODY, settings, "x")).miner.miner_id
    async with Mining.open(database, settings.model_copy(update={"miner_rigs": 4, "block_seconds": 10_000})) as mining:
        polling = await mining.claim_rig(miner_id, "polling")
        streaming = await mining.claim_rig(miner_id, "streaming")
        stream = mining.jobs(streaming)
        await anext(stream)
        for number in range(101):
            assert await mining.claim_rig(miner_id, "polling") is polling
            await given_job(mining, await mining.claim_rig(miner_id, f"container {number}"))
            clock.ahead += timedelta(seconds=20)
        names = {rig.name for rig in mining.dealer.rigs.values()}
        assert {"streaming", "polling"} <= names
        assert mining.dealer.rigs[streaming.searcher] is streaming
        assert mining.dealer.rigs[polling.searcher] is polling
        assert len(await field.execute("SELECT 1 FROM rigs")) == 4
        # none is idle: then there is no place
        for name in names:
            await mining.claim_rig(miner_id, name)
        with pytest.raises(ConflictError):
            await mining.claim_rig(miner_id, "one too many")
        await stream.aclose()


async def test_a_hundred_and_one_starts_in_a_row_have_a_place_each(mining: Mining, miner_id):
    """A container that fails at once, and is started again at once."""
    for number in range(101):
        await given_job(mining, await mining.claim_rig(miner_id, f"container {number}"))


async def test_a_place_is_given_once_however_many_ask(
    database: Database, field, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock(monkeypatch)
    miner_id = (await miners.register(database, CUSTODY, settings, "x")).miner.miner_id
    async with Mining.open(database, settings.model_copy(update={"miner_rigs": 3})) as mining:
        for name in "abc":
            await mining.claim_rig(miner_id, name)
        clock.ahead += timedelta(seconds=31)
        tries = [mining.claim_rig(miner_id, name) for name in "defgha"]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        rigs = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(rigs) == 3
        assert {rig.searcher for rig in rigs} == set(mining.dealer.rigs)
        rows = dict(await field.execute("SELECT searcher, name FROM rigs"))
        assert rows == {rig.searcher: rig.name for rig in rigs}


async def test_a_rig_comes_back_after_a_week(database: Database, field, settings: Settings):
    """Others have had all places since, and the pool was started anew."""
    few = settings.model_copy(update={"miner_rigs": 2})
    await field.open_block(41)
    miner_id = (await miners.register(database, CUSTODY, settings, "x")).miner.miner_id
    async with Mining.open(database, few) as mining:
        first = await mining.claim_rig(miner_id, "old", hashes_per_second=SLOW)
        given = await given_job(mining, first)
        [kept] = find_nonces(given, 1)
        await mining.claim_rig(miner_id, "other")
    await field.execute("UPDATE rigs SET last_seen_at = now() - interval '7 days' WHERE name = 'old'")
    async with Mining.open(database, few) as mining:
        taken = await mining.claim_rig(miner_id, "new")
        assert taken.searcher == first.searcher
        # what the one before found under that number still counts: both are the same miner's
        [answer] = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(kept))])
        assert answer.outcome is ShareOutcome.ACCEPTED
    await field.execute("UPDATE rigs SET last_seen_at = now() - interval '7 days'")
    async with Mining.open(database, few) as mining:
        back = await mining.claim_rig(miner_id, "old", hashes_per_second=SLOW)
        again = await given_job(mining, back)
        assert again.job.nonces.end <= given.job.nonces.start or given.job.nonces.end <= again.job.nonces.start
        [nonce] = find_nonces(again, 1)
        [answer] = await mining.take_shares(miner_id, [Offer(again.job.job_id, str(nonce))])
        assert answer.outcome is ShareOutcome.ACCEPTED


async def test_a_rigs_first_share_comes_soon(mining: Mining, miner_id):
    """An eighth of what its speed asks for, until it has brought one; it is credited with no more than that."""
    for each in mining.dealer.places.values():
        each.zeros = 16  # no farmer needs an easier one
    rig = await mining.claim_rig(miner_id, "new", hashes_per_second=20.0 * MIN_DIFFICULTY)
    given = await given_job(mining, rig)
    assert given.job.difficulty == rig.pace.difficulty // FIRST_STEPS
    [nonce] = find_nonces(given, 1)
    [answer] = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(nonce))])
    assert answer.credited_hashes == given.job.difficulty
    later = await mining.next_job(rig, given.job.job_id, 5.0)
    assert later is not None and later.job.difficulty == rig.pace.difficulty


async def test_two_hundred_rigs_of_one_key_are_not_throttled(mining: Mining, miner_id, monkeypatch: pytest.MonkeyPatch):
    """An hour of a share each 5 s, and a poll for a job each 5 s: at the two places that count them."""
    draw, start = random.Random(5), service.steady_now()
    rates, second = RateLimits(Settings(_env_file=None)), 0.0  # pyright: ignore[reportCallIssue]
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: second))
    while second < 3600:
        second += draw.expovariate(200 * 2 / 5)
        rates.hit_subject(Role.MINER, miner_id)
        if draw.random() < 0.5:
            await mining.gate.check(miner_id, start + timedelta(seconds=second), shares=1)
            mining.gate.count(miner_id, ShareOutcome.ACCEPTED, start + timedelta(seconds=second))


async def test_what_an_outage_made_stale_costs_a_fleet_nothing(mining: Mining, miner_id):
    """30 rigs hold back 480 shares for 31 s, past the block's end, then all bring them, and go on as they are told."""
    start = service.steady_now()
    for rig in range(30):
        await mining.gate.check(miner_id, start, shares=16)
        for _ in range(16):
            mining.gate.count(miner_id, ShareOutcome.STALE, start + timedelta(seconds=rig / 30))
    for second in range(2, 60):
        for _ in range(30):
            await mining.gate.check(miner_id, start + timedelta(seconds=second), shares=1)
    assert mining.gate.standing(miner_id, None, start + timedelta(seconds=60)) == (Standing.OK, 0)


async def test_a_rig_that_is_gone_is_retired_and_its_shares_still_count(
    mining: Mining, miner_id, database: Database, field, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock(monkeypatch)
    rig = await mining.claim_rig(miner_id, "cellar", hashes_per_second=SLOW)
    job = await given_job(mining, rig)
    with pytest.raises(ConflictError, match="'cellar' is at work"):
        await mining.retire_rig(miner_id, rig.searcher)
    clock.ahead += timedelta(seconds=homes.IDLE_SECONDS + 1)
    other = (await miners.register(database, CUSTODY, mining._settings, "other")).miner.miner_id
    with pytest.raises(NotFoundError):
        await mining.retire_rig(other, rig.searcher)
    assert await mining.retire_rig(miner_id, rig.searcher) == "cellar"
    assert await field.execute("SELECT 1 FROM rigs") == [] and rig.searcher not in mining.dealer.rigs
    with pytest.raises(NotFoundError):
        await mining.retire_rig(miner_id, rig.searcher)
    [nonce] = find_nonces(job, 1)
    [answer] = await mining.take_shares(miner_id, [Offer(job.job.job_id, str(nonce))])
    assert answer.outcome is ShareOutcome.ACCEPTED, "what was on its way"
    again = await mining.claim_rig(miner_id, "cellar")
    assert again.searcher != rig.searcher
