"""The KALE contract on the devnet's host: protocol.lifecycle decides, this file stores and speaks XDR."""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import Any, TypeVar

from kalepool.contract_errors import ContractError
from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractData, LedgerEntry
from kalepool.devnet.settings import MAX_ENTRY_TTL
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import (
    COST_CALL,
    WASM_MISSING,
    CallError,
    Error,
    SorobanHost,
    instance_key,
    read_args,
    trap,
)
from kalepool.devnet.wire import sc_addr, sc_bool, sc_bytes, sc_i128, sc_map, sc_symbol, sc_u32, sc_u64, sc_vec
from kalepool.protocol.lifecycle import METHODS
from kalepool.protocol.model import HOMESTEAD_ASSET, Block, Key, Pail, TrapError

T = TypeVar("T")

_WEEK_OF_LEDGERS = 120_960
_MAX_TTL = MAX_ENTRY_TTL - 1

_KEEP_TTL = {"pause", "remove_block"}
"""The functions that do not extend the instance's life."""

_HASH_BYTES = 32

# Argument kinds in the contract's order, and how the return value is written.
_SIGNATURES: dict[str, tuple[tuple[str, ...], str]] = {
    "plant": (("address", "i128"), "void"),
    "work": (("address", "bytes", "u64"), "u32"),
    "harvest": (("address", "u32"), "i128"),
    "pause": ((), "void"),
    "unpause": ((), "void"),
    "remove_block": (("u32",), "void"),
    "__constructor": (("address", "address"), "void"),
}


class KaleContract:
    """The contract's code. `block_seconds` stands for its BLOCK_INTERVAL."""

    def __init__(self, code_hash: bytes, block_seconds: int) -> None:
        self.code_hash = code_hash
        self.block_seconds = block_seconds

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        signature = _SIGNATURES.get(function)
        host.charge(COST_CALL)
        host.load(wire.key_contract_code(self.code_hash))
        if signature is None:
            raise host.error(WASM_MISSING, "trying to invoke non-existent contract function", sc_symbol(function))
        kinds, returns = signature
        values = read_args(host, function, args, kinds)
        if any(isinstance(value, bytes) and len(value) != _HASH_BYTES for value in values):
            raise trap(host, function)
        storage = Storage(host, contract, self.block_seconds, function, args)
        try:
            result = METHODS[function](storage, *values)
        except ContractError as error:
            raise fail_with_error(host, error.number) from None
        except TrapError:
            raise trap(host, function) from None
        storage.flush()
        if function not in _KEEP_TTL:
            extend_instance(host, contract, self.code_hash)
        if returns == "void" or result is None:
            return wire.SCV_VOID
        return sc_u32(result) if returns == "u32" else sc_i128(result)


def fail_with_error(host: SorobanHost, number: int) -> CallError:
    """What a contract's `panic_with_error!` leaves behind: two events and the error to raise."""
    host.error((0, number), "failing with contract error", sc_u32(number))
    return escalate(host, (0, number), "fail_with_error")


def escalate(host: SorobanHost, error: Error, host_function: str) -> CallError:
    """The event a Wasm contract adds when a host function it called has failed."""
    return host.error(error, f"escalating error to VM trap from failed host function call: {host_function}")


def extend_instance(host: SorobanHost, contract: bytes, code_hash: bytes) -> None:
    """Extends instance and code to the longest life allowed once less than that minus a week is left."""
    for key in (instance_key(contract), wire.key_contract_code(code_hash)):
        host.extend_ttl(key, _MAX_TTL - _WEEK_OF_LEDGERS, _MAX_TTL)


class Storage:
    """The contract's world for one call: `lifecycle.Host` on the devnet's host.

    Instance keys live together in the contract's instance entry, read once and written once at the end.
    """

    def __init__(
        self, host: SorobanHost, contract: bytes, block_seconds: int, function: str, args: tuple[bytes, ...]
    ) -> None:
        self._host = host
        self._contract = contract
        self._address = wire.ONE + contract
        self._function = function
        self._args = args
        self._instance: dict[str, Any] | None = None
        self._written = False
        self.block_seconds = block_seconds

    @property
    def sequence(self) -> int:
        return self._host.ledger.sequence

    @property
    def timestamp(self) -> int:
        return self._host.ledger.timestamp

    def read(self, key: Key[T]) -> T | None:
        if not key.temporary:
            return self._load_instance().get(key.name)
        entry = self._load(key, "get_contract_data")
        if entry is None or not isinstance(entry.data, ContractData):
            return None
        return entry.data.native if entry.data.native is not None else decode_value(key.name, entry.data.value)

    def write(self, key: Key[T], value: T) -> None:
        if not key.temporary:
            self._load_instance()[key.name] = value
            self._written = True
            return
        packed = pack_key(key)
        ledger_key = wire.key_contract_data(self._address, packed, wire.TEMPORARY)
        data = ContractData(self._address, packed, wire.TEMPORARY, encode_value(value), value)
        try:
            self._host.store(ledger_key, data, *self._explain(packed))
        except CallError as error:
            raise escalate(self._host, error.error, "put_contract_data") from None

    def remove(self, key: Key[object]) -> None:
        packed = pack_key(key)
        try:
            self._host.delete(wire.key_contract_data(self._address, packed, wire.TEMPORARY), *self._explain(packed))
        except CallError as error:
            raise escalate(self._host, error.error, "del_contract_data") from None

    def require_auth(self, address: str) -> None:
        try:
            self._host.require_auth(address, self._function, self._args)
        except CallError as error:
            raise escalate(self._host, error.error, "require_auth") from None

    def burn(self, address: str, amount: int) -> None:
        self._call_asset("burn", address, amount)

    def mint(self, address: str, amount: int) -> None:
        self._call_asset("mint", address, amount)

    def flush(self) -> None:
        """Writes the instance back if the call changed it."""
        if self._written and self._instance is not None:
            key = instance_key(self._contract)
            entry = self._host.load(key)
            assert entry is not None and isinstance(entry.data, ContractData)
            data = pack_instance(self._contract, entry.data.value[4:40], self._instance)
            self._host.store(key, data, sc_addr(wire.contract_strkey(self._contract)))

    def _call_asset(self, function: str, address: str, amount: int) -> None:
        asset = self._load_instance()[HOMESTEAD_ASSET.name]
        try:
            self._host.call(wire.contract_hash(asset), function, (sc_addr(address), sc_i128(amount)))
        except CallError as error:
            raise escalate(self._host, error.error, "call") from None

    def _load(self, key: Key[Any], host_function: str) -> LedgerEntry | None:
        packed = pack_key(key)
        ledger_key = wire.key_contract_data(self._address, packed, wire.TEMPORARY)
        try:
            return self._host.load(ledger_key, *self._explain(packed))
        except CallError as error:
            raise escalate(self._host, error.error, host_function) from None

    def _explain(self, packed_key: bytes) -> tuple[bytes, bytes]:
        return sc_addr(wire.contract_strkey(self._contract)), packed_key

    def _load_instance(self) -> dict[str, Any]:
        if self._instance is None:
            entry = self._host.load(instance_key(self._contract))
            assert entry is not None and isinstance(entry.data, ContractData)
            self._instance = dict(read_instance(entry.data))
        return self._instance


# --- the contract's values as XDR


def pack_key(key: Key[Any]) -> bytes:
    """ScVec of the symbol and its arguments: strkeys as addresses, ints as u32."""
    args = [sc_addr(arg) if isinstance(arg, str) else sc_u32(arg) for arg in key.args]
    return sc_vec([sc_symbol(key.name), *args])


_BLOCK_FIELDS = sorted(field.name for field in fields(Block))
_PAIL_FIELDS = sorted(field.name for field in fields(Pail))
_U64_FIELDS = {"timestamp"}
_I128_FIELDS = {"min_stake", "max_stake", "staked_total", "normalized_total", "stake"}


def _encode_field(name: str, value: Any) -> bytes:
    if value is None:
        return wire.SCV_VOID
    if name == "entropy":
        return sc_bytes(value)
    if name in _U64_FIELDS:
        return sc_u64(value)
    return sc_i128(value) if name in _I128_FIELDS else sc_u32(value)


def encode_value(value: Any) -> bytes:
    """ScVal of anything the contract stores."""
    if isinstance(value, Block | Pail):
        names = _BLOCK_FIELDS if isinstance(value, Block) else _PAIL_FIELDS
        return sc_map((sc_symbol(name), _encode_field(name, getattr(value, name))) for name in names)
    if isinstance(value, bool):
        return sc_bool(value)
    return sc_addr(value) if isinstance(value, str) else sc_u32(value)


def decode_value(name: str, packed: bytes) -> Any:
    """The value stored under a key of that name."""
    value = scv.decode(packed)
    if value.kind != "map":
        return value.value
    named = {key.value: item.value for key, item in value.value}
    return Pail(**named) if name == "Pail" else Block(**named)


def read_instance(data: ContractData) -> dict[str, Any]:
    """The instance storage by key name."""
    if data.native is not None:
        return data.native
    # ContractInstance: the executable (Wasm: 4 + 32 bytes), then the optional storage map.
    storage = data.value[40:]
    if storage[:4] != wire.ONE:
        return {}
    items = scv.decode(struct.pack(">I", 17) + storage)
    names = {}
    for key, item in items.value:
        name = key.value[0].value
        names[name] = item.value
        if item.kind == "map":
            names[name] = Block(**{field.value: part.value for field, part in item.value})
    return names


def pack_instance(contract: bytes, executable: bytes, storage: dict[str, Any]) -> ContractData:
    """The contract's instance entry with this storage."""
    items = [sc_vec([sc_symbol(name)]) + encode_value(storage[name]) for name in sorted(storage)]
    value = wire.sc_instance(executable, wire.array(items) if items else None)
    return ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value, storage)
