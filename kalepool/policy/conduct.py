"""How miners behave: rubbish is counted, slowed, and in the end kept out for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from kalepool.policy.shares import ShareOutcome

POINTS = {
    ShareOutcome.ACCEPTED: -1.0,
    ShareOutcome.STALE: 0.1,  # beyond those that an honest miner has
    ShareOutcome.UNKNOWN_JOB: 1.0,
    ShareOutcome.DUPLICATE: 1.0,
    ShareOutcome.LOW_DIFFICULTY: 2.0,
    ShareOutcome.OUT_OF_RANGE: 4.0,
    ShareOutcome.MALFORMED: 4.0,
}
"""What each outcome adds to a miner's score."""

FIRST_SPARE, MOST_SPARE = 6_000, 50_000
"""Stale shares that cost a miner nothing, at first and at most. Each accepted share adds one: an outage makes no more
stale than were brought before it in the same time. At first, for those that the pool's own restart made stale."""

HASTE_POINTS = 2.0
"""For a request that comes before the wait it was told is over."""

HALF_LIFE_SECONDS = 60.0
SLOW_SCORE = 40.0
BAN_SCORE = 200.0
SLOW_SECONDS = 1.0
"""The wait between two requests at SLOW_SCORE; it grows with the score."""

FIRST_BAN_SECONDS = 600.0
LONGEST_BAN_SECONDS = 86_400.0


class Standing(StrEnum):
    """Whether a miner's shares are taken now."""

    OK = "ok"
    SLOWED = "slowed"
    BANNED = "banned"


@dataclass(frozen=True, slots=True)
class Conduct:
    """What is kept of a miner's conduct: a score that halves every HALF_LIFE_SECONDS, its bans so far, and how many
    more stale shares cost nothing."""

    score: float
    scored_at: datetime
    bans: int = 0
    banned_until: datetime | None = None
    spare: int = FIRST_SPARE

    def score_at(self, now: datetime) -> float:
        """The score as it has faded until `now`."""
        return self.score * 0.5 ** (max((now - self.scored_at).total_seconds(), 0.0) / HALF_LIFE_SECONDS)


def judge(conduct: Conduct | None, outcome: ShareOutcome, now: datetime) -> Conduct:
    """The conduct after one more share. At BAN_SCORE it is a ban, twice as long as the one before, and the score
    starts anew.
    """
    conduct = conduct or Conduct(0.0, now)
    if outcome is ShareOutcome.ACCEPTED:
        conduct = replace(conduct, spare=min(conduct.spare + 1, MOST_SPARE))
    elif outcome is ShareOutcome.STALE and conduct.spare:
        return replace(conduct, spare=conduct.spare - 1)
    return _add_points(conduct, POINTS[outcome], now)


def judge_haste(conduct: Conduct, now: datetime, rigs: int = 1) -> Conduct:
    """The conduct after a request that came before the miner's wait was over. Of several rigs one was told to wait, and
    the others cannot know: it costs the less the more there are."""
    return _add_points(conduct, HASTE_POINTS / max(rigs, 1), now)


def _add_points(conduct: Conduct, points: float, now: datetime) -> Conduct:
    score = max(conduct.score_at(now) + points, 0.0)
    if score < BAN_SCORE:
        return replace(conduct, score=score, scored_at=now)
    seconds = min(FIRST_BAN_SECONDS * 2**conduct.bans, LONGEST_BAN_SECONDS)
    return Conduct(0.0, now, conduct.bans + 1, now + timedelta(seconds=seconds), spare=0)


def standing(conduct: Conduct | None, now: datetime) -> tuple[Standing, float]:
    """How the miner stands, and the seconds it has to wait: until the ban ends, or from each request to its next."""
    if conduct is None:
        return Standing.OK, 0.0
    if conduct.banned_until is not None and now < conduct.banned_until:
        return Standing.BANNED, (conduct.banned_until - now).total_seconds()
    score = conduct.score_at(now)
    if score < SLOW_SCORE:
        return Standing.OK, 0.0
    return Standing.SLOWED, SLOW_SECONDS * score / SLOW_SCORE
