from __future__ import annotations

import time
from typing import Any

from kalepool.devnet.ledger.store import RETENTION_LEDGERS
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params
from kalepool.devnet.rpc.rpc_errors import INTERNAL_ERROR, RpcError

MAX_LATENCY_SECONDS = 30


def get_health(node: Node, params: Params) -> dict[str, Any]:
    """Healthy unless the last ledger is old: then an error, as from stellar-rpc."""
    oldest, latest = node.told().range
    latency = max(round(time.time() - latest.close_time), 0)
    if not node.is_manual and latency > MAX_LATENCY_SECONDS:
        raise RpcError(
            INTERNAL_ERROR,
            f"latency ({latency}s) since last known ledger closed is too high (>{MAX_LATENCY_SECONDS}s)",
        )
    return {
        "status": "healthy",
        "latestLedger": latest.sequence,
        "latestLedgerCloseTime": str(latest.close_time),
        "oldestLedger": oldest.sequence,
        "oldestLedgerCloseTime": str(oldest.close_time),
        "ledgerRetentionWindow": RETENTION_LEDGERS,
    }
