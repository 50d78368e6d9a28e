"""Whether the pool's stakes are safe, in one word: the same on the page, in the terminal and in `kalepool status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kalepool.view.moment import Moment
from kalepool.view.words import ENGLISH, Language, mark

Level = Literal["good", "busy", "warn", "bad"]

PAUSED, SAFE_TO_STOP = mark("Paused by the operator"), mark("Paused, safe to stop")

NOBODY_MINES, STARTING = mark("Nobody is mining"), mark("Starting")

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


def judge(moment: Moment, words: Language = ENGLISH) -> PoolVerdict:
    """Whether stakes are safe, in words for somebody who was just woken: those of this block, and, until the next one
    is over, those of the last."""
    now = _Block(moment, words).judge()
    if now.level == "bad":
        return now
    lost = moment.lost
    if lost is not None:
        title = words.counted(
            "Block %(index)s lost %(num)s stake, %(kale)s KALE",
            "Block %(index)s lost %(num)s stakes, %(kale)s KALE",
            lost.farmers,
            index=lost.block_index,
            kale=words.kale(lost.stake_stroops),
        )
        this = words.say("This block: %(title)s. %(detail)s", title=now.title, detail=now.detail)
        return PoolVerdict("bad", title, this)
    return now


@dataclass(frozen=True, slots=True)
class _Block:
    """What is said of this block alone."""

    moment: Moment
    words: Language

    def say(self, level: Level, title: str, detail: str) -> PoolVerdict:
        """`title` in English, `detail` as it is to be read."""
        return PoolVerdict(level, self.words.gettext(title), detail)

    def judge(self) -> PoolVerdict:
        moment, words = self.moment, self.words
        left = moment.seconds_left
        if moment.is_silent:
            detail = words.say("The node is silent: what is shown here may be old.")
            return self.say("bad", mark("Chain does not answer"), detail)
        if moment.index is None or left is None:
            return self.say("busy", mark("Waiting"), words.say("The first block has not begun."))
        if not moment.active:
            return self._nobody()
        if moment.paused:
            return self.say("warn", mark("Farm paused"), words.say("The KALE contract takes no plants."))
        if moment.planting_paused and not moment.unworked:
            return self._paused()
        if not moment.planted:
            return self._unplanted(left)
        return self._unworked(left) if moment.unworked else self._safe(left)

    def _paused(self) -> PoolVerdict:
        if self.moment.may_stop:
            detail = self.words.say("Nothing is planted or on its way, and all that was planted is worked.")
            return self.say("warn", SAFE_TO_STOP, detail)
        detail = self.words.say("Nothing is planted. What was planted before is worked and harvested as ever.")
        return self.say("warn", PAUSED, detail)

    def _nobody(self) -> PoolVerdict:
        waiting = sum(farmer.status == "registered" for farmer in self.moment.farmers)
        detail = self.words.say("Nobody takes part yet.")
        if waiting:
            detail = self.words.counted(
                "%(num)s farmer registered; below is what each waits for.",
                "%(num)s farmers registered; below is what each waits for.",
                waiting,
            )
        return self.say("busy", mark("No farmers"), detail)

    def _leaves_out_all(self) -> bool:
        plan = self.moment.plan
        return plan is not None and plan.places == 0 < plan.farmers

    def _unplanted(self, left: float) -> PoolVerdict:
        moment, words = self.moment, self.words
        if self._leaves_out_all():
            return self.say("warn", mark("Sits out"), f"{moment.sitting_out(words)}.")
        if left == 0:
            return self.say("busy", mark("Between blocks"), words.say("The next block begins with the next plant."))
        if moment.is_starting or _is_early(moment, left):
            detail = words.counted("%(num)s farmer to plant.", "%(num)s farmers to plant.", moment.active)
            return self.say("busy", mark("Planting"), detail)
        detail = words.counted(
            "None of %(num)s farmer is planted in this block.",
            "None of %(num)s farmers is planted in this block.",
            moment.active,
        )
        return self.say("bad", mark("Not planted"), detail)

    def _unworked(self, left: float) -> PoolVerdict:
        moment, words = self.moment, self.words
        risk = words.say("%(kale)s KALE of stakes", kale=words.kale(moment.at_risk_stroops))
        count = words.say("%(some)s of %(all)s", some=len(moment.unworked), all=moment.planted)
        if left <= 2 * moment.ledger_seconds:
            detail = words.say(
                "%(count)s planted farmers not worked and no time left: %(risk)s may be lost.", count=count, risk=risk
            )
            return self.say("bad", mark("At risk"), detail)
        if moment.is_starting:
            detail = words.say("The workers are on their way: %(count)s planted farmers to be worked.", count=count)
            return self.say("busy", STARTING, f"{detail}{_sitting_out(moment, words)}")
        empty = sum(farmer.found_zeros is None for farmer in moment.unworked)
        if _nobody_mines(moment, left, empty):
            without = words.counted("%(num)s farmer without a share, ", "%(num)s farmers without a share, ", empty)
            return self.say("bad", NOBODY_MINES, (without if empty else "") + words.say("%(risk)s at risk.", risk=risk))
        if empty and left < moment.block_seconds / 2:
            detail = words.counted(
                "%(num)s farmer without any share after half the block: %(risk)s.",
                "%(num)s farmers without any share after half the block: %(risk)s.",
                empty,
                risk=risk,
            )
            return self.say("warn", mark("Shares missing"), detail)
        if left <= max(4 * moment.ledger_seconds, 0.05 * moment.block_seconds):
            detail = words.say(
                "%(count)s planted farmers still to be worked: %(risk)s at risk.", count=count, risk=risk
            )
            return self.say("warn", mark("Closing"), detail)
        course = words.say(
            "%(count)s planted farmers to be worked before the end. Works go out late on purpose.", count=count
        )
        if moment.planting_paused:
            detail = words.say("Nothing more is planted; %(course)s", course=course)
            return self.say("warn", PAUSED, detail)
        return self.say("busy", mark("On course"), f"{course}{_sitting_out(moment, words)}")

    def _safe(self, left: float) -> PoolVerdict:
        moment, words = self.moment, self.words
        worked = words.counted(
            "All %(num)s farmer planted are worked", "All %(num)s farmers planted are worked", moment.planted
        )
        if _nobody_mines(moment, left, 0) and not moment.is_starting:
            detail = words.say(
                "%(all)s: no stake of this block is at risk. Nobody searches for the next one's.", all=worked
            )
            return self.say("warn", NOBODY_MINES, detail)
        missing = sum(farmer.failed_code is not None and not farmer.planted for farmer in moment.farmers)
        if missing:
            detail = words.counted(
                "All %(planted)s planted are worked; %(num)s farmer could not plant.",
                "All %(planted)s planted are worked; %(num)s farmers could not plant.",
                missing,
                planted=moment.planted,
            )
            return self.say("warn", mark("Safe, not whole"), detail)
        if left == 0 and self._leaves_out_all():
            return self.say("warn", mark("Sits out"), f"{moment.sitting_out(words)}.")
        detail = words.say("%(all)s. No stake of this block is at risk.", all=worked)
        return self.say("good", mark("Safe"), f"{detail}{_sitting_out(moment, words)}")


def _is_early(moment: Moment, left: float) -> bool:
    """Whether the block has hardly begun: plants are under way, and workers have not reported yet."""
    early = max(6 * moment.ledger_seconds, 0.1 * moment.block_seconds, STARTING_SECONDS)
    return moment.block_seconds - left < early


def _nobody_mines(moment: Moment, left: float, empty: int) -> bool:
    """Whether neither a worker nor a miner is there, or none of them searches for the `empty` farmers without a share.
    What all farmers have may be good enough for workers to rest."""
    if left == 0 or _is_early(moment, left):
        return False
    return not moment.searchers or bool(empty and not moment.hashes_per_second)


def _sitting_out(moment: Moment, words: Language) -> str:
    said = moment.sitting_out(words)
    return f" {said}." if said else ""
