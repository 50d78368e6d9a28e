"""Equals take turns: one order among farmers that are worth the same, the most owed first.

What a farmer is owed is its equal part of what all the pool's pails had over the last day, less what it had itself: of
zeros that pay, and of the reward that gap and zeros brought, where that is much. So luck evens out by debt. A block
weighs the less the older it is: were it forgotten at once after a day, what was evened out then would be luck again. It
counts for whom it had a pail of, and for whom the pool left out of it though it could have been planted: not for who
was away (new, without funds, leaving), so nobody comes back with a claim to what others farmed meanwhile. The first
blocks, where nobody is owed anything, go by hash(seed, farmer): the seed is the block's entropy, so no farmer is first
for good.

The order decides for whom is searched, who sits a block out, whose plant leaves first and whose work last.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import normalise

FarmerT = TypeVar("FarmerT", bound=Hashable)

ONE = 1_000_000
"""Debts are in millionths of a zero that pays, or of what a block brings the mean of the pool's pails."""

FIRST = 2.0
"""So many zeros more the first one of a pail that pays counts. Farmers compare how many they have, and in how many
blocks they have any: both are evened out, and the blocks first, since there are fewer of them."""

LUCK = 0.5
"""Up to so many mean pails' rewards a farmer may be before or behind the others: zeros alone decide then, which even
out best, since a zero is worth less in a block that counts more of them."""

CATCH_UP = 8.0
"""What is beyond that counts as so many zeros for each mean pail's reward: rewards are much apart only where few pails
share a block, and a late work or a rare zero is most of it."""

WASTE = 0.1
"""The part of the hash power that may go on for farmers that have their zero already, while the news travel."""


def zeros_had(zeros: int | None, least: int, most: int) -> float:
    """What a pail with so many zeros had of those that pay. None is a pail without work. The bounds are the block's, as
    in protocol/rewards.py."""
    paying = min(max((zeros or 0) - least, 0), max(most - least, 0))
    return paying + FIRST * (paying > 0)


def rewards_had(block: Block, pails: Mapping[FarmerT, Pail]) -> dict[FarmerT, float]:
    """What gap and zeros brought each of the pool's pails in a block, in rewards of the mean one; 0 without a work.

    What a stake brings is not had: who stakes less has no claim to zeros for it. Nor has who plants by itself for a gap
    that it chose: it is none of `pails`. Raises as `normalise` does.
    """
    points = {
        farmer: normalise(block, pail.gap, pail.stake, pail.zeros)
        for farmer, pail in pails.items()
        if pail.gap is not None and pail.zeros is not None
    }
    mean = sum(map(sum, points.values())) / max(len(pails), 1)
    return dict.fromkeys(pails, 0.0) | {farmer: (gap + zeros) / mean for farmer, (gap, _, zeros) in points.items()}


def owed(blocks: Mapping[int, Mapping[FarmerT, float]], index: int, day: int) -> dict[FarmerT, int]:
    """By farmer, in block `index`: given what all had that a block counts for, by block, as `zeros_had` or
    `rewards_had` have it; 0 for who was left out of it. Of the `day` blocks before this one; the one before weighs 1,
    each older one a `day`-th less.

    As sql/queries/owed.sql reads it from the database. Nobody else is owed anything: a new farmer starts at zero.
    """
    debts: dict[FarmerT, float] = {}
    for at, pails in blocks.items():
        weight = (day - (index - 1 - at)) / day
        if not pails or not 0 < weight <= 1:
            continue
        part = sum(pails.values()) / len(pails)
        for farmer, had in pails.items():
            debts[farmer] = debts.get(farmer, 0.0) + weight * (part - had)
    return {farmer: round(debt * ONE) for farmer, debt in debts.items()}


def claim(zeros: int, reward: int) -> int:
    """What decides whose turn it is, in millionths of a zero, of who is owed so much of zeros and of rewards."""
    beyond = max(abs(reward) - LUCK * ONE, 0.0)
    return zeros + round(math.copysign(CATCH_UP * beyond, reward))


def in_turn(farmers: Iterable[str], claims: Mapping[str, int], seed: bytes) -> list[str]:
    """The farmers in the order of their turns: the most owed first, then by hash(seed, farmer)."""
    return sorted(farmers, key=lambda f: (-claims.get(f, 0), hashlib.sha256(seed + f.encode()).digest()))


def at_once(equals: int, hashes: float, zeros: int) -> int:
    """How many of so many equals, the first in turn, are searched for at the same time; at least one.

    `hashes` is what all searchers try until the news of a find reach them, `zeros` what the equals have that pays or
    need not be beaten. A find wastes its farmer's part of `hashes`, so with finds that come quickly more are served.
    """
    finds = hashes * 16.0 ** -(zeros + 1)
    return max(1, min(equals, math.ceil(min(finds / WASTE, equals))))
