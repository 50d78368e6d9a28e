"""The time, by a clock that is never set: how long something takes must not depend on a clock that steps."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_STARTED_AT, _STARTED = datetime.now(UTC), time.monotonic()


def steady_now() -> datetime:
    """The time as it was when the process started, carried on. For deadlines and waits that this process keeps."""
    return _STARTED_AT + timedelta(seconds=time.monotonic() - _STARTED)
