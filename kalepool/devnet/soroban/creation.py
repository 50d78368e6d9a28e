"""Contracts made by a transaction: instances of code that the network has. None can be uploaded."""

from __future__ import annotations

from hashlib import sha256

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import STORAGE_MISSING, SorobanHost, instance_key

STORAGE_EXISTING = (3, 4)
_ENVELOPE_TYPE_CONTRACT_ID = wire.u32(8)


def create_contract(host: SorobanHost, function: xdr.HostFunction) -> bytes:
    """CreateContract, of either version, by an address and a salt: returns the new contract's address, packed. In the
    order of soroban-env-host's lifecycle.rs: authorised, not there, code there, constructed."""
    made = function.create_contract_v2 or function.create_contract
    assert made is not None
    if made.contract_id_preimage.from_address is None or made.executable.wasm_hash is None:
        raise host.error((1, 6), "this network makes contracts of its Wasm code only")
    preimage = made.contract_id_preimage
    deployer = scv.decode_address(preimage.from_address.address.to_xdr_bytes())  # pyright: ignore[reportOptionalMemberAccess]
    kind = wire.ONE if function.create_contract is not None else wire.u32(2)
    contract = sha256(_ENVELOPE_TYPE_CONTRACT_ID + host.network_id + preimage.to_xdr_bytes()).digest()
    host.auth.push()
    try:
        host.auth.require(host, deployer, kind + made.to_xdr_bytes())
        address = wire.sc_addr(wire.contract_strkey(contract))
        if host.load(instance_key(contract), address) is not None:
            raise host.error(STORAGE_EXISTING, "contract already exists", address)
        code_hash = made.executable.wasm_hash.hash
        if host.load(wire.key_contract_code(code_hash)) is None:
            raise host.error(STORAGE_MISSING, "Wasm does not exist", wire.sc_bytes(code_hash))
        value = wire.sc_instance(wire.executable_wasm(code_hash), None)
        instance = ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value)
        host.store(instance_key(contract), instance)
        args = tuple(each.to_xdr_bytes() for each in getattr(made, "constructor_args", ()))
        host.invoke(contract, "__constructor", args)
    finally:
        host.auth.pop()
    return address
