"""Who takes a transaction to the network, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kalepool.actions import ActionName
from kalepool.policy.submitters import (
    DIRECT_LEDGERS,
    RELAYER_LEDGERS,
    Relay,
    expected_fee,
    pause_seconds,
    relay,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LEDGER = 5.0


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def relayed(action: str = ActionName.WORK, *, attempt: int = 1, left: float = 300, deadline: float = 300):
    return relay(
        action,
        attempt=attempt,
        now=NOW,
        deadline=later(deadline),
        lands_by=later(left),
        ledger_seconds=LEDGER,
    )


def test_with_time_a_call_is_the_relayers_for_three_ledgers_and_then_sent_directly():
    assert relayed() == Relay(later(15), later(35))


def test_near_the_end_it_is_left_so_much_that_three_ledgers_remain():
    assert relayed(left=27) == Relay(later(12), later(32))
    assert relayed(left=25) == Relay(later(10), later(30))


def test_with_less_time_it_is_sent_directly_at_once():
    assert relayed(left=24.9) is None
    assert relayed(left=-5) is None
    assert (DIRECT_LEDGERS + RELAYER_LEDGERS[0]) * LEDGER == 25


def test_the_deadline_bounds_what_it_is_valid_for():
    assert relayed(deadline=28) == Relay(later(15), later(28))


def test_a_harvest_waits_for_the_relayer_once():
    assert relayed(ActionName.HARVEST) == Relay(later(35), later(35))
    assert relayed(ActionName.HARVEST, attempt=2) is None


@pytest.mark.parametrize("action", [ActionName.PAYMENT, ActionName.MERGE, ActionName.TRUSTLINE, ActionName.COLLECT])
def test_what_moves_money_goes_the_pools_own_way(action: ActionName):
    assert relayed(action) is None


def test_it_is_never_valid_for_longer_than_the_relayer_takes():
    slow = relay("work", attempt=1, now=NOW, deadline=later(900), lands_by=later(900), ledger_seconds=20)
    assert slow is not None and slow.valid_until == later(55)


@pytest.mark.parametrize(
    ("code", "failures", "retry_after", "seconds"),
    [
        ("POOL_CAPACITY", 1, None, 10),
        ("POOL_CAPACITY", 9, None, 10),
        ("POOL_CAPACITY", 1, 3.0, 3),
        ("FEE_LIMIT_EXCEEDED", 1, None, 600),
        ("FEE_LIMIT_EXCEEDED", 1, 5.0, 600),
        ("UNAUTHORIZED", 1, None, 600),
        ("rate-limited", 1, 20.0, 20),
        ("rate-limited", 1, 1e9, 600),
        ("no-answer", 1, None, 10),
        ("no-answer", 2, None, 20),
        ("no-answer", 99, None, 300),
    ],
)
def test_how_long_one_that_failed_is_left_alone(code: str, failures: int, retry_after: float | None, seconds: float):
    assert pause_seconds(code, failures, LEDGER, retry_after) == seconds


def test_what_a_transaction_should_cost_is_how_often_the_relayer_does_not_carry_it():
    assert expected_fee(20_000, direct=7, relayed=3, has_relayer=False) == 20_000
    assert expected_fee(20_000, direct=0, relayed=0, has_relayer=True) == 0
    assert expected_fee(20_000, direct=5, relayed=0, has_relayer=True) == 10_000
    assert expected_fee(20_000, direct=25, relayed=70, has_relayer=True) == 5_000
