"""Who holds back shares is found out, and who does not is not accused."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from kalepool.policy.withholding import UNLIKELY, ShareGroup, poisson_tail, worst_dearth

DAY_SHARES = 17_280
"""One in five seconds."""


def brought(random: np.random.Generator, difficulty: int, shares: int) -> Iterator[ShareGroup]:
    """What so many shares of a difficulty are like: each is any number below 2^64 / difficulty."""
    digits = (difficulty.bit_length() - 1) // 4
    left = shares
    for zeros in range(digits, 17):
        more = min(difficulty / 16 ** (zeros + 1), 1.0) / min(difficulty / 16**zeros, 1.0)
        kept = int(random.binomial(left, more))
        yield ShareGroup(difficulty, zeros, left - kept)
        left = kept


@pytest.mark.parametrize(
    ("found", "expected", "probability"),
    [
        (0, 13.9, math.exp(-13.9)),
        (2, 4.0, 13 * math.exp(-4.0)),
        (5, 5.0, 0.61596065),
        (9_000, 10_000.0, 2.6e-24),
        (0, 0.0, 1.0),
        (-1, 3.0, 0.0),
    ],
)
def test_the_tail(found: int, expected: float, probability: float) -> None:
    assert poisson_tail(found, expected) == pytest.approx(probability, rel=0.02)


def test_no_honest_miner_is_accused_in_a_thousand_days() -> None:
    """1,000 days of each of three rigs, a mixture of difficulties among them. The probabilities are what they say, too:
    one below p comes on p of all days at most."""
    random = np.random.default_rng(1)
    for difficulties in ([2**18], [2**14, 2**19, 3 * 2**21], [16**6]):
        days = []
        for _ in range(1000):
            groups = [g for d in difficulties for g in brought(random, d, DAY_SHARES // len(difficulties))]
            dearth = worst_dearth(groups)
            assert dearth is not None
            days.append(dearth.probability)
        assert min(days) >= UNLIKELY
        for level in (0.001, 0.01, 0.1):
            most = 1000 * level
            assert sum(day < level for day in days) <= most + 4 * math.sqrt(most), level
        assert min(days) < 0.05  # or the test would be blunt


@pytest.mark.parametrize(
    ("difficulty", "held_back", "within"), [(2**18, 6, 1_000), (2**18, 5, 70), (16**5, 6, 240), (16**6, 8, 4_000)]
)
def test_who_holds_back_shares_with_many_zeros_is_found_out(difficulty: int, held_back: int, within: int) -> None:
    """After 15.3 · 16^z / difficulty shares at the latest, where all with z zeros or more are held back."""
    assert within >= 14.5 * 16**held_back / difficulty
    random = np.random.default_rng(2)
    honest = list(brought(random, difficulty, within))
    kept = [group for group in honest if group.zeros < held_back]
    # as many as are stated, of those that it brings
    kept[-1] = ShareGroup(difficulty, kept[-1].zeros, kept[-1].shares + within - sum(g.shares for g in kept))
    accused, fair = worst_dearth(kept), worst_dearth(honest)
    assert accused is not None
    assert accused.is_withholding
    assert accused.zeros <= held_back
    assert fair is None or not fair.is_withholding


def test_half_of_them_held_back_takes_longer() -> None:
    random = np.random.default_rng(3)
    groups = [
        ShareGroup(g.difficulty, g.zeros, g.shares // 2 if g.zeros >= 6 else g.shares)
        for g in brought(random, 2**18, DAY_SHARES)
    ]
    accused = worst_dearth(groups)
    assert accused is not None
    assert accused.is_withholding


def test_few_shares_tell_nothing() -> None:
    assert worst_dearth([]) is None
    assert worst_dearth([ShareGroup(2**18, 4, 13)]) is None
