"""When a transaction will land: the ledgers to come, and how many of them works took as measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kalepool.networks import Network

DAY_SECONDS = 86_400

MOST_LEDGERS = 20
"""A work never needs to leave more ledgers than this before the threshold of the tail."""

NEGLIGIBLE = 1e-5
"""A ledger earlier that makes missing less likely by no more than this is not worth it."""

TAIL = 0.1
"""The part of the measured values that the tail is fitted to."""

MIN_SAMPLES = 20
"""Below this many measured values, assumed ones fill up."""

OWN_SECONDS = 2.0
"""Assumed, while little is measured: what simulating, signing and sending takes."""


def blocks_per_day(network: Network) -> int:
    """Whole blocks in 24 hours: how far back turns and records look. How long a pail lives is another thing."""
    return DAY_SECONDS // network.block_seconds


QUIET_PART = 0.7
"""Of the time between two ledgers: so long after one nobody looks for the next."""

LOOKS = 10
"""Looks in the time between two ledgers, once they begin."""

LEAST_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class LedgerPace:
    """How fast ledgers come, by our own clock: when the next one is worth a look."""

    sequence: int = 0
    at: float = 0.0
    seconds: float | None = None  # between two ledgers, of late

    def saw(self, sequence: int, now: float) -> None:
        """A ledger that was not seen before."""
        if self.sequence and sequence > self.sequence:
            took = (now - self.at) / (sequence - self.sequence)
            self.seconds = took if self.seconds is None else 0.7 * self.seconds + 0.3 * took
        self.sequence, self.at = sequence, now

    def next_look(self, nominal_seconds: float, now: float) -> float:
        """Seconds from now. Where ledgers come faster than they should, as fast as they come."""
        seconds = min(nominal_seconds, self.seconds or nominal_seconds)
        quiet = self.at + QUIET_PART * seconds - now if self.sequence else 0.0
        return max(quiet, seconds / LOOKS, LEAST_LOOK_SECONDS)


SLOW_LEDGERS = 1.25
"""Ledgers may take so much longer than the network says."""


def living_blocks(temporary_ttl: int, network: Network) -> int:
    """How many blocks back a pail may still be on the ledger, at most. `temporary_ttl`: the network's, in ledgers."""
    return math.ceil(SLOW_LEDGERS * temporary_ttl * network.ledger_seconds / network.block_seconds) + 1


def urgent_blocks(temporary_ttl: int, network: Network) -> int:
    """From how many blocks back on a pail is harvested even while works are due: two thirds of its life are over."""
    return max(round(2 * temporary_ttl * network.ledger_seconds / network.block_seconds / 3), 1)


@dataclass(frozen=True, slots=True)
class LedgerClock:
    """The ledgers to come, foreseen from the last one read. Times in unix seconds."""

    ledger: int
    closed_at: float
    ledger_seconds: float

    def ledger_at(self, time: float) -> int:
        """The last ledger closed at `time`, though it may not have been read yet."""
        return self.ledger + max(0, math.floor((time - self.closed_at) / self.ledger_seconds + 1e-9))

    def close_of(self, ledger: int) -> float:
        """When this ledger closes or has closed."""
        return self.closed_at + (ledger - self.ledger) * self.ledger_seconds

    def last_before(self, time: float) -> int:
        """The last ledger that closes before `time`."""
        return self.ledger + math.ceil((time - self.closed_at) / self.ledger_seconds - 1e-9) - 1


@dataclass(frozen=True, slots=True)
class Inclusion:
    """In how many ledgers a work is included: 1 is the first to close after the decision to send it.

    `median`, and the tail from `threshold` on: P(more than threshold + x) = beyond · ratio^x.
    """

    median: int
    threshold: int
    beyond: float
    ratio: float

    @classmethod
    def fit(cls, samples: Sequence[int], ledger_seconds: float) -> Inclusion:
        """Fits measured values, in any order.

        The tail is geometric beyond the 90 % quantile (peaks over threshold, Pickands 1975, for whole numbers), so it
        reaches further than anything seen. One late value more than was seen, half of them later still, is assumed.
        """
        known = list(samples)
        if len(known) < MIN_SAMPLES:
            assumed = 1 + math.ceil(OWN_SECONDS / ledger_seconds)
            known += [assumed + (number % 2) for number in range(MIN_SAMPLES - len(known))]
        known.sort()
        threshold = known[math.ceil((1 - TAIL) * len(known)) - 1]
        excess = [value - threshold for value in known if value > threshold]
        return cls(
            median=known[len(known) // 2],
            threshold=threshold,
            beyond=(len(excess) + 0.5) / (len(known) + 1),
            ratio=(sum(excess) - len(excess) + 0.5) / (sum(excess) + 1),
        )

    def miss(self, ledgers: int) -> float:
        """The chance not to be included within this many ledgers; 1 below the threshold, to be on the safe side."""
        if ledgers < self.threshold:
            return 1.0
        return self.beyond * self.ratio ** (ledgers - self.threshold)

    def ledgers_needed(self, landing_probability: float, loss: float, worth: float) -> int:
        """How many ledgers before the last safe one a work should leave.

        At least so many that it lands with `landing_probability`; beyond that as many as cost least, where every ledger
        costs `worth` and missing costs `loss`, in stroops.
        """
        needed = self.threshold
        while needed < self.threshold + MOST_LEDGERS:
            miss = self.miss(needed)
            saved = miss - self.miss(needed + 1)
            if 1 - miss >= landing_probability and (saved <= NEGLIGIBLE or saved * loss <= worth):
                break
            needed += 1
        return needed
