"""What goes into a search and what comes out of it: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class KernelError(Exception):
    """The search cannot be done here as asked: an unknown or absent backend, or one that does not work."""


@dataclass(frozen=True, slots=True)
class Template:
    """What every nonce of one farmer is hashed with during one block.

    index: the block's index, u32. entropy: the block's 32 bytes. farmer: the last 32 bytes of the address as XDR.
    Raises TypeError or ValueError, naming the field.
    """

    index: int
    entropy: bytes
    farmer: bytes

    def __post_init__(self) -> None:
        check_int("index", self.index, 0, 2**32 - 1)
        for name, value in (("entropy", self.entropy), ("farmer", self.farmer)):
            if type(value) is not bytes:
                raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
            if len(value) != 32:
                raise ValueError(f"{name} must be 32 bytes, not {len(value)}")


@dataclass(frozen=True, slots=True)
class Best:
    """The best nonce of a range: most leading zero hex digits, the lowest nonce on ties."""

    zeros: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search came: exactly the first `tried` nonces of its range were hashed; `best` is the best of them."""

    best: Best | None
    tried: int


class SearchStoppedError(Exception):
    """The search was stopped before its range was done; `progress` says what it had found and how far it was."""

    def __init__(self, progress: Progress, count: int) -> None:
        super().__init__(f"stopped after {progress.tried} of {count} nonces")
        self.progress = progress


class Stop(Protocol):
    """Anything that can say that a search is to end now; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to end; asked every few milliseconds."""
        ...


def check_int(name: str, value: int, low: int, high: int) -> None:
    """Raise unless `value` is an int (no bool, no float) from `low` to `high`."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
