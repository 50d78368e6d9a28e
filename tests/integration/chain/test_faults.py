"""Whatever goes wrong between client and network, a plant happens once, and what became of it is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Chain, Outcome, Prepared, Status, submitting
from kalepool.errors import FeeUnpaidError, RpcUnavailableError, TransactionExpiredError

pytestmark = pytest.mark.anyio

KALE = 10_000_000
Village = Any  # conftest's


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kalepool.chain.rpc.READ_PAUSES_SECONDS", (0.05, 0.05, 0.05))
    monkeypatch.setattr(submitting, "GRACE_SECONDS", 0.5)


async def planted_once(village: Village, outcome: Outcome, stake: int) -> None:
    assert outcome.status is Status.APPLIED
    farm = await village.chain.read_farm()
    farmer = village.farmers[0].public_key
    accounts = await village.chain.read_accounts([farmer])
    assert accounts[farmer].kale_stroops == 1000 * KALE - stake
    pails = await village.chain.read_pails([(farmer, farm.index)])
    assert pails[farmer, farm.index].stake == stake


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "method": "sendTransaction"},
        {"kind": "drop_answer", "method": "sendTransaction"},
        {"kind": "delay", "method": "sendTransaction", "seconds": 0.3},
        {"kind": "delay", "method": "sendTransaction", "seconds": 1.2},  # beyond our patience
        {"kind": "duplicate", "method": "sendTransaction"},
        {"kind": "unavailable", "method": "sendTransaction", "count": 3},
        {"kind": "try_again_later", "count": 3},
        {"kind": "lose"},
        {"kind": "unavailable", "method": "getTransaction", "count": 6},
        {"kind": "drop", "method": "getHealth", "count": 2},
        {"kind": "unavailable", "method": "simulateTransaction", "count": 2},
        {"kind": "drop_answer", "method": "getLedgerEntries"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
async def test_a_plant_happens_once_whatever_goes_wrong(village: Village, fault: dict[str, Any]):
    """Ledgers close in step with real time, so that patience has a meaning."""
    await village.pass_block()
    async with Chain(village.network, fee_cap_stroops=10_000_000, timeout_seconds=0.4) as chain:
        deadline = await village.until(120)
        village.devnet.node.faults.add(fault)
        outcomes: list[Outcome] = []

        async def close(_: Prepared, outcome: Outcome) -> None:
            outcomes.append(outcome)

        async def record(_: Prepared) -> None:
            pass

        outcome = await village.drive(
            chain.submit_retrying(
                lambda attempt: chain.prepare_plant(
                    village.farmers[0], KALE, pool=village.pool, deadline=deadline, attempt=attempt
                ),
                deadline=deadline,
                record=record,
                close=close,
            ),
            seconds=0,
        )
    assert outcomes == [outcome]  # the first attempt went through
    await planted_once(village, outcome, KALE)


async def test_no_ledger_closes_and_then_they_do(village: Village):
    """The outcome is called unknown, and is found when the chain goes on."""
    await village.pass_block()
    chain = village.chain
    prepared = await chain.prepare_plant(village.farmers[0], KALE, pool=village.pool, deadline=await village.until(2))
    outcome = await chain.submit(prepared)
    assert (outcome.status, outcome.error) == (Status.UNKNOWN, None)
    assert (await chain.look_up(prepared.transaction_hash, prepared.valid_until)).status is Status.UNKNOWN
    await village.devnet.close_ledger(1)
    found = await chain.look_up(prepared.transaction_hash, prepared.valid_until)
    await planted_once(village, found, KALE)


async def test_after_a_crash_every_fate_is_found_by_the_hash(village: Village):
    """Recorded and sent, recorded and never sent, sent and failed: another process looks them up."""
    await village.pass_block()
    farmers, deadline = village.farmers, await village.until(4)

    async def crash(prepared: Prepared, *, sent: bool) -> Prepared:
        if sent:
            async with Chain(village.network, fee_cap_stroops=10_000_000) as dying:
                await dying._send(prepared)
        return prepared

    async def plant(farmer: Keypair, sent: bool) -> Prepared:
        prepared = await village.chain.prepare_plant(farmer, KALE, pool=village.pool, deadline=deadline)
        return await crash(prepared, sent=sent)

    applied, unsent = await plant(farmers[0], True), await plant(farmers[1], False)
    broke = await village.chain.prepare_payment(
        farmers[2], farmers[0].public_key, kale_stroops=10_000 * KALE, pool=village.pool, deadline=deadline
    )
    failed = await crash(broke, sent=True)
    async with Chain(village.network, fee_cap_stroops=10_000_000) as chain:
        assert (await chain.look_up(applied.transaction_hash, applied.valid_until)).status is Status.UNKNOWN
        await village.devnet.close_ledger(1)
        found = await chain.look_up(applied.transaction_hash, applied.valid_until)
        await planted_once(village, found, KALE)
        # a fee-bump is also known by the hash of what it carries
        assert applied.inner_hash is not None
        assert (await chain.look_up(applied.inner_hash, applied.valid_until)).status is Status.APPLIED
        outcome = await chain.look_up(failed.transaction_hash, failed.valid_until)
        assert (outcome.status, outcome.result_code) == (Status.FAILED, "PAYMENT_UNDERFUNDED")
        assert (await chain.look_up(unsent.transaction_hash, unsent.valid_until)).status is Status.UNKNOWN
        await village.devnet.close_ledger(10)
        outcome = await chain.look_up(unsent.transaction_hash, unsent.valid_until)
        assert outcome.status is Status.EXPIRED
        assert isinstance(outcome.error, TransactionExpiredError)
        assert await chain.read_pails([(farmers[1].public_key, (await chain.read_farm()).index or 0)]) == {}


async def test_a_pool_that_cannot_pay_is_the_backends_fault(village: Village):
    poor = Keypair.random()
    deadline = await village.until(600)
    await village.drive(
        village.chain.submit(
            await village.chain.prepare_create_accounts(
                [(poor.public_key, 10_000_000)], pool=village.pool, deadline=deadline
            )
        )
    )
    prepared = await village.chain.prepare_plant(village.farmers[0], KALE, pool=poor, deadline=deadline)
    outcome = await village.chain.submit(prepared)
    assert isinstance(outcome.error, FeeUnpaidError)
    assert (outcome.status, outcome.error.fault) == (Status.FAILED, "backend")


async def test_a_server_that_went_away_is_unavailable_and_comes_back(village: Village):
    gone = replace(village.network, rpc_url="http://127.0.0.1:1")
    async with Chain(gone, fee_cap_stroops=10_000_000, timeout_seconds=0.2) as chain:
        for read in (chain.read_health, chain.read_farm, chain.read_fees, chain.read_ledger):
            with pytest.raises(RpcUnavailableError):
                await read()
    village.devnet.node.faults.add({"kind": "unavailable", "count": 0})
    with pytest.raises(RpcUnavailableError):
        await village.chain.read_health()
    village.devnet.node.faults.clear()
    assert (await village.chain.read_health()).ledger.sequence > 1


async def test_many_followers_ask_no_more_than_they_must(village: Village, monkeypatch: pytest.MonkeyPatch):
    """Four plants at once: one poll of the ledger serves all, and so does one look at what became of them."""
    asked, all_sent = Counter[str](), asyncio.Event()
    ask = village.chain._rpc._ask

    async def counted(place: int, method: str, *args: Any) -> Any:
        asked[method] += 1
        answer = await ask(place, method, *args)
        if asked["sendTransaction"] == 4:
            all_sent.set()
        return answer

    monkeypatch.setattr(village.chain._rpc, "_ask", counted)
    await village.pass_block()
    before = village.devnet.node.ledger.header.sequence
    plants = asyncio.gather(*(village.plant(farmer, KALE) for farmer in village.farmers))
    await all_sent.wait()  # one ledger takes all, however busy the machine is
    outcomes = await village.drive(plants)
    ledgers = village.devnet.node.ledger.header.sequence - before
    assert {outcome.status for outcome in outcomes} == {Status.APPLIED}
    assert (asked["sendTransaction"], asked["simulateTransaction"]) == (4, 4)
    assert asked["getTransaction"] == 0
    assert asked["getTransactions"] <= ledgers
    assert asked["getLedgerEntries"] <= 4 + ledgers, "their numbers were known, and are read together"
    assert asked["getHealth"] <= 4 + 2 * ledgers  # each plant of this test asks for the time once
