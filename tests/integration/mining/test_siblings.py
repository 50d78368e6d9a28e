"""Several API processes on one database: what each counts, the others know; what must be right is in the database."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest

from kalepool.api.auth import Keys
from kalepool.api.limits import Holders, RateLimits
from kalepool.api.problems import Problem
from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database, Session
from kalepool.notices import SiblingNotice, tell
from kalepool.policy.conduct import Standing
from kalepool.policy.shares import ShareOutcome
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import Mining, miners
from kalepool.services.mining.dealer import Rig
from kalepool.services.mining.gate import BannedError
from kalepool.services.mining.homes import ElsewhereError
from kalepool.services.mining.service import Offer
from kalepool.services.siblings import ALIVE_SECONDS, MOST_BYTES, Shared, Siblings, _bodies
from tests.integration.mining.conftest import CUSTODY
from tests.integration.mining.test_shares import SLOW, find_nonces, given_job

pytestmark = pytest.mark.anyio


@dataclass
class Process:
    """What of an API process deals with miners."""

    mining: Mining
    siblings: Siblings
    limits: RateLimits
    holders: Holders


@asynccontextmanager
async def process(database: Database, settings: Settings) -> AsyncIterator[Process]:
    async with AsyncExitStack() as stack:
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{door.getsockname()[1]}"
        siblings = await stack.enter_async_context(Siblings.open(database, b"k" * 32, address))
        mining = await stack.enter_async_context(Mining.open(database, settings, siblings))
        made = Process(mining, siblings, RateLimits(settings), Holders(20))
        siblings.share("rates", made.limits)
        siblings.share("connections", made.holders)
        yield made


@pytest.fixture
async def three(field, database: Database, settings: Settings) -> AsyncIterator[list[Process]]:
    await field.open_block(41)
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(process(database, settings)) for _ in range(3)]
        await until(lambda: all(each.siblings.others == 2 for each in made))
        yield made


async def until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110  nothing says so
            await asyncio.sleep(0.02)


async def registered(database: Database, settings: Settings, name: str = "x") -> UUID:
    return (await miners.register(database, CUSTODY, settings, name)).miner.miner_id


async def test_a_share_counts_once_whichever_processes_it_is_brought_to(
    three: list[Process], field, database: Database, settings: Settings
):
    """At the same time, and in opposite orders: none waits for another for ever."""
    one, two, three_ = (each.mining for each in three)
    miner_id = await registered(database, settings)
    rig = await one.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    given = await given_job(one, rig)
    nonces = find_nonces(given, 15)  # twice as many duplicates do not slow a miner down yet
    offers = [Offer(given.job.job_id, str(nonce)) for nonce in nonces]
    told = await asyncio.gather(
        one.take_shares(miner_id, offers, "a"),
        two.take_shares(miner_id, offers[::-1], "b"),
        three_.take_shares(miner_id, offers, "c"),
    )
    outcomes = Counter(answer.outcome for answers in told for answer in answers)
    assert outcomes == {ShareOutcome.ACCEPTED: 15, ShareOutcome.DUPLICATE: 30}
    rows = await field.execute("SELECT nonce, credited_hashes FROM shares")
    assert len(rows) == 15
    counts = {
        row[0]: row[1:] for row in await field.execute("SELECT outcome, shares, credited_hashes FROM share_counts")
    }
    assert counts["accepted"] == (15, sum(credited for _, credited in rows))
    assert counts["duplicate"] == (30, 0)
    # the same request again, elsewhere, is answered the same
    assert await two.take_shares(miner_id, offers, "a") == told[0]
    assert len(await field.execute("SELECT 1 FROM shares")) == 15


async def test_a_rig_is_at_one_process_and_its_difficulty_follows_shares_brought_to_all(
    three: list[Process], field, database: Database, settings: Settings
):
    one, two, other = (each.mining for each in three)
    miner_id = await registered(database, settings)
    rig = await one.claim_rig(miner_id, "a", hashes_per_second=SLOW)
    stream = one.jobs(rig)
    await anext(stream)
    with pytest.raises(ElsewhereError) as asked:  # so every process gives it the same job
        await two.claim_rig(miner_id, "a")
    assert asked.value.address == f"127.0.0.1:{three[0].siblings._address.rpartition(':')[2]}"
    given = await given_job(one, rig)
    for number, nonce in enumerate(find_nonces(given, 12)):
        await (two, other)[number % 2].take_shares(miner_id, [Offer(given.job.job_id, str(nonce))])
    await until(lambda: rig.pace.difficulty > given.job.difficulty)  # twelve at once: it is far faster than it said
    assert rig.proven
    # its stream ends, and it comes back to another process
    await stream.aclose()
    await until(lambda: rig.searcher not in one.dealer.rigs)
    async with asyncio.timeout(30):
        while True:
            try:
                back = await two.claim_rig(miner_id, "a")
                break
            except ElsewhereError:
                await asyncio.sleep(0.05)
    assert back.searcher == rig.searcher and back.pace.difficulty == rig.pace.difficulty
    again = await given_job(two, back)
    assert again.job.nonces.end <= given.job.nonces.start or given.job.nonces.end <= again.job.nonces.start
    [(rows,)] = await field.execute("SELECT count(*) FROM rigs")
    assert rows == 1


async def test_a_rig_of_a_process_that_is_gone_is_taken_at_once(field, database: Database, settings: Settings):
    await field.open_block(41)
    miner_id = await registered(database, settings)
    async with process(database, settings) as left:
        async with process(database, settings) as killed:
            await killed.mining.claim_rig(miner_id, "a")
            await until(lambda: left.siblings.others == 1)
            [(home, address)] = await field.execute(
                "SELECT home, address FROM rigs JOIN api_processes ON home = process_id"
            )
        # as kill -9 leaves it: still on the list, and nobody at its address
        await field.execute("INSERT INTO api_processes (process_id, address) VALUES (%s, %s)", home, address)
        await left.siblings.look()
        assert left.siblings.others == 1
        async with asyncio.timeout(ALIVE_SECONDS - 0.5):  # and not once it is off the list
            await left.mining.claim_rig(miner_id, "a")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each query was sent to the database."""
    sent: Counter[str] = Counter()
    for name in ("fetch_all", "fetch_one", "execute"):
        plain = getattr(Session, name)

        async def counted(self: Session, query: str, /, *, plain=plain, **given: object) -> object:
            sent[query] += 1
            return await plain(self, query, **given)

        monkeypatch.setattr(Session, name, counted)
    return sent


async def test_a_crowd_that_a_dead_process_leaves_is_claimed_in_a_few_statements(
    field, database: Database, settings: Settings, statements: Counter[str], monkeypatch: pytest.MonkeyPatch
):
    """300 rigs of 30 miners, all at once, by their keys."""
    await field.open_block(41)
    owners = [await registered(database, settings, f"miner {number}") for number in range(30)]
    keys = [(await create_key(database, Role.MINER, subject_id=owner)).key for owner in owners]
    names = [(owner, f"rig {number}") for owner in owners for number in range(10)]
    async with process(database, settings) as left:
        async with process(database, settings) as killed:
            before = await asyncio.gather(*(killed.mining.claim_rig(*name) for name in names))
            await until(lambda: left.siblings.others == 1)
            dead = await field.execute("SELECT process_id, address FROM api_processes")
            dead = [row for row in dead if row[0] == killed.siblings.process_id]
            statements.clear()
        # as kill -9 leaves it
        await field.execute("INSERT INTO api_processes (process_id, address) VALUES (%s, %s)", *dead[0])
        await field.execute("UPDATE rigs SET home = %s", dead[0][0])
        await left.siblings.look()
        statements.clear()
        deals = 0
        deal = left.mining.dealer.deal

        def counted_deal(now: datetime) -> bool:
            nonlocal deals
            deals += 1
            return deal(now)

        monkeypatch.setattr(left.mining.dealer, "deal", counted_deal)
        known = Keys(database)

        async def come_back(number: int) -> Rig:
            owner = await known.owner(keys[number // 10])
            assert owner is not None and owner.subject_id == owners[number // 10]
            return await left.mining.claim_rig(owners[number // 10], names[number][1])

        async with asyncio.timeout(30):
            back = await asyncio.gather(*(come_back(number) for number in range(300)))
        assert [rig.searcher for rig in back] == [rig.searcher for rig in before]
        ours = {
            query: statements[query] for query in ("select_api_keys", "select_miner_bans", "take_rigs", "insert_rigs")
        }
        assert ours == {"select_api_keys": 1, "select_miner_bans": 1, "take_rigs": 2, "insert_rigs": 0}
        assert statements["select_next_job_serials"] <= 10
        assert deals <= 30
        jobs = [rig.given for rig in back]
        assert len({given.job.nonces.start for given in jobs if given is not None}) == 300
        homes = await field.execute("SELECT home, count(*) FROM rigs GROUP BY home")
        assert homes == [(left.siblings.process_id, 300)]


async def test_a_crowd_at_two_processes_is_dealt_with_by_one_of_them_each(
    three: list[Process], field, database: Database, settings: Settings
):
    """In opposite orders, new ones and known ones: none waits for another for ever, and none is at both."""
    one, two, _ = (each.mining for each in three)
    miner_id = await registered(database, settings)
    await asyncio.gather(*(one.claim_rig(miner_id, f"rig {number}") for number in range(0, 100, 2)))
    await one.homes.leave(list(one.dealer.rigs.values()))
    assert not one.dealer.rigs
    names = [f"rig {number}" for number in range(100)]
    asked = [one.claim_rig(miner_id, name) for name in names] + [two.claim_rig(miner_id, name) for name in names[::-1]]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    here, there = answers[:100], answers[:99:-1]
    for pair in zip(here, there, strict=True):
        assert {type(answer) for answer in pair} == {Rig, ElsewhereError}
    homes = await field.execute("SELECT home, array_agg(name) FROM rigs GROUP BY home")
    for process_, mining in zip(three, (one, two), strict=False):
        at_home = {rig.name for rig in mining.dealer.rigs.values()}
        assert at_home == {name for home, names in homes if home == process_.siblings.process_id for name in names}
    assert sum(len(names) for _, names in homes) == 100


async def test_rubbish_is_counted_and_a_ban_holds_whichever_process_gets_it(
    three: list[Process], field, database: Database, settings: Settings
):
    one, two, other = (each.mining for each in three)
    miner_id = await registered(database, settings)
    rig = await other.claim_rig(miner_id, "a")
    stream = other.jobs(rig)
    await anext(stream)
    rubbish = [Offer("nonsense", "-1")] * 6  # 24 points
    await one.take_shares(miner_id, rubbish, "1")
    await two.take_shares(miner_id, rubbish, "2")
    for mining in (one, two, other):  # slowed by what it did at two of them
        await until(lambda mining=mining: mining.gate.standing(miner_id, None, steady_now())[0] is Standing.SLOWED)
    waiting = asyncio.create_task(anext(stream, None))
    for key in range(200):
        try:
            await (one, two)[key % 2].take_shares(miner_id, rubbish, str(10 + key))
        except BannedError:
            break
        except Exception:  # it has to wait, and does not
            await asyncio.sleep(0)
    for mining in (one, two, other):
        await until(lambda mining=mining: mining.gate.standing(miner_id, None, steady_now())[0] is Standing.BANNED)
    with pytest.raises(BannedError):  # its stream is ended where it is
        await asyncio.wait_for(waiting, 30)
    with pytest.raises(BannedError):
        await other.claim_rig(miner_id, "b")
    async with asyncio.timeout(30):
        while (await field.execute("SELECT bans FROM miners"))[0][0] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await until(lambda: all(mining.gate._miners[miner_id].saved for mining in (one, two, other)))
    await asyncio.sleep(0.5)  # and told
    # an operator lifts it at one, and it is lifted at all
    await other.gate.lift_ban(miner_id)
    for mining in (one, two):
        await until(lambda mining=mining: mining.gate.standing(miner_id, None, steady_now())[0] is Standing.OK)
        await mining.take_shares(miner_id, [Offer("nonsense", "-1")], "after")


async def test_a_ban_that_was_lifted_is_not_written_again(three: list[Process], field, database: Database, settings):
    """Another process has counted the same ban, and not written it yet when an operator lifts it."""
    one, other = three[0].mining, three[1].mining
    miner_id = await registered(database, settings)
    for gate in (one.gate, other.gate):
        await gate.check(miner_id, steady_now())
    for _ in range(200):
        other.gate.count(miner_id, ShareOutcome.MALFORMED, steady_now())
    known = other.gate._miners[miner_id]
    assert known.conduct and known.conduct.bans and not known.saved
    await one.gate.lift_ban(miner_id)
    await other.gate.save_bans()
    assert await field.execute("SELECT bans, banned_until FROM miners") == [(0, None)]
    await other.gate.check(miner_id, steady_now(), 1)  # raises BannedError where it still holds


async def test_a_caller_has_its_requests_a_minute_of_all_processes_together(three: list[Process]):
    limit = three[0].limits._of_role[Role.FARMER]
    taken, begun = 0, time.monotonic()
    for _ in range(3 * limit):
        for each in three:
            try:
                each.limits.hit_subject(Role.FARMER, "somebody")
                taken += 1
            except Problem:
                pass
        await asyncio.sleep(0.005)
    # each may not have told yet of a twentieth, and of the last moment
    assert limit <= taken <= limit * (1.5 + (time.monotonic() - begun) / 60)


async def test_an_address_has_its_connections_of_all_processes_together(three: list[Process]):
    one, two, other = (each.holders for each in three)
    for holders in (one, two):
        for _ in range(10):
            holders.take("203.0.113.9")
    await until(lambda: not other.has_room("203.0.113.9"))
    assert other.has_room("203.0.113.10")
    for _ in range(10):
        one.give_back("203.0.113.9")
    await until(lambda: other.has_room("203.0.113.9"))


async def test_nobody_else_speaks_for_a_process(three: list[Process], database: Database, settings: Settings):
    """The coordinator may send notices too, and does not know the key."""
    miner_id = await registered(database, settings)
    rows = [["mining", "miner", str(miner_id), 0, [], {"malformed": 100}]]
    body = json.dumps({"from": str(miner_id), "rows": rows})
    await tell(database, SiblingNotice("0" * 32, body))
    await asyncio.sleep(0.3)
    assert miner_id not in three[0].mining.gate._miners
    code = three[1].siblings._code(body)  # the same from one of them
    await tell(database, SiblingNotice(code, body))
    await until(lambda: miner_id in three[0].mining.gate._miners)


def test_what_is_told_fits_into_notices():
    rows = [["rates", "miner 0198c6f2-6c5e-7cc3-98c4-dc0c0c07398f", 3.001 + n] for n in range(1000)]
    bodies = list(_bodies(UUID(int=1), rows))
    assert len(bodies) > 5 and all(len(body) < 7_960 and len(body) < MOST_BYTES + 100 for body in bodies)
    assert [row for body in bodies for row in json.loads(body)["rows"]] == rows
    assert not list(_bodies(UUID(int=1), []))


def test_shared_is_a_base():
    with pytest.raises(NotImplementedError):
        Shared().untold()
    with pytest.raises(NotImplementedError):
        Shared().heard([], UUID(int=1))
