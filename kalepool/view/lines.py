"""What to say of the pool without a terminal: plain lines, when something changed and now and then besides."""

from __future__ import annotations

from kalepool.units import kale, rate, seconds
from kalepool.view.moment import BlockSummary, Moment
from kalepool.view.verdict import judge

QUIET_SECONDS = 15.0


def progress(moment: Moment) -> str:
    """The current block in one line, and its verdict's title."""
    left = moment.seconds_left
    best = "-" if moment.best_zeros is None else moment.best_zeros
    return (
        f"block {'-' if moment.index is None else moment.index}  {seconds(left)} left  "
        f"planted {moment.planted}/{moment.active}  worked {moment.worked}/{moment.planted}  "
        f"{rate(moment.hashes_per_second)}  best zeros {best}  {judge(moment).title}"
    )


def harvest(block: BlockSummary) -> str:
    """A block that is over, in one line."""
    said = "given up" if block.given_up else f"harvested {block.harvested}/{block.planted}"
    return (
        f"block {block.block_index}  {said}  worked {block.worked}/{block.planted}  "
        f"best zeros {'-' if block.best_zeros is None else block.best_zeros}  "
        f"reward {kale(block.rewarded_stroops)} KALE  forecast {kale(block.forecast_stroops)} KALE"
    )


def changes(before: Moment | None, after: Moment, quiet_seconds: float) -> list[str]:
    """What to print now. `quiet_seconds`: since the last line was printed.

    A verdict that turns to trouble is told in full; one that turns from it is told with the block, as are all others.
    """
    said: list[str] = []
    known = {block.block_index: block for block in before.blocks} if before else {}
    for block in reversed(after.blocks):
        old = known.get(block.block_index)
        if block.is_settled and (old is None or not old.is_settled) and before is not None:
            said.append(harvest(block))
    was, verdict = judge(before) if before else None, judge(after)
    turned = was is None or (was.level, was.title) != (verdict.level, verdict.title)
    worse = turned and verdict.is_trouble and not after.is_silent  # who listens to the chain tells why it is silent
    better = turned and was is not None and was.is_trouble and not verdict.is_trouble
    if before is None or _stage(before) != _stage(after) or better or quiet_seconds >= QUIET_SECONDS:
        said.append(progress(after) + (f": {verdict.detail}" if worse else ""))
    elif worse:
        said.append(f"{verdict.title}: {verdict.detail}")
    return said


def _stage(moment: Moment) -> tuple[int | None, bool, bool]:
    """What is worth a line when it changes: the block, everybody planted, everybody worked."""
    return moment.index, moment.planted >= moment.active > 0, moment.worked >= moment.planted > 0
