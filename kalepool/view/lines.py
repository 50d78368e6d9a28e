"""What to say of the pool without a terminal: plain lines, when something changed and now and then besides."""

from __future__ import annotations

from kalepool.units import kale, rate, seconds
from kalepool.view.moment import BlockView, View

QUIET_SECONDS = 15.0


def progress(view: View) -> str:
    """The current block in one line."""
    left = view.seconds_left(view.at)
    best = "-" if view.best_zeros is None else view.best_zeros
    return (
        f"block {'-' if view.index is None else view.index}  {seconds(left)} left  "
        f"planted {view.planted}/{view.active}  worked {view.worked}/{view.planted}  "
        f"{rate(view.hashes_per_second)}  best zeros {best}"
    )


def harvest(block: BlockView) -> str:
    """A block that is over, in one line."""
    said = "given up" if block.status == "given_up" else f"harvested {block.harvested}/{block.planted}"
    return (
        f"block {block.block_index}  {said}  worked {block.worked}/{block.planted}  "
        f"best zeros {'-' if block.best_zeros is None else block.best_zeros}  "
        f"reward {kale(block.rewarded_stroops)} KALE  forecast {kale(block.forecast_stroops)} KALE"
    )


def changes(before: View | None, after: View, quiet_seconds: float) -> list[str]:
    """What to print now. `quiet_seconds`: since the last line was printed."""
    said: list[str] = []
    known = {block.block_index: block for block in before.blocks} if before else {}
    for block in reversed(after.blocks):
        old = known.get(block.block_index)
        if block.is_settled and (old is None or not old.is_settled) and before is not None:
            said.append(harvest(block))
    if before is None or _stage(before) != _stage(after) or quiet_seconds >= QUIET_SECONDS:
        said.append(progress(after))
    return said


def _stage(view: View) -> tuple[int | None, bool, bool]:
    """What is worth a line when it changes: the block, everybody planted, everybody worked."""
    return view.index, view.planted >= view.active > 0, view.worked >= view.planted > 0
