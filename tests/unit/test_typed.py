"""What people type as amounts: read in one way, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kalepool.api.typed import FormError, percent, stroops_of
from kalepool.chain import Account
from kalepool.errors import InputError
from kalepool.services.withdrawals import TooMuchError, check_balance
from kalepool.view.reasons import told
from kalepool.view.words import Language

GERMAN = Language("de")
SWAP = str.maketrans(",.", ".,")


@pytest.mark.parametrize(
    ("text", "stroops"),
    [
        ("1000", 10**10),
        (" 1000.5 ", 10_005_000_000),
        ("0.0000001", 1),
        ("2.25", 22_500_000),
        ("0.100", 1_000_000),
        ("1,234.56", 12_345_600_000),
        ("1,000,000", 10**13),
        ("12,345,678.9", 123_456_789_000_000),
    ],
)
def test_an_amount(text: str, stroops: int) -> None:
    """As pages show it and as it is typed; and so in German, with the signs of German."""
    assert stroops_of(text) == stroops
    assert stroops_of(text.translate(SWAP), GERMAN) == stroops


@pytest.mark.parametrize("stroops", [1, 15_000_000, 12_345_678_900_000, 10_592_769_042])
def test_what_a_page_writes_into_a_form_is_read_again(stroops: int) -> None:
    for words in (Language("en"), GERMAN):
        assert stroops_of(words.amount(stroops), words) == stroops
        assert stroops_of(words.kale(stroops, 7), words) == stroops


TWO_WAYS = [
    "1,000",
    "2,5",
    "1 000",
    "1.000",
    "12.500",
    "1.000.000",
    "1'000",
    "1\u00a0000",
    "1.234,56",
    "1,23.4",
    "12,34",
]


@pytest.mark.parametrize("text", TWO_WAYS)
def test_what_can_be_read_in_two_ways_is_not_read(text: str) -> None:
    with pytest.raises(FormError, match=r"write 1000 or 1000\.5"):
        stroops_of(text)
    with pytest.raises(FormError):
        percent(text)
    with pytest.raises(FormError) as caught:
        stroops_of(text.translate(SWAP), GERMAN)
    assert "bitte 1000 oder 1000,5 schreiben" in told(caught.value, GERMAN)


@pytest.mark.parametrize("text", ["", "abc", "-1", "+1", "1e9", "NaN", "٣", ".5", "1.", "0.00000001", "1" * 13, "0"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(FormError):
        stroops_of(text)


def test_per_cent() -> None:
    assert [percent(each) for each in ("0", "12.5", "100")] == [Decimal(0), Decimal("0.125"), Decimal(1)]
    with pytest.raises(FormError, match="0 to 100"):
        percent("100.1")


def test_it_is_told_in_the_readers_language() -> None:
    with pytest.raises(FormError) as caught:
        stroops_of("0")
    assert told(caught.value, Language("de")) == "ein Betrag ist größer als 0"
    assert told(InputError("as it is")) == "as it is"
    assert told(InputError("as it is"), GERMAN) == "etwas in dem, was gesendet wurde, fehlt oder ist falsch"


def test_a_fee_in_kale_is_not_taken_off_the_xlm() -> None:
    account = Account("G", 1, 35_000_000, 19_999_900, 1_000, 1)
    check_balance(account, "XLM", 15_000_000, owed_stroops=196_163_033)
    with pytest.raises(TooMuchError, match=r"1\.99999 that can be withdrawn$"):
        check_balance(account, "XLM", 20_000_000, owed_stroops=1)
    with pytest.raises(TooMuchError, match=r"0\.00009 that can be withdrawn, without the 0\.00001 of the pool's fee"):
        check_balance(account, "KALE", 1_000, owed_stroops=100)
