"""Numbers to shapes: what the page's charts draw, as SVG attributes. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kalepool.units import rate
from kalepool.view.history import History, Series
from kalepool.view.moment import BlockSummary
from kalepool.view.words import ENGLISH, Language

MOST_SERIES = 6
"""Series told apart by colour; the smaller ones are one."""

WIDTH, HEIGHT = 600, 200
LEFT, RIGHT, TOP, BOTTOM = 80, 8, 10, 24
"""Room for the axes' words, in the picture's own units."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the chart, or a word under it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Area:
    """One layer of a stacked chart."""

    label: str
    path: str
    now: str
    miner_id: UUID | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One block's reward."""

    block_index: int
    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`areas` or `bars`, inside one frame. `summary` says the same in words."""

    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    areas: tuple[Area, ...]
    bars: tuple[Bar, ...]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 2.5, 5 or 10 times a power of ten that is not below `value`; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def hashrate_chart(history: History, words: Language = ENGLISH) -> Chart | None:
    """Hashrates over time, stacked. None with fewer than two points."""
    if len(history.times) < 2:
        return None
    series = largest(history.series, words)
    count = len(history.times)
    top = nice_ceiling(max(sum(one.values[at] for one in series) for at in range(count)))
    areas, floor = [], [0.0] * count
    for one in series:
        ceiling = [low + value for low, value in zip(floor, one.values, strict=True)]
        there = [_point(at, count, value, top) for at, value in enumerate(ceiling)]
        back = [_point(at, count, value, top) for at, value in reversed(list(enumerate(floor)))]
        areas.append(
            Area(words.gettext(one.label), f"M{' L'.join(there + back)} Z", words.rate(one.values[-1]), one.miner_id)
        )
        floor = ceiling
    last = history.times[-1]
    marks = sorted({0, count // 2, count - 1})
    columns = tuple(Tick(_x(at, count), _ago(last, history.times[at], words)) for at in marks)
    total = [sum(one.values[at] for one in series) for at in range(count)]
    summary = words.say(
        "Now %(now)s; over this time from %(least)s to %(most)s.",
        now=words.rate(total[-1]),
        least=words.rate(min(total)),
        most=words.rate(max(total)),
    )
    return Chart(_rows(top, lambda value: words.signs(_short_rate(value))), columns, tuple(areas), (), summary)


def reward_chart(blocks: Sequence[BlockSummary], words: Language = ENGLISH) -> Chart | None:
    """Rewards by block; `blocks` newest first. None without a harvest."""
    shown = [block for block in reversed(blocks) if block.harvested or block.given_up]
    if not any(block.harvested for block in shown):
        return None
    total = sum(block.rewarded_stroops for block in shown)
    summary = words.counted(
        "%(kale)s KALE over %(num)s block, without stakes.",
        "%(kale)s KALE over %(num)s blocks, without stakes.",
        len(shown),
        kale=words.kale(total),
    )
    return block_chart([(block.block_index, block.rewarded_stroops) for block in shown], summary, words)


def block_chart(points: Sequence[tuple[int, int]], summary: str, words: Language = ENGLISH) -> Chart | None:
    """An amount by block, the oldest first, as bars. None without any."""
    if not points:
        return None
    top = nice_ceiling(max(amount for _, amount in points))
    bars = _bars(points, top, words)
    marks = sorted({0, len(points) - 1})
    columns = tuple(Tick(bars[at].x + bars[at].width / 2, str(points[at][0])) for at in marks)
    places = 0 if top >= 40_000_000 else 2
    return Chart(_rows(top, lambda value: words.kale(round(value), places)), columns, (), bars, summary)


def _bars(points: Sequence[tuple[int, int]], top: float, words: Language) -> tuple[Bar, ...]:
    step = (WIDTH - LEFT - RIGHT) / max(len(points), 12)
    bars = []
    for number, (index, amount) in enumerate(points):
        height = (HEIGHT - TOP - BOTTOM) * amount / top
        x = WIDTH - RIGHT - step * (len(points) - number) + step * 0.12
        y = HEIGHT - BOTTOM - height
        text = words.say("Block %(index)s: %(sum)s KALE", index=index, sum=words.kale(amount))
        bars.append(Bar(index, round(x, 1), round(y, 1), round(step * 0.76, 1), round(height, 1), text))
    return tuple(bars)


def largest(series: Sequence[Series], words: Language = ENGLISH) -> list[Series]:
    """The largest by name, the rest together."""
    ranked = sorted(series, key=lambda one: (-sum(one.values), one.label))
    if len(ranked) <= MOST_SERIES:
        return ranked
    rest = ranked[MOST_SERIES - 1 :]
    values = tuple(sum(column) for column in zip(*(one.values for one in rest), strict=True))
    return [*ranked[: MOST_SERIES - 1], Series(words.counted("%(num)s other", "%(num)s others", len(rest)), values)]


def _rows(top: float, say: Callable[[float], str]) -> tuple[Tick, ...]:
    return tuple(Tick(round(_y(top * part / 2, top), 1), say(top * part / 2)) for part in range(3))


def _short_rate(hashes_per_second: float) -> str:
    return rate(hashes_per_second).replace(".0 ", " ")


def _x(at: int, count: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * at / (count - 1), 1)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _point(at: int, count: int, value: float, top: float) -> str:
    return f"{_x(at, count)} {_y(value, top):.1f}"


def _ago(last: datetime, at: datetime, words: Language) -> str:
    seconds = (last - at).total_seconds()
    if seconds < 1:
        return words.say("now")
    if seconds >= 60:
        return words.say("%(minutes)s min ago", minutes=f"{seconds / 60:.0f}")
    return words.say("%(seconds)s s ago", seconds=f"{seconds:.0f}")
