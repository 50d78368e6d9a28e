from __future__ import annotations

from typing import Any

from kalepool.devnet.ledger.event_rows import TRANSACTION_MASK, toid
from kalepool.devnet.node import Node
from kalepool.devnet.rpc import pagination
from kalepool.devnet.rpc.get_transaction import details
from kalepool.devnet.rpc.params import Params, take_format
from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def get_transactions(node: Node, params: Params) -> dict[str, Any]:
    """Transactions from a ledger or behind a cursor (a TOID) on. Close times are numbers here, by an old oversight."""
    json = take_format(params)
    oldest, latest = node.told().range
    start, cursor, limit = pagination.read(params, (oldest, latest), DEFAULT_LIMIT, MAX_LIMIT)
    after = 0
    if cursor:
        place = _read_cursor(cursor)
        start, after = place >> 32, place >> 12 & TRANSACTION_MASK
        if start < oldest.sequence:
            raise RpcError(INVALID_PARAMS, f"database does not contain metadata for ledger: {start}")
    found: list[dict[str, Any]] = []
    place = toid(0, 0, 0)
    for ledger in range(start, latest.sequence + 1):
        rows = node.store.transactions(ledger, after)[: limit - len(found)]
        found += [{**details(row, json=json), "createdAt": row.ledger.close_time} for row in rows]
        place = toid(ledger, rows[-1].position if rows else after, 1)
        after = 0
        if len(found) >= limit:
            break
    return {
        "transactions": found,
        "latestLedger": latest.sequence,
        "latestLedgerCloseTimestamp": latest.close_time,
        "oldestLedger": oldest.sequence,
        "oldestLedgerCloseTimestamp": oldest.close_time,
        "cursor": str(place),
    }


def _read_cursor(text: str) -> int:
    try:
        place = int(text)
    except ValueError:
        place = -1
    if not 0 <= place < 2**63:
        raise RpcError(INVALID_PARAMS, f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return place
