"""Stellar Channels carries plants, works and harvests, and pays for them; what it does not carry in time is sent
directly, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import TransactionEnvelope, xdr

from kalepool.devnet import wire
from kalepool.devnet.channels_plugin import FUND
from kalepool.devnet.genesis import derived_keypair
from kalepool.devnet.testing import running_devnet
from kalepool.networks import DEVNET
from kalepool.policy import submitters
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.health import Health
from kalepool.services.journal.recovery import recover
from tests.integration.conftest import FarmUnderTest, open_farm

pytestmark = pytest.mark.anyio

BLOCKS = 20
BLOCK_SECONDS = 30
KEY = "the-secret-key"
PATIENT = 2, 200
"""Of ledgers that close ten times a second: so that a busy machine's relayer is waited for, too."""
SPONSOR = derived_keypair(DEVNET, FUND).public_key


@pytest.fixture
async def farm(database_url: str, tmp_path: Path) -> AsyncIterator[FarmUnderTest]:
    async with AsyncExitStack() as stack:
        made = running_devnet(ledger_seconds=0.1, block_seconds=BLOCK_SECONDS, channels=True)
        devnet = await stack.enter_async_context(made)
        while devnet.node.ledger.view.account(wire.account_key(SPONSOR)) is None:
            await devnet.node.wait_ledger()
        relayer = {"relayer_url": f"{devnet.url}/channels", "relayer_key": KEY, "block_seconds": BLOCK_SECONDS}
        yield await open_farm(stack, database_url, tmp_path, nullcontext(devnet), **relayer)


async def play(farm: FarmUnderTest, index: int) -> None:
    """A block from plant to work, and the harvest of the one before."""
    planted = await plant.plant(farm.ctx, index, farm.pooler_id)
    assert len(planted.planted) == len(farm.farmers), planted.failed
    found = [Submission(farmer.farmer_id, await farm.nonce(farmer, index)) for farmer in farm.farmers]
    worked = await work.work(farm.ctx, index, farm.pooler_id, found)
    assert len(worked.accepted) == len(farm.farmers), worked.refused
    if index:
        done = await harvest.harvest(farm.ctx, farm.pooler_id, index - 1)
        assert len(done.harvested) == len(farm.farmers), done.failed
    await farm.end_block()


async def count_submitters(farm: FarmUnderTest) -> dict[str, int]:
    rows = await farm.rows(
        "SELECT submitter, count(*) FROM submissions WHERE action IN ('plant', 'work', 'harvest') GROUP BY 1"
    )
    return dict(rows)


def fees_by_payer(farm: FarmUnderTest) -> dict[str, int]:
    """What each account paid, by the ledgers alone."""
    paid: dict[str, int] = {}
    store = farm.devnet.node.store
    for ledger in range(2, store.range[1].sequence + 1):
        for row in store.transactions(ledger):
            envelope = xdr.TransactionEnvelope.from_xdr_bytes(row.record.envelope)
            if envelope.fee_bump is not None:
                key = envelope.fee_bump.tx.fee_source.ed25519
            else:
                assert envelope.v1 is not None
                key = envelope.v1.tx.source_account.ed25519
            assert key is not None
            fee = xdr.TransactionResult.from_xdr_bytes(row.record.result).fee_charged.int64
            payer = wire.account_strkey(key.uint256)
            paid[payer] = paid.get(payer, 0) + fee
    return paid


FAULTS: dict[int, list[dict[str, Any]]] = {
    # None of its channels is free for a whole block.
    3: [{"kind": "capacity", "method": "channels", "count": 0}],
    11: [{"kind": "capacity", "method": "channels", "count": 2}],
    # It takes the transaction at once, or passes it on too late, and answers when it is sent directly already.
    5: [{"kind": "late_answer", "method": "channels", "count": 2, "seconds": 1}],
    8: [{"kind": "delay", "method": "channels", "count": 2, "seconds": 1}],
    13: [{"kind": "drop_answer", "method": "channels"}, {"kind": "delay", "method": "channels", "seconds": 1}],
    15: [{"kind": "unavailable", "method": "channels", "count": 3}],
    17: [{"kind": "garbage", "method": "channels"}],
}


@pytest.mark.slow(40, "twenty blocks")
async def test_twenty_blocks_with_a_relayer_that_fails_in_some(farm) -> None:
    await farm.add_farmers(2)
    for index in range(BLOCKS):
        for fault in FAULTS.get(index, ()):
            farm.devnet.node.faults.add(fault)
        before = await count_submitters(farm)
        await play(farm, index)
        farm.devnet.node.faults.clear()
        if index == 3:
            after = await count_submitters(farm)
            assert after["relayer"] == before["relayer"] and after["direct"] == before.get("direct", 0) + 6
        farm.ctx.chain.relayer._paused_until = 0.0  # the next block is as if it were minutes later
    await recover(farm.ctx.journal)

    # Every stake saved, each transaction once.
    [(planted, worked, lost)] = await farm.rows(
        "SELECT (SELECT count(*) FROM plantings WHERE outcome = 'planted'), "
        "(SELECT count(*) FROM works WHERE outcome = 'worked'), (SELECT count(*) FROM pooler_compensations)"
    )
    assert (planted, worked, lost) == (2 * BLOCKS, 2 * BLOCKS, 0)
    assert not await farm.rows(
        "SELECT action, block_index, farmer_id FROM submission_items WHERE status = 'applied' "
        "AND block_index IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1"
    )
    assert await farm.rows("SELECT count(*) FROM submissions WHERE status = 'open'") == [(0,)]

    # What it carried cost the pool nothing, and what it did not is in the journal to the stroop.
    carried = await count_submitters(farm)
    assert carried["relayer"] > 20 and carried["direct"] >= 6, carried
    paid = fees_by_payer(farm)
    [(ours, sponsored, wrong)] = await farm.rows(
        "SELECT sum(fee_stroops)::bigint, sum(sponsored_stroops)::bigint, count(*) FILTER (WHERE submitter = 'relayer' "
        "AND fee_stroops <> 0) FROM submissions"
    )
    own = [address for (address,) in await farm.rows("SELECT address FROM accounts")]
    assert wrong == 0 and sponsored == paid[SPONSOR]
    assert ours == sum(paid.get(address, 0) for address in own)
    # Known before it was sent: the hash in the journal is of what was signed, whoever wrapped it.
    for digest, envelope in await farm.rows(
        "SELECT transaction_hash, envelope_xdr FROM submissions WHERE submitter = 'relayer'"
    ):
        bump = xdr.TransactionEnvelope.from_xdr(envelope).fee_bump
        assert bump is not None and bump.tx.inner_tx.v1 is not None
        inner = xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=bump.tx.inner_tx.v1)
        assert TransactionEnvelope.from_xdr(inner.to_xdr(), DEVNET.passphrase).hash() == digest


async def test_its_fee_limit_leaves_it_alone_and_says_so(farm, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitters, "RELAYER_LEDGERS", PATIENT)
    await farm.add_farmers(2)
    farm.devnet.node.faults.add({"kind": "fee_limit", "method": "channels", "count": 0})
    await play(farm, 0)
    assert set(await count_submitters(farm)) == {"direct"}
    part = (await Health(farm.ctx).report()).components["relayer"]
    assert part.state == "up" and "exceeds remaining budget" in part.detail and "the pool pays itself" in part.detail
    assert 500 < farm.ctx.chain.relayer.paused_seconds <= 600
    said = capsys.readouterr()
    assert KEY not in said.out + said.err + part.detail + repr(farm.settings)


async def test_a_wrong_key_waits_for_the_operator(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitters, "RELAYER_LEDGERS", PATIENT)
    await farm.add_farmers(1)
    farm.ctx.chain.relayer._key = "two words"
    await play(farm, 0)
    part = (await Health(farm.ctx).report()).components["relayer"]
    assert part.state == "waiting" and "Unauthorized" in part.detail


async def test_what_waits_at_the_network_for_too_long_is_outbid(farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relayer has passed it on, and no ledger takes it: sent directly it takes that one's place."""
    monkeypatch.setattr(submitters, "RELAYER_LEDGERS", (2, 12))  # time to hand it over, on a busy machine too
    await farm.add_farmers(1)
    await farm.ctx.chain.read_fees()
    node, sponsor = farm.devnet.node, wire.account_key(SPONSOR)
    node.faults.add({"kind": "stuck"})

    async def close_once_outbid() -> None:
        pending = node.ledger.queue._pending
        while not {each.transaction.fee_source for each in pending.values()} - {sponsor}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        node.faults.clear()

    async with asyncio.timeout(60):
        await asyncio.gather(plant.plant(farm.ctx, 0, farm.pooler_id), close_once_outbid())
    assert farm.ctx.chain.relayer.taken == 1
    assert await farm.rows("SELECT submitter, sponsored_stroops FROM submissions WHERE action = 'plant'") == [
        ("direct", None)
    ]
    assert SPONSOR not in fees_by_payer(farm)


class CrashError(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("reached", [False, True], ids=["before the relayer had it", "after"])
async def test_a_crash_sends_the_same_again(farm, monkeypatch, reached: bool) -> None:
    """Journalled, then the process dies: the next one sends what was journalled, which applies once."""
    await farm.add_farmers(1)
    take = farm.ctx.chain.relayer.take

    async def die(prepared: Any, _: float) -> None:
        if reached:
            assert await take(prepared, 5.0) is None
        raise CrashError

    monkeypatch.setattr(farm.ctx.chain.relayer, "take", die)
    with pytest.raises(CrashError):
        await plant.plant(farm.ctx, 0, farm.pooler_id)
    [(digest,)] = await farm.rows("SELECT transaction_hash FROM submissions WHERE status = 'open'")
    async with AsyncExitStack() as stack:
        ctx = await farm.restart(stack)
        assert await recover(ctx.journal) == 0
        rows = await farm.rows("SELECT transaction_hash, status FROM submissions WHERE action = 'plant'")
        assert rows == [(digest, "applied")]
        assert len((await plant.plant(ctx, 0, farm.pooler_id)).planted) == 1
        assert await farm.rows("SELECT count(*) FROM plantings WHERE outcome = 'planted'") == [(1,)]
