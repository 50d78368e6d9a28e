"""What people type into forms, read in one way on all pages; and what is wrong with it, in words of the reader's."""

from __future__ import annotations

import re
from decimal import Decimal

from kalepool.errors import InputError
from kalepool.marking import mark
from kalepool.units import STROOPS
from kalepool.view.words import ENGLISH, SIGNS, Language

TOO_LARGE = re.compile(r"[0-9]{13,}(?:[.,][0-9]{1,7})?")
MOST_STROOPS = 2**63 - 1
SEPARATED = re.compile(r"[0-9][.,'’\s_][0-9]")
"""What is no number of the reader's language, and may be one elsewhere."""

MOST_QUOTED = 30


class FormError(InputError):
    """Something in a form is wrong: what, a `mark` with names."""


class Numbers:
    """How numbers are read that are typed in a language: 1000, 1000.5, and as pages show them, 1,234.56. What could
    be thousands as well as decimals is not: 1,000; 1.000; 2,5."""

    def __init__(self, language: str) -> None:
        self.thousands, self.point = SIGNS[language]
        sign, point = re.escape(self.thousands), re.escape(self.point)
        self._plain = re.compile(rf"[0-9]{{1,12}}(?:{point}[0-9]{{1,7}})?", re.ASCII)
        groups = rf"(?:{sign}[0-9]{{3}})"
        grouped = rf"[1-9][0-9]{{0,2}}(?:{groups}{{1,3}}{point}[0-9]{{1,7}}|{groups}{{2,3}})"
        self._grouped = re.compile(grouped, re.ASCII)
        self._looks_grouped = re.compile(rf"[1-9][0-9]{{0,2}}{point}[0-9]{{2}}0", re.ASCII)

    def read(self, text: str) -> Decimal | None:
        """None for what is no number, or could be read in two ways."""
        if self._looks_grouped.fullmatch(text) or not (self._plain.fullmatch(text) or self._grouped.fullmatch(text)):
            return None
        return Decimal(text.replace(self.thousands, "").replace(self.point, "."))


READINGS = {language: Numbers(language) for language in SIGNS}


def number(text: str, words: Language = ENGLISH) -> Decimal:
    """A number of 0 or more with seven decimals at most, as it is written in the reader's language; English is also
    what scripts and number fields send. Raises FormError for anything else, and for what can be read in two ways."""
    text = text.strip()
    quoted = text[:MOST_QUOTED]
    found = READINGS[words.language].read(text)
    if found is not None:
        return found
    if TOO_LARGE.fullmatch(text):
        raise _too_large(quoted)
    if SEPARATED.search(text):
        raise FormError(
            mark("“%(typed)s” can be read in two ways: write 1000 or 1000.5, with no sign but a point before decimals"),
            typed=quoted,
        )
    raise FormError(mark("“%(typed)s” is no number: write 1000 or 1000.5, with seven decimals at most"), typed=quoted)


def stroops_of(text: str, words: Language = ENGLISH) -> int:
    """An amount of KALE or XLM, more than 0. Raises FormError."""
    stroops = int(number(text, words) * STROOPS)
    if not stroops:
        raise FormError(mark("an amount is more than 0"))
    if stroops > MOST_STROOPS:
        raise _too_large(text.strip())
    return stroops


def _too_large(typed: str) -> FormError:
    return FormError(mark("“%(typed)s” is too large"), typed=typed)


def percent(text: str) -> Decimal:
    """A part of a whole, from per cent, as number fields send it. Raises FormError."""
    part = number(text) / 100
    if part > 1:
        raise FormError(mark("a part is 0 to 100 per cent, and not %(typed)s"), typed=text.strip()[:MOST_QUOTED])
    return part.quantize(Decimal("0.000001"))
