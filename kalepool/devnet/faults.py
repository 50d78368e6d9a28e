"""Faults on demand: what goes wrong between a client and the network, made to happen in tests."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from kalepool.errors import InputError


class FaultKind(StrEnum):
    """What a fault does."""

    DROP = "drop"  # the request is not answered and does nothing
    DROP_ANSWER = "drop_answer"  # the request takes effect, its answer is lost
    DELAY = "delay"  # the request waits `seconds` before it takes effect
    DUPLICATE = "duplicate"  # the request takes effect twice; the second answer is given
    UNAVAILABLE = "unavailable"  # HTTP 503
    TRY_AGAIN_LATER = "try_again_later"  # sendTransaction answers TRY_AGAIN_LATER and does nothing
    LOSE = "lose"  # sendTransaction answers PENDING, the transaction is never seen again
    HANG = (
        "hang"  # the request is never answered and does nothing; the connection stays open for `seconds` (0: for ever)
    )
    GARBAGE = "garbage"  # the request takes effect; the answer is a web page
    LATE_ANSWER = "late_answer"  # the request takes effect, its answer comes `seconds` later
    CAPACITY = "capacity"  # Stellar Channels has no channel free
    FEE_LIMIT = "fee_limit"  # Stellar Channels has spent on this key what it may
    CUT = "cut"  # the request takes effect; the connection is lost in the middle of its answer
    # These last for `seconds`, or until they are taken back.
    STUCK = "stuck"  # no ledger closes
    LAG = "lag"  # what is read is as it was when this began; transactions are passed on
    FORGET = "forget"  # the server's memory begins with the ledger before this, and it says so
    LIE = "lie"  # getTransaction knows of none, getLedgerEntries has none, and no reason is given


LASTING = (FaultKind.STUCK, FaultKind.LAG, FaultKind.FORGET, FaultKind.LIE)


@dataclass(slots=True)
class InjectedFault:
    """A fault that happens the next `count` times (0: always) to requests of a method ("": all).

    One of the lasting kinds counts nothing: it holds from `since` (a monotonic clock's seconds) on.
    """

    kind: FaultKind
    method: str = ""
    count: int = 1
    seconds: float = 0.0
    since: float = 0.0

    def holds(self, now: float) -> bool:
        """Whether it lasts, and still does."""
        return self.kind in LASTING and (not self.seconds or now < self.since + self.seconds)


class Faults:
    """The faults that are to happen."""

    def __init__(self) -> None:
        self._faults: list[InjectedFault] = []

    def add(self, raw: dict[str, Any]) -> None:
        """Adds a fault given by kind, method, count and seconds. InputError where that is not one."""
        try:
            kind = FaultKind(raw.get("kind"))
        except ValueError:
            raise InputError(f"no fault of kind {raw.get('kind')!r}: there are {', '.join(FaultKind)}") from None
        try:
            fault = InjectedFault(
                kind, str(raw.get("method", "")), int(raw.get("count", 1)), float(raw.get("seconds", 0))
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"not a fault: {raw!r} ({error})") from None
        fault.since = time.monotonic()
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def describe(self) -> list[dict[str, Any]]:
        return [{k: v for k, v in asdict(fault).items() if k != "since"} for fault in self._faults]

    def take(self, kind: FaultKind, method: str = "") -> InjectedFault | None:
        """The fault of that kind that happens now, used up once; None where there is none."""
        for fault in self._faults:
            if fault.kind == kind and fault.method in ("", method):
                if fault.count == 1:
                    self._faults.remove(fault)
                elif fault.count > 1:
                    fault.count -= 1
                return fault
        return None

    def is_active(self, kind: FaultKind, method: str = "") -> bool:
        """Whether a lasting fault of that kind holds for requests of that method."""
        now = time.monotonic()
        self._faults = [fault for fault in self._faults if fault.kind not in LASTING or fault.holds(now)]
        return any(fault.kind == kind and fault.method in ("", method) for fault in self._faults)


def parse_fault(text: str) -> dict[str, str]:
    """A fault written as kind=delay,method=sendTransaction,seconds=2,count=3. InputError where it is not."""
    parts = [part.partition("=") for part in text.split(",")]
    if not all(separator for _, separator, _ in parts):
        raise InputError(f"not a fault: {text!r}; write kind=delay,method=sendTransaction,seconds=2,count=3")
    return {name.strip(): value.strip() for name, _, value in parts}
