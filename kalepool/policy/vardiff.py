"""How hard the shares of an external miner's rig are: variable difficulty ("vardiff"), so that each rig finds one every
few seconds (config.py's miner_share_seconds), however fast it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

MIN_DIFFICULTY = 2**12
"""A share a second from the slowest phone core would have this; below it the pool would hash more than the miner."""

MAX_DIFFICULTY = 2**60
FIRST_DIFFICULTY = 2**18
"""For a miner whose speed is not known: 26 s a share at 10 kH/s, and soon raised for a fast one."""


REVIEW_SHARES = 12
REVIEW_SECONDS = 60.0
BAND = 1.6
"""A difficulty is changed when shares come this many times too fast or too slow: twice the noise of REVIEW_SHARES."""

INSURANCE_STEPS = 16
"""How much easier than its pace asks for a rig's share may be made, so that a farmer without zeros gets its first."""


FIRST_STEPS = 8
"""How much easier than its pace asks for a rig's first share is: who starts soon sees that it works."""

BURST_SHARES = 2.0
FASTEST = 20.0
"""Shares that come all at once waited somewhere, behind an outage or in a batch: beyond BURST_SHARES, only as many
count for the pace as come at FASTEST times the wanted rate."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A miner's difficulty, and the shares accepted since. A share of an easier job is a part of one.

    settled: whether a review found it right: who was never seen may be any times as fast as it was taken for.
    room: how much of a share may count at once for a settled one, as of `added_at`.
    """

    difficulty: int
    since_at: datetime
    shares: float = 0
    settled: bool = False
    room: float = BURST_SHARES
    added_at: datetime | None = None

    def add(self, credited_hashes: int, now: datetime, seconds_per_share: float) -> Pace:
        """The pace with one more share."""
        if not self.settled:
            return replace(self, shares=self.shares + credited_hashes / self.difficulty)
        passed = max((now - (self.added_at or now)).total_seconds(), 0.0)
        room = min(self.room + passed * FASTEST / seconds_per_share, BURST_SHARES)
        counted = min(credited_hashes / self.difficulty, room)
        return replace(self, shares=self.shares + counted, room=room - counted, added_at=now)


def difficulty_for(hashes_per_second: float, seconds_per_share: float) -> int:
    """The difficulty at which this speed finds a share every `seconds_per_share`, within the pool's limits."""
    return round(min(max(hashes_per_second * seconds_per_share, MIN_DIFFICULTY), MAX_DIFFICULTY))


def adjust(pace: Pace, now: datetime, seconds_per_share: float) -> Pace:
    """The difficulty to go on with: the same until REVIEW_SHARES or REVIEW_SECONDS say that it is wrong. Call it any
    time.

    The speed is the mean of a gamma distribution whose prior is one share in `seconds_per_share`: n shares in t
    seconds give (n + 1) / (t + seconds_per_share). So a miner far too fast is raised 13-fold at its 12th share (a
    settled one 9-fold in 2.5 s), and one that is silent is lowered 13-fold after a minute.
    """
    elapsed = max((now - pace.since_at).total_seconds(), 0.0)
    if pace.shares < REVIEW_SHARES and elapsed < REVIEW_SECONDS:
        return pace
    factor = (pace.shares + 1) / (elapsed + seconds_per_share) * seconds_per_share
    if 1 / BAND <= factor <= BAND:
        # A change of speed must not drown in hours of earlier shares.
        return replace(pace, settled=True) if elapsed < 5 * REVIEW_SECONDS else Pace(pace.difficulty, now, settled=True)
    return Pace(difficulty_for(pace.difficulty * factor, 1.0), now, settled=pace.settled)


def job_difficulty(pace: int, zeros: int, *, whole_zeros: bool = False, first: bool = False) -> int:
    """Hashes a share of this job is to take on average: the rig's `pace`, less where less would help the farmer, and
    less for the `first` share of a rig.

    A hash that beats the farmer's `zeros` is wanted even if the pace asks for more, or a slow miner would never save a
    stake; but not more than INSURANCE_STEPS times as often. Credits go by the job's difficulty, so this changes nothing
    for the miner. With `whole_zeros` the result is a power of 16, for programs that know no finer target.
    """
    wanted = pace // FIRST_STEPS if first else pace
    difficulty = max(min(wanted, max(16 ** (zeros + 1), pace // INSURANCE_STEPS)), MIN_DIFFICULTY)
    if not whole_zeros:
        return difficulty
    digits = (difficulty.bit_length() - 1) // 4
    return 16 ** (digits + (16 ** (2 * digits + 1) < difficulty**2))  # the nearest in ratio
