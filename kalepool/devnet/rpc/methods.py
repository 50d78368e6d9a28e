"""The table of JSON-RPC methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.get_events import get_events
from kalepool.devnet.rpc.get_fee_stats import get_fee_stats
from kalepool.devnet.rpc.get_health import get_health
from kalepool.devnet.rpc.get_latest_ledger import get_latest_ledger
from kalepool.devnet.rpc.get_ledger_entries import get_ledger_entries
from kalepool.devnet.rpc.get_ledgers import get_ledgers
from kalepool.devnet.rpc.get_network import get_network
from kalepool.devnet.rpc.get_transaction import get_transaction
from kalepool.devnet.rpc.get_transactions import get_transactions
from kalepool.devnet.rpc.get_version_info import get_version_info
from kalepool.devnet.rpc.params import Params
from kalepool.devnet.rpc.send_transaction import send_transaction
from kalepool.devnet.rpc.simulate_transaction import simulate_transaction

METHODS: dict[str, Callable[[Node, Params], dict[str, Any]]] = {
    "getEvents": get_events,
    "getFeeStats": get_fee_stats,
    "getHealth": get_health,
    "getLatestLedger": get_latest_ledger,
    "getLedgerEntries": get_ledger_entries,
    "getLedgers": get_ledgers,
    "getNetwork": get_network,
    "getTransaction": get_transaction,
    "getTransactions": get_transactions,
    "getVersionInfo": get_version_info,
    "sendTransaction": send_transaction,
    "simulateTransaction": simulate_transaction,
}
