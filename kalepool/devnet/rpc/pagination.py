"""Start ledger, cursor and limit of getTransactions and getLedgers, checked as stellar-rpc does."""

from __future__ import annotations

from kalepool.devnet.ledger.store import LedgerRow
from kalepool.devnet.rpc.params import Params, take, take_u32
from kalepool.devnet.rpc.rpc_errors import INVALID_REQUEST, RpcError


def read(params: Params, known: tuple[LedgerRow, LedgerRow], default: int, maximum: int) -> tuple[int, str, int]:
    """(start ledger, cursor or "", limit). RpcError where they contradict each other or the ledgers kept."""
    oldest, latest = (row.sequence for row in known)
    start = take_u32(params, "startLedger")
    pagination = take(params, "pagination", dict)
    cursor, limit = take(pagination, "cursor", str), take_u32(pagination, "limit")
    if cursor and start:
        raise RpcError(INVALID_REQUEST, f"startLedger ({start}) and cursor ({cursor}) cannot both be set")
    if not cursor and not oldest <= start <= latest:
        raise RpcError(
            INVALID_REQUEST,
            f"start ledger ({start}) must be between the oldest ledger: {oldest} and the latest ledger: {latest} "
            "for this rpc instance",
        )
    if limit > maximum:
        raise RpcError(INVALID_REQUEST, f"limit must not exceed {maximum}")
    return start, cursor, limit or default
