"""Who is paid, when, and in which transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.paying import PayoutReason, PayoutTerms, affordable, batches, reason_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TERMS = PayoutTerms(threshold_stroops=100, days=30)


def test_a_miner_is_paid_from_the_larger_threshold_on_or_when_it_has_waited_long() -> None:
    young, old = NOW - timedelta(days=29), NOW - timedelta(days=30)
    assert reason_of(100, None, young, TERMS, NOW) == PayoutReason.THRESHOLD
    assert reason_of(99, None, young, TERMS, NOW) is None
    assert reason_of(100, 101, young, TERMS, NOW) is None
    assert reason_of(100, 1, young, TERMS, NOW) == PayoutReason.THRESHOLD, "not below the pool's own"
    assert reason_of(1, 101, old, TERMS, NOW) == PayoutReason.AGE
    assert reason_of(0, None, old, TERMS, NOW) is None
    assert reason_of(1, None, None, TERMS, NOW) is None


@given(st.lists(st.integers(1, 1000)), st.integers(0, 10_000))
def test_the_first_are_paid_as_far_as_the_treasury_reaches(amounts: list[int], available: int) -> None:
    count = affordable(amounts, available)
    assert sum(amounts[:count]) <= available
    assert count == len(amounts) or sum(amounts[: count + 1]) > available


@given(st.lists(st.booleans(), max_size=300))
def test_who_has_a_memo_goes_alone(alone: list[bool]) -> None:
    found = batches(list(enumerate(alone)), 100)
    assert sorted(each for batch in found for each in batch) == list(range(len(alone)))
    assert all(len(batch) <= 100 and (len(batch) == 1 or not any(alone[each] for each in batch)) for batch in found)
