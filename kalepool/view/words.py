"""The words of pages in the reader's language. English stands where it is shown; other languages in a file each.

In a template: `{{ _("Planted") }}`, with names `{{ _("block %(index)s", index=7) }}`, counted
`{{ ngettext("%(num)s block", "%(num)s blocks", count) }}`; a literal percent sign is `%%`. In Python `mark("Planted")`
where a template says `_(it)` later, and `words.say` and `words.counted` of a text that stands there. Each has to be in
every language's file: tests/unit/view/test_words.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import ModuleType

from kalepool import units
from kalepool.marking import Sum
from kalepool.marking import mark as mark
from kalepool.view import german

LANGUAGES = {"en": "English", "de": "Deutsch"}
"""By the code that browsers ask with, each called as its own speakers do."""

CATALOGUES: dict[str, ModuleType] = {"de": german}


SIGNS = {"en": ",.", "de": ".,"}
"""Between thousands, and before decimals."""

DAYS = {"en": "%Y-%m-%d", "de": "%d.%m.%Y"}
DAYS_OF_A_YEAR = {"en": "%d %b", "de": "%d.%m."}
"""How a day is written: with its year, and without."""


def choose(*wishes: str | None, accepted: str = "") -> str:
    """The language of a page: the first wish that there is, else the best of an Accept-Language, else English."""
    for wish in wishes:
        if wish in LANGUAGES:
            return wish
    ranked: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        tag, _, parameters = part.strip().partition(";")
        quality = parameters.strip().removeprefix("q=") if parameters else "1"
        try:
            ranked.append((float(quality), tag.partition("-")[0].lower()))
        except ValueError:
            continue
    for quality, language in sorted(ranked, key=lambda each: -each[0]):
        if quality > 0 and language in LANGUAGES:
            return language
    return "en"


@dataclass(frozen=True, slots=True)
class Language:
    """One language's. A text that it does not have is English."""

    language: str

    def gettext(self, text: str) -> str:
        """The text in this language, its `%(names)s` as they are."""
        found = CATALOGUES.get(self.language)
        return found.WORDS.get(text, text) if found else text

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form for so many."""
        found = CATALOGUES.get(self.language)
        one, many = found.COUNTED.get(one, (one, many)) if found else (one, many)
        return one if count == 1 else many

    def has(self, text: str) -> bool:
        """Whether there is such a text in this language."""
        return self.language in CATALOGUES and text in CATALOGUES[self.language].WORDS

    def say(self, text: str, /, **names: object) -> str:
        """The text with its names filled in, not escaped: for whatever escapes it later."""
        return self.gettext(text) % self._spelled(names)

    def counted(self, one: str, many: str, count: int, /, **names: object) -> str:
        """As `say`, in the form for so many; `%(num)s` is the number."""
        return self.ngettext(one, many, count) % {"num": self.number(count), **self._spelled(names)}

    def _spelled(self, names: Mapping[str, object]) -> dict[str, object]:
        return {name: self.amount(value) if isinstance(value, Sum) else value for name, value in names.items()}

    def signs(self, digits: str) -> str:
        """A number as Python writes it (1,234.5), with the signs of this language."""
        return digits.translate(str.maketrans(SIGNS["en"], SIGNS[self.language]))

    def number(self, value: float | Decimal, form: str = ",") -> str:
        """A number, in a form of Python's."""
        return self.signs(format(value, form))

    def percent(self, part: float | Decimal, form: str = "g") -> str:
        """A part as per cent."""
        return f"{self.number(float(part) * 100, form)} %"

    def kale(self, stroops: int | None, places: int = 2) -> str:
        return self.signs(units.kale(stroops, places))

    def amount(self, stroops: int) -> str:
        """To the last digit: for what somebody is to send. `typed.stroops_of` reads it again."""
        return self.signs(units.amount(stroops))

    def rate(self, hashes_per_second: float) -> str:
        return self.signs(units.rate(hashes_per_second))

    def day(self, day: date) -> str:
        return day.strftime(DAYS[self.language])

    def day_of_year(self, day: date) -> str:
        return day.strftime(DAYS_OF_A_YEAR[self.language])

    def moment(self, at: datetime, clock: str = "%H:%M UTC") -> str:
        """A time in UTC: what is shown where no script knows the reader's zone."""
        return at.astimezone(UTC).strftime(f"{DAYS[self.language]} {clock}")


ENGLISH = Language("en")
"""Of terminals and logs."""
