"""Hashrates over the last hour, by searcher, for the chart."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.marking import mark

HISTORY_SECONDS = 3600
BIN_SECONDS = 30

SLOW_SECONDS = 10.0
"""What was read stays for so long: samples come no more often."""

GONE_SECONDS = 120.0
"""Who has reported no hashrate for so long is named no more."""


@dataclass(frozen=True, slots=True)
class Series:
    """Hashes a second of one searcher, one value for each of the history's times."""

    label: str
    values: tuple[float, ...]
    miner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Hashrates by searcher over the last hour, the same times for all."""

    times: tuple[datetime, ...] = ()
    series: tuple[Series, ...] = ()


class HistoryReader:
    """Reads the history, and keeps it for as long as there can be nothing new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: tuple[float, History] | None = None

    async def read(self) -> History:
        """Raises DatabaseError."""
        if self._kept is not None and time.monotonic() - self._kept[0] < SLOW_SECONDS:
            return self._kept[1]
        now = datetime.now(UTC)
        first_bin = int(now.timestamp() - HISTORY_SECONDS) // BIN_SECONDS
        since = datetime.fromtimestamp(first_bin * BIN_SECONDS, UTC)
        known = {"since": since, "first_bin": first_bin, "bin_seconds": BIN_SECONDS}
        rows = await self._database.fetch_all("select_hashrates", **known)
        history = await asyncio.to_thread(make_history, rows, since, now)  # with hundreds of miners it takes a while
        self._kept = (time.monotonic(), history)
        return history


def make_history(rows: Sequence[Mapping[str, Any]], since: datetime, now: datetime) -> History:
    """Rows (kind, number or miner_id, name; newest, the last bin; rates, "bin:hashes_per_second …", by bins since
    `since`) as series over whole bins.

    The bin that `now` is in is left out: it is not full yet. From the first one with a rate on, a bin without one
    counts as 0. Who has not been heard of for GONE_SECONDS is one with all others of its kind. Miners of one name are
    told apart by the end of their ids.
    """
    open_bin = int((now - since).total_seconds()) // BIN_SECONDS
    long_ago = open_bin - GONE_SECONDS / BIN_SECONDS
    found: list[tuple[tuple[str, UUID | None], list[tuple[int, float]]]] = []
    for row in rows:
        pairs = (each.partition(":") for each in row["rates"].split())
        rates = [(int(number), float(rate)) for number, _, rate in pairs]
        found.append((_called(row, gone=row["newest"] < long_ago), [each for each in rates if each[0] < open_bin]))
    first = min((rates[0][0] for _, rates in found if rates), default=open_bin)
    values: dict[tuple[str, UUID | None], list[float]] = defaultdict(lambda: [0.0] * (open_bin - first))
    for who, rates in found:
        for number, rate in rates:
            values[who][number - first] += rate
    times = tuple(since + timedelta(seconds=BIN_SECONDS * number) for number in range(first, open_bin))
    often = Counter(label for label, _ in values)
    return History(
        times,
        tuple(
            Series(f"{label} {str(miner)[-8:]}" if miner and often[label] > 1 else label, tuple(each), miner)
            for (label, miner), each in values.items()
        ),
    )


def _called(row: Mapping[str, Any], *, gone: bool) -> tuple[str, UUID | None]:
    """The series that a row is part of, and its miner."""
    miner_id = row["miner_id"]
    if miner_id is not None:
        return (mark("earlier miners"), None) if gone else (str(row["name"]), miner_id)
    if row["kind"] is None or gone:
        return mark("earlier workers"), None
    return f"{row['kind']} worker {row['number']}", None
