"""Signs of life from one process to the one that started it: datagrams, as systemd's sd_notify(3) has them.

What is started by systemd with `WatchdogSec=` tells systemd; what `kalepool up` starts tells `kalepool up`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import struct
import sys
import time
from pathlib import Path

ADDRESS = "NOTIFY_SOCKET"
"""In a process's environment: where it is to tell that it lives. A leading @ is Linux's abstract namespace."""

NOT_INHERITED = (ADDRESS, "WATCHDOG_USEC", "WATCHDOG_PID")
BEAT = b"WATCHDOG=1"
_CREDENTIALS = struct.Struct("3i")  # process, user, group


def beat() -> None:
    """Tell whoever wants to know that this process works. Nobody is waited for."""
    address = os.environ.get(ADDRESS)
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(BEAT, _of(address))


class Heartbeats:
    """Hears the beats of children, told apart by their process ids. A context manager. Linux: it names the senders."""

    def __init__(self) -> None:
        self.address: str | None = None
        self._heard: dict[int, float] = {}
        self._socket: socket.socket | None = None

    def __enter__(self) -> Heartbeats:
        if sys.platform == "linux":
            self.address = f"@kalepool-{secrets.token_hex(16)}"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
            self._socket.bind(_of(self.address))
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def silent_seconds(self, pid: int) -> float | None:
        """How long this process has not been heard; None where it never was."""
        self._hear()
        heard_at = self._heard.get(pid)
        return None if heard_at is None else time.monotonic() - heard_at

    def _hear(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                data, extra, _, _ = self._socket.recvmsg(len(BEAT), socket.CMSG_SPACE(_CREDENTIALS.size))
                for level, kind, value in extra:
                    if data == BEAT and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                        self._heard[_CREDENTIALS.unpack(value)[0]] = time.monotonic()
        self._heard = {pid: at for pid, at in self._heard.items() if Path(f"/proc/{pid}").exists()}


def _of(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address
