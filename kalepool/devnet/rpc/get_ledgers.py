from __future__ import annotations

from base64 import b64encode
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet.node import Node
from kalepool.devnet.rpc import pagination
from kalepool.devnet.rpc.params import Params, take_format
from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError
from kalepool.devnet.rpc.xdr_json import as_json

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def get_ledgers(node: Node, params: Params) -> dict[str, Any]:
    """Ledgers from one on, or behind a cursor (a ledger's sequence)."""
    json = take_format(params)
    oldest, latest = node.told().range
    start, cursor, limit = pagination.read(params, (oldest, latest), DEFAULT_LIMIT, MAX_LIMIT)
    if cursor:
        if not cursor.isascii() or not cursor.isdigit():
            raise RpcError(INVALID_PARAMS, f'strconv.ParseUint: parsing "{cursor}": invalid syntax')
        start = int(cursor) + 1
        if not oldest.sequence <= start <= latest.sequence:
            raise RpcError(
                INVALID_PARAMS,
                f"cursor ('{cursor}') must be between the oldest ledger: {oldest.sequence} and the latest ledger: "
                f"{latest.sequence} for this rpc instance",
            )
    found = []
    for sequence in range(start, min(start + limit, latest.sequence + 1)):
        header = node.store.header(sequence)
        assert header is not None
        ledger = {
            "hash": header.hash.hex(),
            "sequence": sequence,
            "ledgerCloseTime": str(header.close_time),
            "headerXdr": b64encode(header.pack_history()).decode(),
            "metadataXdr": b64encode(node.store.close_meta(header)).decode(),
        }
        found.append({**as_json(ledger, _JSON), "headerXdr": "", "metadataXdr": ""} if json else ledger)
    return {
        "ledgers": found,
        "latestLedger": latest.sequence,
        "latestLedgerCloseTime": latest.close_time,
        "oldestLedger": oldest.sequence,
        "oldestLedgerCloseTime": oldest.close_time,
        "cursor": str(found[-1]["sequence"]),
    }


_JSON = {
    "headerXdr": ("headerJson", xdr.LedgerHeaderHistoryEntry),
    "metadataXdr": ("metadataJson", xdr.LedgerCloseMeta),
}
