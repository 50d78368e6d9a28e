"""The kernel alone on all cores: what the other benchmarks compare with.

In a process of its own, and with the priority of the workers' threads: what else runs on the machine takes the same
from both.

    python -m benchmarks.bare [SECONDS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import kernels
from kalepool.cluster.worker import NICENESS


def bare_rate(seconds: float = 5.0) -> float:
    """Hashes a second of a fresh process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.bare", str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure(seconds: float) -> float:
    os.nice(NICENESS)
    template = kernels.Template(1, os.urandom(32), os.urandom(32))
    backend = next(name for name in kernels.backends() if not name.startswith("cuda"))
    threads = len(os.sched_getaffinity(0))
    kernels.search_until(template, 0, 2**20, 15, backend=backend, threads=threads)
    tried, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        tried += kernels.search_until(template, tried, 2**25, 15, backend=backend, threads=threads).tried
    return tried / (time.perf_counter() - began)


if __name__ == "__main__":
    print(_measure(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
