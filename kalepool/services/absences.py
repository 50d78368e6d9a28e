"""When it is believed that something is gone from the ledger.

One answer of an RPC server that knows of no entry proves little: it may be behind, restored, or broken for a moment.
What hangs on it here cannot be mended later: a pail that is believed to be gone is asked for no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Absences:
    """What was asked for and not there: gone once nobody found it in so many looks over so many seconds."""

    seconds: float = 60.0
    looks: int = 3
    clock: Callable[[], float] = time.monotonic
    _missed: dict[Hashable, tuple[float, int]] = field(default_factory=dict)  # what -> first missed, how often

    def miss(self, what: Hashable) -> bool:
        """It was not there now. Whether it is believed to be gone; it is then forgotten here."""
        first, looks = self._missed.get(what, (self.clock(), 0))
        if looks + 1 >= self.looks and self.clock() - first >= self.seconds:
            self._missed.pop(what, None)
            return True
        self._missed[what] = first, looks + 1
        return False

    def found(self, what: Hashable) -> None:
        """It was there."""
        self._missed.pop(what, None)
