"""The words of pages in the reader's language. English stands where it is shown; other languages in a file each.

In a template: `{{ _("Planted") }}`, with names `{{ _("block %(index)s", index=7) }}`, counted
`{{ ngettext("%(num)s block", "%(num)s blocks", count) }}`; a literal percent sign is `%%`. In Python `mark("Planted")`
where a template says `_(it)` later, and `words.say` and `words.counted` of a text that stands there. Each has to be in
every language's file: tests/unit/view/test_words.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from kalepool.view import german

LANGUAGES = {"en": "English", "de": "Deutsch"}
"""By the code that browsers ask with, each called as its own speakers do."""

CATALOGUES: dict[str, ModuleType] = {"de": german}


def mark(text: str) -> str:
    """Says that this text is shown in the reader's language, and gives it as it is."""
    return text


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

    def say(self, text: str, **names: object) -> str:
        """The text with its names filled in, not escaped: for whatever escapes it later."""
        return self.gettext(text) % names

    def counted(self, one: str, many: str, count: int, **names: object) -> str:
        """As `say`, in the form for so many; `%(num)s` is the number."""
        return self.ngettext(one, many, count) % {"num": count, **names}


ENGLISH = Language("en")
"""Of terminals and logs."""
