"""Whether something is worth its fees: one test, and one vocabulary, for all that the pool pays for.

Everything has an expected gain, in stroops of KALE, and an expected cost, in stroops of XLM. It is done if the gain at
the price of a KALE exceeds the cost:

- a plant: the reward that the pail should add to the pool's less what it may lose; its plant, one work, its harvest
- the final work of a pail: its stake and reward, which are nothing without it; that work and its harvest
- an improvement: what the better work adds; that work
- an insurance: what is at risk times how likely it is lost; that work
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kalepool.protocol.model import STROOPS_PER_KALE


class Spending(StrEnum):
    """What fees are paid for."""

    PLANT = "plant"
    FINAL = "final"
    IMPROVEMENT = "improvement"
    INSURANCE = "insurance"


@dataclass(frozen=True, slots=True)
class PailFees:
    """What a transaction costs per pail, in stroops of XLM."""

    plant: int
    work: int
    harvest: int

    @property
    def pail(self) -> int:
        """All that a pail costs that is worked once."""
        return self.plant + self.work + self.harvest


PRIOR_FEES = PailFees(plant=27_500, work=22_000, harvest=12_000)
"""What the public network took in autumn 2026, about the middle of it: while the journal has nothing to tell."""

UNPRICED_WORK_STROOPS = 10 * STROOPS_PER_KALE
"""What one more work of a pail is taken to cost where nobody knows the price of a KALE."""


@dataclass(frozen=True, slots=True)
class PriceGate:
    """What is paid and what a KALE is worth. `price` in XLM; None where it is not known: then everything is planted and
    worked once, since nobody knows better."""

    fees: PailFees = PRIOR_FEES
    price: float | None = None

    def cost(self, spending: Spending) -> int:
        """In stroops of XLM."""
        match spending:
            case Spending.PLANT:
                return self.fees.pail
            case Spending.FINAL:
                return self.fees.work + self.fees.harvest
            case Spending.IMPROVEMENT | Spending.INSURANCE:
                return self.fees.work

    def net(self, spending: Spending, gain_stroops: float, count: int = 1) -> float:
        """What so many of them leave that bring so much together, in stroops of XLM at this price.

        ValueError where no price is known.
        """
        if self.price is None:
            raise ValueError("nobody knows what a KALE is worth")
        return gain_stroops * self.price - count * self.cost(spending)

    def admits(self, spending: Spending, gain_stroops: float) -> bool:
        """Whether it is worth its cost."""
        if self.price is not None:
            return self.net(spending, gain_stroops) > 0
        if spending in (Spending.IMPROVEMENT, Spending.INSURANCE):
            return gain_stroops > UNPRICED_WORK_STROOPS
        return True


UNPRICED = PriceGate()
"""Where nobody knows the price of a KALE."""


LARGEST_STEP = 1.25
"""A price that is read from the chain moves by this factor at most from one look to the next: a pool that somebody
empties for a moment decides nothing."""


def step_towards(before: float | None, found: float) -> float:
    """The price to go on with, given what was read."""
    return found if before is None else min(max(found, before / LARGEST_STEP), before * LARGEST_STEP)
