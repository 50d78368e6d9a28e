"""What goes into a search and what comes out of it, and what a backend is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self.progress, self.count = progress, count

    def __reduce__(self) -> tuple[type[SearchStoppedError], tuple[Progress, int]]:
        """For other processes."""
        return type(self), (self.progress, self.count)


class Stop(Protocol):
    """Anything that can say that a search is to end now; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to end; asked every few milliseconds."""
        ...


# scan(start, count, limit, lowest) -> (nonce, prefix) or None, for a range of nonces that share their high word; it
# releases the GIL. `prefix` is the first 8 bytes of the nonce's digest as a big-endian int. Of the nonces with
# prefix <= limit it gives the lowest if `lowest`; else the one with the most leading zero digits in its prefix, on ties
# the lowest.
Scan = Callable[[int, int, int, bool], "tuple[int, int] | None"]


@dataclass(slots=True)
class SlicePace:
    """How much a thread computes before it looks at the stop flag."""

    seconds: float
    nonces: int  # in that time: a first guess, adapted while it runs
    grain: int  # slices are a multiple of this where they can be

    def adapt(self, nonces: int, seconds: float) -> int:
        """The next slice's nonces after one of so many took so long: at most four times as many."""
        nonces = int(nonces * min(self.seconds / max(seconds, 1e-6), 4))
        self.nonces = max(nonces - nonces % self.grain, self.grain)
        return self.nonces


class Backend(Protocol):
    """A search backend, ready to run on this machine."""

    @property
    def paces(self) -> Sequence[SlicePace]:
        """Of its threads, in turn: one where all are alike, or one for each card."""
        ...

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        """A scan for every host thread that is to drive this backend."""
        ...


def check_int(name: str, value: int, low: int, high: int) -> None:
    """Raise unless `value` is an int (no bool, no float) from `low` to `high`."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")
