"""Reading packed ScVals: into plain values for the contracts, into text for the event log of a simulation."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from stellar_sdk import MuxedAccount

from kalepool.devnet.wire import account_strkey, contract_strkey

ERROR_TYPES = ("Contract", "WasmVm", "Context", "Storage", "Object", "Crypto", "Events", "Budget", "Value", "Auth")
"""ScErrorType, by number."""

ERROR_CODES = (
    "ArithDomain",
    "IndexBounds",
    "InvalidInput",
    "MissingValue",
    "ExistingValue",
    "ExceededLimit",
    "InvalidAction",
    "InternalError",
    "UnexpectedType",
    "UnexpectedSize",
)
"""ScErrorCode, by number."""


class Val(NamedTuple):
    """A decoded ScVal: its kind (u32, i128, address, …) and plain value. Addresses are strkeys, vec a list of Val,
    map a list of (Val, Val), error a (type, code or contract's number)."""

    kind: str
    value: Any


class MuxedAddress(NamedTuple):
    """An M… address: the account's strkey and the id."""

    account: str
    number: int

    def __str__(self) -> str:
        return MuxedAccount(self.account, self.number).account_muxed or self.account


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError("packed ScVal ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str, size: int) -> int:
        return struct.unpack(form, self.take(size))[0]

    def u32(self) -> int:
        return self.number(">I", 4)

    def peek_u32(self) -> int:
        value = self.u32()
        self.at -= 4
        return value

    def opaque(self) -> bytes:
        size = self.u32()
        data = self.take(size)
        self.take(-size % 4)
        return data


_FIXED = {
    3: ("u32", ">I", 4),
    4: ("i32", ">i", 4),
    5: ("u64", ">Q", 8),
    6: ("i64", ">q", 8),
    7: ("timepoint", ">Q", 8),
    8: ("duration", ">Q", 8),
}
_WIDE = {9: ("u128", 16, False), 10: ("i128", 16, True), 11: ("u256", 32, False), 12: ("i256", 32, True)}
_VOIDS = {1: "void", 20: "instance_key"}


def decode(packed: bytes) -> Val:
    """The value of a packed ScVal. ValueError where it is malformed or holds a contract instance."""
    reader = _Reader(packed)
    val = _read(reader)
    if reader.at != len(packed):
        raise ValueError("bytes left over after a packed ScVal")
    return val


def _read(reader: _Reader) -> Val:
    kind = reader.u32()
    if kind in _FIXED:
        name, form, size = _FIXED[kind]
        return Val(name, reader.number(form, size))
    if kind in _WIDE:
        name, size, signed = _WIDE[kind]
        return Val(name, int.from_bytes(reader.take(size), "big", signed=signed))
    if kind in _VOIDS:
        return Val(_VOIDS[kind], None)
    if kind == _ADDRESS and reader.peek_u32() == _MUXED:
        return Val("muxed_address", _read_muxed(reader))
    if kind not in _OTHERS:
        raise ValueError(f"cannot read an ScVal of type {kind}")
    name, read = _OTHERS[kind]
    return Val(name, read(reader))


def _read_bool(reader: _Reader) -> bool:
    return bool(reader.u32())


def _read_error(reader: _Reader) -> tuple[int, int]:
    return reader.u32(), reader.u32()


def _read_text(reader: _Reader) -> str:
    return reader.opaque().decode(errors="replace")


def _read_vec(reader: _Reader) -> list[Val]:
    return [_read(reader) for _ in range(reader.u32())] if reader.u32() else []


def _read_map(reader: _Reader) -> list[tuple[Val, Val]]:
    return [(_read(reader), _read(reader)) for _ in range(reader.u32())] if reader.u32() else []


def _read_nonce(reader: _Reader) -> int:
    return reader.number(">q", 8)


def _read_address(reader: _Reader) -> str:
    kind = reader.u32()
    if kind == 0:
        if reader.u32() != 0:
            raise ValueError("unknown public key type")
        return account_strkey(reader.take(32))
    if kind == 1:
        return contract_strkey(reader.take(32))
    raise ValueError(f"cannot read an address of type {kind}")


def _read_muxed(reader: _Reader) -> MuxedAddress:
    reader.u32()
    number = reader.number(">Q", 8)
    return MuxedAddress(account_strkey(reader.take(32)), number)


_ADDRESS, _MUXED = 18, 2
"""SCV_ADDRESS, SC_ADDRESS_TYPE_MUXED_ACCOUNT."""

_OTHERS: dict[int, tuple[str, Callable[[_Reader], Any]]] = {
    0: ("bool", _read_bool),
    2: ("error", _read_error),
    13: ("bytes", _Reader.opaque),
    14: ("string", _read_text),
    15: ("symbol", _read_text),
    16: ("vec", _read_vec),
    17: ("map", _read_map),
    18: ("address", _read_address),
    21: ("nonce_key", _read_nonce),
}


def decode_address(packed: bytes) -> str:
    """The strkey of a packed ScAddress. ValueError unless it is an account or a contract."""
    return _read_address(_Reader(packed))


def error_text(kind: int, code: int) -> str:
    if kind == 0:
        return f"Error(Contract, #{code})"
    return f"Error({ERROR_TYPES[kind]}, {ERROR_CODES[code]})"


def render(packed: bytes) -> str:
    """The value as the host prints it in an event log."""
    try:
        return _render(decode(packed))
    except ValueError:
        return "Instance"


def _render(val: Val) -> str:
    match val.kind:
        case "bool":
            return str(val.value).lower()
        case "void":
            return "Void"
        case "error":
            return error_text(*val.value)
        case "string":
            return '"' + val.value.replace('"', '\\"') + '"'
        case "bytes":
            return f"Bytes({val.value.hex()})"
        case "vec":
            return "[" + ", ".join(map(_render, val.value)) + "]"
        case "map":
            return "{" + ", ".join(f"{_render(k)}: {_render(v)}" for k, v in val.value) + "}"
        case "instance_key":
            return "LedgerKeyContractInstance"
        case "nonce_key":
            return f"LedgerKeyNonce({val.value})"
        case _:
            return str(val.value)
