"""What a ledger took of our accounts is found again by who paid for it, and read from its envelope alone."""

from __future__ import annotations

from typing import Any

import pytest

from kalepool.actions import ActionName
from kalepool.chain import PastPart, past_reader
from kalepool.protocol.hashing import hash_work

pytestmark = pytest.mark.anyio

KALE = 10_000_000
Village = Any  # conftest's


async def test_everything_that_was_paid_for_is_found_with_what_it_was_and_cost(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_reader, "EVENTS", 3)  # so that one answer is not enough
    chain, (first, second, *_) = village.chain, village.farmers
    begin = (await chain.read_ledger()).sequence + 1
    await village.pass_block()
    planted = await village.drive(village.plant(first, 5 * KALE))
    farm = await chain.read_farm()
    worked = await village.drive(village.work(first, 7))
    deadline = await village.until()
    paid = await village.drive(
        chain.submit(
            await chain.prepare_payment(
                first,
                second.public_key,
                kale_stroops=3 * KALE,
                native_stroops=5,
                pool=village.pool,
                deadline=deadline,
            )
        )
    )
    await village.pass_block()
    await village.drive(village.plant(second, 0))
    _, harvested = await village.drive(village.harvest([(first.public_key, farm.index)]))

    payers = [village.pool.public_key, *(channel for channel in village.channels._addresses)]
    found = await chain.find_paid(payers, begin)
    for outcome in (planted, worked, paid, harvested):
        charge = found[outcome.transaction_hash]
        assert (charge.ledger, charge.fee_stroops) == (outcome.ledger, outcome.fee_stroops)
    assert len(found) == 5
    assert await chain.find_paid(payers, begin + 10_000) == {}

    async def read(outcome: Any) -> Any:
        transaction, again = await chain.read_past(outcome.transaction_hash)
        assert (again.status, again.ledger, again.return_value) == (
            outcome.status,
            outcome.ledger,
            outcome.return_value,
        )
        return transaction

    plant = await read(planted)
    assert (plant.action, plant.source) == (ActionName.PLANT, first.public_key)
    assert plant.parts == (PastPart(first.public_key, farm.index, 5 * KALE),)
    work = await read(worked)
    digest = hash_work(farm.index, 7, farm.block.entropy, first.public_key)
    assert work.parts == (PastPart(first.public_key, farm.index, nonce=7, digest=digest),)
    assert (await read(harvested)).parts == (PastPart(first.public_key, farm.index),)
    payment = await read(paid)
    assert payment.action is ActionName.PAYMENT
    assert payment.parts == (
        PastPart(first.public_key, amount_stroops=3 * KALE, destination=second.public_key),
        PastPart(first.public_key, amount_stroops=5, kale=False, destination=second.public_key),
    )
    assert await chain.read_past("ab" * 32) is None
