"""Hashrates over the last hour, by searcher, for the chart."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kalepool.database import Database

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
        since = now - timedelta(seconds=HISTORY_SECONDS)
        rows = await self._database.fetch_all("select_hashrates", since=since, bin_seconds=BIN_SECONDS)
        history = make_history(rows, now)
        self._kept = (time.monotonic(), history)
        return history


def make_history(rows: Sequence[dict[str, Any]], now: datetime) -> History:
    """Rows (at, hashes_per_second, and kind, number or miner_id, name) as series over whole bins.

    The bin that `now` is in is left out: it is not full yet. From the first one on, a bin without
    a row counts as 0. Who has not been heard of for GONE_SECONDS is one with all others of its kind.
    """
    step = timedelta(seconds=BIN_SECONDS)
    open_bin = datetime.fromtimestamp(now.timestamp() // BIN_SECONDS * BIN_SECONDS, UTC)
    rows = [row for row in rows if row["at"] < open_bin]
    if not rows:
        return History()
    first = min(row["at"] for row in rows)
    times = tuple(first + step * number for number in range(round((open_bin - first) / step)))
    positions = {at: number for number, at in enumerate(times)}
    newest: dict[tuple[Any, ...], datetime] = {}
    for row in rows:
        newest[_searcher(row)] = max(row["at"], newest.get(_searcher(row), first))
    long_ago = open_bin - timedelta(seconds=GONE_SECONDS)
    values: dict[tuple[str, UUID | None], list[float]] = defaultdict(lambda: [0.0] * len(times))
    for row in rows:
        miner_id = row["miner_id"]
        gone = newest[_searcher(row)] < long_ago
        if miner_id is not None:
            label, miner_id = ("earlier miners", None) if gone else (str(row["name"]), miner_id)
        elif row["kind"] is None or gone:
            label = "earlier workers"
        else:
            label = f"{row['kind']} worker {row['number']}"
        values[label, miner_id][positions[row["at"]]] += row["hashes_per_second"]
    return History(times, tuple(Series(label, tuple(found), miner) for (label, miner), found in values.items()))


def _searcher(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["miner_id"], row["kind"], row["number"]
