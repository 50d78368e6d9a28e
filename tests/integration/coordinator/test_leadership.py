"""One of a pooler's coordinators leads; whose leadership is over writes nothing, whatever it believes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import httpx2
import psycopg
import pytest

from kalepool.coordinator.finds import Finds
from kalepool.coordinator.leadership import Leadership
from kalepool.coordinator.metrics import CoordinatorMetrics
from kalepool.coordinator.state import State
from kalepool.database import Database
from kalepool.errors import ConfigError, DatabaseError, NotLeadingError
from kalepool.fencing import Fence, fenced
from kalepool.logins import Login
from kalepool.services import poolers
from kalepool.services.coordinators import coordinating
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

LEASE = 1.0
OWN_TABLES = {"coordinators", "coordinator_leases"}
"""What a coordinator writes to before it leads."""


@pytest.fixture
async def pooler_id(database: Database) -> UUID:
    return (await poolers.add_pooler(database, "ours", 100)).pooler_id


@pytest.fixture
async def login(database_url: str) -> AsyncIterator[Database]:
    """The database as a coordinator opens it."""
    async with Database.open(database_url, role=Login.COORDINATOR) as opened:
        yield opened


async def taken(leader: Leadership, seconds: float = 30.0) -> Fence:
    async with asyncio.timeout(seconds):
        return await leader.stand_by()


async def test_the_lease_goes_from_who_is_silent_to_who_stands_by(
    login: Database, database: Database, pooler_id: UUID
) -> None:
    first, second, third = (Leadership(login, pooler_id, seconds) for seconds in (1.5 * LEASE, 60.0, LEASE))
    assert await taken(first) == Fence(pooler_id, 1)
    with pytest.raises(TimeoutError):
        await taken(second, 0.3)
    kept = asyncio.create_task(first.keep())
    with pytest.raises(TimeoutError):
        await taken(second, 2.0 * LEASE)  # renewed all the time
    [seen] = await coordinating(database)
    assert (seen.fence, seen.standing_by, seen.leaderless_seconds, seen.taken_from) == (1, 1, 0.0, None)
    assert second.leader == seen.place and first.is_sure and not second.is_sure

    kept.cancel()  # it is frozen
    assert await taken(second) == Fence(pooler_id, 2)
    assert not first.is_sure  # by its clocks alone
    for step in (first.confirm, first.keep):
        with pytest.raises(NotLeadingError, match="another coordinator has taken over from number 1"):
            await step()
    await first.give_up()  # what it gives up is not the other's
    assert second.is_sure
    await second.confirm()
    [seen] = await coordinating(database)
    assert (seen.fence, seen.taken_from) == (2, seen.place)

    await second.give_up()
    assert await taken(third) == Fence(pooler_id, 3)  # and not once its time is over
    [seen] = await coordinating(database)
    assert (seen.fence, seen.taken_from, seen.standing_by) == (3, None, 0)

    await asyncio.sleep(1.2 * LEASE)
    assert not third.is_sure
    await third.confirm()  # nobody took it
    assert third.is_sure


async def test_a_lease_of_before_the_servers_clock_was_set_back_is_none(
    login: Database, pooler_id: UUID, database_url: str
) -> None:
    await taken(Leadership(login, pooler_id, 60.0))
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE coordinator_leases SET expires_at = now() + interval '1 hour'")
    assert (await taken(Leadership(login, pooler_id, 60.0))).number == 2


async def test_a_clock_that_went_on_while_the_machine_slept_makes_it_ask(
    login: Database, pooler_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = Leadership(login, pooler_id, 60.0)
    await taken(leader)
    assert leader.is_sure
    awake = time.time() + 61.0
    monkeypatch.setattr("kalepool.coordinator.leadership.time.time", lambda: awake)
    assert not leader.is_sure
    await leader.confirm()
    assert leader.is_sure


async def test_while_the_database_is_away_nobody_stops_standing_by(
    login: Database, pooler_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, tries = Leadership(login, pooler_id, LEASE), 0

    async def away(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        if tries > 1:
            monkeypatch.undo()
        raise DatabaseError("away")

    monkeypatch.setattr("kalepool.services.coordinators.look", away)
    assert await taken(leader) == Fence(pooler_id, 1)
    monkeypatch.setattr("kalepool.services.coordinators.renew", away)
    tries = 0
    kept = asyncio.create_task(leader.keep())
    asked = leader._asked
    while leader._asked == asked:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert not kept.done() and tries == 2 and leader.is_sure
    kept.cancel()


WAYS: dict[str, Callable[[Database], Awaitable[object]]] = {
    "fetch_all": lambda database: database.fetch_all("select_next_searchers", count=1),
    "fetch_one": lambda database: database.fetch_one("select_next_searchers", count=1),
    "execute": lambda database: database.execute("retire_workers", worker_ids=[]),
    "execute_many": lambda database: database.execute_many("retire_workers", [{"worker_ids": []}]),
    "notify": lambda database: database.notify("shares", "x"),
}


async def test_every_way_to_the_database_is_shut_to_a_leadership_that_is_over(login: Database, pooler_id: UUID) -> None:
    with fenced(await taken(Leadership(login, pooler_id, 60.0))):
        for way in WAYS.values():
            await way(login)
    for number in (0, 2):
        with fenced(Fence(pooler_id, number)):
            for way in WAYS.values():
                with pytest.raises(NotLeadingError, match=f"number {number} does not lead pooler"):
                    await way(login)
            with pytest.raises(NotLeadingError):
                async with login.transaction():
                    raise AssertionError
    ours = {name for name in vars(Database) if not name.startswith("_")}
    writes_nothing = {"open", "listen", "hold_lock"}
    assert ours - WAYS.keys() - writes_nothing == {"transaction", "write"}  # a new way is to be tried here


async def test_a_coordinators_login_writes_nowhere_without_its_number(
    database_url: str, login: Database, pooler_id: UUID
) -> None:
    """Whatever table it may write to, today and later."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        rows = owner.execute(
            "SELECT relname, EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'fenced') "
            "FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND ("
            "has_any_column_privilege('kalepool_coordinator', oid, 'INSERT') "
            "OR has_any_column_privilege('kalepool_coordinator', oid, 'UPDATE') "
            "OR has_table_privilege('kalepool_coordinator', oid, 'DELETE'))"
        ).fetchall()
    written = {name for name, _ in rows} - OWN_TABLES
    assert {name for name, has in rows if has} == written and len(written) >= 8
    with pytest.raises(NotLeadingError, match="a coordinator writes to workers without the number of its leadership"):
        await login.execute("retire_workers", worker_ids=[])
    with pytest.raises(NotLeadingError, match="a coordinator writes to hashrates"):
        await login.execute("insert_hashrates", searchers=[], speeds=[])


@pytest.mark.slow(7, "a transaction that is never ended has to be thrown out after 4 s")
async def test_who_takes_over_waits_for_what_is_being_written_but_not_for_ever(
    login: Database, pooler_id: UUID, database_url: str
) -> None:
    first, second = (Leadership(login, pooler_id, LEASE) for _ in range(2))
    fence = await taken(first)
    with fenced(fence):
        async with login.transaction() as session:
            await session.execute("retire_workers", worker_ids=[])
            await first.confirm()  # who renews is not kept waiting
            waiting = asyncio.create_task(second.stand_by())
            await asyncio.sleep(1.5 * LEASE)
            assert not waiting.done()
        async with asyncio.timeout(30):
            assert (await waiting).number == 2
        with pytest.raises(NotLeadingError):
            await login.execute("retire_workers", worker_ids=[])

    # One that was frozen within a transaction.
    with psycopg.connect(database_url) as frozen:
        frozen.execute("SELECT require_leadership(%s, 2)", (pooler_id,))
        assert await taken(first) == Fence(pooler_id, 3)
        with pytest.raises(psycopg.Error, match="idle-in-transaction"):
            frozen.execute("SELECT 1")


async def test_who_stands_by_has_metrics_and_a_port_of_its_own(login: Database, pooler_id: UUID) -> None:
    state = State(block_seconds=60, nominal_ledger_seconds=1.0)
    leaders = [Leadership(login, pooler_id, 60.0) for _ in range(2)]
    first, second = (CoordinatorMetrics(state, Finds(state, login, pooler_id), leader) for leader in leaders)
    port = free_port()

    async def lines() -> list[str]:
        async with httpx2.AsyncClient(timeout=30) as client:
            return (await client.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()

    with first.served(port):
        assert {"kalepool_coordinator_leads 0.0", "kalepool_coordinator_fence 0.0"} <= set(await lines())
        await taken(leaders[0])
        assert {"kalepool_coordinator_leads 1.0", "kalepool_coordinator_fence 1.0"} <= set(await lines())
        said = f"KALEPOOL_METRICS_PORT: {port} cannot be listened on .*: two coordinators want two"
        with pytest.raises(ConfigError, match=said), second.served(port):
            raise AssertionError
