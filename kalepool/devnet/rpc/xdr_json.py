"""xdrFormat "json": the same answers with XDR as JSON (SEP-51), as stellar-rpc's Rust library writes it.

stellar-sdk has a form of its own ("txsuccess", the hash of a contract, "type"), so its objects are only walked here:
what each class is (struct, union, typedef) its docstring says, which is the XDR it was made from.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Any, Protocol

from stellar_sdk import xdr

from kalepool.devnet import wire


class Decodable(Protocol):
    """A class of stellar-sdk's xdr module."""

    @classmethod
    def from_xdr(cls, xdr: str) -> Any: ...


def as_json(fields: dict[str, Any], names: dict[str, tuple[str, type[Decodable]]]) -> dict[str, Any]:
    """The fields with those in `names` (base64 name -> JSON name, XDR type) replaced; lists item by item."""
    return {names[name][0] if name in names else name: _convert(name, value, names) for name, value in fields.items()}


def _convert(name: str, value: Any, names: dict[str, tuple[str, type[Decodable]]]) -> Any:
    if name not in names or value is None:
        return value
    if isinstance(value, list):
        return [_convert(name, item, names) for item in value]
    return to_json(names[name][1].from_xdr(value))


_WRITTEN_BY_SDK = (
    xdr.AccountID,
    xdr.PublicKey,
    xdr.NodeID,
    xdr.MuxedAccount,
    xdr.MuxedAccountMed25519,
    xdr.MuxedEd25519Account,
    xdr.SCAddress,
    xdr.ClaimableBalanceID,
    xdr.PoolID,
    xdr.SignerKey,
    xdr.SignerKeyEd25519SignedPayload,
    xdr.Int128Parts,
    xdr.UInt128Parts,
    xdr.Int256Parts,
    xdr.UInt256Parts,
)
"""Addresses and wide numbers, of which both make the same text."""

_EXACT = (xdr.Int64, xdr.Uint64)
"""Numbers that JavaScript would round: text."""

_OPTIONAL_ARMS = {(xdr.SCVal, "vec"), (xdr.SCVal, "map"), (xdr.ClaimPredicate, "not_predicate")}
"""Arms of unions that may be empty: null, where an arm that is not there has no member at all."""


def to_json(item: Any) -> Any:
    """The JSON value of an object of stellar-sdk's xdr module."""
    if isinstance(item, _WRITTEN_BY_SDK):
        return item.to_json_dict()
    if isinstance(item, IntEnum):
        return _enum_name(item)
    if isinstance(item, xdr.ContractID):
        return wire.contract_strkey(item.contract_id.hash)
    if isinstance(item, _EXACT):
        return str(next(iter(vars(item).values())))
    if isinstance(item, (xdr.AssetCode4, xdr.AssetCode12)):
        return _asset_code(item)
    if isinstance(item, xdr.AssetCode):
        return _asset_code(item.asset_code4 or item.asset_code12)
    kind, texts = _describe(type(item))
    members = vars(item)
    if kind == "union":
        return _union(item, members, texts)
    if kind == "typedef":
        (value,) = members.values()
        return _member(value, text=bool(texts))
    return {_key(name): _member(value, text=name in texts) for name, value in members.items()}


def _union(item: Any, members: dict[str, Any], texts: frozenset[str]) -> Any:
    """`name` for an arm without a value, else {name: value}."""
    (_, discriminant), *arms = members.items()
    label = _enum_name(discriminant) if isinstance(discriminant, IntEnum) else f"v{discriminant}"
    for name, value in arms:
        if value is not None:
            return {label: _member(value, text=name in texts)}
    if any(kind is type(item) and _arm_label(name) == label for kind, name in _OPTIONAL_ARMS):
        return {label: None}
    return label


def _arm_label(name: str) -> str:
    return "not" if name == "not_predicate" else name


def _member(value: Any, *, text: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, IntEnum):
        return _enum_name(value)
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return escape(value) if text else value.hex()
    if isinstance(value, list):
        return [_member(item, text=text) for item in value]
    return to_json(value)


def _key(name: str) -> str:
    """Rust may not call a member `type`, and stellar-sdk calls some by a name with a line behind."""
    return "type_" if name == "type" else name.rstrip("_")


_GLUED = re.compile(r"^(tx|op)(?=[A-Z])")


def _enum_name(value: IntEnum) -> str:
    """SCV_U32 is "u32", txBAD_SEQ "tx_bad_seq"."""
    if _GLUED.match(value.name):
        return _GLUED.sub(r"\1_", value.name).lower()
    return value.to_json_dict()  # pyright: ignore[reportAttributeAccessIssue]


@lru_cache(maxsize=4096)
def _describe(kind: type) -> tuple[str, frozenset[str]]:
    """What a class is in XDR, and the names of its members that are text; other bytes are written in hex."""
    declaration = (kind.__doc__ or "").partition("::")[2]
    found = re.search(r"\b(struct|union|typedef|enum)\b", declaration)
    texts = frozenset(map(_snake, re.findall(r"\bstring\s+(\w+)\s*<", declaration)))
    return (found.group(1) if found else "struct"), texts


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _asset_code(code: xdr.AssetCode4 | xdr.AssetCode12 | None) -> str:
    if isinstance(code, xdr.AssetCode4):
        return escape(code.asset_code4.rstrip(b"\0"))
    assert code is not None
    padded = code.asset_code12
    return escape(padded[: max(5, len(padded.rstrip(b"\0")))])


_ESCAPES = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def escape(data: bytes) -> str:
    """Bytes as printable ASCII: what is none is written \\xNN."""
    return "".join(_ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in data)
