"""The other farmers of the network as it is: some 1,800 of several kinds, some of whom follow the block's bounds.

The bounds that follow are those of autumn 2026: gap 2 to 55, stake 0 to 0.65 KALE, zeros 5 to 8; an average pail earns
about half a KALE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from kalepool.policy.price_gate import PailFees
from kalepool.protocol.model import STROOPS_PER_KALE, ZERO_ENTROPY, Block
from kalepool.simulation.block import Others, points_of
from kalepool.simulation.luck import Rng

LEDGER_SECONDS = 5.1
LATE_SECONDS = (11.0, 23.0)
"""How long after its time a block is followed by the next: the least and the most."""

FEES = PailFees(plant=35_000, work=30_000, harvest=15_000)
"""0.008 XLM a pail: within what is charged in surges, which are the normal state."""

PRICES = (0.002, 0.01, 0.05)
"""XLM for a KALE: below what any pail costs, about what an average pail breaks even at, and far above."""

PAILS = 1_800
FIRST_INDEX = 203_000
BOUNDS = Block(0, 2, 0, 5, 55, 6_500_000, 8, ZERO_ENTROPY, 0, 0)
FOLLOWED_STAKE = 10 * STROOPS_PER_KALE
"""The most that somebody stakes who follows the bounds, in the median."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of farmer: its part of all, its stake in stroops, the chances of its best hash's zeros from 5 on, and
    between which gaps it works. `present`: the chance that it is there in a block."""

    name: str
    part: float
    stake: int
    zeros: tuple[float, float, float, float]
    gaps: tuple[int, int]
    present: float = 1.0


KINDS = (
    Kind("early", 0.20, 0, (0.75, 0.22, 0.03, 0.0), (2, 18)),
    Kind("idle", 0.40, 0, (0.55, 0.35, 0.10, 0.0), (18, 54)),
    Kind("staking", 0.30, 6_500_000, (0.35, 0.40, 0.23, 0.02), (25, 55)),
    Kind("strong", 0.099, 6_500_000, (0.0, 0.20, 0.60, 0.20), (45, 55)),
    Kind("rich", 0.001, 10 * STROOPS_PER_KALE, (0.0, 0.20, 0.60, 0.20), (45, 55), present=0.05),
)


class Reaction(StrEnum):
    """How many of those who stake at all follow the bounds: some, half of the way; none; or most, all of the way.

    Whoever follows all of the way keeps a bound up that somebody else raised once.
    """

    SOME = "some"
    NONE = "none"
    MOST = "most"


FOLLOWING = {Reaction.NONE: 0.0, Reaction.SOME: 0.1, Reaction.MOST: 0.6}
WAY = {Reaction.NONE: 0.0, Reaction.SOME: 0.5, Reaction.MOST: 1.0}


class Mainnet:
    """The other farmers, block after block. With the same seed it is the same world, whatever the pool does in it."""

    def __init__(
        self, rng: Rng, reaction: Reaction = Reaction.SOME, pails: int = PAILS, bounds: Block = BOUNDS
    ) -> None:
        """`bounds`: those that the others make, by the same kinds of farmers."""
        self.rng = rng
        self._bounds = bounds
        counts = [max(round(kind.part * pails), 1) for kind in KINDS]
        self._kind = np.repeat(np.arange(len(KINDS)), counts)
        largest = max(bounds.max_stake, 1) / BOUNDS.max_stake
        self._stakes = np.array([int(kind.stake * largest) for kind in KINDS], dtype=np.int64)[self._kind]
        longer = (bounds.max_gap - bounds.min_gap) / (BOUNDS.max_gap - BOUNDS.min_gap)
        low, high = (
            [round(bounds.min_gap + (kind.gaps[end] - BOUNDS.min_gap) * longer) for kind in KINDS] for end in (0, 1)
        )
        self._low, self._high = np.array(low)[self._kind], np.array(high)[self._kind]
        self._chances = np.cumsum(np.array([kind.zeros for kind in KINDS]), axis=1)[self._kind]
        self._present = np.array([kind.present for kind in KINDS])
        count = len(self._kind)
        self._follows = (self._stakes > 0) & (rng.random(count) < FOLLOWING[reaction])
        self._way = WAY[reaction]
        self._most = rng.lognormal(np.log(FOLLOWED_STAKE), 1.0, count).astype(np.int64)

    def late(self) -> float:
        """How long after its time this block is followed by the next, in seconds."""
        return float(self.rng.uniform(*LATE_SECONDS))

    def others(self, block: Block) -> Others:
        """Their pails in this block. Who follows the bounds stakes what counts, as far as it can, and searches for
        the zeros that still pay."""
        rng, count = self.rng, len(self._kind)
        there = (rng.random(len(KINDS)) < self._present)[self._kind]
        zeros = BOUNDS.min_zeros + (rng.random(count)[:, None] > self._chances).sum(axis=1)
        more = rng.random(count) < 1 / 16
        zeros = np.where(self._follows & more, zeros + 1, zeros)
        zeros = np.minimum(zeros, BOUNDS.max_zeros) + self._bounds.min_zeros - BOUNDS.min_zeros
        gaps = rng.integers(self._low, self._high, endpoint=True)
        worked = rng.random(count) < 0.99
        followed = np.minimum(self._most, int(block.max_stake * self._way))
        stakes = np.where(self._follows, np.maximum(followed, self._stakes), self._stakes)
        return Others(stakes[there], gaps[there], zeros[there], worked[there])


def pails_behind(block: Block) -> int:
    """How many such pails have as many points as a block that is over."""
    bounds = replace(block, normalized_total=0, staked_total=0)
    sample = Mainnet(np.random.default_rng(0), bounds=bounds).others(bounds)
    return max(round(block.normalized_total / points_of(bounds, sample) * len(sample.stakes)), 1)
