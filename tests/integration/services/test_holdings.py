"""A farmer's balance and stakes are of one ledger: together they never count a stake twice, nor not at all."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from kalepool.errors import RpcUnavailableError
from kalepool.services.farmers import Farmer
from kalepool.services.holdings import Holdings, read_holdings
from kalepool.services.journal.recovery import recover
from tests.integration.conftest import KALE
from tests.integration.services.test_crashes import CrashError, arm, come_to, do

pytestmark = pytest.mark.anyio


async def kale_and_stakes(farm, farmer: Farmer) -> tuple[int, int]:
    found = await read_holdings(farm.ctx, farmer)
    assert not found.is_silent
    return found.kale_stroops, found.planted_stroops


@pytest.mark.parametrize("action", ["plant", "harvest"])
async def test_a_stake_counts_once_whatever_the_books_have_of_it(
    farm, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (farmer,) = await farm.add_farmers(1)
    nonce = await come_to(farm, action, 0, farmer)
    planted = 0 if action == "plant" else 10 * KALE
    assert await kale_and_stakes(farm, farmer) == (100 * KALE - planted, planted)

    async with AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            arm(farm.ctx, "before settle", patch)
            with pytest.raises(CrashError):
                await do(farm, action, 0, farmer.farmer_id, nonce)
        # A ledger has it, and the books do not.
        unsettled = await kale_and_stakes(farm, farmer)
        await farm.restart(stack)
        await farm.wait_ledger()
        assert await recover(farm.ctx.journal) == 0
        assert await kale_and_stakes(farm, farmer) == unsettled
        if action == "plant":
            assert unsettled == (90 * KALE, 10 * KALE)
        else:
            [(earned,)] = await farm.rows("SELECT (reward_stroops - fee_stroops)::bigint FROM harvests")
            assert earned > 0 and unsettled == (100 * KALE + earned, 0)


async def test_while_the_chain_is_silent_stakes_are_by_the_books(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object) -> None:
        raise RpcUnavailableError("not now")

    (farmer,) = await farm.add_farmers(1)
    await come_to(farm, "work", 0, farmer)
    monkeypatch.setattr(farm.ctx.chain, "read_holding", silent)
    assert await read_holdings(farm.ctx, farmer) == Holdings(None, True, 0, 10 * KALE, 0)
