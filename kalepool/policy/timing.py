"""When a transaction will land: ledgers to come, and inclusion times as they were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TAIL = 0.1
"""The part of the measured times that the tail is fitted to."""

MIN_SAMPLES = 20
"""Below this many measured times the prior is used as well."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """How long from submitting until the close of the ledger that included it, in seconds.

    `median`, and the tail beyond `threshold`: P(time > threshold + x) = TAIL · exp(-x / tail_seconds).
    """

    median: float
    threshold: float
    tail_seconds: float

    @classmethod
    def fit(cls, samples: Sequence[float], ledger_seconds: float) -> Inclusion:
        """Fits measured times (any order). With few of them, times of 1 and 2 ledgers (tail half a ledger) count too.

        The tail is the exponential case of peaks over threshold (Pickands 1975): the mean excess over the 90 % quantile
        is its scale. It reaches beyond the longest time seen, where an empirical quantile could not.
        """
        known = list(samples)
        if len(known) < MIN_SAMPLES:
            missing = MIN_SAMPLES - len(known)
            known += [ledger_seconds * (1 + step / missing) for step in range(missing)]
        known.sort()
        threshold = known[math.ceil((1 - TAIL) * len(known)) - 1]
        excess = [time - threshold for time in known if time > threshold]
        mean_excess = sum(excess) / len(excess) if excess else 0.0
        # Even where all times seen were equal, a late ledger may come.
        return cls(known[len(known) // 2], threshold, max(mean_excess, ledger_seconds / 4))

    def seconds(self, probability: float) -> float:
        """The time within which a transaction is included with `probability`, which is above 1 - TAIL and below 1."""
        return self.threshold + self.tail_seconds * math.log(TAIL / (1 - probability))


@dataclass(frozen=True, slots=True)
class LedgerClock:
    """The ledgers to come, foreseen from the last one seen. All times in unix seconds."""

    ledger: int
    closed_at: float
    ledger_seconds: float

    def last_close_before(self, time: float) -> float:
        """When the last ledger that closes before `time` closes; the last ledger seen, if no more does."""
        ledgers = math.ceil((time - self.closed_at) / self.ledger_seconds - 1e-9) - 1
        return self.closed_at + max(ledgers, 0) * self.ledger_seconds

    def ledger_at(self, time: float) -> int:
        """The first ledger that closes at `time` or after it, and after the last one seen."""
        return self.ledger + max(1, math.ceil((time - self.closed_at) / self.ledger_seconds - 1e-9))
