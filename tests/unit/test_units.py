"""Amounts, rates and times as people read them."""

from __future__ import annotations

import pytest

from kalepool.units import amount, counted, kale, lasting, rate, seconds


@pytest.mark.parametrize(
    ("stroops", "text"),
    [(None, "-"), (0, "0.00"), (19_999_999, "1.99"), (-15_000_000, "-1.50"), (12_345_678_9012345, "12,345,678.90")],
)
def test_stroops_read_as_kale(stroops: int | None, text: str):
    assert kale(stroops) == text


def test_whole_kale():
    assert kale(19_999_999, places=0) == "1"


@pytest.mark.parametrize(
    ("stroops", "text"), [(0, "0"), (1, "0.0000001"), (25_000_000, "2.5"), (1_000_000_000, "100"), (-5_000_000, "-0.5")]
)
def test_what_is_to_be_sent_is_said_to_the_last_digit(stroops: int, text: str):
    assert amount(stroops) == text


@pytest.mark.parametrize(
    ("hashes_per_second", "text"),
    [(12.0, "12 H/s"), (999_900.0, "999.9 kH/s"), (21.7e6, "21.7 MH/s"), (2e13, "20000.0 GH/s")],
)
def test_rates(hashes_per_second: float, text: str):
    assert rate(hashes_per_second) == text


def test_seconds():
    assert (seconds(None), seconds(4.6)) == ("-", "5 s")


def test_one_of_something_is_said_as_one() -> None:
    assert [counted(number, "worker") for number in (0, 1, 2, 1200)] == [
        "0 workers",
        "1 worker",
        "2 workers",
        "1,200 workers",
    ]
    assert [counted(number, "account has", "accounts have") for number in (1, 2)] == [
        "1 account has",
        "2 accounts have",
    ]


def test_how_long_it_lasts_is_said_in_days_once_it_is_long() -> None:
    assert [lasting(hours) for hours in (0.6, 71, 10_511.0)] == ["1 hour", "71 hours", "438 days"]
