"""Requests read as stellar-rpc's JSON-RPC library (creachadair/jrpc2) reads them, and the answers to them.

One thing differs: a body that is not JSON is answered with a parse error, where jrpc2's bridge has status 500 and text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kalepool.devnet.rpc.rpc_errors import INVALID_REQUEST, PARSE_ERROR, RpcError

VERSION = "2.0"
_KNOWN = ("jsonrpc", "id", "method", "params", "error", "result")


@dataclass(frozen=True, slots=True)
class RpcCall:
    """One request of a body. Without an identity it is a notification, which nobody answers. `error`: what is wrong."""

    identity: Any = None
    method: str = ""
    params: Any = None
    error: RpcError | None = None


def read_calls(body: bytes) -> tuple[list[RpcCall], bool]:
    """The body's requests, and whether it is a batch. RpcError where it is not JSON, or nested too deep to be read."""
    try:
        parsed = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise RpcError(PARSE_ERROR, "invalid request value") from None
    batch = isinstance(parsed, list)
    return [_read_call(item) for item in (parsed if batch else [parsed])], batch


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_call(item: Any) -> RpcCall:
    if item is None:
        item = {}
    if not isinstance(item, dict):
        return RpcCall(error=RpcError(PARSE_ERROR, "request is not a JSON object"))
    identity = item.get("id")
    known = isinstance(identity, (str, int, float)) and not isinstance(identity, bool)
    problem = _problem(item, known or identity is None)
    identity = identity if known else None
    if problem is not None:
        return RpcCall(identity, error=problem)
    return RpcCall(identity, item.get("method") or "", item.get("params"))


def _problem(item: dict[str, Any], identity_valid: bool) -> RpcError | None:
    """What makes a request invalid."""
    method, failure = item.get("method"), item.get("error")
    if not isinstance(item.get("jsonrpc") or "", str):
        return RpcError(PARSE_ERROR, "invalid version key")
    if not identity_valid:
        return RpcError(INVALID_REQUEST, "invalid request ID")
    if not isinstance(method or "", str) or method is False:
        return RpcError(PARSE_ERROR, "invalid method name")
    if not isinstance(item.get("params"), (dict, list, type(None))):
        return RpcError(INVALID_REQUEST, "parameters must be array or object")
    if not isinstance(failure, (dict, type(None))):
        return RpcError(PARSE_ERROR, "invalid error value")
    if item.get("jsonrpc") != VERSION:
        return RpcError(INVALID_REQUEST, "invalid version marker")
    if method and (failure is not None or "result" in item):
        return RpcError(INVALID_REQUEST, "mixed request and reply fields")
    extra = [name for name in item if name not in _KNOWN]
    return RpcError(INVALID_REQUEST, "extra fields in request", extra) if extra else None


def failure(identity: Any, error: RpcError) -> dict[str, Any]:
    """The answer that tells an error."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return {"jsonrpc": VERSION, "id": identity, "error": told}


def success(identity: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": VERSION, "id": identity, "result": result}
