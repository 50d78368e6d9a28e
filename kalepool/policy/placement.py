"""Which farmer each rig of an external miner hashes for, and how hard its shares must be.

The rule is search.py's: the farmers with the fewest zeros get all the hash power, in equal parts. A rig hashes for
one farmer at a time and is told over HTTP, so it stays where it is for as long as that is no worse.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from typing import TypeVar

from kalepool.policy.shares import MIN_DIFFICULTY

FarmerT = TypeVar("FarmerT", bound=Hashable)
RigT = TypeVar("RigT", bound=Hashable)

CROWDED = 1.25
"""A farmer may have this many times its equal part before a rig that is there already is sent elsewhere."""

INSURANCE_STEPS = 16
"""How much easier than its pace asks for a rig's share may be made, so that a farmer without zeros gets its first."""


def assign(
    zeros: Mapping[FarmerT, int], speeds: Mapping[RigT, float], present: Mapping[RigT, FarmerT]
) -> dict[RigT, FarmerT]:
    """The farmer of every rig. `speeds` in hashes/s; `present` is where the rigs are now, as far as they are anywhere.

    Empty when there is no farmer. A rig leaves its farmer when others have fewer zeros, or too much power is there; the
    rest goes, fastest first, to the farmer with the least.
    """
    if not zeros:
        return {}
    fewest = min(zeros.values())
    load = {farmer: 0.0 for farmer, z in zeros.items() if z == fewest}
    most = sum(speeds.values()) / len(load) * CROWDED
    placed: dict[RigT, FarmerT] = {}
    homeless: list[RigT] = []
    for rig in sorted(speeds, key=lambda rig: -speeds[rig]):
        farmer = present.get(rig)
        if farmer is not None and farmer in load and (load[farmer] == 0 or load[farmer] + speeds[rig] <= most):
            load[farmer] += speeds[rig]
            placed[rig] = farmer
        else:
            homeless.append(rig)
    order = {farmer: position for position, farmer in enumerate(load)}
    heap = [(power, order[farmer], farmer) for farmer, power in load.items()]
    heapq.heapify(heap)
    for rig in homeless:
        power, position, farmer = heap[0]
        placed[rig] = farmer
        heapq.heapreplace(heap, (power + speeds[rig], position, farmer))
    return placed


def job_difficulty(pace: int, zeros: int, *, whole_zeros: bool = False) -> int:
    """Hashes a share of this job is to take on average: the rig's `pace`, less where less would help the farmer.

    A hash that beats the farmer's `zeros` is wanted even if the pace asks for more, or a slow miner would never save a
    stake; but not more than INSURANCE_STEPS times as often. Credits go by the job's difficulty, so this changes nothing
    for the miner. With `whole_zeros` the result is a power of 16, for programs that know no finer target.
    """
    difficulty = max(min(pace, max(16 ** (zeros + 1), pace // INSURANCE_STEPS)), MIN_DIFFICULTY)
    if not whole_zeros:
        return difficulty
    digits = (difficulty.bit_length() - 1) // 4
    return 16 ** (digits + (16 ** (2 * digits + 1) < difficulty**2))  # the nearest in ratio
