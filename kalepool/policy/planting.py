"""Whom to plant in a block, and with what stake: as many pails as are worth their fees, and what the budget still pays.

Each pail dilutes the pool's others, and takes from their zeros: power that is spread over more farmers reaches fewer.
So the number is the one that leaves most, from none to all. Who sits the block out is the turns' to say (turns.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kalepool.policy.foresight import Rivals, paying_zeros
from kalepool.policy.price_gate import PailFees, PriceGate, Spending
from kalepool.policy.search import raised_to
from kalepool.policy.stake import StakeQuestion, common_stake, stake_of
from kalepool.protocol.model import Block


class SitOut(StrEnum):
    """Why farmers sit a block out."""

    PRICE = "price"
    """Their pails would bring less than they cost."""

    BUDGET = "budget"
    """The day's XLM are spent."""


@dataclass(frozen=True, slots=True)
class PlantingPlan:
    """What is meant for a block: so many pails of so many farmers, with this stake at most.

    `reward_stroops` (KALE) is expected of the pails planted, together; `pail_fee_stroops` (XLM) is what each costs.
    `price` in XLM, None where it is not known. `reason` is None where nobody sits out. `least_zeros`: what all pails
    are searched for before anybody gets a zero that pays.
    """

    index: int
    farmers: int
    places: int
    stake_stroops: int
    reward_stroops: int
    pail_fee_stroops: int
    price: float | None
    reason: SitOut | None = None
    least_zeros: int = 0

    @property
    def sat_out(self) -> int:
        return self.farmers - self.places


@dataclass(frozen=True, slots=True)
class PlantingQuestion:
    """What a plan is made from. `block`: the one to be planted, with its bounds. `ceilings`: the most each farmer
    stakes, in stroops, in the order of their turns. `hashes`: what the pool tries until works leave. `miss`: the part
    of pails not worked in time. `pot`: the block's reward. `budget_stroops`: XLM that plants may still cost; None for
    no budget."""

    index: int
    block: Block
    ceilings: Sequence[int]
    rivals: Rivals
    gate: PriceGate
    hashes: float
    miss: float
    pot: int
    budget_stroops: int | None = None


def budget_left(of_day: int, spent: int, unworked: int, unharvested: int, fees: PailFees) -> int:
    """XLM in stroops that plants may still cost of a day's, whose last 24 hours cost so much: less what pails that are
    planted still need, so many of them a work, so many a harvest. Below 0 where these alone are too many."""
    return of_day - spent - unworked * fees.work - unharvested * fees.harvest


def plan_block(question: PlantingQuestion) -> PlantingPlan:
    """How many to plant, and with what stake."""
    farmers = len(question.ceilings)
    affordable = farmers
    if question.budget_stroops is not None and question.gate.fees.pail > 0:
        affordable = min(max(question.budget_stroops, 0) // question.gate.fees.pail, farmers)
    stake = _stake(question)
    rewards = _rewards(question, stake)
    places = affordable
    if question.gate.price is not None:
        # The pails add up: net of all of them, not of each as if it were alone.
        nets = [question.gate.net(Spending.PLANT, reward, number) for number, reward in enumerate(rewards)]
        places = max(range(affordable + 1), key=lambda number: (nets[number], number))
    reason = None
    if places < farmers:
        reason = SitOut.BUDGET if places == affordable < farmers else SitOut.PRICE
    return PlantingPlan(
        index=question.index,
        farmers=farmers,
        places=places,
        stake_stroops=stake,
        reward_stroops=round(rewards[places]),
        pail_fee_stroops=question.gate.cost(Spending.PLANT),
        price=question.gate.price,
        reason=reason,
        least_zeros=_least_zeros(question, stake, places),
    )


def _least_zeros(question: PlantingQuestion, stake: int, places: int) -> int:
    """What all of so many pails are raised to, so that the next block's min_zeros is not lower than this one's.

    A low one adds about the same to the points of every pail, ours and rivals'. So it is good for who has less than
    they and bad for who has more. What it does to rivals' points has to have been seen: until then nobody is raised.
    """
    rivals = question.rivals
    if rivals.lower is None or places == 0:
        return 0
    lower = replace(
        question,
        block=replace(question.block, min_zeros=rivals.lower_zeros),
        rivals=replace(rivals, fixed=rivals.lower),
    )
    if _rewards(lower, stake)[places] >= _rewards(question, stake)[places]:
        return 0
    return raised_to(question.block.min_zeros, places, question.hashes)


def _pot(question: PlantingQuestion) -> int:
    return question.pot + round(question.rivals.left)


def _stake(question: PlantingQuestion) -> int:
    farmers = len(question.ceilings)
    zeros = paying_zeros(question.hashes, farmers, question.block)
    other = farmers * question.rivals.our_gap + zeros
    return common_stake(
        StakeQuestion(
            question.ceilings, question.rivals, other, _pot(question), question.miss, question.block.max_stake
        )
    )


def _rewards(question: PlantingQuestion, stake: int) -> list[float]:
    """What none, the first, the first two and so on bring together, less the stakes that may be lost, in stroops.

    With the bound that this stake keeps up block after block: by the present one a pool that sat out once, and whose
    stakes raise the bound no more, would think itself poorer than it is.
    """
    block, rivals, miss = question.block, question.rivals, question.miss
    range_ = max(stake_of(stake, max(question.ceilings, default=0)), rivals.most, 1)
    theirs, pot = rivals.points(range_), _pot(question)
    staked, counted, rewards = 0, 0.0, [0.0]
    for number, ceiling in enumerate(question.ceilings, 1):
        mine = stake_of(stake, ceiling)
        staked += mine
        counted += mine / range_
        ours = number * rivals.our_gap + paying_zeros(question.hashes, number, block) + counted
        rewards.append((1 - miss) * pot * ours / max(theirs + ours, 1e-9) - miss * staked)
    return rewards
