"""Which server is asked, when it is passed over and taken back, and how many requests it gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kalepool.policy.rpc_servers import (
    FORGIVEN_SECONDS,
    HEARD_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Bucket,
    Sending,
    ServerStanding,
    Trouble,
    after_answer,
    after_trouble,
    describe,
    order,
    takers,
    to_be_heard,
    what_counts,
)

WELL = ServerStanding()


def test_the_first_that_is_well_is_asked_and_one_of_another_network_never() -> None:
    silent = after_trouble(WELL, Trouble.SILENT, 10.0)
    limited = after_trouble(WELL, Trouble.LIMITED, 10.0)
    foreign = after_trouble(WELL, Trouble.FOREIGN, 10.0)
    assert order([WELL, WELL], 10.0) == [0, 1]
    assert order([silent, foreign, limited, WELL], 10.0) == [3, 2, 0], "then those that may be asked soonest"
    assert order([foreign], 10.0) == []
    assert order([after_answer(silent, 5, 5, 20.0), WELL], 20.0) == [0, 1], "one that came back has its place again"
    assert after_answer(foreign, 5, 5, 11.0).trouble is Trouble.FOREIGN, "for good"
    assert after_trouble(foreign, Trouble.SILENT, 11.0).trouble is Trouble.FOREIGN


def test_trouble_lasts_twice_as_long_each_time_and_is_forgiven() -> None:
    once = after_trouble(WELL, Trouble.FAILING, 0.0)
    assert once.until == 1.0
    assert after_trouble(once, Trouble.SILENT, 0.5).until == 1.0, "many requests were on their way"
    assert after_trouble(once, Trouble.LIMITED, 0.5, least_seconds=4.0).until == 4.5
    assert after_trouble(once, Trouble.FAILING, 1.0).until == 3.0
    well = after_answer(once, 5, 5, 1.0)
    assert (well.is_well, well.since, well.ledger) == (True, 1.0, 5)
    assert after_trouble(well, Trouble.FAILING, 2.0).until == 4.0, "the second time"
    assert after_trouble(well, Trouble.FAILING, 1.0 + FORGIVEN_SECONDS).times == 1
    standing = WELL
    for at in range(0, 100_000, 1000):
        standing = after_trouble(standing, Trouble.SILENT, at)
    assert standing.until == 99_000 + LONGEST_PAUSE_SECONDS
    assert standing.since == 0.0


def test_one_that_is_behind_is_not_believed() -> None:
    behind = after_answer(WELL, 7, 10, 0.0)
    assert behind.trouble is Trouble.BEHIND
    assert not after_answer(behind, 10, 10, 0.5).is_well, "it is passed over until its time has come"
    assert after_answer(behind, 10, 10, 2.0).is_well
    assert not after_answer(behind, 0, 10, 2.0).is_well, "it has not shown that it has caught up"
    assert after_answer(WELL, 0, 10, 0.0).is_well, "it names no ledger"


def test_a_server_is_asked_how_it_is_before_it_is_taken_back_and_now_and_then() -> None:
    silent = after_trouble(WELL, Trouble.SILENT, 0.0)
    heard = replace(WELL, heard_at=0.0)
    assert to_be_heard([silent, heard, WELL], 1.0) == [2]
    assert to_be_heard([silent, heard], 2.0) == [0]
    assert to_be_heard([heard], HEARD_SECONDS) == [0]
    assert to_be_heard([after_trouble(WELL, Trouble.FOREIGN, 0.0)], 10.0**9) == []


def test_a_transaction_goes_to_all_that_answer() -> None:
    silent, behind = after_trouble(WELL, Trouble.SILENT, 0.0), after_trouble(WELL, Trouble.BEHIND, 0.0)
    assert takers([WELL, silent, behind, WELL], 0.0) == [0, 3, 2]
    assert takers([silent, silent], 0.0) == [0, 1], "where none does, to whoever there is"


@pytest.mark.parametrize(
    ("answers", "counts"),
    [
        ([(Sending.REFUSED, 10), (Sending.TAKEN, 9)], 1),
        ([(Sending.REFUSED, 10), (Sending.LOST, 0)], 1),
        ([(Sending.REFUSED, 7), (Sending.LATER, 10)], 1),
        ([(Sending.REFUSED, 10), (Sending.LATER, 0)], 0),
        ([(Sending.REFUSED, 7), (Sending.REFUSED, 10)], 1),
    ],
)
def test_whose_answer_to_a_transaction_counts(answers: list[tuple[Sending, int]], counts: int) -> None:
    assert what_counts(answers) == counts


def test_who_is_asked_is_said_with_the_reason() -> None:
    ahead, behind = ServerStanding(ledger=12), after_answer(ServerStanding(), 9, 12, 0.0)
    silent = after_trouble(WELL, Trouble.SILENT, 0.0)
    names = ["a.example", "b.example", "c.example"]
    said = describe(names, [silent, behind, ahead], 0.0)
    assert said == "c.example is asked; a.example does not answer; b.example is 3 ledgers behind"
    assert describe(names[:1], [silent], 0.0) == "none is well; a.example does not answer"
    assert describe(names[1:], [after_answer(WELL, 11, 12, 0.0), ahead], 0.0).endswith("is 1 ledger behind")


@pytest.mark.parametrize("rate", [2, 5, 15, 50])
def test_no_second_sees_more_requests_than_are_allowed(rate: int) -> None:
    """Whoever wants to send as many as it can for a minute, from a full bucket on."""
    bucket, now, taken = Bucket(rate), 100.0, []
    while now < 160:
        wait = bucket.take(now)
        if wait:
            now += wait
        else:
            taken.append(now)
    most = max(sum(1 for other in taken if at <= other < at + 1) for at in taken)
    assert most <= rate
    assert len(taken) >= 0.7 * rate * 60
    assert bucket.take(now - 50) >= 0, "a clock that goes back gives no tokens"


def test_looking_for_the_next_ledger_leaves_room() -> None:
    assert Bucket(80).watch_seconds == pytest.approx(1 / 17)
