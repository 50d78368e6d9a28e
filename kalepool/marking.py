"""What is told to people in the reader's language: texts, and sums in them. Who reads them is not known where they are
written; kalepool/view/words.py has the languages."""

from __future__ import annotations

from kalepool.units import amount


def mark(text: str) -> str:
    """Says that this text is shown in the reader's language, and gives it as it is."""
    return text


class Sum(int):
    """Stroops that stand in a text: KALE or XLM to the last digit, with the signs of the reader's language."""

    def __str__(self) -> str:
        return amount(int(self))
