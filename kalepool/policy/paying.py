"""Which miners are paid, and in what order: who waits longest first, as far as the treasury reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class PayoutReason(StrEnum):
    """Why a miner is paid now."""

    THRESHOLD = "threshold"
    WISH = "wish"
    AGE = "age"


@dataclass(frozen=True, slots=True)
class PayoutTerms:
    """The pool's: from which amount on a miner is paid, and after how many days whatever it is."""

    threshold_stroops: int
    days: float


def reason_of(
    due_stroops: int, own_threshold: int | None, since: datetime | None, terms: PayoutTerms, now: datetime
) -> PayoutReason | None:
    """Why this much is to be paid now; None: it waits. `since`: the oldest of what is due was earned."""
    if due_stroops <= 0:
        return None
    if due_stroops >= max(terms.threshold_stroops, own_threshold or 0):
        return PayoutReason.THRESHOLD
    if since is not None and now - since >= timedelta(days=terms.days):
        return PayoutReason.AGE
    return None


def affordable(amounts: Sequence[int], available_stroops: int) -> int:
    """How many of the first of these the treasury can pay."""
    for count, amount in enumerate(amounts):
        available_stroops -= amount
        if available_stroops < 0:
            return count
    return len(amounts)


def batches(payees: Sequence[tuple[T, bool]], most: int) -> list[list[T]]:
    """What may share a transaction, at most so many: `alone` (a memo is the whole transaction's) goes by itself."""
    together = [payee for payee, alone in payees if not alone]
    rest = [[payee] for payee, alone in payees if alone]
    return [together[start : start + most] for start in range(0, len(together), most)] + rest
