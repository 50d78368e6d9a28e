"""Equals take turns: one order among farmers that are worth the same, the most owed first.

What a farmer is owed is its equal part of the zero points that the pool's pails earned over the last day, less what it
had. So luck evens out by debt. A block counts for whom it had a pail of, and for whom the pool left out of it though it
could have been planted: not for who was away (new, without funds, leaving), so nobody comes back with a claim to what
others farmed meanwhile. The first blocks, where nobody is owed anything, go by hash(seed, farmer): the seed is the
block's entropy, so no farmer is first for good.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

FarmerT = TypeVar("FarmerT", bound=Hashable)

BEST = 1_000_000
"""The zero points of a pail with its block's max_zeros."""

WASTE = 0.1
"""The part of the hash power that may go on for farmers that have their zero already, while the news travel."""


def zero_points(zeros: int | None, min_zeros: int, max_zeros: int) -> int:
    """What a pail's zeros earn, in millionths of what its block's best earn. None is a pail without work."""
    paying = min(max((zeros or 0) - min_zeros, 0), max(max_zeros - min_zeros, 0))
    return paying * BEST // max(max_zeros - min_zeros, 1)


def owed(blocks: Iterable[Mapping[FarmerT, int]]) -> dict[FarmerT, int]:
    """By farmer, given the zero points of all that a block counts for, block by block; 0 for who was left out of it.

    As services/owed.py reads it from the database. Nobody else is owed anything: a new farmer starts at zero.
    """
    parts: dict[FarmerT, float] = {}
    for points in blocks:
        part = sum(points.values()) / max(len(points), 1)
        for farmer, had in points.items():
            parts[farmer] = parts.get(farmer, 0.0) + part - had
    return {farmer: round(part) for farmer, part in parts.items()}


def in_turn(farmers: Iterable[str], owed: Mapping[str, int], seed: bytes) -> list[str]:
    """The farmers in the order of their turns: the most owed first, then by hash(seed, farmer)."""
    return sorted(farmers, key=lambda f: (-owed.get(f, 0), hashlib.sha256(seed + f.encode()).digest()))


def at_once(equals: int, hashes: float, zeros: int) -> int:
    """How many of so many equals, the first in turn, are searched for at the same time; at least one.

    `hashes` is what all searchers try until the news of a find reach them, `zeros` what the equals have that pays or
    need not be beaten. A find wastes its farmer's part of `hashes`, so with finds that come quickly more are served.
    """
    finds = hashes * 16.0 ** -(zeros + 1)
    return max(1, min(equals, math.ceil(min(finds / WASTE, equals))))
