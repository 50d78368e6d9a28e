"""The types that all audiences share."""

from __future__ import annotations

import pytest

from kalepool.api.models import stakes


@pytest.mark.parametrize(
    ("part", "percent"), [(0.0, "0"), (0.1, "10"), (0.005, "0.5"), (0.000001, "0.0001"), (0.29, "29"), (1.0, "100")]
)
def test_a_stake_is_said_in_words(part: float, percent: str) -> None:
    assert stakes(part) == f"stakes {percent} % of the KALE balance in each block"
