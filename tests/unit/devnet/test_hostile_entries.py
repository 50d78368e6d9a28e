"""Nothing that one transaction raises ends the closing of ledgers; a simulation of it answers."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from stellar_sdk import Address, Keypair, MuxedAccount, StrKey, scval, xdr

from kalepool.devnet.ledger import closing, event_rows, operations
from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.rpc.simulate_transaction import simulate_transaction
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.networks import DEVNET

_INSTANCE = xdr.SCVal(
    xdr.SCValType.SCV_CONTRACT_INSTANCE,
    instance=xdr.SCContractInstance(
        xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET), None
    ),
)
_POOL = Address(StrKey.encode_liquidity_pool(bytes(32)))
_SIGNATURES = {
    "contract-instance": _INSTANCE,
    "vec-of-instance": scval.to_vec([_INSTANCE]),
    "pool-address": scval.to_vec([xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=_POOL.to_xdr_sc_address())]),
    "vec-as-key": scval.to_vec(
        [
            xdr.SCVal(
                xdr.SCValType.SCV_MAP,
                map=xdr.SCMap([xdr.SCMapEntry(scval.to_vec([scval.to_uint32(1)]), scval.to_uint32(1))]),
            )
        ]
    ),
}


def _addresses() -> dict[str, xdr.SCAddress]:
    muxed = MuxedAccount(StrKey.encode_ed25519_public_key(bytes(31) + b"\1"), 7).account_muxed
    assert muxed is not None
    names = {
        "L": StrKey.encode_liquidity_pool(bytes(32)),
        "B": StrKey.encode_claimable_balance(bytes(33)),
        "M": muxed,
        "C": StrKey.encode_contract(b"\7" * 32),
    }
    return {name: Address(strkey).to_xdr_sc_address() for name, strkey in names.items()}


def _hostile(chain, address: xdr.SCAddress | None, signature: xdr.SCVal):
    """A plant for a farmer whose one entry has that address and signature; its footprint is the honest one's."""
    farmer, sender = chain.fund("farmer", "sender")
    args = scval.to_address(farmer.public_key), scval.to_int128(0)
    envelope = chain.call(sender, DEVNET.contract_id, "plant", *args)
    chain.assemble(envelope, chain.simulate(envelope))
    (entry,) = envelope.transaction.operations[0].auth
    credentials = entry.credentials.address_v2
    credentials.signature = signature
    credentials.signature_expiration_ledger = xdr.Uint32(chain.node.ledger.header.sequence + 50)
    if address is not None:
        credentials.address = address
    envelope.sign(sender)
    return envelope


_CASES = [(name, address, scval.to_vec([])) for name, address in _addresses().items()]
_CASES += [(name, None, signature) for name, signature in _SIGNATURES.items()]


@pytest.mark.parametrize(("address", "signature"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES])
def test_an_entry_that_no_host_reads_fails_alone(chain, address: xdr.SCAddress | None, signature: xdr.SCVal) -> None:
    envelope = _hostile(chain, address, signature)
    packed = b64encode(envelope.to_xdr_object().to_xdr_bytes()).decode()
    simulated = simulate_transaction(chain.node, {"transaction": packed, "authMode": AuthMode.ENFORCE.value})
    assert "HostError" in simulated["error"]
    record = chain.apply(envelope)
    assert chain.operations(record) == [-2]  # TRAPPED: InvokeHostFunctionOpFrame.cpp:759 of stellar-core a9b8613
    chain.fund("later")  # ledgers still close


def _bumps(chain, *keys: Keypair) -> list[bytes]:
    """Submits a transaction of each key that changes nothing but its sequence; their hashes."""
    sent = []
    for key in keys:
        envelope = chain.build(key, lambda b: b.append_bump_sequence_op(0))
        envelope.sign(key)
        chain.submit(envelope)
        sent.append(envelope.hash())
    return sent


def test_what_a_transaction_raises_ends_only_itself(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """txINTERNAL_ERROR, fee and sequence used (TransactionFrame.cpp:2479 of stellar-core a9b8613)."""
    alice, bob = chain.fund("alice", "bob")
    real = operations.apply

    def broken(operation: xdr.Operation, context: operations.OperationContext) -> bytes:
        if context.source == alice.raw_public_key():
            raise RuntimeError("a fault of the devnet's own")
        return real(operation, context)

    monkeypatch.setattr(operations, "apply", broken)
    before = chain.account(alice)
    sent = _bumps(chain, alice, bob)
    records = {record.hash: record for record in chain.close().transactions}
    result: Any = xdr.TransactionResult.from_xdr_bytes(records[sent[0]].result)
    assert result.result.code is xdr.TransactionResultCode.txINTERNAL_ERROR
    assert records[sent[1]].success
    after = chain.account(alice)
    assert (after.balance, after.sequence) == (before.balance - 100, before.sequence + 1)


def _transaction(item: Any) -> Transaction:
    return getattr(item, "transaction", item)


@pytest.mark.parametrize("step", ["_take_fee", "_refund", "_record"])
def test_what_no_ledger_can_hold_is_left_out(chain, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    alice, bob = chain.fund("alice", "bob")
    before = chain.account(alice)
    owner = closing if step == "_record" else closing.DevnetLedger
    real = getattr(owner, step)

    def broken(*args: Any) -> Any:
        item = args[0] if step == "_record" else args[2]
        if _transaction(item).source == alice.raw_public_key():
            raise RuntimeError("a fault of the devnet's own")
        return real(*args)

    monkeypatch.setattr(owner, step, broken)
    sent = _bumps(chain, alice, bob)
    closed = chain.close()
    assert [(record.hash, record.success) for record in closed.transactions] == [(sent[1], True)]
    assert chain.account(alice) == before
    assert chain.close().transactions == []  # nor is it tried again


def test_an_event_that_cannot_be_read_is_left_out(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = chain.fund("alice", "bob")
    sent = _bumps(chain, alice, bob)
    real = event_rows._parts

    def broken(event: bytes, transaction_hash: bytes, success: bool) -> Any:
        if transaction_hash == sent[0]:
            raise ValueError("an event of a kind that is not known")
        return real(event, transaction_hash, success)

    monkeypatch.setattr(event_rows, "_parts", broken)
    closed = chain.close()
    assert {record.hash for record in closed.transactions} == set(sent)
    assert {row[5] for row in event_rows.event_rows(closed)} == {sent[1]}


def test_a_simulation_that_raises_answers(chain, monkeypatch: pytest.MonkeyPatch) -> None:
    (alice,) = chain.fund("alice")
    envelope = chain.call(alice, DEVNET.contract_id, "plant", scval.to_address(alice.public_key), scval.to_int128(0))

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the devnet's own")

    monkeypatch.setattr(type(chain.node.contracts[StrKey.decode_contract(DEVNET.contract_id)]), "invoke", broken)
    packed = b64encode(envelope.to_xdr_object().to_xdr_bytes()).decode()
    answer = simulate_transaction(chain.node, {"transaction": packed})
    assert "internal error: RuntimeError" in answer["error"]
    assert answer["latestLedger"] == chain.node.ledger.header.sequence
