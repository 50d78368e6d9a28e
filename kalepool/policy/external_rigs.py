"""Which farmer each rig of an external miner hashes for.

The rule is search.py's: the farmers with the fewest zeros get all the hash power, in equal parts. A rig hashes for
one farmer at a time and is told over HTTP, so it stays where it is for as long as that is no worse.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping
from typing import TypeVar

FarmerT = TypeVar("FarmerT", bound=Hashable)
RigT = TypeVar("RigT", bound=Hashable)

CROWDED = 1.25
"""A farmer may have this many times its equal part before a rig that is there already is sent elsewhere."""


def assign(
    zeros: Mapping[FarmerT, int], speeds: Mapping[RigT, float], present: Mapping[RigT, FarmerT]
) -> dict[RigT, FarmerT]:
    """The farmer of every rig. `speeds` in hashes/s; `present` is where the rigs are now, as far as they are anywhere.

    Empty when there is no farmer. A rig leaves its farmer when others have fewer zeros, or when too much power is there
    and less would be where it goes. Who has no place goes, fastest first, to the farmer with the least power. Who is
    placed well stays: assign(zeros, speeds, placed) is placed.
    """
    if not zeros:
        return {}
    fewest = min(zeros.values())
    power = {rig: round(speed) for rig, speed in speeds.items()}  # whole numbers add up the same in any order
    rigs: dict[FarmerT, list[RigT]] = {farmer: [] for farmer, z in zeros.items() if z == fewest}
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
