from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.faults import FaultKind
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params, take, take_format
from kalepool.devnet.rpc.rpc_errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from kalepool.devnet.rpc.xdr_json import as_json

MAX_KEYS = 200
_CORE_REFUSES = "could not query captive core"


def get_ledger_entries(node: Node, params: Params) -> dict[str, Any]:
    """The entries that exist and live among the keys, in the keys' order."""
    json = take_format(params)
    keys = take(params, "keys", list)
    if len(keys) > MAX_KEYS:
        raise RpcError(INVALID_PARAMS, f"key count ({len(keys)}) exceeds maximum supported ({MAX_KEYS})")
    if not keys:
        raise RpcError(INTERNAL_ERROR, f"{_CORE_REFUSES}: no keys specified in request")
    told, lies = node.told(), node.faults.is_active(FaultKind.LIE, "getLedgerEntries")
    entries, sequence = [], told.header.sequence
    asked: set[bytes] = set()
    for position, text in enumerate(keys):
        key = _read_key(text, position)
        entry = told.entries.get(key) or node.config_settings.get(key)
        if entry is None:
            _check_key(key, text, position)
        asked.add(key)
        if entry is None or entry.has_expired(sequence) or lies:
            continue
        found: dict[str, Any] = {
            "key": b64encode(key).decode(),
            "xdr": b64encode(entry.pack_data()).decode(),
            "lastModifiedLedgerSeq": entry.modified,
        }
        if entry.live_until is not None:
            found["liveUntilLedgerSeq"] = entry.live_until
        found["extXdr"] = b64encode(entry.pack_extension()).decode()
        entries.append(as_json(found, _JSON) if json else found)
    if len(asked) < len(keys):  # stellar-core takes a set of keys, and no key twice
        raise RpcError(INTERNAL_ERROR, f"{_CORE_REFUSES}: http request failed with non-200 status code (404)")
    return {"entries": entries, "latestLedger": sequence}


_JSON = {
    "key": ("keyJson", xdr.LedgerKey),
    "xdr": ("dataJson", xdr.LedgerEntryData),
    "extXdr": ("extJson", xdr.LedgerEntryExt),
}


def _read_key(text: object, position: int) -> bytes:
    try:
        return b64decode(text if isinstance(text, str) else b"?", validate=True)
    except ValueError:
        raise RpcError(INVALID_PARAMS, f"cannot unmarshal key value {text} at index {position}") from None


def _check_key(key: bytes, text: object, position: int) -> None:
    """RpcError unless the bytes are a LedgerKey that may be asked for. Keys of entries that exist are anyway."""
    try:
        xdr.LedgerKey.from_xdr_bytes(key)
    except Exception:  # the SDK's decoder raises EOFError, struct.error, ValueError and others of its own
        raise RpcError(INVALID_PARAMS, f"cannot unmarshal key value {text} at index {position}") from None
    if key[:4] == wire.LEDGER_KEY_TTL:
        raise RpcError(INVALID_PARAMS, "ledger ttl entries cannot be queried directly")
