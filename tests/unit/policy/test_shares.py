"""Shares: judged, credited, paced, and turned into hashrates."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.ranges import NonceRange, prefix_range
from kalepool.policy.shares import Job, ShareOutcome, below_for, check, estimate_hashrate, luck, parse_nonce, verify
from kalepool.policy.vardiff import (
    BAND,
    FIRST_DIFFICULTY,
    MAX_DIFFICULTY,
    MIN_DIFFICULTY,
    REVIEW_SHARES,
    Pace,
    adjust,
    difficulty_for,
)
from kalepool.protocol.hashing import count_zeros, hash_work

FARMER = "GBQHTQ7NTSKHVTSVM6EHUO3TU4P4BK2TAAII25V2TT2Q6OWXUJWEKALE"
ENTROPY = bytes(range(32))
JOB = Job("job", 41, ENTROPY, FARMER, NonceRange(1000, 500), difficulty=16)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def digest_head(nonce: int) -> int:
    return int.from_bytes(hash_work(41, nonce, ENTROPY, FARMER)[:8], "big")


GOOD = next(n for n in range(1000, 1500) if digest_head(n) < 2**60)
BAD = next(n for n in range(1000, 1500) if digest_head(n) >= 2**60)


def test_a_good_share_is_worth_its_jobs_difficulty() -> None:
    verdict = verify(JOB, GOOD, open_index=41)
    assert verdict.outcome is ShareOutcome.ACCEPTED
    digest = hash_work(41, GOOD, ENTROPY, FARMER)
    assert verdict.digest == digest
    assert verdict.zeros == count_zeros(digest) >= 1
    assert verdict.credited_hashes == 16


@pytest.mark.parametrize(
    ("job", "nonce", "open_index", "outcome"),
    [
        (None, GOOD, 41, ShareOutcome.UNKNOWN_JOB),
        (JOB, GOOD, 42, ShareOutcome.STALE),
        (JOB, GOOD, None, ShareOutcome.STALE),
        (JOB, 999, 41, ShareOutcome.OUT_OF_RANGE),
        (JOB, 1500, 41, ShareOutcome.OUT_OF_RANGE),
        (JOB, BAD, 41, ShareOutcome.LOW_DIFFICULTY),
    ],
)
def test_refusals(job: Job | None, nonce: int, open_index: int | None, outcome: ShareOutcome) -> None:
    verdict = verify(job, nonce, open_index=open_index)
    assert (verdict.outcome, verdict.credited_hashes) == (outcome, 0)


def test_a_workers_find_is_hashed_again() -> None:
    nonces = prefix_range(9)
    nonce = next(n for n in range(nonces.start, nonces.end) if digest_head(n) < 2**56)
    found = check(41, ENTROPY, FARMER, nonce, serial=9, zeros_claimed=2)
    assert (found.outcome, found.credited_hashes) == (ShareOutcome.ACCEPTED, 0)
    assert found.zeros is not None and found.zeros >= 2
    claimed = check(41, ENTROPY, FARMER, nonce, serial=9, zeros_claimed=found.zeros + 1)
    assert claimed.outcome is ShareOutcome.LOW_DIFFICULTY
    assert check(41, ENTROPY, FARMER, nonce, serial=10, zeros_claimed=2).outcome is ShareOutcome.OUT_OF_RANGE


@given(st.integers(0, 2**64 - 1))
def test_nonces_travel_as_strings(nonce: int) -> None:
    assert parse_nonce(str(nonce)) == nonce
    assert parse_nonce(nonce) == nonce


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1.0",
        "1e3",
        "0x10",
        "١",
        "1_000",
        str(2**64),
        "9" * 5000,
        -1,
        2**64,
        1.0,
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_nonce(value: object) -> None:
    assert parse_nonce(value) is None


@given(st.integers(2, MAX_DIFFICULTY))
def test_one_in_difficulty_hashes_is_below_the_bound(difficulty: int) -> None:
    below = below_for(difficulty)
    assert below * difficulty <= 2**64 < (below + 1) * difficulty


@pytest.mark.parametrize("difficulty", [-1, 0, 1, MAX_DIFFICULTY + 1])
def test_impossible_difficulties(difficulty: int) -> None:
    with pytest.raises(ValueError, match=str(difficulty)):
        below_for(difficulty)


def test_difficulty_for_a_speed() -> None:
    assert difficulty_for(1e6, 5.0) == 5_000_000
    assert difficulty_for(0.001, 5.0) == MIN_DIFFICULTY
    assert difficulty_for(1e30, 5.0) == MAX_DIFFICULTY


def mine(speed: float, seconds: float, pace: Pace, draw: random.Random) -> Iterator[tuple[float, Pace]]:
    """Shares as they come at this speed, the pace adjusted after each and every 5 s, yielded with its second."""
    second, next_look = 0.0, 5.0
    while True:
        second_of_share = second + draw.expovariate(speed / pace.difficulty)
        if second_of_share > next_look:  # a search has no memory: drawn again
            second, next_look = next_look, next_look + 5.0
            if second > seconds:
                return
        else:
            second = second_of_share
            pace = pace.add(pace.difficulty, NOW + timedelta(seconds=second), 5.0)
            yield second, pace
        pace = adjust(pace, NOW + timedelta(seconds=second), 5.0)


@pytest.mark.parametrize("speed", [1e4, 1e5, 1e6, 40e6, 1e9, 1e10])
def test_any_miner_soon_finds_a_share_about_every_5_seconds(speed: float) -> None:
    draw = random.Random(17)
    shares = list(mine(speed, 3600, Pace(FIRST_DIFFICULTY, NOW), draw))
    early = [second for second, _ in shares if second < 120]
    assert 4 <= len(early) <= 24 + 8 * REVIEW_SHARES  # settles without a flood
    settled = [second for second, _ in shares if second >= 600]
    assert 3.3 < 3000 / len(settled) < 7.5
    changes = sum(a.difficulty != b.difficulty for (_, a), (s, b) in pairwise(shares) if s > 600)
    assert changes <= 10  # in 50 minutes: no flutter


def test_a_miner_that_slows_down_is_followed() -> None:
    draw = random.Random(3)
    *_, (_, pace) = mine(1e9, 300, Pace(FIRST_DIFFICULTY, NOW), draw)
    shares = list(mine(1e6, 1800, Pace(pace.difficulty, NOW), draw))
    assert sum(second > 900 for second, _ in shares) > 900 / 8


def test_a_right_pace_is_left_alone() -> None:
    pace = Pace(5_000_000, NOW, 12, settled=True)
    for seconds in (60 / BAND + 1, 60, 60 * BAND - 10):
        assert adjust(pace, NOW + timedelta(seconds=seconds), 5.0) == pace
    renewed = adjust(Pace(5_000_000, NOW, 60), NOW + timedelta(seconds=300), 5.0)
    assert renewed == Pace(5_000_000, NOW + timedelta(seconds=300), settled=True)


def test_shares_that_come_all_at_once_say_little_of_the_speed() -> None:
    """Thirty that waited for the pool to come back, right after a look and a minute after one."""
    for seconds in (0, 5, 30, 60):
        pace = Pace(5_000_000, NOW, seconds / 5, settled=True)
        for _ in range(30):
            pace = pace.add(pace.difficulty, NOW + timedelta(seconds=seconds), 5.0)
        for later in (0, 5, 20):
            assert adjust(pace, NOW + timedelta(seconds=seconds + later), 5.0).difficulty <= 5_000_000 * BAND, seconds


@given(st.integers(1, 10_000), st.floats(1, 1e5))
def test_an_estimate_lies_in_its_interval(shares: int, seconds: float) -> None:
    rate = estimate_hashrate(shares * 1000, shares, seconds)
    assert 0 <= rate.low < rate.hashes_per_second < rate.high
    assert rate.hashes_per_second == pytest.approx(shares * 1000 / seconds)


def test_the_interval_is_the_exact_one() -> None:
    """Garwood's limits for a count: 1 → 0.0253 … 5.572, 10 → 4.795 … 18.39, 100 → 81.36 … 121.63."""
    for shares, low, high in ((1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.63)):
        rate = estimate_hashrate(shares, shares, 1)
        assert rate.low == pytest.approx(low, rel=0.02, abs=0.06)
        assert rate.high == pytest.approx(high, rel=0.02)


def test_the_interval_holds_the_truth_19_times_of_20() -> None:
    draw, held = random.Random(8), 0
    for _ in range(1000):
        shares, second = 0, draw.expovariate(0.2)
        while second < 60:
            shares, second = shares + 1, second + draw.expovariate(0.2)
        rate = estimate_hashrate(shares * 5_000_000, shares, 60, difficulty=5_000_000)
        held += rate.low <= 1e6 <= rate.high
    assert 925 <= held <= 985


def test_silence_bounds_the_speed_too() -> None:
    rate = estimate_hashrate(0, 0, 60, difficulty=6_000_000)
    assert (rate.hashes_per_second, rate.low) == (0, 0)
    assert rate.high == pytest.approx(3.689 * 100_000, rel=0.03)
    with pytest.raises(ValueError, match="0 s"):
        estimate_hashrate(0, 0, 0)


def test_luck_is_what_the_best_hash_takes_against_what_was_made() -> None:
    best = bytes.fromhex("000fffffffffffff") + bytes(24)  # one in 4096
    assert luck(best, 4096) == pytest.approx(1)
    assert luck(best, 8192) == pytest.approx(0.5)
    assert luck(bytes(32), 2**64) == 1
    with pytest.raises(ValueError, match="without a hash"):
        luck(best, 0)
