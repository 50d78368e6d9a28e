"""Reading a method's parameters: a missing one is the zero of its type, a wrong type an error, as in Go."""

from __future__ import annotations

from typing import Any, TypeVar

from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError

T = TypeVar("T")

Params = dict[str, Any]


def take(params: Params, name: str, kind: type[T]) -> T:
    """The parameter, or the type's zero where it is missing or null. RpcError where it has another type."""
    value = params.get(name)
    if value is None:
        return kind()
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RpcError(INVALID_PARAMS, f"invalid parameters: {name} must be a {kind.__name__}")
    return value


def take_u32(params: Params, name: str) -> int:
    value = take(params, name, int)
    if not 0 <= value < 2**32:
        raise RpcError(INVALID_PARAMS, f"invalid parameters: {name} must be an unsigned 32-bit number")
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
