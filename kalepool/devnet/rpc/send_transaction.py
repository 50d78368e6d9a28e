from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet.ledger.queue import SendStatus
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params, take, take_format
from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, RpcError
from kalepool.devnet.rpc.xdr_json import as_json


def send_transaction(node: Node, params: Params) -> dict[str, Any]:
    """Queues a transaction. What the network thinks of it is said in `status`; only non-XDR is an error."""
    json = take_format(params)
    try:
        transaction = node.ledger.parse(b64decode(take(params, "transaction", str), validate=True))
    except ValueError:
        raise RpcError(INVALID_PARAMS, "invalid_xdr") from None
    answer = node.submit(transaction)
    header = node.told().header
    found: dict[str, Any] = {}
    if answer.status is SendStatus.ERROR and answer.result is not None:
        found["errorResultXdr"] = b64encode(answer.result.pack(transaction)).decode()
        if answer.diagnostics:
            found["diagnosticEventsXdr"] = [b64encode(event).decode() for event in answer.diagnostics]
    if json:
        found = as_json(found, _JSON)
    return {
        **found,
        "status": answer.status.value,
        "hash": transaction.hash.hex(),
        "latestLedger": header.sequence,
        "latestLedgerCloseTime": str(header.close_time),
    }


_JSON = {
    "errorResultXdr": ("errorResultJson", xdr.TransactionResult),
    "diagnosticEventsXdr": ("diagnosticEventsJson", xdr.DiagnosticEvent),
}
