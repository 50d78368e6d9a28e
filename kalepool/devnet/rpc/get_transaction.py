from __future__ import annotations

from base64 import b64encode
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet.ledger.store import TransactionRow
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params, take, take_format
from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError
from kalepool.devnet.rpc.xdr_json import as_json


def get_transaction(node: Node, params: Params) -> dict[str, Any]:
    """An applied transaction by hash; status NOT_FOUND as long as there is none."""
    json = take_format(params)
    text = take(params, "hash", str)
    if len(text) // 2 != 32:
        raise RpcError(INVALID_PARAMS, f"unexpected hash length ({len(text)})")
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"incorrect hash: {error}") from None
    row = node.told_transaction(digest, "getTransaction")
    oldest, latest = node.told().range
    answer: dict[str, Any] = {
        "latestLedger": latest.sequence,
        "latestLedgerCloseTime": str(latest.close_time),
        "oldestLedger": oldest.sequence,
        "oldestLedgerCloseTime": str(oldest.close_time),
    }
    if row is None:
        nothing = {"txHash": text, "applicationOrder": 0, "feeBump": False, "events": {}, "ledger": 0}
        return {**answer, "status": "NOT_FOUND", **nothing, "createdAt": "0"}
    return {**answer, **details(row, json=json), "txHash": text, "createdAt": str(row.ledger.close_time)}


def details(row: TransactionRow, *, json: bool) -> dict[str, Any]:
    """What getTransaction and getTransactions tell of a transaction; empty lists are left out, as by stellar-rpc."""
    record = row.record
    events: dict[str, Any] = {}
    if record.transaction_events:
        events["transactionEventsXdr"] = _texts(record.transaction_events)
    if record.operation_events:
        events["contractEventsXdr"] = [_texts(items) for items in record.operation_events]
    found: dict[str, Any] = {
        "status": "SUCCESS" if record.success else "FAILED",
        "txHash": record.hash.hex(),
        "applicationOrder": row.position,
        "feeBump": row.is_fee_bump,
        "envelopeXdr": b64encode(record.envelope).decode(),
        "resultXdr": b64encode(record.result).decode(),
        "resultMetaXdr": b64encode(record.meta).decode(),
    }
    if record.diagnostics:
        found["diagnosticEventsXdr"] = _texts(record.diagnostics)
    if json:
        found, events = as_json(found, _JSON), as_json(events, _EVENTS_JSON)
    return {**found, "events": events, "ledger": row.ledger.sequence}


_JSON = {
    "envelopeXdr": ("envelopeJson", xdr.TransactionEnvelope),
    "resultXdr": ("resultJson", xdr.TransactionResult),
    "resultMetaXdr": ("resultMetaJson", xdr.TransactionMeta),
    "diagnosticEventsXdr": ("diagnosticEventsJson", xdr.DiagnosticEvent),
}
_EVENTS_JSON = {
    "transactionEventsXdr": ("transactionEventsJson", xdr.TransactionEvent),
    "contractEventsXdr": ("contractEventsJson", xdr.ContractEvent),
}


def _texts(items: list[bytes]) -> list[str]:
    return [b64encode(item).decode() for item in items]
