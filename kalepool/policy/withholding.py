"""Miners that hold back shares with many zeros: whether those that they bring have as many as chance would have it.

A share of difficulty d is a number below 2^64 / d, any of them as likely as another. So it has z zeros or more with
probability d / 16^z, and of many shares the sum of these is expected. How many have them is a sum of independent
trials; that so few do is at most as likely as of a Poisson variable with the same mean, while it is below the mean by
one or more: Hoeffding, On the distribution of the number of successes in independent trials, Ann. Math. Statist. 27
(1956), theorem 4; Anderson and Samuels, Some inequalities among binomial and Poisson probabilities, Proc. 5th Berkeley
Symp. 1 (1967), theorem 2.1. So the Poisson tail accuses nobody too soon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNLIKELY = 1e-6
"""Less likely than this is no chance."""

MOST_ZEROS = 16
"""A difficulty is a bound on so many hex digits."""


@dataclass(frozen=True, slots=True)
class ShareGroup:
    """Accepted shares of one difficulty with just so many zeros."""

    difficulty: int
    zeros: int
    shares: int


@dataclass(frozen=True, slots=True)
class Dearth:
    """Shares with `zeros` zeros or more: how many came, how many were to be expected, and how likely that is."""

    zeros: int
    found: int
    expected: float
    probability: float

    @property
    def is_withholding(self) -> bool:
        return self.probability < UNLIKELY


def poisson_tail(found: int, expected: float) -> float:
    """The probability that a Poisson variable of this mean is `found` or less."""
    if found < 0:
        return 0.0
    if expected <= 0:
        return 1.0
    term = math.exp(found * math.log(expected) - expected - math.lgamma(found + 1))
    total, count = 0.0, found
    while count >= 0 and term > total * 1e-17:
        total += term
        term *= count / expected
        count -= 1
    return min(total, 1.0)


def worst_dearth(groups: Iterable[ShareGroup]) -> Dearth | None:
    """The least likely dearth of one miner's shares, over all numbers of zeros that could tell. None where none could.

    Several numbers of zeros are looked at, so the least of their probabilities counts that many times.
    """
    groups = list(groups)
    shares = sum(group.shares for group in groups)
    seen: list[Dearth] = []
    for zeros in range(1, MOST_ZEROS + 1):
        expected = sum(group.shares * min(group.difficulty / 16**zeros, 1.0) for group in groups)
        if expected < -math.log(UNLIKELY):
            break  # not even none at all would be unlikely, here or with more zeros
        if expected < shares:
            found = sum(group.shares for group in groups if group.zeros >= zeros)
            # The bound holds from one below the mean on; nearer to it nothing is unlikely.
            likely = poisson_tail(found, expected) if found <= expected - 1 else 1.0
            seen.append(Dearth(zeros, found, expected, likely))
    if not seen:
        return None
    worst = min(seen, key=lambda dearth: dearth.probability)
    return Dearth(worst.zeros, worst.found, worst.expected, min(worst.probability * len(seen), 1.0))
