"""Whether the pool's stakes are safe, in one word: the same on the page, in the terminal and in `kalepool status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kalepool.units import counted, kale
from kalepool.view.moment import Moment

Level = Literal["good", "busy", "warn", "bad"]

PAUSED = ("Paused by the operator", "Nothing is planted. What was planted before is worked and harvested as ever.")

SAFE_TO_STOP = ("Paused, safe to stop", "Nothing is planted or on its way, and all that was planted is worked.")

NOBODY_MINES = "Nobody is mining"

STARTING_SECONDS = 10.0
"""What a pool that was just started takes to plant and search, however short its blocks are."""


@dataclass(frozen=True, slots=True)
class PoolVerdict:
    """level: good (nothing to do), busy (under way as it should be), warn (look at it), bad (a loss)."""

    level: Level
    title: str
    detail: str

    @property
    def is_trouble(self) -> bool:
        return self.level in ("warn", "bad")


def judge(moment: Moment) -> PoolVerdict:
    """Whether stakes are safe, in words for somebody who was just woken: those of this block, and, until the next one
    is over, those of the last."""
    now = _judge_block(moment)
    if now.level == "bad":
        return now
    lost = moment.lost
    if lost is not None:
        stakes = counted(lost.farmers, "stake")
        title = f"Block {lost.block_index} lost {stakes}, {kale(lost.stake_stroops)} KALE"
        return PoolVerdict("bad", title, f"This block: {now.title}. {now.detail}")
    return now


def _judge_block(moment: Moment) -> PoolVerdict:
    """Of this block alone."""
    left = moment.seconds_left
    if moment.is_silent:
        return PoolVerdict("bad", "Chain does not answer", "The node is silent: what is shown here may be old.")
    if moment.index is None or left is None:
        return PoolVerdict("busy", "Waiting", "The first block has not begun.")
    if not moment.active:
        return _nobody(moment)
    if moment.paused:
        return PoolVerdict("warn", "Farm paused", "The KALE contract takes no plants.")
    if moment.planting_paused and not moment.unworked:
        return PoolVerdict("warn", *(SAFE_TO_STOP if moment.may_stop else PAUSED))
    if not moment.planted:
        return _unplanted(moment, left)
    return _unworked(moment, left) if moment.unworked else _safe(moment, left)


def _nobody(moment: Moment) -> PoolVerdict:
    waiting = sum(farmer.status == "registered" for farmer in moment.farmers)
    detail = f"{_farmers(waiting)} registered; below is what each waits for." if waiting else "Nobody takes part yet."
    return PoolVerdict("busy", "No farmers", detail)


def _unplanted(moment: Moment, left: float) -> PoolVerdict:
    if moment.plan is not None and moment.plan.places == 0 < moment.plan.farmers:
        return PoolVerdict("warn", "Sits out", f"{moment.sitting_out}.")
    if left == 0:
        return PoolVerdict("busy", "Between blocks", "The next block begins with the next plant.")
    if _is_early(moment, left):
        return PoolVerdict("busy", "Planting", f"{_farmers(moment.active)} to plant.")
    return PoolVerdict("bad", "Not planted", f"None of {_farmers(moment.active)} is planted in this block.")


def _is_early(moment: Moment, left: float) -> bool:
    """Whether the block has hardly begun: plants are under way, and workers have not reported yet."""
    early = max(6 * moment.ledger_seconds, 0.1 * moment.block_seconds, STARTING_SECONDS)
    return moment.block_seconds - left < early


def _unworked(moment: Moment, left: float) -> PoolVerdict:
    risk = f"{kale(moment.at_risk_stroops)} KALE of stakes"
    count = f"{len(moment.unworked)} of {moment.planted}"
    if left <= 2 * moment.ledger_seconds:
        detail = f"{count} planted farmers not worked and no time left: {risk} may be lost."
        return PoolVerdict("bad", "At risk", detail)
    empty = sum(farmer.found_zeros is None for farmer in moment.unworked)
    if _nobody_mines(moment, left, empty):
        without = f"{_farmers(empty)} without a share, " if empty else ""
        return PoolVerdict("bad", NOBODY_MINES, f"{without}{risk} at risk.")
    if empty and left < moment.block_seconds / 2:
        detail = f"{_farmers(empty)} without any share after half the block: {risk}."
        return PoolVerdict("warn", "Shares missing", detail)
    if left <= max(4 * moment.ledger_seconds, 0.05 * moment.block_seconds):
        return PoolVerdict("warn", "Closing", f"{count} planted farmers still to be worked: {risk} at risk.")
    course = f"{count} planted farmers to be worked before the end. Works go out late on purpose."
    if moment.planting_paused:
        return PoolVerdict("warn", PAUSED[0], f"Nothing more is planted; {course}")
    return PoolVerdict("busy", "On course", f"{course}{_sitting_out(moment)}")


def _nobody_mines(moment: Moment, left: float, empty: int) -> bool:
    """Whether neither a worker nor a miner is there, or none of them searches for the `empty` farmers without a share.
    What all farmers have may be good enough for workers to rest."""
    if left == 0 or _is_early(moment, left):
        return False
    return not moment.searchers or bool(empty and not moment.hashes_per_second)


def _safe(moment: Moment, left: float) -> PoolVerdict:
    if _nobody_mines(moment, left, 0):
        said = f"All {_farmers(moment.planted)} planted are worked; the next block's stakes will be lost."
        return PoolVerdict("bad", NOBODY_MINES, said)
    missing = sum(farmer.failed_code is not None and not farmer.planted for farmer in moment.farmers)
    if missing:
        return PoolVerdict(
            "warn", "Safe, not whole", f"All {moment.planted} planted are worked; {_farmers(missing)} could not plant."
        )
    return PoolVerdict(
        "good",
        "Safe",
        f"All {_farmers(moment.planted)} planted are worked. No stake of this block is at risk.{_sitting_out(moment)}",
    )


def _sitting_out(moment: Moment) -> str:
    return f" {moment.sitting_out}." if moment.sitting_out else ""


def _farmers(count: int) -> str:
    return counted(count, "farmer")
