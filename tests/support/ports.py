"""A port for a process that a test starts, which nobody else takes before it listens, or while it is down.

The system gives the ports of its own range to every connection and to whoever asks for any; these are below them.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from itertools import count
from pathlib import Path

LOWEST = 20_000  # Ray's workers have those below
WORKERS = 16

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_numbers = count(random.SystemRandom().randrange(10_000))


def free_port() -> int:
    """A port of 127.0.0.1: never the same twice in a process, nor one of pytest-xdist's other workers'."""
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    width = (end - LOWEST) // WORKERS
    first = LOWEST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS * width
    for _ in range(width):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", first + next(_numbers) % width)) as found:
            return found.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as found:  # where the system's own range leaves no room
        return found.getsockname()[1]
