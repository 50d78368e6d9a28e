"""Answers of a protocol that this version does not know: what was applied is known as applied, and booked the same."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from stellar_sdk.soroban_rpc import GetTransactionResponse, GetTransactionStatus
from structlog.testing import capture_logs

from kalepool.chain import Status
from kalepool.contract_errors import PailMissingError
from kalepool.services.books import held
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.journal.recovery import recover

pytestmark = pytest.mark.anyio

UNKNOWN_VERSION = (99).to_bytes(4, "big")


def hide_metas(farm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The RPC server answers with metas of an unknown version. Gives the transactions it did so for."""
    rpc = farm.ctx.chain._rpc
    call, hidden = rpc.call, []

    async def unknown(method: str, answer: type, params: Any = None, **more: Any) -> Any:
        found = await call(method, answer, params, **more)
        if isinstance(found, GetTransactionResponse) and found.result_meta_xdr:
            meta = UNKNOWN_VERSION + base64.b64decode(found.result_meta_xdr)[4:]
            found.result_meta_xdr = base64.b64encode(meta).decode()
            if found.status is GetTransactionStatus.SUCCESS:
                hidden.append(found.result_meta_xdr)
        return found

    monkeypatch.setattr(rpc, "call", unknown)
    return hidden


async def run_block(farm, index: int, worked: list) -> None:
    assert not (await plant.plant(farm.ctx, index, farm.pooler_id)).failed
    nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, index, zeros=1)) for farmer in worked]
    answer = await work.work(farm.ctx, index, farm.pooler_id, nonces)
    assert not answer.refused, answer.refused
    pails = await farm.ctx.chain.read_pails([(farmer.custodial_wallet, index) for farmer in worked])
    assert sorted(pail.gap for pail in pails.values()) == sorted(item.gap for item in answer.accepted)
    await farm.end_block()


async def test_books_and_rewards_are_the_same(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks with known metas, three with unknown ones, harvested through the tractor; one pail is lost."""
    made = await farm.add_farmers(2)
    await held.look(farm.ctx)  # their deposits
    hidden: list[str] = []
    for first in (0, 3):
        if first:
            hidden = hide_metas(farm, monkeypatch)
        before = await farm.ctx.chain.read_accounts([farmer.custodial_wallet for farmer in made])
        await run_block(farm, first, made)
        await run_block(farm, first + 1, made[:1])
        await run_block(farm, first + 2, made)
        await farm.start_block(first + 3)
        done = await harvest.harvest(farm.ctx, farm.pooler_id)
        assert done.forecast_differences == 0
        assert {item.code for item in done.failed} <= {"work-missing"}
        after = await farm.ctx.chain.read_accounts([farmer.custodial_wallet for farmer in made])
        for farmer in made:
            mine = [each for each in done.harvested if each.farmer_id == farmer.farmer_id and not each.already]
            lost = 0 if farmer is made[0] else 1
            assert len(mine) == 3 - lost
            stakes = await farm.rows(
                "SELECT sum(stake_stroops)::bigint FROM plantings WHERE farmer_id = %s AND block_index >= %s "
                "AND block_index < %s + 3",
                farmer.farmer_id,
                first,
                first,
            )
            gained = after[farmer.custodial_wallet].kale_stroops - before[farmer.custodial_wallet].kale_stroops
            assert gained == sum(each.reward_stroops + each.stake_stroops for each in mine) - stakes[0][0]
    assert len(hidden) > 10, "the answers were not what this is about"
    assert await farm.rows("SELECT count(*) FROM submissions WHERE status <> 'applied' AND action <> 'payment'") == [
        (0,)
    ]
    assert await farm.rows("SELECT count(*) FROM works WHERE outcome = 'worked' AND gap < 1") == [(0,)]
    assert not await held.look(farm.ctx), "the books are as the chain is"


async def test_what_a_crash_left_is_known_as_applied(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0, zeros=1))])
    [(gap,)] = await farm.rows("SELECT gap FROM works")
    hide_metas(farm, monkeypatch)
    await farm.rows("ALTER TABLE works DISABLE TRIGGER append_only")
    await farm.rows("DELETE FROM works")
    await farm.rows("UPDATE submissions SET status = 'open', closed_at = NULL WHERE action = 'work'")
    await farm.rows("UPDATE submission_items SET status = 'open' WHERE action = 'work'")
    assert await recover(farm.ctx.journal) == 0
    assert await farm.rows("SELECT outcome, gap FROM works") == [("worked", gap)]


async def test_a_failure_is_one_all_the_same(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, its code and its fee; that something cannot be read is told once."""
    (farmer,) = await farm.add_farmers(1)
    await run_block(farm, 0, [farmer])
    await farm.start_block(1)
    hide_metas(farm, monkeypatch)
    chain, places = farm.ctx.chain, [(farmer.custodial_wallet, 0)]
    deadline = await chain.now() + timedelta(seconds=30)
    with capture_logs() as logs:
        async with farm.ctx.accounts.channel(deadline) as one, farm.ctx.accounts.channel(deadline) as two:
            first = await chain.prepare_harvest(places, channel=one, deadline=deadline)
            second = await chain.prepare_harvest(places, channel=two, deadline=deadline)
            applied, failed = await chain.submit(first), await chain.submit(second)
    assert (applied.status, failed.status) == (Status.APPLIED, Status.FAILED)
    assert applied.fee_stroops and failed.fee_stroops and failed.ledger
    assert failed.result_code == "INVOKE_HOST_FUNCTION_TRAPPED" and isinstance(failed.error, PailMissingError)
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["answer_unreadable"]
