"""Maximum fees of what is pending, by who pays them: the network refuses a transaction when all of its payer's together
are more than the payer has (stellar-core TransactionQueue)."""

from __future__ import annotations

from collections import defaultdict

from kalepool.chain.records import Prepared


class Purses:
    """What this process has pending. What another process's transactions cost is not known here."""

    def __init__(self) -> None:
        self._pending: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def pending_stroops(self, payer: str) -> int:
        return sum(self._pending[payer].values())

    def take(self, prepared: Prepared, spare_stroops: int) -> bool:
        """Whether its maximum fee fits beside what is pending; it is counted then, until it is given back. What is
        alone is always taken: the network says what is wrong with it."""
        pending = self._pending[prepared.payer]
        if pending and sum(pending.values()) + prepared.max_fee_stroops > spare_stroops:
            return False
        pending[prepared.transaction_hash] = prepared.max_fee_stroops
        return True

    def give_back(self, prepared: Prepared) -> None:
        self._pending[prepared.payer].pop(prepared.transaction_hash, None)
