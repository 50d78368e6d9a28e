"""How long the pool's XLM lasts, by what the network took of late. Pure."""

from __future__ import annotations

from dataclasses import dataclass

WARN_HOURS = (24, 3)
"""Operators are told when it lasts for less than so many hours, the second time urgently."""

MEASURED_SECONDS = 86_400.0
"""Over how long it is measured: a day, or since the pool began."""

LEAST_BLOCKS = 3
"""A pool that began just now is taken to have burned what it has over at least so many blocks."""


@dataclass(frozen=True, slots=True)
class Endurance:
    """What the pool's accounts can spend on fees, and what they spend in an hour, in stroops of XLM."""

    spare_stroops: int
    hourly_stroops: float

    @property
    def hours(self) -> float | None:
        """None where nothing is spent."""
        return self.spare_stroops / self.hourly_stroops if self.hourly_stroops else None

    @property
    def short_of(self) -> int | None:
        """The least of WARN_HOURS that it does not last; None where it lasts for all of them."""
        hours = self.hours
        return None if hours is None else min((each for each in WARN_HOURS if hours < each), default=None)

    @property
    def daily_stroops(self) -> int:
        return round(24 * self.hourly_stroops)


def endurance(spare_stroops: int, burned_stroops: int, over_seconds: float, block_seconds: int) -> Endurance:
    """By fees of the last MEASURED_SECONDS, of which the first was `over_seconds` ago."""
    seconds = min(max(over_seconds, LEAST_BLOCKS * block_seconds), MEASURED_SECONDS)
    return Endurance(max(spare_stroops, 0), burned_stroops * 3600 / seconds)
