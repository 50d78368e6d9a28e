"""What pools' people call things: poolers, miners, operators, farmers."""

from __future__ import annotations

import re

from kalepool.errors import InputError
from kalepool.marking import mark

MAX_LENGTH = 64

PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""One line without control characters, and not blank."""


def require_name(text: str) -> str:
    """`text`, where it can be a name. Raises InputError."""
    if len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text):
        raise InputError(
            mark("%(text)s is no name: it takes 1 to %(most)s characters on one line, not all of them blank"),
            text=repr(text[: MAX_LENGTH + 1]),
            most=MAX_LENGTH,
        )
    return text
