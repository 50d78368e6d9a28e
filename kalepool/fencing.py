"""For which leadership of a coordinator this process acts at the moment: the database is told, and refuses an old one.

Whatever runs inside `fenced`, tasks begun there too, has each of its transactions checked: see kalepool/database.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

HEADER = "Kalepool-Fence"
"""Where a request to the API has the number of the leadership that makes it."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A leadership: of this pooler, with a number that grows with each."""

    pooler_id: UUID
    number: int


_present: ContextVar[Fence | None] = ContextVar("fence", default=None)


def present_fence() -> Fence | None:
    """For whom is acted here; None where it is for no leadership."""
    return _present.get()


def act_for(fence: Fence | None) -> None:
    """From here on, until the end of the present task."""
    _present.set(fence)


@contextmanager
def fenced(fence: Fence | None) -> Iterator[None]:
    """What is done inside is done for this leadership, or, with None, whoever leads."""
    token = _present.set(fence)
    try:
        yield
    finally:
        _present.reset(token)
