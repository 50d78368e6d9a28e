"""What a block should bring: rivals' points foreseen from past blocks, and the zeros that the pool's power will reach.

Points are counted in units of a block's scale: 1 is what the best gap, the best stake or the best zeros alone bring, so
a pail has 3 at most. The contract's floor of one point is left out: it is a millionth where anybody stakes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import normalise, scale

PAST_BLOCKS = 12
"""Of how many blocks rivals' points are averaged: an hour."""

PRIOR_GAP = 0.95
"""The part of the best gap that the pool's pails get, before it had any."""

LOWER_ZEROS = 2
"""So much lower a block's min_zeros must have been to tell what that means for rivals: less is lost in their luck."""

LEAST_VARIED = 0.1
"""How much the bound of stakes must have varied, relative to its mean, to tell who follows it."""

FEW_WANTING = 30
"""Up to so many Poisson's distribution is summed up."""

SHARED_HIT = 1 / 16
"""A hash that has a zero more has one more still with this probability."""


@dataclass(frozen=True, slots=True)
class PastBlock:
    """A block that is over: its final state, the pool's worked pails in it, and what others had staked in all, in
    stroops, where it was seen."""

    block: Block
    ours: Sequence[Pail] = ()
    others_staked: int | None = None

    @property
    def others_points(self) -> float:
        """Of all that was not the pool's."""
        ours = sum(
            sum(normalise(self.block, pail.gap, pail.stake, pail.zeros))
            for pail in self.ours
            if pail.gap is not None and pail.zeros is not None
        )
        return max(self.block.normalized_total - ours, 0) / scale(self.block)

    @property
    def others_for_gap_and_zeros(self) -> float:
        """Their points less those for their stakes, as far as these were seen."""
        staked = 0.0 if self.others_staked is None else self.others_staked / self.stake_range
        return max(self.others_points - staked, 0.0)

    @property
    def stake_range(self) -> int:
        return max(self.block.max_stake - self.block.min_stake, 1)

    @property
    def our_gap(self) -> float | None:
        """The mean part of the best gap that ours had. None without any."""
        gaps = [pail.gap for pail in self.ours if pail.gap is not None]
        if not gaps:
            return None
        low, high = self.block.min_gap, self.block.max_gap
        return fmean((min(max(gap, low), high) - low) / max(high - low, 1) for gap in gaps)


@dataclass(frozen=True, slots=True)
class Rivals:
    """Everybody else, foreseen. `fixed`: points for gap and zeros. `staked`: what they stake in all whatever counts, in
    stroops, and `following`: how many more stake all that counts, and would stake more if more did. `most`: the largest
    stake of a rival. `left`: stakes of a block that nobody worked, which its reward is raised by.

    `fixed` is of blocks with the same bounds of zeros: the lower min_zeros, the more of everybody's zeros count.
    `lower`: that of the lowest min_zeros that was seen, `lower_zeros`, where it was clearly lower; else None."""

    fixed: float = 0.0
    staked: float = 0.0
    following: float = 0.0
    most: int = 0
    our_gap: float = PRIOR_GAP
    left: float = 0.0
    lower: float | None = None
    lower_zeros: int = 0

    @property
    def are_none(self) -> bool:
        """Whether nobody else was seen."""
        return self.points(1) <= 0 and self.staked <= 0 and self.following <= 0

    def points(self, stake_range: int) -> float:
        """All their points in a block whose stakes count over such a range."""
        if stake_range <= 1:
            return self.fixed
        return self.fixed + self.staked / stake_range + self.following

    @classmethod
    def foresee(cls, past: Sequence[PastBlock], bounds: Block | None = None) -> Rivals:
        """From blocks that are over, the newest last, for one with these bounds; None for any.

        What others staked is split by how it went with the bound: a + b·bound by least squares, of which `a` stays and
        `b` are those who follow. While the bound did not vary, nobody is taken to follow it.
        """
        late = past[-PAST_BLOCKS:]
        if not late:
            return cls()
        staked, following = _split([p for p in past if p.others_staked is not None])
        lowest = min(p.block.min_zeros for p in past)
        lower = None
        if bounds is not None and bounds.min_zeros - lowest >= LOWER_ZEROS:
            lower = _rest([p for p in past if p.block.min_zeros == lowest])
        gaps = [gap for p in late if (gap := p.our_gap) is not None]
        return cls(
            fixed=_rest([p for p in past if bounds is None or _zeros_of(p.block) == _zeros_of(bounds)] or late),
            staked=staked,
            following=following,
            most=_most(past),
            our_gap=fmean(gaps) if gaps else PRIOR_GAP,
            left=fmean(p.block.staked_total for p in late),
            lower=lower,
            lower_zeros=lowest,
        )


def _zeros_of(block: Block) -> tuple[int, int]:
    return block.min_zeros, block.max_zeros


def _rest(blocks: Sequence[PastBlock]) -> float:
    return fmean(p.others_for_gap_and_zeros for p in blocks[-PAST_BLOCKS:])


def _split(seen: Sequence[PastBlock]) -> tuple[float, float]:
    """What others stake whatever counts, in stroops, and how many stake all that counts."""
    late = seen[-PAST_BLOCKS:]
    if not late:
        return 0.0, 0.0
    recent = fmean(p.others_staked or 0 for p in late)
    bound = fmean(p.stake_range for p in late)
    xs, ys = [float(p.stake_range) for p in seen], [float(p.others_staked or 0) for p in seen]
    middle, mean = fmean(xs), fmean(ys)
    varied = fmean((x - middle) ** 2 for x in xs)
    if varied <= (LEAST_VARIED * middle) ** 2:
        return recent, 0.0
    slope = fmean((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / varied
    following = min(max(slope, 0.0), recent / bound)
    return recent - following * bound, following


def _most(past: Sequence[PastBlock]) -> int:
    """The largest stake of a rival: a block's bound is the largest stake of the block before, so it tells where it is
    not the pool's own. As lately known; where the pool's stakes hid it in all blocks, no more than the lowest bound."""
    known = [
        after.block.max_stake
        for before, after in pairwise(past)
        if after.block.max_stake > max((pail.stake for pail in before.ours), default=0)
    ]
    return max(known[-PAST_BLOCKS:], default=min(p.block.max_stake for p in past))


def paying_zeros(hashes: float, farmers: int, block: Block) -> float:
    """Points for zeros that so many farmers reach with so many hashes, all together, by the schedule: everybody's first
    paying zero before anybody's second. The mean over their luck, level by level."""
    levels = block.max_zeros - block.min_zeros
    if levels < 1:
        return 0.0
    having = [0.0] * (levels + 1)
    having[0] = float(farmers)
    for level in range(levels):
        price = 16.0 ** (block.min_zeros + level + 1)
        found = _served(having[level], hashes / price)
        hashes -= found * price
        having[level] -= found
        for above in range(level + 1, levels):
            having[above] += found * (1 - SHARED_HIT)
            found *= SHARED_HIT
        having[levels] += found
    return sum(level * count for level, count in enumerate(having)) / levels


def _served(wanting: float, finds: float) -> float:
    """How many of so many get theirs where so many finds are expected: less than either, since finds come by chance and
    those beyond go elsewhere. The mean of the lesser, where finds are Poisson's; of many, normal."""
    if wanting <= FEW_WANTING:
        chance, short = math.exp(-finds), 0.0
        for found in range(math.ceil(wanting)):
            short += (wanting - found) * chance
            chance *= finds / (found + 1)
        return min(max(wanting - short, 0.0), finds)
    if finds <= 0:
        return 0.0
    spread = math.sqrt(finds)
    behind = (wanting - finds) / spread
    density = math.exp(-behind * behind / 2) / math.sqrt(2 * math.pi)
    return min(max(finds - spread * (density - behind * math.erfc(behind / math.sqrt(2)) / 2), 0.0), wanting, finds)
