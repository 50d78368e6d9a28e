"""What people type into forms, read in one way on all pages; and what is wrong with it, in words of the reader's."""

from __future__ import annotations

import re
from decimal import Decimal

from kalepool.errors import InputError
from kalepool.units import STROOPS
from kalepool.view.words import Language, mark

NUMBER = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,7}))?")
TOO_LARGE = re.compile(r"[0-9]{13,}(?:\.[0-9]{1,7})?")
MOST_STROOPS = 2**63 - 1
SEPARATED = re.compile(r"[0-9][,'’\s_][0-9]|\.[0-9]+\.[0-9]|^[1-9][0-9]{0,2}\.[0-9]{2}0$")
"""What some read as a point and others as thousands: 1,000; 2,5; 1 000; 1.000.000; 1.000."""

MOST_QUOTED = 30


class FormError(InputError):
    """Something in a form is wrong. `text`: what, a `mark`; `names` stand in it."""

    def __init__(self, text: str, /, **names: object) -> None:
        super().__init__(text % names)
        self.text, self.names = text, names


def told(error: InputError, words: Language) -> str:
    """What is wrong, in the reader's language where it has words for it."""
    return words.say(error.text, **error.names) if isinstance(error, FormError) else str(error)


def number(text: str) -> Decimal:
    """A number of 0 or more with seven decimals at most, a point before them. Raises FormError for anything else, and
    for what can be read in two ways."""
    text = text.strip()
    quoted = text[:MOST_QUOTED]
    if SEPARATED.search(text):
        raise FormError(
            mark("“%(typed)s” can be read in two ways: write 1000 or 1000.5, with no sign but a point before decimals"),
            typed=quoted,
        )
    if TOO_LARGE.fullmatch(text):
        raise _too_large(quoted)
    found = NUMBER.fullmatch(text)
    if not found:
        raise FormError(
            mark("“%(typed)s” is no number: write 1000 or 1000.5, with seven decimals at most"), typed=quoted
        )
    return Decimal(text)


def stroops_of(text: str) -> int:
    """An amount of KALE or XLM, more than 0. Raises FormError."""
    stroops = int(number(text) * STROOPS)
    if not stroops:
        raise FormError(mark("an amount is more than 0"))
    if stroops > MOST_STROOPS:
        raise _too_large(text.strip())
    return stroops


def _too_large(typed: str) -> FormError:
    return FormError(mark("“%(typed)s” is too large"), typed=typed)


def percent(text: str) -> Decimal:
    """A part of a whole, from per cent. Raises FormError."""
    part = number(text) / 100
    if part > 1:
        raise FormError(mark("a part is 0 to 100 per cent, and not %(typed)s"), typed=text.strip()[:MOST_QUOTED])
    return part.quantize(Decimal("0.000001"))
