"""How long the pool's XLM lasts, in hours, and from when on operators are told."""

from __future__ import annotations

import pytest

from kalepool.policy.endurance import Endurance, endurance
from kalepool.services.alerts import Observation, conditions, decide
from tests.unit.test_alerts import opened

XLM = 10_000_000
DAY = 86_400.0


@pytest.mark.parametrize(
    ("spare", "burned", "over", "hours", "short_of"),
    [
        (100 * XLM, 100 * XLM, DAY, 24, None),
        (99 * XLM, 100 * XLM, DAY, 23.76, 24),
        (12 * XLM, 100 * XLM, DAY, 2.88, 3),
        (0, 100 * XLM, DAY, 0, 3),
        (-5, 100 * XLM, DAY, 0, 3),
        (100 * XLM, 1 * XLM, 3600.0, 100, None),
        (100 * XLM, 1 * XLM, 1.0, 25, None),  # a pool that has just begun: by three of its blocks
        (100 * XLM, 0, 0.0, None, None),
    ],
)
def test_hours_are_by_what_was_burned(
    spare: int, burned: int, over: float, hours: float | None, short_of: int | None
) -> None:
    found = endurance(spare, burned, over, block_seconds=300)
    assert found.hours == (None if hours is None else pytest.approx(hours))
    assert found.short_of == short_of


def test_operators_are_told_at_24_hours_and_again_at_3() -> None:
    def at(hours: float) -> Observation:
        return Observation(endurance=Endurance(round(hours * XLM), XLM))

    assert not conditions(at(24))
    day = decide([], at(20)).raised
    assert [each.key for each in day] == ["xlm-runs-out:24"] and "24.00 a day" in day[0].message
    urgent = decide([opened(each) for each in day], at(2))
    assert [each.key for each in urgent.raised] == ["xlm-runs-out:3"] and not urgent.resolved
    everything = [opened(each) for each in (*day, *urgent.raised)]
    filled = decide(everything, at(100))
    assert sorted(filled.resolved) == ["xlm-runs-out:24", "xlm-runs-out:3"]
    assert decide(everything, at(10)).resolved == ("xlm-runs-out:3",)
