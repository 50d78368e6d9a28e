"""What pools' people call things: poolers, miners, operators, farmers."""

from __future__ import annotations

import re

from kalepool.errors import InputError

MAX_LENGTH = 64

PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""One line without control characters, and not blank."""


def require_name(text: str, what: str) -> str:
    """`text`, where it can be the name of `what`. Raises InputError."""
    if len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text):
        raise InputError(
            f"{text[: MAX_LENGTH + 1]!r} is no name for {what}: it takes 1 to {MAX_LENGTH} characters on one "
            "line, not all of them blank"
        )
    return text
