"""Amounts, rates and times as people read them."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

STROOPS = 10_000_000
"""In a KALE, and in an XLM."""


PARTS_PER_MILLION = 1_000_000


def part_of(stroops: int, part: Decimal) -> int:
    """A part of an amount, rounded down; the part to six decimals. No float touches it."""
    return stroops * int(part * PARTS_PER_MILLION) // PARTS_PER_MILLION


def rate_text(part: Fraction) -> str:
    """A part as decimal digits: 0.05."""
    return f"{Decimal(part.numerator) / part.denominator:f}"


def kale(stroops: int | None, places: int = 2) -> str:
    """Stroops as KALE, rounded towards zero."""
    if stroops is None:
        return "-"
    scale = 10 ** (7 - places)
    whole, part = divmod(abs(stroops) // scale, 10**places)
    return f"{'-' if stroops < 0 else ''}{whole:,}" + (f".{part:0{places}}" if places else "")


def amount(stroops: int) -> str:
    """Stroops as KALE or XLM, to the last digit and without needless zeros: for what somebody is to send."""
    return f"{Decimal(stroops).scaleb(-7).normalize():f}"


def rate(hashes_per_second: float) -> str:
    """A hashrate with the prefix that fits it."""
    for unit in ("H/s", "kH/s", "MH/s"):
        if hashes_per_second < 1000:
            return f"{hashes_per_second:.0f} {unit}" if unit == "H/s" else f"{hashes_per_second:.1f} {unit}"
        hashes_per_second /= 1000
    return f"{hashes_per_second:.1f} GH/s"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


def lasting(hours: float) -> str:
    """How long something will do: in hours while that is soon, else in days."""
    return counted(round(hours), "hour") if hours < 72 else counted(round(hours / 24), "day")


def counted(count: int, one: str, many: str | None = None) -> str:
    """So many of something: `1 worker`, `2 workers`. `many`: where an s is not enough."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def plain(text: str) -> str:
    """Text that somebody else chose, on one line and without what a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)


def reason_of(error: OSError) -> str:
    """Why something could not be opened or listened on, without the address that Python adds to it."""
    return (error.strerror or str(error)).partition(" (while ")[0]


def unprefixed(message: str) -> str:
    """What pydantic says of a wrong value, without its own words before ours."""
    return message.replace("Value error, ", "")


SECRETS = re.compile(r"\bS[A-Z2-7]{55}\b|\bkp_[A-Za-z0-9_-]{20,}")
"""Secret keys of accounts, and keys of the API."""


def without_secrets(text: str) -> str:
    """Text that may repeat what somebody typed, with the secrets in it hidden."""
    return SECRETS.sub("(a secret key, hidden)", text)


def plain_lines(text: str) -> str:
    """As `plain`, with the line breaks that there are: for messages that may quote others."""
    return "\n".join(plain(line) for line in text.split("\n"))
