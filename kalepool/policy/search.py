"""Whom to hash for: the farmer whose next zero is cheapest.

One hash has at least z zeros with probability 16^-z, and within a block one more zero is worth the same for every
farmer, up to the block's max_zeros. So a hash is best spent on the farmer with the fewest zeros: that serves those
below max_zeros before all others, and when there are none, what is left over goes on the same way, since the block's
best becomes the next block's max_zeros. Each next zero costs 16 times the one before, so this greedy order is also
the best one over the time left in the block.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

WorkerT = TypeVar("WorkerT", bound=Hashable)


def pick(zeros: Sequence[int], offset: int = 0) -> int:
    """The position of the farmer to hash for, given the best zeros of each. `offset` spreads several threads over ties.

    ValueError when there is no farmer.
    """
    fewest = min(zeros)
    tied = [position for position, z in enumerate(zeros) if z == fewest]
    return tied[offset % len(tied)]


def divide(zeros: Mapping[str, int], workers: Mapping[WorkerT, float]) -> dict[WorkerT, tuple[str, ...]]:
    """Shares the farmers out to workers by speed (hashes/s), the ones with fewest zeros first in each worker's list.

    Farmers with equal zeros (a tier) are laid side by side on a line as long as all speeds together, the workers
    likewise; a worker gets the farmers its piece of the line touches. So with few workers each farmer has about one,
    with many each farmer has workers of about equal speed in sum, every worker has farmers of every tier to go on
    with, and a small change moves few.
    """
    total = sum(workers.values())
    if not zeros or not workers or total <= 0:
        return {worker: tuple(zeros) for worker in workers}
    tiers: dict[int, list[str]] = {}
    for farmer, z in sorted(zeros.items()):
        tiers.setdefault(z, []).append(farmer)

    shares: dict[WorkerT, list[str]] = {worker: [] for worker in workers}
    for _, farmers in sorted(tiers.items()):
        scale = len(farmers) / total
        start = 0.0
        for worker, speed in workers.items():
            end = start + speed * scale
            first = min(int(start + 1e-9), len(farmers) - 1)
            last = max(first + 1, min(math.ceil(end - 1e-9), len(farmers)))
            shares[worker].extend(farmers[first:last])
            start = end
    return {worker: tuple(share) for worker, share in shares.items()}


class SearchPlan:
    """The same order for a caller that hands out chunks one by one, aware of what is being hashed already. O(log n) a
    call.

    A farmer's rank is the expected price of one more zero for one more hash, given its chunks in flight: with zeros z
    and h hashes in flight the next zero is still missing with probability exp(-h·16^-(z+1)), and is 16 times dearer
    where it is not.
    """

    def __init__(self, zeros: Mapping[str, int]) -> None:
        self._zeros = dict(zeros)
        self._in_flight = dict.fromkeys(zeros, 0)
        # Entries are never searched for and removed: an outdated one is recognised by its version and skipped.
        self._version = dict.fromkeys(zeros, 0)
        self._heap: list[tuple[float, int, str, int]] = []
        for farmer in zeros:
            self._push(farmer)

    def __len__(self) -> int:
        return len(self._zeros)

    def zeros(self, farmer: str) -> int:
        """The farmer's best zeros so far."""
        return self._zeros[farmer]

    def take(self, hashes: int) -> str:
        """The farmer that the next `hashes` hashes are for; they count as in flight until `finish`. LookupError if
        there is none.
        """
        while self._heap:
            _, _, farmer, version = heapq.heappop(self._heap)
            if self._version.get(farmer) == version:
                self._in_flight[farmer] += hashes
                self._push(farmer)
                return farmer
        raise LookupError("there is no farmer to hash for")

    def finish(self, farmer: str, hashes: int, zeros: int | None) -> None:
        """A chunk is done, with its best `zeros`, or lost with its worker (None)."""
        if farmer in self._zeros:
            self._in_flight[farmer] = max(0, self._in_flight[farmer] - hashes)
            self._zeros[farmer] = max(self._zeros[farmer], zeros or 0)
            self._push(farmer)

    def improve(self, farmer: str, zeros: int) -> None:
        """Somebody else found a share of this farmer."""
        self.finish(farmer, 0, zeros)

    def add(self, farmer: str, zeros: int = 0) -> None:
        """Hash for this farmer too. Does nothing when it is there already."""
        if farmer not in self._zeros:
            self._zeros[farmer], self._in_flight[farmer] = zeros, 0
            self._push(farmer)

    def drop(self, farmer: str) -> None:
        """Hash for this farmer no more."""
        if self._zeros.pop(farmer, None) is not None:
            del self._in_flight[farmer]
            self._version[farmer] += 1

    def _push(self, farmer: str) -> None:
        version = self._version[farmer] = self._version.get(farmer, 0) + 1
        z, h = self._zeros[farmer], self._in_flight[farmer]
        missing = math.exp(-h * 16.0 ** -(z + 1))
        gain = 16.0 ** -(z + 1) * (missing + (1 - missing) / 16)
        heapq.heappush(self._heap, (-gain, h, farmer, version))
