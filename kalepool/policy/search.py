"""Whom to hash for: the farmer whose next zero that pays is cheapest.

One hash has at least z zeros with probability 16^-z, and within a block one more zero is worth the same for every
farmer from the block's min_zeros up to its max_zeros. So a hash is best spent on the farmer with the fewest zeros:
that serves those below max_zeros before all others, and when there are none, what is left over goes on the same way,
since the block's best becomes the next block's max_zeros. Each next zero costs 16 times the one before, so the greedy
order is also the best one over the time left in the block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kalepool.policy.turns import at_once

RAISED_PART = 0.5
"""The part of a block's hashes that may go into raising all farmers: the others are for the turns to give."""


def raised_to(floor: int, farmers: int, hashes: float) -> int:
    """The most zeros, up to `floor`, that so many farmers all get with a part of so many hashes."""
    zeros = 0
    while zeros < floor and farmers * 16.0 ** (zeros + 1) <= RAISED_PART * hashes:
        zeros += 1
    return zeros


def next_ones(zeros: Sequence[int], floor: int, least: int = 0) -> tuple[list[int], int]:
    """The positions of the farmers whose next zero is to be found now, all alike, and the zeros that it has to beat.

    ValueError when there is no farmer.
    """
    fewest = max(min(zeros), floor) if min(zeros) >= least else least - 1
    return [position for position, z in enumerate(zeros) if z <= fewest], fewest


def pick(zeros: Sequence[int], offset: int = 0, floor: int = 0, hashes: float = math.inf, least: int = 0) -> int:
    """The position of the farmer to hash for, given the best zeros of each, in the order of their turns (turns.py).

    `floor` is the block's min_zeros: zeros up to it earn nothing, so all farmers there are equal, the first zero that
    pays costs the same for each. `hashes` is what the pool tries until all its searchers know of a find: where finds
    are rare the first in turn has all the power, else `offset` spreads threads over the first ones. Each is served
    until it is past the floor. That leaves others low, which costs them nothing in this block, but makes the next
    block's min_zeros low. Where the pool is better off with a high one (planting.py), `least` is what all are raised to
    first: it costs nothing, since a hash finds a zero that pays as likely for one of the equals as for another.
    ValueError when there is no farmer.
    """
    equals, fewest = next_ones(zeros, floor, least)
    return equals[offset % at_once(len(equals), hashes, fewest)]
