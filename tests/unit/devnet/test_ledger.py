"""Closed ledgers: their meta, their chain of hashes, and that no lumen is lost."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stellar_sdk import Asset, TransactionBuilder, scval, xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import AccountEntry, ContractData, LedgerEntry
from kalepool.devnet.ledger.meta import ledger_close_meta
from kalepool.devnet.ledger.soroban_calls import LedgerInfo
from kalepool.devnet.ledger.state_view import StateView, pack_changes
from kalepool.devnet.soroban.authorisation import Recording
from kalepool.devnet.soroban.host import SorobanHost
from kalepool.networks import DEVNET


def _lumens(chain) -> int:
    entries = chain.node.ledger.entries.values()
    return sum(entry.data.balance for entry in entries if isinstance(entry.data, AccountEntry))


def test_meta_is_xdr_that_agrees_with_the_ledger(chain) -> None:
    alice, pool = chain.fund("alice", "pool")
    before = chain.account(alice)
    bumped = TransactionBuilder.build_fee_bump_transaction(pool, 200, chain.plant(alice, 5), DEVNET.passphrase)
    bumped.sign(pool)
    chain.submit(bumped)
    payment = chain.build(chain.banker, lambda b: b.append_payment_op(alice.public_key, Asset.native(), "1"))
    payment.sign(chain.banker)
    chain.submit(payment)
    closed = chain.close()
    packed = ledger_close_meta(closed.header, closed.transactions, closed.evicted)
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(packed)
    assert meta.to_xdr_bytes() == packed
    assert meta.v2 is not None
    header = meta.v2.ledger_header
    assert header.hash.hash == sha256(header.header.to_xdr_bytes()).digest() == closed.header.hash
    assert header.header.scp_value.tx_set_hash.hash == sha256(meta.v2.tx_set.to_xdr_bytes()).digest()
    assert [r.soroban for r in closed.transactions] == [False, True]  # classic ones are applied first
    plant = meta.v2.tx_processing[1]
    assert plant.result.transaction_hash.hash == bumped.hash()
    v4 = chain.meta(closed.transactions[1])
    assert plant.tx_apply_processing.to_xdr_bytes() == closed.transactions[1].meta
    # The sequence number, before and after.
    state, updated = v4.tx_changes_before.ledger_entry_changes
    assert state.state.data.account.seq_num.sequence_number.int64 == before.sequence
    assert updated.updated.data.account.seq_num.sequence_number.int64 == before.sequence + 1
    stages = [event.stage.value for event in v4.events]
    assert stages == [0, 2]  # the fee before all transactions, the refund after them
    amounts = [scval.from_int128(event.event.body.v0.data) for event in v4.events]
    assert sum(amounts) == plant.result.result.fee_charged.int64
    kinds = [change.type.name for change in v4.operations[0].changes.ledger_entry_changes]
    assert kinds.count("LEDGER_ENTRY_CREATED") == 4  # Block and Pail, each with its TTL entry


def test_a_failed_transaction_has_no_operations_but_its_events(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    record = chain.send(alice, lambda b: b.append_payment_op(bob.public_key, chain.kale, "99999"))
    meta = chain.meta(record)
    assert not record.success and meta.operations == [] and meta.soroban_meta is None
    assert len(meta.events) == 1


def test_headers_are_a_chain(chain) -> None:
    last = chain.node.ledger.header
    for _ in range(3):
        closed = chain.close()
        assert closed.header.previous_hash == last.hash
        assert closed.header.sequence == last.sequence + 1
        last = closed.header


def test_classic_movements_have_the_asset_contracts_events(chain) -> None:
    alice, bob = chain.fund("alice", "bob")
    paid = chain.send(alice, lambda b: b.append_payment_op(bob.public_key, chain.kale, "3"))
    (event,) = [xdr.ContractEvent.from_xdr_bytes(packed) for packed in paid.operation_events[0]]
    assert event.contract_id is not None and event.body.v0 is not None
    assert wire.contract_strkey(event.contract_id.contract_id.hash) == DEVNET.asset_contract_id
    assert scval.to_native(event.body.v0.topics[0]) == "transfer"
    assert scval.to_native(event.body.v0.data) == 30_000_000


operations = st.lists(
    st.tuples(
        st.sampled_from(["pay", "kale", "create", "plant", "merge", "trust"]),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(1, 2_000),
        st.booleans(),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_lumens_are_neither_made_nor_lost(open_chain, plan) -> None:
    chain = open_chain()
    people = chain.fund("a", "b", "c")
    pool = chain.banker
    total = chain.node.ledger.header.total_coins
    for number, (kind, who, whom, amount, bump) in enumerate(plan):
        source, to = people[who], people[whom]
        if chain.account(source) is None:
            continue
        envelope = _compose(chain, kind, source, to, amount, number)
        if envelope is None:
            continue
        envelope.sign(source)
        if bump:
            envelope = TransactionBuilder.build_fee_bump_transaction(
                pool, max(200, envelope.transaction.fee), envelope, DEVNET.passphrase
            )
            envelope.sign(pool)
        chain.submit(envelope)
        if amount % 3 == 0:
            chain.close()
        assert _lumens(chain) + chain.node.ledger.header.fee_pool == total
    chain.close()
    assert _lumens(chain) + chain.node.ledger.header.fee_pool == total


def _compose(chain, kind, source, to, amount, number):
    if kind == "pay":
        return chain.build(source, lambda b: b.append_payment_op(to.public_key, Asset.native(), str(amount)))
    if kind == "kale":
        return chain.build(source, lambda b: b.append_payment_op(to.public_key, chain.kale, str(amount)))
    if kind == "create":
        new = chain.keypair(f"new {number}").public_key
        return chain.build(source, lambda b: b.append_create_account_op(new, str(amount / 100)))
    if kind == "merge":
        if source == to:
            return None
        return chain.build(source, lambda b: b.append_account_merge_op(to.public_key))
    if kind == "trust":
        return chain.build(source, lambda b: b.append_change_trust_op(chain.kale, str(amount)))
    farmer = scval.to_address(source.public_key)
    envelope = chain.call(source, DEVNET.contract_id, "plant", farmer, scval.to_int128(amount))
    simulated = chain.simulate(envelope)
    if simulated.error is not None:
        return None
    chain.assemble(envelope, simulated)
    return envelope


def test_a_transaction_set_is_in_the_order_of_hashes(chain) -> None:
    """TxSetFrame.cpp of stellar-core: whatever the order transactions are applied in."""
    people = chain.fund("a", "b", "c", "d", "e", kale=None)
    for key in people:
        envelope = chain.build(key, lambda b: b.append_payment_op(chain.issuer.public_key, Asset.native(), "1"))
        envelope.sign(key)
        chain.submit(envelope)
    closed = chain.close()
    meta = xdr.LedgerCloseMeta.from_xdr_bytes(ledger_close_meta(closed.header, closed.transactions, closed.evicted))
    assert meta.v2 is not None and meta.v2.tx_set.v1_tx_set is not None
    components = meta.v2.tx_set.v1_tx_set.phases[0].v0_components
    assert components is not None
    (component,) = components
    assert component.txs_maybe_discounted_fee is not None
    packed = [envelope.to_xdr_bytes() for envelope in component.txs_maybe_discounted_fee.txs]
    assert packed == sorted(packed, key=lambda envelope: sha256(envelope).digest())
    assert sorted(packed) == sorted(record.envelope for record in closed.transactions)


def test_a_life_is_an_entry_of_its_own(chain) -> None:
    """Extending it in ledger 9 changes the TTL entry, and writing the data in ledger 12 does not."""
    data = ContractData(wire.ONE + bytes(32), wire.sc_u32(1), wire.PERSISTENT, wire.sc_u32(2))
    view = StateView({data.ledger_key: LedgerEntry(data, 5, 100)})
    host = SorobanHost(
        view, LedgerInfo(9, 0, bytes(32)), {}, Recording("", allow_nonroot=True, upgraded=True), None, 10**9
    )
    host.extend_ttl(data.ledger_key, 1_000, 2_000)
    extended = xdr.LedgerEntryChanges.from_xdr_bytes(pack_changes(view)).ledger_entry_changes
    assert [change.type.name for change in extended] == ["LEDGER_ENTRY_STATE", "LEDGER_ENTRY_UPDATED"]
    assert extended[0].state is not None and extended[0].state.last_modified_ledger_seq.uint32 == 5
    assert extended[1].updated is not None and extended[1].updated.last_modified_ledger_seq.uint32 == 9
    assert extended[1].updated.data.ttl is not None
    host.ledger = LedgerInfo(12, 0, bytes(32))
    host.store(data.ledger_key, replace(data, value=wire.sc_u32(3)))
    written = view.get(data.ledger_key)
    assert written is not None and (written.modified, written.extended, written.live_until) == (12, 9, 2_009)
