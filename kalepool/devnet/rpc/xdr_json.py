"""xdrFormat "json": the same answers with XDR as JSON (SEP-51)."""

from __future__ import annotations

from typing import Any, Protocol


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
    return names[name][1].from_xdr(value).to_json_dict()
