"""Machines whose memory is nearer to some cores than to others: a process for each such node, on its own cores.

A process's memory lies where it was first touched, and its threads may be moved anywhere. So each node gets a process
that is bound to the node's cores before it loads anything, and searches in it are calls over a socket.

    python -m kernels.numa CORES STOP_FD FD…      is that process; CORES as 0,1,2
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socketpair
from typing import Any

from kernels import driver
from kernels.model import KernelError, SearchStoppedError, Stop

NODES = Path("/sys/devices/system/node")
"""Where Linux tells of them."""

LOOK_SECONDS = 0.005
"""How often a call looks whether it is to stop."""


def nodes(folder: Path | None = None, allowed: Collection[int] | None = None) -> list[tuple[int, ...]]:
    """The cores of each NUMA node with cores that this process may use, in the nodes' order; none where the system does
    not tell. `allowed`: by default this process's."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = os.sched_getaffinity(0) if allowed is None else allowed
    found: list[tuple[int, tuple[int, ...]]] = []
    try:
        for path in (folder or NODES).glob("node[0-9]*"):
            cores = tuple(core for core in _cores((path / "cpulist").read_text()) if core in usable)
            if cores:  # there are nodes of memory alone
                found.append((int(path.name[4:]), cores))
    except (OSError, ValueError):
        return []
    return [cores for _, cores in sorted(found)]


def _cores(text: str) -> list[int]:
    """Linux's lists, as 0-3,8."""
    parts = [part.partition("-") for part in text.strip().split(",") if part]
    return [core for first, _, last in parts for core in range(int(first), int(last or first) + 1)]


def share(threads: int, of_nodes: Sequence[Collection[int]]) -> list[int]:
    """How many of the threads each node gets: by its cores, the rest to the largest remainders."""
    cores = [len(each) for each in of_nodes]
    total = sum(cores)
    shares = [threads * count // total for count in cores]
    by_remainder = sorted(range(len(cores)), key=lambda node: (-(threads * cores[node] % total), node))
    for node in by_remainder[: threads - sum(shares)]:
        shares[node] += 1
    return shares


class _Flag:
    """A byte of memory that both processes see."""

    def __init__(self, memory: mmap.mmap, place: int) -> None:
        self.memory, self.place = memory, place

    def is_set(self) -> bool:
        return self.memory[self.place] != 0


class NodeProcess:
    """A process on a node's cores that makes `lines` calls at the same time, one on each line."""

    def __init__(self, cores: Sequence[int], lines: int = 1) -> None:
        self.cores, self.lines = tuple(cores), lines
        descriptor = os.memfd_create("kernels-stop")
        os.ftruncate(descriptor, lines)
        self._stops = mmap.mmap(descriptor, lines)
        pairs = [socketpair() for _ in range(lines)]
        given = [descriptor, *(theirs.fileno() for _, theirs in pairs)]
        command = [sys.executable, "-m", "kernels.numa", ",".join(map(str, cores)), *map(str, given)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=given,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)},
            start_new_session=True,  # a terminal's Ctrl-C is for us alone; it ends when its sockets do
        )
        os.close(descriptor)
        self._connections = [Connection(ours.detach()) for ours, _ in pairs]
        for _, theirs in pairs:
            theirs.close()

    def call(self, line: int, name: str, *arguments: Any, stop: Stop | None = None, **more: Any) -> tuple[Any, float]:
        """What a function of `kernels` answers there, and the seconds of processor time that its thread had.

        Raises as the function does, and KernelError when the process has ended.
        """
        connection = self._connections[line]
        self._stops[line] = 0
        try:
            connection.send((name, arguments, more))
            while not connection.poll(LOOK_SECONDS if stop is not None else None):
                if stop is not None and stop.is_set():
                    self._stops[line] = 1
                    stop = None
            answer, seconds = connection.recv()
        except (OSError, EOFError):
            raise KernelError(f"the search on the cores {self.cores} has ended, status {self.process.poll()}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer, seconds

    def end(self) -> None:
        for connection in self._connections:
            connection.close()
        self.process.kill()
        self.process.wait()


def _serve(connection: Connection, stop: _Flag) -> None:
    while True:
        try:
            name, arguments, more = connection.recv()
        except (OSError, EOFError):
            os._exit(0)  # nobody is there any more
        began = time.thread_time()
        try:
            answer = getattr(driver, name)(*arguments, stop=stop, **more)
        except SearchStoppedError as stopped:
            answer = stopped
        except Exception as error:
            answer = KernelError(f"{type(error).__name__}: {error}")
        try:
            connection.send((answer, time.thread_time() - began))
        except OSError:
            os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """Bind this process to its cores, and search until nobody asks any more."""
    cores, stops, *sockets = arguments
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    memory = mmap.mmap(int(stops), len(sockets))
    lines = [(Connection(int(socket)), _Flag(memory, place)) for place, socket in enumerate(sockets)]
    threads = [threading.Thread(target=_serve, args=line, name="line") for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
