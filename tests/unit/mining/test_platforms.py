"""What differs between systems, as each of them has it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from kalepool import platforms
from kalepool.processes import end, spawn
from kernels import cache

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_is_told_to_end(windows: bool, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    if windows:  # its loops have no handlers for signals

        def refuse(*_: object) -> None:
            raise NotImplementedError

        monkeypatch.setattr(loop, "add_signal_handler", refuse)
    try:
        platforms.on_end(loop, told.set)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(told.wait(), 30)
    finally:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)


def test_others_go_first() -> None:
    code = "import os; from kalepool.platforms import *; yield_to_others(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{platforms.NICENESS}\n"


def test_others_go_first_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[int | None, int]] = []

    def current() -> int:
        return 2**64 - 1  # a pseudo handle, which an int of C would cut

    def set_class(handle: ctypes.c_void_p, priority: int) -> None:
        called.append((handle.value, priority))

    kernel32 = SimpleNamespace(GetCurrentProcess=current, SetPriorityClass=set_class)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    monkeypatch.delattr(os, "setpriority")
    platforms.yield_to_others()
    assert called == [(2**64 - 1, 0x40)]


def test_cores_are_those_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5})
        assert platforms.cores() == 2
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert platforms.cores() == 7


def test_the_processor_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> SimpleNamespace:
        assert command == ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return SimpleNamespace(stdout="Apple M2\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert platforms.processor("darwin") == "Apple M2"


def test_the_processor_of_windows() -> None:
    keys = {r"HARDWARE\DESCRIPTION\System\CentralProcessor\0": {"ProcessorNameString": ("AMD Ryzen 9 ", 1)}}
    winreg = SimpleNamespace(
        HKEY_LOCAL_MACHINE=None,
        OpenKey=lambda _, path: nullcontext(keys[path]),
        QueryValueEx=lambda key, name: key[name],
    )
    assert platforms.processor("win32", winreg) == "AMD Ryzen 9"


def test_the_processor_of_a_system_that_does_not_say() -> None:
    assert platforms._of_cpuinfo("processor\t: 0\nCPU implementer\t: 0x41\n") == ""
    assert platforms._of_cpuinfo("processor\t: 0\nmodel name\t: EPYC\nmodel name\t: EPYC\n") == "EPYC"
    assert platforms.processor("win32") == platforms.processor("darwin") != ""  # neither asks its own way here


@pytest.mark.parametrize(
    ("text", "system", "words"),
    [
        (r"C:\miners\kale.exe {index}", "win32", [r"C:\miners\kale.exe", "{index}"]),
        (r'"C:\my miners\kale.exe" --threads 2', "win32", [r"C:\my miners\kale.exe", "--threads", "2"]),
        (r"./my\ miner '{index} x'", "linux", ["./my miner", "{index} x"]),
        ("", "win32", []),
    ],
)
def test_a_commands_words(text: str, system: str, words: list[str]) -> None:
    assert platforms.split_command(text, system) == words


def test_a_child_is_ended_where_there_are_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "killpg")
    child = spawn([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
    assert end(child, [(signal.SIGTERM, 0.01)]) != 0


@pytest.mark.parametrize(
    ("system", "environment", "folder"),
    [
        ("Linux", {"XDG_CACHE_HOME": "/x"}, "/x/kalepool"),
        ("Linux", {}, "~/.cache/kalepool"),
        ("Darwin", {}, "~/Library/Caches/kalepool"),
        ("Windows", {"LOCALAPPDATA": "/local"}, "/local/kalepool"),
        ("Windows", {}, "~/.cache/kalepool"),
        ("Windows", {"NUMBA_CACHE_DIR": "/n"}, "/n/kalepool"),
    ],
)
def test_where_kernels_are_kept(
    system: str, environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.platform, "system", lambda: system)
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == Path(folder).expanduser()
