"""Whether something is worth its fees; how a price that is read may move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.price_gate import LARGEST_STEP, UNPRICED, PailFees, PriceGate, Spending, step_towards

KALE = 10**7
GATE = PriceGate(PailFees(plant=35_000, work=30_000, harvest=15_000), 0.01)


def test_what_each_is_paid_for() -> None:
    assert [GATE.cost(spending) for spending in Spending] == [80_000, 45_000, 30_000, 30_000]
    assert GATE.fees.pail == 80_000
    for spending in Spending:
        even = GATE.cost(spending) / 0.01
        assert not GATE.admits(spending, even * 0.999) and GATE.admits(spending, even * 1.001)
    assert GATE.net(Spending.PLANT, 3 * KALE, 2) == pytest.approx(300_000 - 160_000)


def test_without_a_price_everybody_is_planted_and_worked_once() -> None:
    assert UNPRICED.admits(Spending.PLANT, 0) and UNPRICED.admits(Spending.FINAL, 0)
    assert not UNPRICED.admits(Spending.INSURANCE, 10 * KALE) and UNPRICED.admits(Spending.IMPROVEMENT, 11 * KALE)
    with pytest.raises(ValueError, match="worth"):
        UNPRICED.net(Spending.PLANT, KALE)


@given(st.floats(1e-6, 1), st.floats(1e-6, 1))
def test_a_price_moves_by_steps_and_gets_there(before: float, found: float) -> None:
    price = step_towards(before, found)
    assert before / LARGEST_STEP * 0.999 <= price <= before * LARGEST_STEP * 1.001
    for _ in range(100):
        price = step_towards(price, found)
    assert price == pytest.approx(found) and step_towards(None, found) == found
