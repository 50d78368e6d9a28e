"""A contract account of one key, after soroban-examples' `account`: who signs for a wallet with a C… address.

`__constructor(owner: BytesN<32>)`; `__check_auth` takes one signature, as SDKs make them: a vec with a map of
public_key and signature. What is called it does not look at.
"""

from __future__ import annotations

from typing import Any

from kalepool.devnet import wire
from kalepool.devnet.ledger.ed25519 import verify_signature
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import (
    COST_CALL,
    COST_SIGNATURE,
    WASM_MISSING,
    SorobanHost,
    instance_key,
    read_args,
    trap,
)
from kalepool.devnet.soroban.kale_contract import extend_instance, fail_with_error
from kalepool.devnet.wire import sc_symbol

NOT_ENOUGH_SIGNERS = 1
UNKNOWN_SIGNER = 4
_CRYPTO_INVALID_INPUT = (5, 2)


class AccountContract:
    """The code of every such account: whose it is stands in each one's instance."""

    def __init__(self, code_hash: bytes) -> None:
        self.code_hash = code_hash

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        host.charge(COST_CALL)
        host.load(wire.key_contract_code(self.code_hash))
        match function:
            case "__constructor":
                [owner] = read_args(host, function, args, ("bytes",))
                if len(owner) != 32:
                    raise trap(host, function)
                host.store(instance_key(contract), pack_account_instance(contract, self.code_hash, owner))
            case "__check_auth":
                payload, signatures, _ = read_args(host, function, args, ("bytes", "vec", "vec"))
                self._check(host, function, _owner(host, contract), payload, signatures)
            case _:
                raise host.error(WASM_MISSING, "trying to invoke non-existent contract function", sc_symbol(function))
        extend_instance(host, contract, self.code_hash)
        return wire.SCV_VOID

    def _check(self, host: SorobanHost, function: str, owner: bytes, payload: bytes, signatures: list[scv.Val]) -> None:
        if len(signatures) != 1:
            raise fail_with_error(host, NOT_ENOUGH_SIGNERS)
        pairs: Any = signatures[0].value if signatures[0].kind == "map" else []
        found = {key.value: value for key, value in pairs if key.kind == "symbol"}
        if set(found) != {"public_key", "signature"} or any(each.kind != "bytes" for each in found.values()):
            raise trap(host, function)
        if found["public_key"].value != owner:
            raise fail_with_error(host, UNKNOWN_SIGNER)
        host.charge(COST_SIGNATURE)
        if not verify_signature(owner, payload, found["signature"].value):
            raise host.error(_CRYPTO_INVALID_INPUT, "failed ED25519 verification")


def _owner(host: SorobanHost, contract: bytes) -> bytes:
    entry = host.load(instance_key(contract))
    assert entry is not None and isinstance(entry.data, ContractData)
    # Its one value is the last thing in the instance.
    return entry.data.value[-32:]


def pack_account_instance(contract: bytes, code_hash: bytes, owner: bytes | None) -> ContractData:
    """The instance of such an account; without an owner until its constructor has run."""
    storage = None if owner is None else wire.array([sc_symbol("Owner") + wire.sc_bytes(owner)])
    value = wire.sc_instance(wire.executable_wasm(code_hash), storage)
    return ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value)
