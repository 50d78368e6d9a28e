"""Who may try which nonces, unique by construction.

A nonce is 64 bits. The highest is 1 for searchers of our own and 0 for jobs of external miners, the next 21 name the
searcher or job, the low 42 are its own counter. Two never overlap and one never repeats itself, so nobody keeps books:
what a dead worker held is simply dropped.

Every searcher (one incarnation of a Ray worker) and every job is named by a serial number that is handed out once and
never again: each kind has a database sequence, so that jobs, of which there are many, never come round to a searcher.
Whoever loses its counter, by dying or restarting, takes a new serial.
"""

from __future__ import annotations

from dataclasses import dataclass

from kalepool.errors import KalepoolError

COUNTER_BITS = 42
PREFIX_BITS = 63 - COUNTER_BITS
PREFIXES = 2**PREFIX_BITS
"""Of searchers, and as many of jobs."""
COUNTERS = 2**COUNTER_BITS
"""Nonces of one searcher in one block: a searcher of 14 GH/s does not use them up in 300 s."""

SPEED_MEMORY_SECONDS = 10.0
"""How far back a measured speed looks."""


class RangeExhaustedError(KalepoolError):
    """A searcher has tried all its nonces of this block: it must go on under a new serial."""

    code = "range-exhausted"


@dataclass(frozen=True, slots=True)
class NonceRange:
    """`count` nonces from `start` on."""

    start: int
    count: int

    @property
    def end(self) -> int:
        """The first nonce after the range."""
        return self.start + self.count

    def __contains__(self, nonce: int) -> bool:
        return self.start <= nonce < self.end


def prefix_range(serial: int) -> NonceRange:
    """All nonces of the searcher with this serial. ValueError when the serial is negative."""
    if serial < 0:
        raise ValueError(f"a searcher's serial is not negative: {serial}")
    return NonceRange((PREFIXES + serial % PREFIXES) << COUNTER_BITS, COUNTERS)


def job_range(serial: int) -> NonceRange:
    """All nonces of the job with this serial. They come round after PREFIXES jobs: no block has so many."""
    return NonceRange((serial % PREFIXES) << COUNTER_BITS, COUNTERS)


class Searcher:
    """One searcher's nonces: a counter that only moves forward within a block.

    Kept where the searcher is driven from, and by one owner only; it is not stored anywhere.
    """

    def __init__(self, serial: int) -> None:
        self.nonces = prefix_range(serial)
        self.serial = serial
        self._index = -1
        self._used = 0

    @property
    def left(self) -> int:
        """Nonces not taken yet in the current block."""
        return COUNTERS - self._used

    def take(self, index: int, count: int) -> NonceRange:
        """The next `count` nonces in block `index`, for whichever farmer; fewer at the end of the searcher's range.

        A higher block index starts again from 0: the index is part of the hash. Raises ValueError for a lower one or
        a count below 1, RangeExhaustedError when nothing is left.
        """
        if count < 1:
            raise ValueError(f"cannot take {count} nonces")
        if index < self._index:
            raise ValueError(f"block {index} is over: this searcher is in block {self._index}")
        if index > self._index:
            self._index, self._used = index, 0
        if not self.left:
            raise RangeExhaustedError(
                f"searcher {self.serial} has used up its nonces of block {index}: take a new serial"
            )
        taken = NonceRange(self.nonces.start + self._used, min(count, self.left))
        self._used += taken.count
        return taken

    def is_outdated(self, newest_serial: int) -> bool:
        """Whether so many serials were handed out since that this one's prefix may soon be given to another.

        The searcher should then take a new serial, at the latest in the next block. Half of all prefixes are left for
        that block.
        """
        return newest_serial - self.serial >= PREFIXES // 2


def measure_speed(previous: float | None, count: int, seconds: float) -> float:
    """The speed in hashes/s after `count` hashes took `seconds`, smoothed over about SPEED_MEMORY_SECONDS.

    A longer time weighs more (exponential smoothing over time, not over reports). ValueError unless `seconds` is
    positive.
    """
    if seconds <= 0:
        raise ValueError(f"{count} hashes cannot take {seconds} s")
    speed = count / seconds
    if previous is None:
        return speed
    weight = seconds / (seconds + SPEED_MEMORY_SECONDS)
    return previous + weight * (speed - previous)
