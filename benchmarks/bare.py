"""The kernel alone on all cores: what the other benchmarks compare with.

In a process of its own, and with the priority of the workers' threads.

    python -m benchmarks.bare [SECONDS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

import kernels
from kalepool.platforms import NICENESS


class BareKernel:
    """A process that hashes when it is told to, and sleeps in between."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.bare", "-"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def rate(self, seconds: float) -> float:
        """Hashes a second, over this many seconds."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def bare_rate(seconds: float = 5.0) -> float:
    """The rate of a fresh process."""
    with BareKernel() as kernel:
        return kernel.rate(seconds)


class _Search:
    def __init__(self) -> None:
        os.nice(NICENESS)
        self.template = kernels.Template(1, os.urandom(32), os.urandom(32))
        self.backend = next(name for name in kernels.backends() if not kernels.is_of_cards(name))
        self.threads = len(os.sched_getaffinity(0))
        self.next = 0
        self.hash(2**20)

    def hash(self, count: int) -> None:
        kernels.search_until(self.template, self.next, count, 15, backend=self.backend, threads=self.threads)
        self.next += count

    def rate(self, seconds: float) -> float:
        first, began = self.next, time.perf_counter()
        while time.perf_counter() - began < seconds:
            self.hash(2**25)
        return (self.next - first) / (time.perf_counter() - began)


if __name__ == "__main__":
    search = _Search()
    asked = sys.stdin if sys.argv[1:] == ["-"] else sys.argv[1:] or ["5"]
    for line in asked:
        print(search.rate(float(line)), flush=True)
