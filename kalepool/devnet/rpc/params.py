"""Reading a method's parameters: a missing one is the zero of its type, a wrong type an error, as in Go."""

from __future__ import annotations

from typing import Any, TypeVar

from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError

T = TypeVar("T")

Params = dict[str, Any]

_JSON_KINDS = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}
_GO_TYPES = {str: "string", int: "uint", bool: "bool", list: "[]string", dict: "struct"}


def read_params(method: str, params: Any) -> Params:
    """A call's parameters by name. RpcError where they are a list: new ones could not be added then."""
    if isinstance(params, list):
        kind = f"protocol.{method[:1].upper()}{method[1:]}Request"
        raise RpcError(INVALID_PARAMS, _INVALID, f"json: cannot unmarshal array into Go value of type {kind}")
    return params or {}


_INVALID = "invalid parameters"


def take(params: Params, name: str, kind: type[T]) -> T:
    """The parameter, or the type's zero where it is missing or null. RpcError where it has another type."""
    value = params.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found, wanted = _JSON_KINDS.get(type(value), "value"), _GO_TYPES.get(kind, kind.__name__)
        detail = f"json: cannot unmarshal {found} into Go struct field {name} of type {wanted}"
        raise RpcError(INVALID_PARAMS, _INVALID, detail)
    return value


def take_u32(params: Params, name: str) -> int:
    value = take(params, name, int)
    if not 0 <= value < 2**32:
        detail = f"json: cannot unmarshal number {value} into Go struct field {name} of type uint32"
        raise RpcError(INVALID_PARAMS, _INVALID, detail)
    return value


def take_format(params: Params) -> bool:
    """Whether XDR is wanted as JSON (xdrFormat "json") instead of base64."""
    wanted = take(params, "xdrFormat", str)
    problem = format_problem(wanted)
    if problem:
        raise RpcError(INVALID_PARAMS, problem)
    return wanted == "json"


def format_problem(wanted: str) -> str | None:
    if wanted in ("", "base64", "json"):
        return None
    return f"got '{wanted}': expected base64, json for optional 'xdrFormat'"
