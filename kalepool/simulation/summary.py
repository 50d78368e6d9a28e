"""What a run of blocks came to: won, spent, left at a price, sat out, and how equally it was shared out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kalepool.protocol.model import STROOPS_PER_KALE
from kalepool.simulation.block import Tally

XLM = 10_000_000
"""Stroops of one."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How equal farmers fared who should fare alike: the paying zeros and the rewards of the least and the most
    favoured, summed over the blocks. Rewards in KALE."""

    blocks: int
    least_zeros: int
    most_zeros: int
    least_kale: float
    most_kale: float

    @property
    def zeros(self) -> int:
        return self.most_zeros - self.least_zeros

    @property
    def rewards(self) -> float:
        """How much more the most favoured got, as a part of the least favoured's."""
        return self.most_kale / self.least_kale - 1 if self.least_kale > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """Means of a block. `won`: rewards less lost stakes, in KALE. `spent` in XLM. `sat_out`: part of pails that were
    not planted."""

    blocks: int
    won: float
    lost: float
    spent: float
    sat_out: float
    zeros: float
    gap: float
    worked: float

    def net_xlm(self, price: float) -> float:
        return self.won * price - self.spent


def summarise(tallies: Sequence[Tally]) -> Summary:
    """ValueError for no blocks at all."""
    if not tallies:
        raise ValueError("no blocks")
    planted = sum(tally.planted for tally in tallies)

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    def per_pail(values: Sequence[float]) -> float:
        return float(np.average(values, weights=[tally.worked for tally in tallies])) if planted else 0.0

    return Summary(
        blocks=len(tallies),
        won=mean([tally.won for tally in tallies]) / STROOPS_PER_KALE,
        lost=mean([tally.lost for tally in tallies]) / STROOPS_PER_KALE,
        spent=mean([tally.fees for tally in tallies]) / XLM,
        sat_out=1 - planted / sum(tally.farmers for tally in tallies),
        zeros=per_pail([tally.mean_zeros for tally in tallies]),
        gap=per_pail([tally.mean_gap for tally in tallies]),
        worked=sum(tally.worked for tally in tallies) / planted if planted else 0.0,
    )


def spread(tallies: Sequence[Tally]) -> Spread:
    """Over all of these blocks."""
    zeros = np.array([tally.paying_zeros for tally in tallies]).sum(axis=0)
    kale = np.array([tally.rewards for tally in tallies]).sum(axis=0) / STROOPS_PER_KALE
    return Spread(len(tallies), int(zeros.min()), int(zeros.max()), float(kale.min()), float(kale.max()))
