"""What becomes of a delivery to a webhook after a try: for how long it waits, and whether the whole webhook does."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_SECONDS = 86_400.0
"""A delivery is tried for so long; then it is given up."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 3600.0
"""After a failure; twice as long after each, up to this: some 33 tries in a day."""

REFUSALS = 5
"""So many deliveries in a row that a receiver refuses are not of those deliveries' making."""

NOT_NOW = frozenset({408, 425, 429})
"""Statuses that refuse no delivery: it came at a bad time."""


@dataclass(frozen=True, slots=True)
class NextTry:
    """How long the delivery waits, and how long the webhook with all its others; `failures`: in a row, of the
    webhook."""

    delivery_seconds: float
    webhook_seconds: float
    failures: int


def pause_seconds(failures: int, asked_seconds: float = 0.0) -> float:
    """After so many failures in a row; at least what was asked for, up to the longest."""
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20)
    return min(max(doubled, asked_seconds), LONGEST_PAUSE_SECONDS)


def after_failure(status: int | None, *, attempts: int, failures: int, asked_seconds: float = 0.0) -> NextTry:
    """A try that was not taken. status: what HTTP said, None for no answer. attempts: of this delivery, with this one.
    failures: of the webhook in a row before it. asked_seconds: how long the receiver asked to be left alone.

    Who refuses one delivery takes the others: only that one waits. Who does not answer, fails, or refuses one after
    another is left alone.
    """
    wait = pause_seconds(attempts, asked_seconds)
    refused = status is not None and 400 <= status < 500 and status not in NOT_NOW
    if refused and failures + 1 < REFUSALS:
        return NextTry(wait, 0.0, failures + 1)
    past = failures + 1 - (REFUSALS - 1 if refused else 0)
    return NextTry(wait, pause_seconds(max(past, 1), asked_seconds), failures + 1)
