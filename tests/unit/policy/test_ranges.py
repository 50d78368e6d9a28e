"""No nonce twice for a farmer in a block, whatever happens to the searchers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from kalepool.policy import ranges
from kalepool.policy.ranges import (
    COUNTERS,
    PREFIXES,
    NonceRange,
    RangeExhaustedError,
    Searcher,
    job_range,
    measure_speed,
    prefix_range,
)
from kalepool.protocol.model import U64_MAX

FEW = 16


class Searchers(RuleBasedStateMachine):
    """A pool whose workers join, die, run dry, and whose coordinator restarts. Only the sequence survives that.

    Prefixes are so few that they come round every few blocks.
    """

    searchers = Bundle("searchers")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ranges, "PREFIXES", FEW)
        self.sequence = 0
        self.index = 7
        self.issued = 0
        self.taken: list[tuple[str, NonceRange]] = []

    def teardown(self) -> None:
        self.patch.undo()

    def next_serial(self) -> int:
        self.sequence += 1
        self.issued += 1
        return self.sequence

    def may_issue(self) -> bool:
        """What `is_outdated` promises holds while fewer than half of all prefixes are handed out in a block."""
        return self.issued < FEW // 2 - 1

    @precondition(may_issue)
    @rule(target=searchers)
    def join(self) -> Searcher:
        return Searcher(self.next_serial())

    @rule(searcher=consumes(searchers))
    def die(self, searcher: Searcher) -> None:
        """Its counter is gone with it."""

    @precondition(may_issue)
    @rule(target=searchers, searcher=consumes(searchers))
    def restart(self, searcher: Searcher) -> Searcher:
        return Searcher(self.next_serial())

    @rule(others=st.sampled_from([0, FEW // 2, FEW - 2, FEW - 1]))
    def next_block(self, others: int) -> None:
        """Between the blocks others come and go."""
        self.sequence += others
        self.index += 1
        self.issued = 0
        self.taken.clear()

    @precondition(may_issue)
    @rule(
        target=searchers,
        searcher=consumes(searchers),
        farmer=st.sampled_from("AB"),
        count=st.sampled_from([1, 1000, COUNTERS // 2, COUNTERS - 1, COUNTERS]),
    )
    def search(self, searcher: Searcher, farmer: str, count: int) -> Searcher:
        if searcher.is_outdated(self.sequence):
            searcher = Searcher(self.next_serial())
        try:
            taken = searcher.take(self.index, count)
        except RangeExhaustedError:
            searcher = Searcher(self.next_serial())
            taken = searcher.take(self.index, count)
        assert 1 <= taken.count <= count
        assert taken.start in prefix_range(searcher.serial) and taken.end - 1 in prefix_range(searcher.serial)
        self.taken.append((farmer, taken))
        return searcher

    @invariant()
    def no_nonce_twice_for_a_farmer(self) -> None:
        for farmer in "AB":
            in_order = sorted((r for f, r in self.taken if f == farmer), key=lambda r: r.start)
            assert all(a.end <= b.start for a, b in pairwise(in_order))


Searchers.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
test_searchers: Any = Searchers.TestCase


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_no_job_has_a_nonce_of_a_searcher(job: int, searcher: int) -> None:
    jobs, searchers = job_range(job), prefix_range(searcher)
    assert jobs.end <= searchers.start and jobs.start >= 0 and searchers.end - 1 <= U64_MAX


def test_serials_in_the_wrapping_window_never_share_a_prefix() -> None:
    """Whoever is not outdated holds another prefix than the next PREFIXES / 2 serials."""
    old = Searcher(5)
    assert not old.is_outdated(5 + PREFIXES // 2 - 1) and old.is_outdated(5 + PREFIXES // 2)
    assert Searcher(5 + PREFIXES).nonces == old.nonces  # the prefix comes again only half a lap later


def test_a_searcher_counts_up_and_starts_again_with_the_block() -> None:
    searcher = Searcher(3)
    start = prefix_range(3).start
    assert searcher.take(10, 100) == NonceRange(start, 100)
    assert searcher.take(10, 2**33) == NonceRange(start + 100, 2**33)
    assert searcher.left == COUNTERS - 100 - 2**33
    assert searcher.take(11, 5) == NonceRange(start, 5)
    with pytest.raises(ValueError, match="block 10 is over"):
        searcher.take(10, 5)
    with pytest.raises(ValueError, match="0 nonces"):
        searcher.take(11, 0)


def test_the_end_of_a_range() -> None:
    searcher = Searcher(PREFIXES - 1)
    searcher.take(1, COUNTERS - 10)
    last = searcher.take(1, 100)
    assert (last.count, last.end - 1) == (10, U64_MAX)
    with pytest.raises(RangeExhaustedError, match="new serial"):
        searcher.take(1, 1)
    assert searcher.take(2, 1).count == 1


def test_a_card_of_14_gigahashes_does_not_run_dry_in_a_block() -> None:
    assert COUNTERS > 14e9 * 300


def test_no_negative_serial() -> None:
    with pytest.raises(ValueError, match="-1"):
        Searcher(-1)


def test_speed_follows_what_is_measured() -> None:
    speed = measure_speed(None, 1000, 0.5)
    assert speed == 2000
    for _ in range(60):
        speed = measure_speed(speed, 9000, 1.5)
    assert abs(speed - 6000) < 10
    once = measure_speed(1e6, 10**7, 0.1)  # one outlier of 100 MH/s, in a short chunk
    assert once < 3e6
    with pytest.raises(ValueError, match="0 s"):
        measure_speed(None, 1, 0)
