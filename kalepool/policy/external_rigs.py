"""Which farmer each rig of an external miner hashes for.

The rule is search.py's: of the farmers with the fewest zeros the first in turn get all the hash power, in equal parts.
A rig hashes for one farmer at a time and is told over HTTP, so it stays where it is for as long as that is no worse.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from typing import TypeVar

from kalepool.policy.search import next_ones
from kalepool.policy.turns import at_once

FarmerT = TypeVar("FarmerT", bound=Hashable)
RigT = TypeVar("RigT", bound=Hashable)

NEWS_SECONDS = 0.25
"""How long rigs are taken to go on, on average, before they know of a find for their farmer. Four rigs beside the pool
took 0.1 to 0.3 s, by the shares that still came for a farmer with its zero in runs of benchmarks/fairness.py, read by
hand. Far away it is longer, and a little more than turns.py's WASTE is lost. Taken for more than it is, more farmers
are served at once, and whose turn it is gets less."""

CROWDED = 1.25
"""A farmer may have this many times its equal part before a rig that is there already is sent elsewhere."""


def assign(
    zeros: Mapping[FarmerT, int],
    speeds: Mapping[RigT, float],
    present: Mapping[RigT, FarmerT],
    floor: int = 0,
    least: int = 0,
    *,
    processes: int = 1,
) -> dict[RigT, FarmerT]:
    """The farmer of every rig. `zeros` in the order of the farmers' turns (turns.py), `floor` the block's min_zeros:
    zeros up to it earn nothing. `least`: what all are raised to first. `speeds` in hashes/s; `present` is where the
    rigs are now, as far as they are anywhere. processes: how many share all rigs in about equal parts, of which these
    are one.

    Empty when there is no farmer. A rig leaves its farmer when others have fewer zeros or are served before it, or when
    too much power is there and less would be where it goes. Who has no place goes, fastest first, to the farmer with
    the least power. Who is placed well stays: assign(zeros, speeds, placed) is placed.
    """
    if not zeros:
        return {}
    power = {rig: round(speed) for rig, speed in speeds.items()}  # whole numbers add up the same in any order
    farmers = list(zeros)
    positions, fewest = next_ones(list(zeros.values()), floor, least)
    equals = [farmers[position] for position in positions]
    served = at_once(len(equals), sum(power.values()) * processes * NEWS_SECONDS, fewest)
    rigs: dict[FarmerT, list[RigT]] = {farmer: [] for farmer in equals[:served]}
    homeless: list[RigT] = []
    for rig in sorted(power, key=lambda rig: -power[rig]):
        rigs.get(present[rig], homeless).append(rig) if rig in present else homeless.append(rig)
    load = {farmer: sum(power[rig] for rig in there) for farmer, there in rigs.items()}
    order = {farmer: position for position, farmer in enumerate(load)}
    # The least power first. A farmer's entry is made anew when its power changes; older ones are passed over.
    heap = [(here, order[farmer], farmer) for farmer, here in load.items()]
    heapq.heapify(heap)

    def lightest() -> FarmerT:
        while heap[0][0] != load[heap[0][2]]:
            heapq.heappop(heap)
        return heap[0][2]

    def carry(rig: RigT, farmer: FarmerT, sign: int) -> None:
        load[farmer] += sign * power[rig]
        heapq.heappush(heap, (load[farmer], order[farmer], farmer))

    for rig in homeless:
        farmer = lightest()
        rigs[farmer].append(rig)
        carry(rig, farmer, 1)
    most = sum(power.values()) / len(load) * CROWDED
    moved = True
    while moved:  # every move brings two farmers' power closer together, so this ends
        moved = False
        for crowd in sorted(load, key=lambda farmer: -load[farmer]):
            for rig in list(rigs[crowd]):
                farmer = lightest()
                if load[crowd] > most and load[farmer] + power[rig] < load[crowd]:
                    rigs[crowd].remove(rig)
                    rigs[farmer].append(rig)
                    carry(rig, crowd, -1)
                    carry(rig, farmer, 1)
                    moved = True
    return {rig: farmer for farmer, there in rigs.items() for rig in there}
