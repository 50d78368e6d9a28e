"""Ledgers to come, and how many of them works take."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.networks import DEVNET, NETWORKS
from kalepool.policy.timing import LEAST_LOOK_SECONDS, Inclusion, LedgerClock, LedgerPace, blocks_per_day

CLOCK = LedgerClock(ledger=100, closed_at=1_000.0, ledger_seconds=5.0)


def test_a_day_of_blocks_is_the_networks() -> None:
    assert {blocks_per_day(network) for network in NETWORKS.values()} == {288}
    assert blocks_per_day(replace(DEVNET, ledger_seconds=4.5)) == 288, "however fast its ledgers are"
    assert blocks_per_day(replace(DEVNET, block_seconds=60)) == 1440


@given(st.floats(900, 2_000))
def test_ledgers_foreseen(time: float) -> None:
    last = CLOCK.last_before(time)
    assert CLOCK.close_of(last) < time + 1e-6 and CLOCK.close_of(last + 1) >= time - 1e-6
    now = CLOCK.ledger_at(time)
    assert now == 100 if time < 1_005 else CLOCK.close_of(now) <= time + 1e-6 < CLOCK.close_of(now + 1) + 1e-5


def test_a_ledger_that_closes_just_then_is_not_before() -> None:
    assert CLOCK.last_before(1_295.0) == 158
    assert CLOCK.last_before(1_295.1) == 159
    assert CLOCK.ledger_at(1_004.9) == 100
    assert CLOCK.ledger_at(1_005.0) == 101


@given(st.lists(st.integers(1, 9), max_size=300), st.sampled_from([1.0, 5.0]))
def test_missing_gets_less_likely_with_every_ledger(samples: list[int], ledger_seconds: float) -> None:
    fit = Inclusion.fit(samples, ledger_seconds)
    chances = [fit.miss(ledgers) for ledgers in range(40)]
    assert all(a >= b for a, b in pairwise(chances))
    assert all(0 < chance <= 1 for chance in chances)
    assert fit.median <= fit.threshold


def test_the_tail_reaches_further_than_what_was_seen() -> None:
    """Of works that are a ledger late in 3 % of cases, again and again: the true chance is within the fit's reach."""
    draw = random.Random(5)

    def wait() -> int:
        ledgers = 1
        while draw.random() < 0.03:
            ledgers += 1
        return ledgers

    fit = Inclusion.fit([wait() for _ in range(300)], 5.0)
    assert fit.median == fit.threshold == 1
    for late in (1, 2, 3):
        assert 0.03**late / 4 < fit.miss(late) < 0.03**late * 20


def test_never_a_late_one_is_not_never() -> None:
    fit = Inclusion.fit([1] * 300, 5.0)
    assert 1e-3 < fit.miss(1) < 1e-2
    assert fit.ledgers_needed(0.99, 0, 0) == 1
    assert fit.ledgers_needed(0.9999, 0, 0) > 4


@pytest.mark.parametrize(("ledger_seconds", "median"), [(5.0, 2), (1.0, 3)])
def test_without_measurements_a_cautious_guess(ledger_seconds: float, median: int) -> None:
    fit = Inclusion.fit([], ledger_seconds)
    assert median <= fit.median <= fit.threshold == median + 1
    assert fit.ledgers_needed(0.99, 0, 0) >= fit.threshold


def test_more_at_stake_leaves_earlier_and_dearer_gap_later() -> None:
    fit = Inclusion.fit([1] * 270 + [2] * 30, 5.0)
    by_loss = [fit.ledgers_needed(0.9, loss, 1e7) for loss in (0, 1e9, 1e11, 1e13)]
    assert by_loss == sorted(by_loss) and by_loss[0] < by_loss[-1]
    by_worth = [fit.ledgers_needed(0.9, 1e11, worth) for worth in (1, 1e7, 1e9)]
    assert by_worth == sorted(by_worth, reverse=True) and by_worth[0] > by_worth[-1]
    assert fit.ledgers_needed(0.999999, 0, 1e18) > fit.ledgers_needed(0.99, 0, 1e18)


def test_the_next_ledger_is_looked_for_when_it_may_come() -> None:
    pace = LedgerPace()
    assert pace.next_look(5.0, 0.0) == 0.5, "none was seen"
    pace.saw(10, 100.0)
    assert pace.next_look(5.0, 100.0) == 3.5
    assert pace.next_look(5.0, 104.0) == 0.5
    pace.saw(12, 104.0)  # they come every two seconds, whatever the network says
    assert pace.next_look(5.0, 104.0) == pytest.approx(1.4)
    pace.saw(13, 134.0)  # and slower, too: then the nominal time counts
    assert pace.next_look(5.0, 134.0) == 3.5
    assert pace.next_look(0.1, 200.0) == LEAST_LOOK_SECONDS
