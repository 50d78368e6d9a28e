"""Pay per last N shares."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.bookkeeping import fee_of
from kalepool.policy.credits import harvest_rate, shared_of, split, window_sums

parts = st.dictionaries(st.text(max_size=3), st.integers(0, 10**20), max_size=8)
hashes = st.dictionaries(
    st.integers(0, 20), st.dictionaries(st.sampled_from("ABC"), st.integers(1, 10**15), max_size=3), max_size=15
)
widths = st.dictionaries(st.integers(0, 25), st.integers(1, 8), max_size=10)


@given(hashes, widths)
def test_a_window_is_the_sum_of_its_blocks(blocks: dict[int, dict[str, int]], wanted: dict[int, int]) -> None:
    for index, found in window_sums(blocks, wanted):
        expected: dict[str, int] = {}
        for block in range(index - wanted.pop(index) + 1, index + 1):
            for miner, credited in blocks.get(block, {}).items():
                expected[miner] = expected.get(miner, 0) + credited
        assert found == expected
    assert not wanted, "one for each"


def test_no_window() -> None:
    with pytest.raises(ValueError, match="window"):
        list(window_sums({}, {7: 0}))


@given(parts, st.integers(0, 10**25))
def test_not_a_stroop_is_lost_or_made(by_miner: dict[str, int], amount: int) -> None:
    paid = split(by_miner, amount)
    total = sum(by_miner.values())
    assert sum(paid.values()) == (amount if total else 0)
    for miner, stroops in paid.items():
        exact, remainder = divmod(amount * by_miner[miner], total)
        assert exact <= stroops <= exact + (remainder > 0)


@given(parts, st.integers(0, 10**25))
def test_the_order_of_miners_does_not_matter(by_miner: dict[str, int], amount: int) -> None:
    assert split(dict(reversed(by_miner.items())), amount) == split(by_miner, amount)


def test_largest_remainders_first() -> None:
    assert split({"A": 1, "B": 1, "C": 1}, 2) == {"A": 1, "B": 1, "C": 0}
    assert split({"A": 1, "B": 5}, 5) == {"A": 1, "B": 4}
    assert split({"A": 0, "B": 3}, 7) == {"A": 0, "B": 7}


@pytest.mark.parametrize(("by_miner", "amount"), [({"A": 1}, -1), ({"A": -1}, 1)])
def test_nothing_negative(by_miner: dict[str, int], amount: int) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split(by_miner, amount)


rates = st.fractions(0, 1, max_denominator=10_000)
harvests = st.lists(st.tuples(st.integers(0, 10**15), rates, st.booleans()), max_size=12)


@given(harvests, rates, rates, parts)
def test_solo_takes_nothing_from_others_and_gives_them_nothing(
    of_farmers: list[tuple[int, Fraction, bool]], solo_fee: Fraction, part: Fraction, by_miner: dict[str, int]
) -> None:
    """What miners share with SOLO harvests in the block is what they share without them, to the stroop."""
    fees = [(fee_of(reward, harvest_rate(rate, solo_fee if solo else None)), solo) for reward, rate, solo in of_farmers]
    in_all, of_solo = sum(fee for fee, _ in fees), sum(fee for fee, solo in fees if solo)
    shared = shared_of(in_all, of_solo, part)
    assert shared == shared_of(in_all - of_solo, 0, part) == fee_of(in_all - of_solo, part)
    credits = split(by_miner, shared)
    kept = in_all - sum(credits.values())
    assert kept >= of_solo, "the service fee is the pool's, all of it"
    for (fee, solo), (reward, rate, _) in zip(fees, of_farmers, strict=True):
        assert fee == fee_of(reward, min(rate, solo_fee) if solo else rate) <= fee_of(reward, rate)


@pytest.mark.parametrize("solo", [-1, 11])
def test_no_more_is_solos_than_there_is(solo: int) -> None:
    with pytest.raises(ValueError, match="SOLO"):
        shared_of(10, solo, Fraction(1))
