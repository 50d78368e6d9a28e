"""Contract calls as the network would run them: footprints, errors and who they come from, resources, TTLs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from stellar_sdk import Keypair, TransactionBuilder, scval, xdr

from kalepool.devnet import wire
from kalepool.devnet.settings import MIN_TEMPORARY_TTL
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.networks import DEVNET
from kalepool.protocol.hashing import hash_work
from kalepool.protocol.rewards import reward

KALE, ASSET, TRACTOR = DEVNET.contract_id, DEVNET.asset_contract_id, DEVNET.tractor_id or ""
STROOPS = 10_000_000


def _address(key: Keypair) -> xdr.SCVal:
    return scval.to_address(key.public_key)


def _return_value(chain, record) -> Any:
    return scval.to_native(chain.meta(record).soroban_meta.return_value)


def _work(chain, farmer: Keypair, nonce: int = 1):
    farm = chain.farm
    digest = hash_work(farm.index, nonce, farm.block.entropy, farmer.public_key)
    return chain.prepare(chain.banker, KALE, "work", _address(farmer), scval.to_bytes(digest), scval.to_uint64(nonce))


def _farmed(chain, *names: str) -> tuple[list[Keypair], int]:
    """Farmers who have worked in a block that is over; and its index."""
    farmers = chain.fund(*names)
    for farmer in farmers:
        chain.must(chain.apply(chain.plant(farmer, 100 * STROOPS)))
    index = chain.farm.index
    chain.close()
    for farmer in farmers:
        chain.must(chain.apply(_work(chain, farmer)))
    chain.close(60)
    chain.must(chain.apply(chain.plant(farmers[0])))
    assert chain.farm.index == index + 1
    return farmers, index


def test_a_block_from_plant_to_harvest(chain) -> None:
    (alice, bob), index = _farmed(chain, "alice", "bob")
    ledger = chain.node.ledger
    block_entry = ledger.entries[
        wire.key_contract_data(
            wire.ONE + wire.contract_hash(KALE),
            wire.sc_vec([wire.sc_symbol("Block"), wire.sc_u32(index)]),
            wire.TEMPORARY,
        )
    ]
    forecast = reward(block_entry.data.native, chain.pail(alice, index), index)
    before = chain.kale_of(alice)
    record = chain.must(chain.apply(chain.prepare(bob, KALE, "harvest", _address(alice), scval.to_uint32(index))))
    assert _return_value(chain, record) == forecast
    assert chain.kale_of(alice) == before + forecast + 100 * STROOPS
    assert chain.pail(alice, index) is None


def test_the_tractor_harvests_what_it_can(chain) -> None:
    (alice,), index = _farmed(chain, "alice")
    pails = scval.to_vec([scval.to_uint32(index), scval.to_uint32(index + 7)])
    record = chain.must(chain.apply(chain.prepare(alice, TRACTOR, "harvest", _address(alice), pails)))
    rewards = _return_value(chain, record)
    assert rewards[0] > 0 and rewards[1] == 0
    caught = [topics for contract, topics, data in chain.diagnostics(record) if "contract try_call failed" in str(data)]
    assert len(caught) == 1
    again = chain.simulate(chain.call(alice, TRACTOR, "harvest", _address(alice), pails))
    assert again.error.startswith(
        "HostError: Error(Contract, #2)\n\nEvent log (newest first):\n   0: [Diagnostic Event]"
    )
    nothing = chain.simulate(chain.call(alice, TRACTOR, "harvest", _address(alice), scval.to_vec([])))
    assert nothing.error.startswith("HostError: Error(Contract, #1)")


def test_contract_errors_name_the_contract_they_come_from(chain) -> None:
    (alice,) = chain.fund("alice")
    first, second = chain.plant(alice), chain.plant(alice)
    chain.must(chain.apply(first))
    second.transaction.sequence += 1
    second.signatures.clear()
    second.sign(alice)
    record = chain.apply(second)
    assert chain.operations(record) == [-2]  # INVOKE_HOST_FUNCTION_TRAPPED
    errors = [(contract, data) for contract, topics, data in chain.diagnostics(record) if topics[0] == "error"]
    assert errors == [
        (KALE, ["failing with contract error", 8]),
        (KALE, "escalating error to VM trap from failed host function call: fail_with_error"),
    ]
    kinds = [topics[0] for _, topics, _ in chain.diagnostics(record)]
    assert kinds[:4] == ["fn_call", "error", "error", "host_fn_failed"] and set(kinds[4:]) == {"core_metrics"}


def test_the_asset_contract_has_errors_of_its_own(chain) -> None:
    (rich,) = chain.fund("rich", kale="5")
    (lineless,) = chain.fund("lineless", kale=None)
    amount = scval.to_int128(6 * STROOPS)
    too_much = chain.simulate(chain.call(rich, KALE, "plant", _address(rich), amount))
    assert too_much.error.startswith("HostError: Error(Contract, #10)")
    lines = too_much.error.splitlines()
    assert f"contract:{ASSET}" in next(line for line in reversed(lines) if "Error(Contract, #10)" in line)
    assert '["contract call failed", burn' in too_much.error
    no_line = chain.simulate(chain.call(lineless, KALE, "plant", _address(lineless), amount))
    assert no_line.error.startswith("HostError: Error(Contract, #13)")
    assert "trustline entry is missing for account" in no_line.error


def test_a_plant_of_the_last_block_does_not_fit_the_next(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    chain.must(chain.apply(chain.plant(alice)))
    stale = chain.plant(bob)
    chain.close(60)
    chain.must(chain.apply(chain.plant(alice)))
    before = chain.account(bob).balance
    record = chain.apply(stale)
    assert chain.operations(record) == [-2]
    outside = [data for _, topics, data in chain.diagnostics(record) if topics[0] == "error"]
    assert outside[0][0] == "trying to access contract data key outside of the footprint"
    error = next(topics[1] for _, topics, _ in chain.diagnostics(record) if topics[0] == "error")
    assert error.code is xdr.SCErrorCode.SCEC_EXCEEDED_LIMIT and error.type is xdr.SCErrorType.SCE_STORAGE
    # What was not used is paid back: all of the refundable part.
    paid = before - chain.account(bob).balance
    assert 0 < paid < stale.transaction.fee
    assert chain.pail(bob, chain.farm.index) is None


def test_many_plants_of_one_ledger_start_one_block(chain) -> None:
    farmers = chain.fund(*(f"farmer {n}" for n in range(12)))
    chain.close(60)
    index = chain.farm.index
    for farmer in farmers:
        assert chain.submit(chain.plant(farmer, STROOPS)).status == "PENDING"
    closed = chain.close()
    assert [record.success for record in closed.transactions] == [True] * 12
    farm = chain.farm
    assert farm.index == index + 1
    assert farm.block.staked_total == 12 * STROOPS


def test_work_waits_for_the_ledger_after_the_plant(chain) -> None:
    (alice,) = chain.fund("alice")
    chain.must(chain.apply(chain.plant(alice)))
    farm = chain.farm
    digest = hash_work(farm.index, 1, farm.block.entropy, alice.public_key)
    call = chain.call(alice, KALE, "work", _address(alice), scval.to_bytes(digest), scval.to_uint64(1))
    assert chain.simulate(call).error.startswith("HostError: Error(Contract, #15)")
    chain.close()
    assert chain.simulate(call).error is None


def test_temporary_entries_live_a_day_and_are_gone(open_chain) -> None:
    chain = open_chain(block_seconds=10**6)
    (alice,) = chain.fund("alice")
    chain.must(chain.apply(chain.plant(alice, STROOPS)))
    planted = chain.node.ledger.header.sequence
    assert chain.pail(alice) is not None
    key = next(key for key in chain.node.ledger.entries if b"Pail" in key)
    entry = chain.node.ledger.entries[key]
    assert entry.live_until == planted + MIN_TEMPORARY_TTL - 1
    # To just before the end without closing seventeen thousand ledgers.
    last = dataclasses.replace(chain.node.ledger.header, sequence=entry.live_until - 1)
    chain.node.ledger.header = last
    assert chain.close().evicted == []
    assert chain.pail(alice) is not None
    evicted = chain.close().evicted
    assert key in evicted and key not in chain.node.ledger.entries
    harvest = chain.call(alice, KALE, "harvest", _address(alice), scval.to_uint32(0))
    assert chain.simulate(harvest).error.startswith("HostError: Error(Contract, #11)")


@pytest.mark.parametrize("field", ["instructions", "write_bytes", "disk_read_bytes"])
def test_declared_resources_are_a_limit(chain, field: str) -> None:
    (alice,) = chain.fund("alice")
    envelope = chain.plant(alice, STROOPS)
    resources = envelope.transaction.soroban_data.resources
    setattr(resources, field, xdr.Uint32(getattr(resources, field).uint32 // 2))
    envelope.signatures.clear()
    envelope.sign(alice)
    assert chain.operations(chain.apply(envelope)) == [-3]  # RESOURCE_LIMIT_EXCEEDED


def test_rent_must_be_covered(chain) -> None:
    (alice,) = chain.fund("alice")
    envelope = chain.plant(alice)
    simulated = chain.simulate(chain.call(alice, KALE, "plant", _address(alice), scval.to_int128(0)))
    record = chain.apply(envelope)
    meta = chain.meta(chain.must(record)).soroban_meta.ext.v1
    rent = meta.rent_fee_charged.int64
    assert 0 < rent <= meta.total_refundable_resource_fee_charged.int64
    assert simulated.resource_fee > rent
    (bob,) = chain.fund("bob")
    short = chain.plant(bob)
    fixed = meta.total_non_refundable_resource_fee_charged.int64
    short.transaction.soroban_data.resource_fee = xdr.Int64(fixed)  # leaves nothing for rent
    short.signatures.clear()
    short.sign(bob)
    assert chain.operations(chain.apply(short)) == [-5]  # INSUFFICIENT_REFUNDABLE_FEE


def test_resources_beyond_the_networks_limits_are_refused(chain) -> None:
    (alice,) = chain.fund("alice")
    for change in ("instructions", "fee", "duplicate"):
        envelope = chain.plant(alice)
        data = envelope.transaction.soroban_data
        if change == "instructions":
            data.resources.instructions = xdr.Uint32(400_000_001)
        elif change == "fee":
            data.resource_fee = xdr.Int64(1000)
        else:
            data.resources.footprint.read_only.append(data.resources.footprint.read_write[0])
        envelope.signatures.clear()
        envelope.sign(alice)
        answer = chain.submit(envelope)
        assert answer.result.code.name == "SOROBAN_INVALID"
        assert answer.diagnostics


def test_the_asset_contract_moves_and_tells_balances(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    transfer = chain.prepare(alice, ASSET, "transfer", _address(alice), _address(bob), scval.to_int128(250 * STROOPS))
    record = chain.must(chain.apply(transfer))
    assert (chain.kale_of(alice), chain.kale_of(bob)) == (750 * STROOPS, 1250 * STROOPS)
    event = xdr.ContractEvent.from_xdr_bytes(record.operation_events[0][0])
    assert event.body.v0 is not None
    name = f"KALE:{DEVNET.asset_issuer}"
    assert [topic.to_xdr_bytes() for topic in event.body.v0.topics] == [
        wire.sc_symbol("transfer"),
        wire.sc_addr(alice.public_key),
        wire.sc_addr(bob.public_key),
        wire.sc_string(name),
    ]
    for function, expected in (("decimals", 7), ("name", name), ("symbol", "KALE")):
        simulated = chain.simulate(chain.call(alice, ASSET, function))
        value = scval.to_native(xdr.SCVal.from_xdr_bytes(simulated.return_value))
        assert (value.decode() if isinstance(value, bytes) else value) == expected
    burned = chain.must(
        chain.apply(chain.prepare(alice, ASSET, "burn", _address(alice), scval.to_int128(50 * STROOPS)))
    )
    assert burned.success and chain.kale_of(alice) == 700 * STROOPS
    # Only the KALE contract may mint.
    mint = chain.call(alice, ASSET, "mint", _address(alice), scval.to_int128(1))
    assert "Unauthorized function call for address" in chain.simulate(mint, AuthMode.ENFORCE).error


def test_contract_addresses_hold_kale_too(chain) -> None:
    (alice,) = chain.fund("alice")
    transfer = chain.prepare(
        alice, ASSET, "transfer", _address(alice), scval.to_address(TRACTOR), scval.to_int128(STROOPS)
    )
    chain.must(chain.apply(transfer))
    simulated = chain.simulate(chain.call(alice, ASSET, "balance", scval.to_address(TRACTOR)))
    assert scval.to_native(xdr.SCVal.from_xdr_bytes(simulated.return_value)) == STROOPS


def test_what_does_not_exist_cannot_be_called(chain) -> None:
    (alice,) = chain.fund("alice")
    missing = chain.call(alice, KALE, "water", _address(alice))
    assert "trying to invoke non-existent contract function" in chain.simulate(missing).error
    wrong = chain.call(alice, KALE, "plant", _address(alice))
    assert chain.simulate(wrong).error.startswith("HostError: Error(WasmVm, InvalidAction)")
    reserved = chain.call(alice, KALE, "__constructor", _address(alice), scval.to_address(ASSET))
    assert "can't invoke a reserved function directly" in chain.simulate(reserved).error
    nowhere = wire.contract_strkey(bytes(32))
    assert chain.simulate(chain.call(alice, nowhere, "x")).error.startswith("HostError: Error(Storage, MissingValue)")


def test_a_bumped_plant_is_paid_by_the_pool(chain) -> None:
    alice, pool = chain.fund("alice", "pool")
    inner = chain.plant(alice, STROOPS)
    before = [chain.account(key).balance for key in (alice, pool)]
    bumped = TransactionBuilder.build_fee_bump_transaction(pool, 300, inner, DEVNET.passphrase)
    bumped.sign(pool)
    record = chain.must(chain.apply(bumped))
    after = [chain.account(key).balance for key in (alice, pool)]
    assert after[0] == before[0]
    result = xdr.TransactionResult.from_xdr_bytes(record.result)
    assert before[1] - after[1] == result.fee_charged.int64
    assert result.result.code is xdr.TransactionResultCode.txFEE_BUMP_INNER_SUCCESS
    assert result.result.inner_result_pair is not None
    assert result.result.inner_result_pair.transaction_hash.hash == inner.hash()


def test_a_simulation_changes_nothing(chain) -> None:
    (alice,) = chain.fund("alice")
    before = dict(chain.node.ledger.entries)
    simulated = chain.simulate(chain.call(alice, KALE, "plant", _address(alice), scval.to_int128(STROOPS)))
    assert chain.node.ledger.entries == before
    data = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data)
    written = {key.to_xdr_bytes() for key in data.resources.footprint.read_write}
    assert {change.key for change in simulated.changes} <= written
    assert [change.before is None for change in simulated.changes].count(True) == 2  # Block and Pail
