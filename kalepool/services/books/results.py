"""What blocks and days cost and brought: XLM of fees, KALE of rewards, and what is left at the price then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from kalepool.database import Database, first_id, id_time
from kalepool.protocol.model import U32_MAX
from kalepool.units import amount, kale

DAYS = 7
"""So many days are shown."""

FINISHED_SECONDS = 3600.0
"""Days that are over are read again when what is known is older: a stake may be found lost, or a harvest late."""

RESTS = 20
"""A day that runs is not read again before so many times as long as reading it took have passed."""

LEAST_REST_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodResult:
    """Stroops: of XLM what fees were paid for, failed tries too; of KALE rewards `won` and stakes `lost`. `worth`: in
    XLM, that of the KALE won less that of the KALE lost, as far as a price was known; the KALE of which none was known
    are `unpriced`."""

    plant_fee_stroops: int
    work_fee_stroops: int
    harvest_fee_stroops: int
    other_fee_stroops: int
    won_stroops: int
    lost_stroops: int
    worth_stroops: int
    unpriced_stroops: int

    @property
    def spent_stroops(self) -> int:
        return self.plant_fee_stroops + self.work_fee_stroops + self.harvest_fee_stroops + self.other_fee_stroops

    @property
    def net_stroops(self) -> int | None:
        """XLM that are left. None where KALE were won or lost whose price nobody knew."""
        return None if self.unpriced_stroops else self.worth_stroops - self.spent_stroops

    @property
    def left(self) -> str:
        """`net_stroops` in words."""
        if self.net_stroops is None:
            return "not known: no price of KALE"
        return f"{kale(self.net_stroops, 4)} XLM"

    @property
    def in_words(self) -> str:
        """All of it in one line."""
        lost = f", {kale(self.lost_stroops)} KALE lost" if self.lost_stroops else ""
        return f"{kale(self.won_stroops)} KALE won{lost}, {kale(self.spent_stroops, 4)} XLM spent, left {self.left}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult(PeriodResult):
    """`price_xlm`: what a KALE was taken to be worth when the block was planted."""

    block_index: int
    price_xlm: float | None

    @property
    def price(self) -> str:
        return "not known" if self.price_xlm is None else f"{amount(round(self.price_xlm * 10**7))} XLM"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult(PeriodResult):
    """Of a day in UTC: fees of what was sent on it, rewards of what was harvested on it, at their blocks' prices."""

    day: date


async def of_blocks(
    database: Database, *, before: int = U32_MAX + 1, oldest: int = 0, limit: int = 1
) -> list[BlockResult]:
    """Of blocks below `before` and not below `oldest` that the pool did something in, the newest first. Raises
    DatabaseError."""
    return await database.fetch_all("select_block_results", row=BlockResult, before=before, oldest=oldest, limit=limit)


async def of_block(database: Database, index: int) -> BlockResult | None:
    """None where nothing was done in it. Raises DatabaseError."""
    return next(iter(await of_blocks(database, before=index + 1, oldest=index)), None)


async def newest_harvested(database: Database) -> BlockResult | None:
    """Of the newest block with a harvest; None before the first. Raises DatabaseError."""
    row = await database.fetch_one("select_newest_harvested")
    return await of_block(database, row["block_index"]) if row else None


async def of_days(database: Database, days: Sequence[date]) -> list[DayResult]:
    """The newest first. Raises DatabaseError."""
    starts = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    return await database.fetch_all(
        "select_day_results",
        row=DayResult,
        days=list(days),
        firsts=[first_id(start) for start in starts],
        ends=[first_id(start + timedelta(days=1)) for start in starts],
    )


async def days_before(database: Database, before: date, limit: int) -> list[date]:
    """Up to so many days before this one, the newest first, back to the pool's first. Raises DatabaseError."""
    row = await database.fetch_one("select_first_submission")
    if row is None:
        return []
    first = id_time(row["submission_id"]).date()
    last = min(before - timedelta(days=1), today())
    return [last - timedelta(days=number) for number in range(min(limit, (last - first).days + 1))]


def today() -> date:
    """By this machine's clock, in UTC."""
    return datetime.now(UTC).date()


class Days:
    """The newest days, read so that asking often costs little."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[date, tuple[float, date, DayResult]] = {}  # when it was read, on which day, and what
        self._rest_seconds = LEAST_REST_SECONDS
        self._lock = asyncio.Lock()

    async def read(self, count: int = DAYS) -> list[DayResult]:
        """Up to so many days, the newest first. Raises DatabaseError."""
        async with self._lock:
            return await self._read(count)

    async def _read(self, count: int) -> list[DayResult]:
        now, this_day = time.monotonic(), today()
        wanted = await days_before(self._database, this_day + timedelta(days=1), count)

        def is_fresh(day: date) -> bool:
            if day not in self._known:
                return False
            at, on, _ = self._known[day]
            return now - at < self._rest_seconds if day == this_day else on > day and now - at < FINISHED_SECONDS

        old = [day for day in wanted if not is_fresh(day)]
        for found in await of_days(self._database, old) if old else []:
            self._known[found.day] = now, this_day, found
        if this_day in old:
            self._rest_seconds = max(LEAST_REST_SECONDS, RESTS * (time.monotonic() - now))
        self._known = {day: self._known[day] for day in wanted}
        return [self._known[day][2] for day in wanted]
