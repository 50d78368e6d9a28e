"""Rubbish is slowed, then kept out for a while; honest trouble is not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from kalepool.policy.conduct import (
    BAN_SCORE,
    FIRST_BAN_SECONDS,
    FIRST_SPARE,
    HASTE_POINTS,
    LONGEST_BAN_SECONDS,
    SLOW_SCORE,
    Conduct,
    Standing,
    judge,
    judge_haste,
    standing,
)
from kalepool.policy.shares import ShareOutcome

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def send(outcomes: Iterable[ShareOutcome], every_seconds: float = 0.0, conduct: Conduct | None = None) -> Conduct:
    for number, outcome in enumerate(outcomes):
        conduct = judge(conduct, outcome, after(number * every_seconds))
    assert conduct is not None
    return conduct


def test_rubbish_is_slowed_then_banned() -> None:
    slowed = send([ShareOutcome.MALFORMED] * 12)
    verdict, wait = standing(slowed, NOW)
    assert verdict is Standing.SLOWED and wait > 0
    banned = send([ShareOutcome.MALFORMED] * 40, conduct=slowed)
    assert standing(banned, NOW) == (Standing.BANNED, FIRST_BAN_SECONDS)
    assert standing(banned, after(FIRST_BAN_SECONDS)) == (Standing.OK, 0)


def test_the_wait_grows_with_the_score() -> None:
    waits = [standing(Conduct(score, NOW), NOW)[1] for score in (SLOW_SCORE - 1, SLOW_SCORE, SLOW_SCORE * 2)]
    assert waits == sorted(waits) and waits[0] == 0 < waits[1] < waits[2]


def test_every_ban_is_twice_as_long_up_to_a_day() -> None:
    conduct, seconds = None, []
    for _ in range(10):
        conduct = send([ShareOutcome.OUT_OF_RANGE] * 50, conduct=conduct)
        seconds.append(standing(conduct, NOW)[1])
    assert seconds[:3] == [FIRST_BAN_SECONDS * 2**n for n in range(3)]
    assert seconds[-1] == LONGEST_BAN_SECONDS


@pytest.mark.parametrize("outcome", [o for o in ShareOutcome if o not in (ShareOutcome.ACCEPTED, ShareOutcome.STALE)])
def test_a_flood_of_any_rubbish_ends_in_a_ban(outcome: ShareOutcome) -> None:
    assert standing(send([outcome] * 300), NOW)[0] is Standing.BANNED


def test_an_honest_miner_with_stale_shares_and_slips_stays_good() -> None:
    draw = random.Random(1)
    conduct = None
    for number in range(3000):
        outcome = draw.choices(
            [ShareOutcome.ACCEPTED, ShareOutcome.STALE, ShareOutcome.DUPLICATE, ShareOutcome.LOW_DIFFICULTY],
            [90, 6, 2, 2],
        )[0]
        conduct = judge(conduct, outcome, after(5 * number))
        assert standing(conduct, after(5 * number))[0] is Standing.OK


def test_a_block_change_with_a_fast_miner_is_forgiven() -> None:
    assert standing(send([ShareOutcome.STALE] * 100), NOW)[0] is Standing.OK


def test_what_an_outage_made_stale_costs_nothing() -> None:
    """As many as were brought before, in the same time; more than that is rubbish like any other."""
    fleet = send([ShareOutcome.ACCEPTED] * 5_000)
    assert send([ShareOutcome.STALE] * 5_000, conduct=fleet).score == 0
    assert standing(send([ShareOutcome.STALE] * (FIRST_SPARE + 5_500), conduct=fleet), NOW)[0] is Standing.SLOWED
    assert standing(send([ShareOutcome.STALE] * 50_000), NOW)[0] is Standing.BANNED


@pytest.mark.parametrize("rigs", [12, 20, 30, 200])
def test_rigs_that_do_not_know_of_each_others_wait_are_not_banned(rigs: int) -> None:
    """Slowed for whatever reason: each comes back when the wait is over that it was told, and one of them is heard."""
    conduct, second = Conduct(SLOW_SCORE * 1.5, NOW), 0.0
    while second < 600:
        for _ in range(rigs - 1):
            conduct = judge_haste(conduct, after(second), rigs)
        verdict, wait = standing(conduct, after(second))
        assert verdict is not Standing.BANNED
        second += max(wait, 1.0)


def test_rubbish_is_forgotten() -> None:
    conduct = send([ShareOutcome.MALFORMED] * 30)
    assert standing(conduct, NOW)[0] is Standing.SLOWED
    assert standing(conduct, after(300))[0] is Standing.OK
    assert conduct.score_at(after(60)) == pytest.approx(conduct.score / 2)
    assert conduct.score < BAN_SCORE


def test_haste_costs_as_it_says_and_fades_as_all_does() -> None:
    """Who comes before its wait is over once is as good as before; who never waits is kept out."""
    hasty = judge_haste(Conduct(SLOW_SCORE, NOW), NOW)
    assert hasty.score == SLOW_SCORE + HASTE_POINTS
    assert standing(hasty, NOW)[1] > standing(Conduct(SLOW_SCORE, NOW), NOW)[1]
    assert standing(hasty, after(60))[0] is Standing.OK
    never_waits, requests = Conduct(SLOW_SCORE, NOW), 0
    while standing(never_waits, NOW)[0] is not Standing.BANNED:
        never_waits, requests = judge_haste(never_waits, NOW), requests + 1
    assert requests == (BAN_SCORE - SLOW_SCORE) / HASTE_POINTS


def test_nobody_is_unknown_and_bad() -> None:
    assert standing(None, NOW) == (Standing.OK, 0)
