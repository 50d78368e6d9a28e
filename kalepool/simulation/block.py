"""One block: its ledgers, its pails, what they earn and what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kalepool.policy.price_gate import PailFees
from kalepool.protocol.lifecycle import new_farm_block
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import normalise, pot, reward, scale
from kalepool.simulation.luck import Rng

BLOCK_SECONDS = 300
LEDGERS = 70  # more than a block lasts


@dataclass(slots=True)
class Tally:
    """The pool's yield of one block, in stroops of KALE. The rewards are split by what earned the points.

    `fees` in stroops of XLM. `rewards` and `paying_zeros` by farmer: zeros count from the block's min_zeros to its
    max_zeros.
    """

    zeros: float = 0.0
    gap: float = 0.0
    stake: float = 0.0
    lost: float = 0.0
    fees: float = 0.0
    hashes: float = 0.0
    farmers: int = 0
    planted: int = 0
    worked: int = 0
    mean_zeros: float = 0.0
    mean_gap: float = 0.0
    rewards: list[float] = field(default_factory=list)
    paying_zeros: list[int] = field(default_factory=list)

    @property
    def won(self) -> float:
        """Rewards less stakes lost."""
        return self.zeros + self.gap + self.stake - self.lost

    def net_xlm(self, price: float) -> float:
        """What is left in stroops of XLM when a KALE is worth `price` XLM."""
        return self.won * price - self.fees


class Ledgers:
    """Ledger close times of one block: `closes[0]` is the ledger that started it, `end` the first of the next block.

    `late`: how long after its time the next block is started, in seconds.
    """

    def __init__(self, rng: Rng, start: float, seconds: float = 5.0, late: float = 0.0) -> None:
        steps = seconds + rng.normal(0, 0.15, LEDGERS)
        self.closes = start + np.concatenate(([0.0], np.cumsum(steps)))
        self.end = int(np.argmax(np.floor(self.closes) >= math.floor(start) + BLOCK_SECONDS + late))

    def inclusion(self, rng: Rng, sent: float) -> int:
        """The ledger that includes what is sent now: after some latency, at times one ledger late, seldom three."""
        latency = rng.lognormal(math.log(1.2), 0.4)
        late = rng.random()
        ledger = int(np.searchsorted(self.closes, sent + latency))
        return min(ledger + (3 if late < 0.001 else 1 if late < 0.02 else 0), len(self.closes) - 1)


@dataclass(frozen=True, slots=True)
class Others:
    """The other farmers' pails of one block, an array each: stake in stroops, and the gap and zeros of their work where
    `worked`."""

    stakes: np.ndarray
    gaps: np.ndarray
    zeros: np.ndarray
    worked: np.ndarray


def points_of(block: Block, others: Others) -> int:
    """The points of all the others' works: protocol.rewards.normalise for arrays."""
    most = scale(block)

    def points(values: np.ndarray, low: int, high: int) -> np.ndarray:
        counted = np.clip(values[others.worked], low, high).astype(np.int64) - low
        range_ = max(high - low, 1)
        # The largest range is the scale itself: this way no product is too large.
        return np.maximum(counted if range_ == most else counted * most // range_, 1)

    by_gap = points(others.gaps, block.min_gap, block.max_gap)
    by_stake = points(others.stakes, block.min_stake, block.max_stake)
    by_zeros = points(others.zeros, block.min_zeros, block.max_zeros)
    return int(by_gap.sum()) + int(by_stake.sum()) + int(by_zeros.sum())


class SimulatedBlock:
    """The contract's arithmetic of one block, for works whose hashes were never made.

    `stakes`: of the pool's farmers, None for one that sits the block out. `planted`: the ledger of each plant.
    """

    def __init__(
        self,
        index: int,
        block: Block,
        start: float,
        stakes: Sequence[int | None],
        planted: Sequence[int],
        others: Others,
    ) -> None:
        self.index = index
        mine = [stake for stake in stakes if stake is not None]
        theirs = others.stakes
        self.others_staked = int(theirs.sum())
        unworked = int(theirs[~others.worked].sum())
        self.block = replace(
            block, staked_total=sum(mine) + unworked, normalized_total=block.normalized_total + points_of(block, others)
        )
        bounds = replace(
            new_farm_block(math.floor(start)),
            min_stake=min([*mine, int(theirs.min())]) if len(theirs) else min(mine),
            max_stake=max([*mine, int(theirs.max())]) if len(theirs) else max(mine),
        )
        if others.worked.any():
            gaps, zeros = others.gaps[others.worked], others.zeros[others.worked]
            bounds = replace(
                bounds,
                min_gap=int(gaps.min()),
                max_gap=int(gaps.max()),
                min_zeros=int(zeros.min()),
                max_zeros=int(zeros.max()),
            )
        self.farm_block = bounds
        self.pails = [
            None if stake is None else Pail(at, None, stake, None) for at, stake in zip(planted, stakes, strict=True)
        ]
        self.works = 0
        """Works that were sent, whether they came in time or not: each has its fee."""

    @property
    def planted(self) -> list[int]:
        """Which farmers have a pail."""
        return [farmer for farmer, pail in enumerate(self.pails) if pail is not None]

    def work(self, farmer: int, ledger: int, zeros: int) -> bool:
        """As lifecycle.work after its hash checks. False where the contract refuses."""
        pail, block, farm_block = self.pails[farmer], self.block, self.farm_block
        if pail is None:
            return False
        gap = ledger - pail.sequence
        if gap < 1 or (pail.zeros is not None and zeros <= pail.zeros):
            return False
        total, staked = block.normalized_total + sum(normalise(block, gap, pail.stake, zeros)), block.staked_total
        if pail.zeros is None:
            staked -= pail.stake
        else:
            total -= sum(normalise(block, gap, pail.stake, pail.zeros))
        self.block = replace(block, normalized_total=total, staked_total=staked)
        self.farm_block = replace(
            farm_block,
            min_gap=min(farm_block.min_gap, gap),
            max_gap=max(farm_block.max_gap, gap),
            min_zeros=min(farm_block.min_zeros, zeros),
            max_zeros=max(farm_block.max_zeros, zeros),
        )
        self.pails[farmer] = replace(pail, gap=gap, zeros=zeros)
        return True

    def tally(self, hashes: float, fees: PailFees) -> Tally:
        """What the pool's pails earned, and what they cost."""
        block = self.block
        result = Tally(hashes=hashes, farmers=len(self.pails), planted=len(self.planted))
        per_point = pot(block, self.index) / max(block.normalized_total, 1)
        zeros_sum = gap_sum = 0
        for pail in self.pails:
            earned, paying = 0.0, 0
            if pail is not None and (pail.zeros is None or pail.gap is None):
                result.lost += pail.stake
            elif pail is not None and pail.zeros is not None and pail.gap is not None:
                gap, stake, zeros = normalise(block, pail.gap, pail.stake, pail.zeros)
                earned = (gap + stake + zeros) * per_point
                result.gap += gap * per_point
                result.stake += stake * per_point
                result.zeros += zeros * per_point
                assert abs(reward(block, pail, self.index) - earned) <= 1 + 1e-9 * per_point
                paying = min(max(pail.zeros, block.min_zeros), block.max_zeros) - block.min_zeros
                zeros_sum, gap_sum = zeros_sum + pail.zeros, gap_sum + pail.gap
                result.worked += 1
            result.rewards.append(earned)
            result.paying_zeros.append(paying)
        if result.worked:
            result.mean_zeros, result.mean_gap = zeros_sum / result.worked, gap_sum / result.worked
        result.fees = fees.plant * result.planted + fees.work * self.works + fees.harvest * result.worked
        return result
