"""Two processes that may sign, of which one leads: what the other still means to send never leaves it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from kalepool.actions import ActionName
from kalepool.database import Database
from kalepool.services.journal.state import LeadLostError
from kalepool.services.siblings import read_siblings, read_term, show_lead, take_lead
from tests.integration.conftest import open_context

pytestmark = pytest.mark.anyio


async def test_who_has_lost_the_lead_sends_nothing(farm):
    """As one that was frozen and wakes: it knows of nothing, and its transaction is prepared already."""
    database: Database = farm.ctx.database
    woken = farm.ctx
    woken.journal.term = await take_lead(database)
    [address] = [row["address"] for row in await database.fetch_all("select_accounts") if row["name"] == "channel-01"]

    async def give(ctx) -> None:
        async with ctx.chain.pool_lock:
            prepare = lambda **given: ctx.chain.prepare_payment(  # noqa: E731
                ctx.accounts.payer, address, native_stroops=10_000_000, **given
            )
            await ctx.accounts._carry(ActionName.PAYMENT, [(address, 10_000_000)], prepare)

    await give(woken)
    written = await database.fetch_all("select_submissions", action="payment", status=None, after=None, limit=50)
    async with AsyncExitStack() as stack:
        leader = await open_context(stack, farm.settings, farm.database_url)
        await leader.accounts.ensure()
        leader.journal.term = await take_lead(database)
        assert leader.journal.term == woken.journal.term + 1 == await read_term(database)
        before = (await leader.chain.read_accounts([address]))[address].native_stroops
        with pytest.raises(LeadLostError):
            await give(woken)
        assert not woken.journal.following
        rows = await database.fetch_all("select_submissions", action="payment", status=None, after=None, limit=50)
        assert len(rows) == len(written)
        await farm.wait_ledger()
        assert (await leader.chain.read_accounts([address]))[address].native_stroops == before
        await give(leader)
        await farm.wait_ledger()
        assert (await leader.chain.read_accounts([address]))[address].native_stroops == before + 10_000_000


async def test_the_lead_is_not_taken_while_something_is_written_down_to_be_sent(farm):
    """Or it could be sent after the new leader has looked at what is open."""
    database: Database = farm.ctx.database
    term = await take_lead(database)
    values = {
        "action": "payment", "pooler_id": None, "source_account": "G", "sequence": 1, "envelope_xdr": "",
        "valid_until": farm.ctx.started_at, "attempt": 1,
    }  # fmt: skip
    async with database.transaction() as tx:
        hashed = {"submission_id": uuid4(), "transaction_hash": b"1" * 32}
        assert await tx.execute("insert_submission", term=term, **values, **hashed)
        taking = asyncio.create_task(take_lead(database))
        await asyncio.sleep(0.3)
        assert not taking.done()
    assert await taking == term + 1
    again = {"submission_id": uuid4(), "transaction_hash": b"2" * 32}
    assert not await database.execute("insert_submission", term=term, **values, **again)


async def test_nobody_shows_a_lead_that_was_taken_meanwhile(database: Database):
    first, second = uuid4(), uuid4()
    for each in (first, second):
        await database.execute("beat_sibling", process_id=each, address="127.0.0.1:9", forget_seconds=60)
    old, new = await take_lead(database), await take_lead(database)
    await show_lead(database, new, second)
    await show_lead(database, old, first)
    assert {each.process_id: each.leads for each in await read_siblings(database)} == {first: False, second: True}
