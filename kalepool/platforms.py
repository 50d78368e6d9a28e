"""What differs between Linux, macOS and Windows for a program that hashes."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

NICENESS = 19  # Unix: the least priority; a search takes what is left
IDLE_PRIORITY_CLASS = 0x40  # Windows: the same
WINDOWS_PROCESSOR = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"


def on_end(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call `callback` in the loop when the program is told to end: by Ctrl-C, or as the system ends programs."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the last is Windows' own
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, callback)
        except NotImplementedError:  # Windows' loops: they wake up for a handler, but know none themselves
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def yield_to_others() -> None:
    """Let every other program of this machine go first, where the system lets us."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    elif windll := getattr(ctypes, "windll", None):
        kernel32 = windll.kernel32
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        kernel32.SetPriorityClass(ctypes.c_void_p(kernel32.GetCurrentProcess()), IDLE_PRIORITY_CLASS)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split_command(text: str, system: str = sys.platform) -> list[str]:
    """A command's words. Windows' paths have backslashes, which there hide nothing. ValueError for an open quote."""
    if system != "win32":
        return shlex.split(text)
    return [word[1:-1] if word[0] == word[-1] in ("'", '"') else word for word in shlex.split(text, posix=False)]


def processor(system: str = sys.platform, winreg: ModuleType | Any = None) -> str:
    """The processor's name as the system gives it."""
    found = ""
    with suppress(OSError, subprocess.SubprocessError, ImportError):
        if system == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        elif system == "win32":
            winreg = winreg or importlib.import_module("winreg")
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, WINDOWS_PROCESSOR) as key:
                found = winreg.QueryValueEx(key, "ProcessorNameString")[0]
        else:
            found = _of_cpuinfo(Path("/proc/cpuinfo").read_text())
    return found.strip() or platform.processor() or platform.machine()


def _of_cpuinfo(text: str) -> str:
    """Linux's: on ARM there may be none."""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else ""
