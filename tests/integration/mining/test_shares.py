"""Shares: judged, in the database before they are answered, counted once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kalepool import tracing
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConflictError, DatabaseUnavailableError
from kalepool.notices import ShareNotice, tell
from kalepool.policy.shares import ShareOutcome, below_for
from kalepool.policy.vardiff import MIN_DIFFICULTY, Pace
from kalepool.protocol.hashing import farmer_bytes
from kalepool.services.mining import Mining, miners
from kalepool.services.mining.dealer import GivenJob, Rig
from kalepool.services.mining.gate import BannedError, CrowdedError, SlowedError
from kalepool.services.mining.service import MOST_STREAMS, Offer
from kernels import Template, find
from tests.integration.mining.conftest import CUSTODY

pytestmark = pytest.mark.anyio

SLOW = 1.0  # hashes/s: its shares take no more than MIN_DIFFICULTY hashes


def find_nonces(given: GivenJob, count: int) -> list[int]:
    """Nonces that count for a job."""
    job = given.job
    template = Template(job.index, job.entropy, farmer_bytes(job.farmer))
    found: list[int] = []
    start = job.nonces.start
    while len(found) < count:
        nonce = find(template, start, 1 << 22, below_for(job.difficulty))
        assert nonce is not None
        found.append(nonce)
        start = nonce + 1
    return found


async def given_job(mining: Mining, rig: Rig) -> GivenJob:
    given = await mining.next_job(rig, None, 1.0)
    assert given is not None
    return given


async def count_shares(field) -> int:
    return (await field.execute("SELECT count(*) FROM shares"))[0][0]


async def test_every_kind_of_share(mining: Mining, field, database: Database, settings: Settings, miner_id: UUID):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    good, other = find_nonces(given, 2)
    job_id = given.job.job_id
    weak = next(n for n in range(given.job.nonces.start, given.job.nonces.end) if n not in (good, other))
    stranger = (await miners.register(database, CUSTODY, settings, "stranger")).miner.miner_id
    strange = await given_job(mining, await mining.claim_rig(stranger, "a", hashes_per_second=SLOW))

    offers = [
        Offer(job_id, str(good)),
        Offer(job_id, str(good)),
        Offer(job_id, str(weak)),
        Offer(job_id, str(given.job.nonces.end)),
        Offer(strange.job.job_id, str(other)),
        Offer("A" * 64, str(other)),
        Offer("nonsense", str(other)),
        Offer(job_id, "-1"),
        Offer(job_id, str(2**64)),
        Offer(job_id, str(other)),
    ]
    answers = await mining.take_shares(miner_id, offers)
    assert [answer.outcome for answer in answers] == [
        ShareOutcome.ACCEPTED,
        ShareOutcome.DUPLICATE,
        ShareOutcome.LOW_DIFFICULTY,
        ShareOutcome.OUT_OF_RANGE,
        ShareOutcome.UNKNOWN_JOB,
        ShareOutcome.UNKNOWN_JOB,
        ShareOutcome.UNKNOWN_JOB,
        ShareOutcome.MALFORMED,
        ShareOutcome.MALFORMED,
        ShareOutcome.ACCEPTED,
    ]
    assert answers[0].credited_hashes == given.job.difficulty == MIN_DIFFICULTY
    rows = await field.execute("SELECT nonce, zeros, miner_id, searcher FROM shares ORDER BY nonce")
    assert {(int(row[0]), row[1]) for row in rows} == {(good, answers[0].zeros), (other, answers[-1].zeros)}
    assert {(row[2], row[3]) for row in rows} == {(miner_id, rig.searcher)}
    counts = dict(await field.execute("SELECT outcome, shares FROM share_counts"))
    assert counts == {
        "accepted": 2, "duplicate": 1, "low-difficulty": 1, "out-of-range": 1, "unknown-job": 3, "malformed": 2,
    }  # fmt: skip


async def test_a_block_that_ended_makes_shares_stale(mining: Mining, field, miner_id: UUID):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    early, late = find_nonces(given, 2)
    [first] = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(early))])
    await field.open_block(42)
    following = await mining.next_job(rig, given.job.job_id, 5.0)
    assert following is not None and following.job.index == 42
    offers = [Offer(given.job.job_id, str(late)), Offer(given.job.job_id, str(early))]
    stale, again = await mining.take_shares(miner_id, offers)
    assert stale.outcome is ShareOutcome.STALE
    assert again == first  # it was in time when it was first brought


async def test_a_repeated_request_is_answered_the_same_and_counted_once(
    mining: Mining, field, database: Database, settings: Settings, miner_id: UUID
):
    given = await given_job(mining, await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW))
    good, other = find_nonces(given, 2)
    request = [Offer(given.job.job_id, str(good)), Offer(given.job.job_id, "x"), Offer(given.job.job_id, str(good))]
    first = await mining.take_shares(miner_id, request, "one")
    assert await mining.take_shares(miner_id, request, "one") == first
    [plain] = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(other))])
    async with Mining.open(database, settings) as restarted:  # remembers nothing but the database
        assert await restarted.take_shares(miner_id, request, "one") == first
        assert await restarted.take_shares(miner_id, [Offer(given.job.job_id, str(other))]) == [plain]
        [another] = await restarted.take_shares(miner_id, [Offer(given.job.job_id, str(good))], "two")
    assert another.outcome is ShareOutcome.DUPLICATE
    assert await count_shares(field) == 2
    counts = dict(await field.execute("SELECT outcome, shares FROM share_counts"))
    assert counts == {"accepted": 2, "malformed": 1, "duplicate": 2}


async def test_the_same_request_many_times_at_once(mining: Mining, field, miner_id: UUID):
    given = await given_job(mining, await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW))
    offers = [Offer(given.job.job_id, str(nonce)) for nonce in find_nonces(given, 5)]
    answers = await asyncio.gather(*(mining.take_shares(miner_id, offers, "key") for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert {answer.outcome for answer in answers[0]} == {ShareOutcome.ACCEPTED}
    assert await count_shares(field) == 5


async def test_a_better_share_is_told_to_all_and_moves_the_miner_on(mining: Mining, field, database, miner_id: UUID):
    news = database.listen("shares")
    assert await anext(news) == ""
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    nonce = find_nonces(given, 1)[0]
    [answer] = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(nonce))])
    told = json.loads(await anext(news))
    farmer_id = given.place.farmer_id
    assert told == {
        "block_index": 41,
        "pooler_id": str(field.pooler_id),
        "farmer_id": str(farmer_id),
        "nonce": str(nonce),
        "zeros": answer.zeros,
        "searcher": rig.searcher,
    }
    row = await field.execute("SELECT zeros FROM best_shares WHERE farmer_id = %s", farmer_id)
    assert row == [(answer.zeros,)]  # it is there when the news is
    following = await mining.next_job(rig, given.job.job_id, 5.0)
    assert following is not None and following.place.farmer_id != farmer_id


async def test_a_share_that_could_not_be_stored_at_first_is_news_when_it_is(
    mining: Mining, field, database: Database, miner_id: UUID, monkeypatch: pytest.MonkeyPatch
):
    given = await given_job(mining, await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW))
    offer = Offer(given.job.job_id, str(find_nonces(given, 1)[0]))
    news = database.listen("shares")
    assert await anext(news) == ""

    async def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError("away")

    with monkeypatch.context() as broken, pytest.raises(DatabaseUnavailableError):
        broken.setattr(database, "fetch_all", fail)
        await mining.take_shares(miner_id, [offer])
    [answer] = await mining.take_shares(miner_id, [offer])
    assert answer.outcome is ShareOutcome.ACCEPTED
    assert json.loads(await anext(news))["nonce"] == offer.nonce


async def test_a_claim_to_be_fast_keeps_nobody_from_a_farmer(mining: Mining, field, miner_id: UUID):
    liar = await mining.claim_rig(miner_id, "liar", hashes_per_second=1e12)
    others = [await mining.claim_rig(miner_id, name, hashes_per_second=SLOW) for name in "abcdefg"]
    farmers = [rig.given.place.farmer_id for rig in (liar, *others) if rig.given]
    assert sorted(farmers) == sorted([*field.farmers] * 2), "eight rigs, two at each of four farmers"


async def test_a_pause_does_not_make_a_miner_slow(mining: Mining, field, miner_id: UUID):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=1e9)
    await given_job(mining, rig)
    now = datetime.now(UTC)
    rig.pace = replace(rig.pace, since_at=now - timedelta(seconds=50))
    rig.streams += 1  # as an open stream
    mining.dealer.places = {}
    mining.dealer.deal(now)
    assert rig.given is None
    await field.open_block(42)
    while rig.given is None:
        await rig.changed.wait()
    before = rig.pace
    mining.dealer.adjust_paces(now + timedelta(seconds=30))
    assert rig.pace == before
    mining.dealer.adjust_paces(before.since_at + timedelta(seconds=61))
    assert rig.pace.difficulty < before.difficulty, "silence does"


async def test_what_a_worker_found_moves_miners_on(mining: Mining, field, database: Database, miner_id: UUID):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    farmer_id = given.place.farmer_id
    await database.notify("shares", "not JSON")
    following = None
    async with asyncio.timeout(30):
        while following is None:  # told again until the pool listens, which it may not do yet
            await tell(database, ShareNotice(41, field.pooler_id, farmer_id, nonce=1, zeros=5, searcher=1))
            following = await mining.next_job(rig, given.job.job_id, 0.2)
    assert following is not None and following.place.farmer_id != farmer_id


async def test_rubbish_is_slowed_then_banned_and_a_restart_does_not_help(
    mining: Mining, database: Database, settings: Settings, miner_id: UUID
):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    stream = mining.jobs(rig)
    assert await anext(stream) is not None
    await mining.take_shares(miner_id, [Offer("", str(number)) for number in range(50)])
    await mining.take_shares(miner_id, [Offer("", "50")])
    with pytest.raises(SlowedError) as slowed:
        await mining.take_shares(miner_id, [Offer("", "51")])
    assert 0 < slowed.value.retry_after_seconds < 10
    with pytest.raises(BannedError) as banned:
        for _ in range(200):
            with pytest.raises(SlowedError):
                await mining.take_shares(miner_id, [Offer("", "52")])
    assert 500 < banned.value.retry_after_seconds <= 600
    with pytest.raises(BannedError):
        await anext(stream)
    await mining.gate.save_bans()
    async with Mining.open(database, settings) as restarted:
        with pytest.raises(BannedError):
            await restarted.claim_rig(miner_id, "a")
        await restarted.gate.lift_ban(miner_id)
        await restarted.claim_rig(miner_id, "a")


async def test_more_shares_than_anybody_may_bring(database: Database, field, settings: Settings):
    await field.open_block(41)
    limited = settings.model_copy(update={"miner_shares_per_minute": 10})
    miner_id = (await miners.register(database, CUSTODY, settings, "eager")).miner.miner_id
    async with Mining.open(database, limited) as mining:
        given = await given_job(mining, await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW))
        nonces = find_nonces(given, 11)
        await mining.take_shares(miner_id, [Offer(given.job.job_id, str(nonce)) for nonce in nonces[:10]])
        with pytest.raises(SlowedError) as slowed:
            await mining.take_shares(miner_id, [Offer(given.job.job_id, str(nonces[10]))])
        assert 0 < slowed.value.retry_after_seconds <= 6


async def test_a_block_that_is_past_gives_no_jobs_and_no_credit_while_no_coordinator_says_so(
    mining: Mining, field, database: Database, miner_id: UUID
):
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    timely, late = find_nonces(given, 2)
    job_id = given.job.job_id
    [answer] = await mining.take_shares(miner_id, [Offer(job_id, str(timely))])
    assert answer.outcome is ShareOutcome.ACCEPTED
    # The coordinator stands still: the block stays open in the database while its time passes.
    await field.execute("UPDATE block_operations SET seen_at = now() - interval '301 seconds'")
    mining.dealer.places.clear()  # what this process counted itself goes before what the database says now
    await field.execute("NOTIFY blocks")
    rig.streams += 1  # as an open stream
    async with asyncio.timeout(30):
        while rig.given is not None:
            changed = rig.changed
            await changed.wait()
    [answer] = await mining.take_shares(miner_id, [Offer(job_id, str(late))])
    assert answer.outcome is ShareOutcome.STALE
    assert await count_shares(field) == 1


async def test_difficulty_is_not_picked_after_the_hash(mining: Mining, field, miner_id: UUID):
    """A cheat collects its rig's jobs of a block, easy and hard ones for one farmer, and hands each hash in under the
    hardest it meets: 3.5 times the work was credited when the jobs of a rig shared their nonces."""
    for number, place in enumerate(mining.dealer.places.values()):
        place.zeros = 9 if number else 3  # all work for the first, and shares are as hard as the pace asks for
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    rig.proven = True  # past its first, easier share
    jobs = [await given_job(mining, rig)]
    for step in range(1, 4):
        rig.pace = Pace(MIN_DIFFICULTY * 2**step, datetime.now(UTC))
        mining.dealer.deal(datetime.now(UTC) + timedelta(seconds=2 * step))
        jobs.append(await given_job(mining, rig))
    assert [given.job.difficulty for given in jobs] == sorted({given.job.difficulty for given in jobs})
    assert len({given.place.farmer_id for given in jobs}) == 1
    hard = find_nonces(replace(jobs[0], job=replace(jobs[0].job, difficulty=jobs[-1].job.difficulty)), 1)[0]
    answers = await mining.take_shares(miner_id, [Offer(given.job.job_id, str(hard)) for given in reversed(jobs)])
    assert [answer.outcome for answer in answers] == [ShareOutcome.OUT_OF_RANGE] * 3 + [ShareOutcome.ACCEPTED]
    assert sum(answer.credited_hashes for answer in answers) == jobs[0].job.difficulty


async def test_a_clock_that_steps_back_refuses_no_miner(mining: Mining, miner_id: UUID):
    now = datetime.now(UTC)
    await mining.gate.check(miner_id, now, shares=1)
    for seconds in range(0, 60, 10):
        await mining.gate.check(miner_id, now + timedelta(seconds=seconds - 600), shares=1)


async def test_the_names_of_rigs_that_are_refused_are_not_kept(database: Database, field, settings: Settings):
    async with Mining.open(database, settings.model_copy(update={"miner_rigs": 1})) as mining:
        miner = (await miners.register(database, CUSTODY, settings, "x")).miner.miner_id
        await mining.claim_rig(miner, "first")
        for number in range(100):
            with pytest.raises(ConflictError):
                await mining.claim_rig(miner, f"another {number}")
        assert len(mining.homes._names) == len(mining.dealer.rigs) == 1


async def test_a_rig_waits_for_jobs_a_few_times_at_most(mining: Mining, miner_id: UUID):
    """A key, and one name: as many streams as anybody likes would hold all of the pool's connections."""
    rig = await mining.claim_rig(miner_id, "a")
    streams = [mining.jobs(rig) for _ in range(MOST_STREAMS)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(CrowdedError):
        await mining.claim_rig(miner_id, "a")
    assert await mining.claim_rig(miner_id, "b")
    await streams[0].aclose()
    assert await mining.claim_rig(miner_id, "a") is rig
    for stream in streams:
        await stream.aclose()


async def test_a_share_is_traced_from_its_coming_to_the_database(mining: Mining, miner_id: UUID) -> None:
    rig = await mining.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(mining, rig)
    (nonce,) = find_nonces(given, 1)
    exporter = InMemorySpanExporter()
    with tracing.tracing(None, "test", processor=SimpleSpanProcessor(exporter)):
        await mining.take_shares(miner_id, [Offer(given.job.job_id, str(nonce))])
    verify, store, whole = exporter.get_finished_spans()
    assert [each.name for each in (verify, store, whole)] == ["verify", "store", "shares"]
    assert dict(whole.attributes or {}) == {"shares": 1, "accepted": 1}
    of, this = {each.parent.span_id for each in (verify, store) if each.parent}, whole.get_span_context()
    assert this is not None and of == {this.span_id}
