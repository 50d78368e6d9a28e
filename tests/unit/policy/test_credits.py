"""Pay per last N shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.credits import pplns_parts, split

shares = st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 10**15)), max_size=30)
parts = st.dictionaries(st.text(max_size=3), st.integers(0, 10**20), max_size=8)


@given(shares, st.integers(1, 10**16))
def test_the_window_is_filled_from_the_newest(found: list[tuple[str, int]], window: int) -> None:
    credited = pplns_parts(found, window)
    assert sum(credited.values()) == min(window, sum(hashes for _, hashes in found))
    for miner, hashes in credited.items():
        assert 0 < hashes <= sum(h for m, h in found if m == miner)


def test_the_share_at_the_edge_counts_in_part() -> None:
    assert pplns_parts([("A", 10), ("B", 50), ("A", 100), ("C", 7)], 100) == {"A": 50, "B": 50}


def test_no_window() -> None:
    with pytest.raises(ValueError, match="window"):
        pplns_parts([("A", 1)], 0)


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
