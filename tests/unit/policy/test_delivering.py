"""What a webhook that does not take a delivery is given: longer and longer pauses, for itself or for that one."""

from __future__ import annotations

import pytest

from kalepool.policy.delivering import LONGEST_PAUSE_SECONDS, PATIENCE_SECONDS, REFUSALS, after_failure, pause_seconds


def test_pauses_grow_to_an_hour_for_about_a_day() -> None:
    pauses = [pause_seconds(number) for number in range(1, 40)]
    assert pauses[:4] == [5, 10, 20, 40] and pauses[-1] == LONGEST_PAUSE_SECONDS == 3600
    assert sorted(pauses) == pauses
    tries = next(number for number in range(1, 40) if sum(pauses[:number]) > PATIENCE_SECONDS)
    assert 24 < tries < 40
    assert (pause_seconds(1, 60), pause_seconds(5, 60), pause_seconds(1, 10**6)) == (60, 80, 3600)


@pytest.mark.parametrize("status", [None, 500, 503, 429, 408, 425, 302])
def test_who_cannot_take_anything_now_is_left_alone(status: int | None) -> None:
    step = after_failure(status, attempts=1, failures=0)
    assert (step.delivery_seconds, step.webhook_seconds, step.failures) == (5, 5, 1)
    assert after_failure(status, attempts=1, failures=3).webhook_seconds == 40, "also where this one is new"


def test_what_is_refused_alone_waits_alone_until_all_is_refused() -> None:
    pauses = []
    failures = 0
    for number in range(REFUSALS + 2):
        step = after_failure(404, attempts=number + 1, failures=failures)
        failures = step.failures
        pauses.append(step.webhook_seconds)
    assert pauses == [0, 0, 0, 0, 5, 10, 20]
    assert after_failure(400, attempts=3, failures=0).delivery_seconds == 20
