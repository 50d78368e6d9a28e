"""What keeps others out of a process that holds secrets, and out of the files that it makes."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """For this process and all it starts: no core dumps, and files for its own user alone."""
    with suppress(ImportError):  # Windows has none, and writes no core dumps
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)


def forbid_looking_in() -> None:
    """Other processes of the same user may not read this one's memory, environment and open files any more, nor attach
    a debugger (Linux; root still may). What it starts from here on is as any other process.

    They cannot see either which ports it holds: do it once the port is open, see `listens` in processes.py.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot be closed to others (PR_SET_DUMPABLE)")
