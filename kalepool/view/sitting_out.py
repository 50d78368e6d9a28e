"""What is meant for a block, in words: how many farmers sit it out, and why."""

from __future__ import annotations

from kalepool.marking import Sum, mark
from kalepool.policy.planting import PlantingPlan, SitOut
from kalepool.view.words import ENGLISH, Language


def in_words(plan: PlantingPlan, words: Language = ENGLISH) -> str:
    """How many sit out and why; empty where nobody does."""
    if plan.reason is None:
        return ""
    if plan.places == 0:
        who = words.say("nobody is planted")
    else:
        who = words.counted(
            "%(num)s of %(all)s farmers sits it out, by turns",
            "%(num)s of %(all)s farmers sit it out, by turns",
            plan.sat_out,
            all=words.number(plan.farmers),
        )
    if plan.reason == SitOut.BUDGET:
        return words.say("%(who)s: what 24 hours may cost is spent (KALEPOOL_XLM_PER_DAY)", who=who)
    why = (
        mark("%(who)s: at %(price)s XLM for a KALE a pail brings less than the %(cost)s XLM it costs")
        if plan.places == 0
        else mark("%(who)s: at %(price)s XLM for a KALE another pail brings less than the %(cost)s XLM it costs")
    )
    price = words.number(plan.price or 0.0, ".4g")
    return words.say(why, who=who, price=price, cost=Sum(plan.pail_fee_stroops))
