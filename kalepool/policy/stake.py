"""One stake for the pool's farmers, block by block.

A stake counts from the block's min_stake to its max_stake, which is the largest stake of the block before. More than
that earns nothing in this block, and raises the bar for the pool's own smaller stakes in the next. So all farmers stake
the same, S, but none more than its ceiling c: a part of its balance, and a most in KALE where it has set one. S is the
one that, kept up block after block, brings most:

    bound(S)  = max(the largest min(S, c) of ours, the rivals' largest)
    ours(S)   = n · gap + zeros + sum of min(S, c) / bound(S)
    worth(S)  = (1 - miss) · pot · ours(S) / (rivals(bound(S)) + ours(S))  -  miss · sum of min(S, c)

Points count in units of the block's scale (foresight.py). A higher bound makes the rivals' stakes count less: that is
the gain; `miss` is how likely a pail is not worked in time and its stake lost: that is the price.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from kalepool.policy.foresight import Rivals
from kalepool.units import part_of

LADDER = 1.25
"""The factor between two stakes that are looked at."""

WORTH_LESS = 0.01
"""A stake below the present bound has to bring this part more than the best one above: less counts less at once, while
what exceeds the bound only counts from the next block on."""

MOST_CEILINGS = 32
"""So many of the ceilings are looked at; of more farmers evenly chosen ones."""


@dataclass(frozen=True, slots=True)
class StakeQuestion:
    """What a common stake is chosen by. `other_points`: of the pool's pails for gap and zeros, all together. `bound`:
    the max_stake of the block that is planted. Amounts in stroops."""

    ceilings: Sequence[int]
    rivals: Rivals
    other_points: float
    pot: int
    miss: float
    bound: int


class _Worth:
    """worth(S), quickly for many S."""

    def __init__(self, question: StakeQuestion) -> None:
        self._question = question
        self._ceilings = sorted(question.ceilings)
        self._sums = [0, *accumulate(self._ceilings)]

    def __call__(self, stake: int) -> float:
        question = self._question
        below = bisect_right(self._ceilings, stake)
        staked = self._sums[below] + stake * (len(self._ceilings) - below)
        largest = stake if below < len(self._ceilings) else self._ceilings[-1]
        bound = max(largest, question.rivals.most, 1)
        ours = question.other_points + staked / bound
        reward = question.pot * ours / max(question.rivals.points(bound) + ours, 1e-9)
        return (1 - question.miss) * reward - question.miss * staked


def common_stake(question: StakeQuestion) -> int:
    """The stake of all farmers that can afford it, in stroops; where no rival was ever seen, what counts."""
    if not question.ceilings:
        return 0
    most = max(question.ceilings)
    if question.rivals.are_none:
        # Where somebody staked, what counts is enough for a start; else the pool is alone, whatever it stakes.
        return min(question.bound or most, most)
    value = _Worth(question)
    worth = {stake: value(stake) for stake in _candidates(question)}
    kept = min(question.bound, most)
    best = max(worth, key=lambda stake: (worth[stake], -stake))
    above = max((stake for stake in worth if stake >= kept), key=lambda stake: (worth[stake], -stake))
    return above if worth[best] - worth[above] <= WORTH_LESS * abs(worth[above]) else best


def _candidates(question: StakeQuestion) -> set[int]:
    """Stakes to look at: the bounds, ceilings, and a ladder from the smallest sum worth staking to the largest."""
    ceilings = sorted(set(question.ceilings))
    most = ceilings[-1]
    step = max(len(ceilings) // MOST_CEILINGS, 1)
    found = {0, most, *ceilings[::step], *(min(each, most) for each in (question.bound, question.rivals.most))}
    rung = float(max(question.rivals.most, 10_000))
    while rung < most:
        found.add(int(rung))
        rung *= LADDER
    return found


def ceiling_of(kale_stroops: int, part: Decimal, *most: int | None) -> int:
    """The most that a farmer stakes of such a balance, in stroops: this part of it, and no more than any of `most`."""
    return min([part_of(kale_stroops, part), *(each for each in most if each is not None)])


def stake_of(common: int, ceiling: int) -> int:
    """What a farmer with this ceiling stakes."""
    return min(common, ceiling)
