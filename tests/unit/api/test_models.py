"""The types that all audiences share."""

from __future__ import annotations

import inspect
from decimal import Decimal

import pytest

from kalepool.api.models import stake_part, stakes
from kalepool.api.routes import farmers, self_service


@pytest.mark.parametrize(
    ("part", "percent"), [(0.0, "0"), (0.1, "10"), (0.005, "0.5"), (0.000001, "0.0001"), (0.29, "29"), (1.0, "100")]
)
def test_a_stake_is_said_in_words(part: float, percent: str) -> None:
    assert stakes(part) == f"stakes {percent} % of the KALE balance in each block"


@pytest.mark.parametrize(
    ("wish", "kept"),
    [(0.0000025, "0.000003"), (0.0000015, "0.000002"), (0.0000004, "0.000000"), (0.1, "0.100000"), (None, "0.250000")],
)
def test_one_stake_is_the_same_by_every_way(wish: float | None, kept: str) -> None:
    assert stake_part(wish, 0.25) == Decimal(kept)
    for route in (farmers, self_service):
        source = inspect.getsource(route)
        assert "stake_part(body.stake_percentage" in source and "Decimal(" not in source
