from __future__ import annotations

from typing import Any

from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params

CLASSIC_LEDGERS = 10
SOROBAN_LEDGERS = 50
"""Windows of ledgers that are looked at: stellar-rpc's defaults."""

_PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


def get_fee_stats(node: Node, params: Params) -> dict[str, Any]:
    """What recent transactions paid for inclusion, per operation."""
    return {
        "sorobanInclusionFee": distribution(*node.store.fees("soroban", SOROBAN_LEDGERS)),
        "inclusionFee": distribution(*node.store.fees("classic", CLASSIC_LEDGERS)),
        "latestLedger": node.told().header.sequence,
    }


def distribution(fees: list[int], ledgers: int) -> dict[str, Any]:
    """Extremes, mode and nearest-rank percentiles. All zero without a fee, the number of ledgers too."""
    fees = sorted(fees)
    if not fees:
        zeros = dict.fromkeys(("max", "min", "mode", *(f"p{p}" for p in _PERCENTILES), "transactionCount"), "0")
        return {**zeros, "ledgerCount": 0}
    counts: dict[int, int] = {}
    for fee in fees:
        counts[fee] = counts.get(fee, 0) + 1
    mode = max(counts, key=lambda fee: (counts[fee], -fee))
    ranks = {f"p{p}": str(fees[-(-p * len(fees) // 100) - 1]) for p in _PERCENTILES}
    extremes = {"max": str(fees[-1]), "min": str(fees[0]), "mode": str(mode)}
    return {**extremes, **ranks, "transactionCount": str(len(fees)), "ledgerCount": ledgers}
