"""Starting child processes that never outlive us, and ending them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pwd

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows either ends a process at once


def spawn(
    arguments: Sequence[str],
    *,
    death_signal: signal.Signals = _KILL,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    pipe: bool = False,
    output_as_ours: bool = False,
    user: pwd.struct_passwd | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that a terminal's Ctrl-C reaches only us.

    user: whom it runs as, with no other group than the user's own; for root alone. Its working directory is / then.

    On Linux the kernel sends it `death_signal` when the calling THREAD ends, even by kill -9: call this from the main
    thread. Standard error, and standard output unless `pipe`, are appended to `log` (None: thrown away);
    output_as_ours: they go where ours do.
    """
    parent = os.getpid()

    def tie_to_parent() -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    with (log or Path(os.devnull)).open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=None if output_as_ours else subprocess.PIPE if pipe else output,
            stderr=None if output_as_ours else output,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows' session, for the same end
            # one prctl call; there is no other way, and it comes after setuid
            preexec_fn=None if _libc is None else tie_to_parent,  # noqa: PLW1509
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/" if user else None,
        )


def end(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> int:
    """Send each step's signal and wait that step's seconds for the end; SIGKILL to the whole group comes last.

    Returns the exit status (negative: the signal that ended it).
    """
    for number, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    kill_group(process)
    return process.wait()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the child and whatever it left behind in its group; Windows knows of the child alone."""
    try:
        if not hasattr(os, "killpg"):
            process.kill()
            return
        os.killpg(process.pid, _KILL)
    except (ProcessLookupError, PermissionError):
        if process.poll() is None:
            process.kill()


def carrying(variable: str, value: str) -> list[int]:
    """Process ids, ours excepted, that were started with this environment variable (Linux; elsewhere an empty list)."""
    wanted = b"\0" + f"{variable}={value}".encode() + b"\0"
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in b"\0" + (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def listens(pid: int, port: int) -> bool:
    """Whether the process itself listens on this TCP port; True where the system does not tell.

    One of ours that lets nobody look into it has its port already (hardening.py): then the port's user has to do.
    """
    if sys.platform != "linux":
        return True
    held: set[str] | None = set()
    tables: list[str] = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                held.add(str(entry.readlink()))
    except PermissionError:
        held = None
    except OSError:
        return False  # it has ended
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):  # the system has no such addresses
            tables.append(Path(f"/proc/{pid}/net/{name}").read_text())
    if not tables:
        return is_alive(pid)
    # Columns: number, local address:port, remote, state (0A: listening), …, user as the eighth, inode as the tenth.
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return any(
        line[3] == "0A"
        and int(line[1].rpartition(":")[2], 16) == port
        and (int(line[7]) == os.getuid() if held is None else f"socket:[{line[9]}]" in held)
        for line in lines
    )


def working_in(folder: Path) -> list[int]:
    """Process ids whose working directory is `folder` (Linux only; elsewhere an empty list)."""
    wanted = str(folder.resolve())
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()) == wanted and is_alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not (Linux only)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][1] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: Sequence[int], seconds: float) -> bool:
    """Wait for processes that are not our children. True when all have ended."""
    end_at = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > end_at:
            return False
        time.sleep(0.02)
    return True
