"""What a coordinator asked the API for before another took over: none of it is sent any more, what was sent is kept."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from kalepool.database import new_id
from kalepool.errors import NotLeadingError
from kalepool.fencing import HEADER, Fence, fenced
from kalepool.services import coordinators
from kalepool.services.coordinators import CoordinatorSelf
from kalepool.services.health import Health
from tests.integration.api.conftest import api  # noqa: F401  # a fixture
from tests.integration.services.test_crashes import come_to, do

pytestmark = pytest.mark.anyio


async def take_over(farm) -> Fence:
    """Another coordinator leads from now on."""
    taken = await coordinators.take(farm.ctx.database, CoordinatorSelf(new_id(), farm.pooler_id, "elsewhere/1"), 0.0)
    assert taken is not None
    return Fence(farm.pooler_id, taken.fence)


def at_next_transaction(farm, monkeypatch: pytest.MonkeyPatch, method: str) -> list[Fence]:
    """Has another coordinator take over at the first call of this method of the chain."""
    real, taken = getattr(farm.ctx.chain, method), []

    async def late(*args: object, **named: object) -> object:
        with fenced(None):
            if not taken:
                taken.append(await take_over(farm))
        return await real(*args, **named)

    monkeypatch.setattr(farm.ctx.chain, method, late)
    return taken


PREPARES = {"plant": "prepare_plant", "work": "prepare_work", "harvest": "prepare_harvest"}


@pytest.mark.parametrize("action", PREPARES)
async def test_nothing_is_sent_once_another_has_taken_over(farm, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1)
    nonce = await come_to(farm, action, 0, farmer)
    journal = "SELECT count(*) FROM submissions WHERE action = %s"
    tables = "SELECT (SELECT count(*) FROM plantings), (SELECT count(*) FROM works), (SELECT count(*) FROM harvests)"
    before = await farm.rows(tables)
    old = await take_over(farm)
    taken = at_next_transaction(farm, monkeypatch, PREPARES[action])  # signed already, and not written down yet
    with fenced(old), pytest.raises(NotLeadingError):
        await do(farm, action, 0, farmer.farmer_id, nonce)
    assert taken == [Fence(farm.pooler_id, old.number + 1)]
    assert await farm.rows(journal, action) == [(0,)] and await farm.rows(tables) == before
    with fenced(taken[0]):
        await do(farm, action, 0, farmer.farmer_id, nonce)
    assert await farm.rows(journal, action) == [(1,)]


@pytest.mark.parametrize("action", PREPARES)
async def test_what_was_sent_before_is_recorded_after(farm, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1)
    nonce = await come_to(farm, action, 0, farmer)
    old = await take_over(farm)
    taken = at_next_transaction(farm, monkeypatch, "submit")
    with fenced(old):
        await do(farm, action, 0, farmer.farmer_id, nonce)
    assert taken
    assert await farm.rows("SELECT status FROM submissions WHERE action = %s", action) == [("applied",)]
    outcome = {"plant": "plantings", "work": "works", "harvest": "harvests"}[action]
    assert await farm.rows(f"SELECT count(*) FROM {outcome} WHERE transaction_hash IS NOT NULL") == [(1,)]


async def test_an_old_coordinators_requests_are_turned_away_at_the_door(farm, api) -> None:  # noqa: F811
    """Whatever it asks for. A pooler that runs something else sends no number, and an operator needs none."""
    body = {"pooler_id": str(farm.pooler_id), "block_index": 0}
    asked: dict[str, dict] = {
        "/plant": body,
        "/harvest": {"pooler_id": str(farm.pooler_id)},
        "/work": body | {"submissions": [{"farmer_id": str(UUID(int=1)), "nonce": "1"}]},
        "/farmers/register": {"pooler_id": str(farm.pooler_id), "payout_wallet": "G"},
    }
    old = await take_over(farm)
    new = await take_over(farm)
    for path, json in asked.items():
        refused = await api.pooler.post(path, json=json, headers={HEADER: str(old.number)})
        assert (refused.status_code, refused.json()["code"]) == (409, "not-leading"), path
        for headers in ({}, {HEADER: str(new.number)}):
            answer = await api.pooler.post(path, json=json, headers=headers)
            assert answer.json().get("code") != "not-leading", path
        assert (await api.operator.post(path, json=json, headers={HEADER: "0"})).json().get("code") != "not-leading"
    assert (await api.pooler.get("/farmers", headers={HEADER: "7"})).status_code == 409
    for wrong in ("-1", "x", "1" * 19, ""):
        answer = await api.pooler.get("/farmers", headers={HEADER: wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")


async def test_a_request_under_way_is_its_leaderships_to_its_end(farm, api, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The number travels from the request to the transaction that writes the journal."""
    await farm.add_farmers(2)
    old = await take_over(farm)
    at_next_transaction(farm, monkeypatch, "prepare_plant")
    body = {"pooler_id": str(farm.pooler_id), "block_index": 0}
    answer = await asyncio.create_task(api.pooler.post("/plant", json=body, headers={HEADER: str(old.number)}))
    assert (answer.status_code, answer.json()["code"]) == (409, "not-leading")
    assert await farm.rows("SELECT count(*) FROM submissions WHERE action = 'plant'") == [(0,)]


async def test_health_and_metrics_say_whether_somebody_leads(farm, api) -> None:  # noqa: F811
    database = farm.ctx.database

    async def part() -> tuple[str, str]:
        found = (await Health(farm.ctx).report()).components["coordinator"]
        return found.state, found.detail

    assert await part() == ("none", "no coordinator of ours has led yet")
    me, other = (CoordinatorSelf(new_id(), farm.pooler_id, place) for place in ("here/1", "there/2"))
    assert await coordinators.look(database, me) is None
    assert await coordinators.take(database, me, 60.0) is not None
    state, said = await part()
    assert state == "up" and said.startswith("number 1 leads since ") and said.endswith(" UTC, nobody stands by")
    await coordinators.look(database, other)
    assert (await part())[1].endswith("1 stands by")
    text = (await api.operator.get("/metrics")).text
    for line in ("coordinator_lease", "leaderships_total", "coordinators_standing_by"):
        assert f'kalepool_{line}{{pooler="ours"}} 1.0' in text

    await farm.rows("UPDATE coordinator_leases SET expires_at = now() - interval '31 seconds'")
    state, said = await part()
    assert state == "down" and said.startswith("no coordinator leads since ") and "here" not in said
    await coordinators.give_up(database, me, 1)
    await farm.rows("UPDATE coordinator_leases SET expires_at = now() - interval '31 seconds'")
    state, said = await part()
    assert state == "none" and said.endswith(" UTC, when number 1 was ended")
    [found] = await coordinators.coordinating(database)
    assert coordinators.who_leads(found, by_place=True).endswith(" UTC, when here/1 (number 1) was ended")
