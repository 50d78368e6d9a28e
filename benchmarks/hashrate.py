"""How fast are the kernels, and beside what?

    python benchmarks/hashrate.py [--peer 'COMMAND {threads}'] [--json FILE]

Four questions, a table each: every backend beside hand-written C, a naive Numba loop, a Python loop over a C Keccak
library and a peer; the rate of one call by its number of nonces; and the rate by number of threads. Everything that is
compared takes turns in one run, so its ratios hold even where the machine's own speed does not.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

import kernels
from kalepool.bench import Contender, Measurement, interleave, peer_contender, report, search_contender, show
from kernels import driver, keccak, machine

TEMPLATE = kernels.Template(1, bytes(range(32)), bytes(range(32, 64)))
CHUNKS = (1, 16, 64, 256, 1_024, 4_096, 65_536, 1_048_576)
console = Console()


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="another miner's command that prints its hash rate; {threads} is replaced")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one run (default 0.3)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each (default 7)")
    options = parser.parse_args()

    with references() as contenders:
        contenders = [search_contender(name, 1) for name in kernels.backends()] + contenders
        if options.peer:
            contenders.append(peer_contender(options.peer, 1))
        beside = interleave(contenders, options.seconds, options.runs)
    show(beside, None)
    ratios(beside)
    chunks = by_chunk(options.seconds, options.runs)
    counts = sorted(
        {1, *(2**power for power in range(1, 10) if 2**power <= (os.cpu_count() or 1)), os.cpu_count() or 1}
    )
    scaling = interleave(
        [search_contender(kernels.backends()[0], count) for count in counts], options.seconds, options.runs
    )
    table = Table("threads", "MH/s", "× one thread", title=f"{kernels.backends()[0]} by threads")
    for result in scaling:
        times = pairwise(result, scaling[0])
        table.add_row(str(result.threads), f"{result.hashes_per_second / 1e6:.2f}", f"{times:.2f}")
    console.print(table)
    if options.json:
        found = report(beside, None, options.peer) | {
            "chunks": chunks,
            "scaling": report(scaling, None, None)["results"],
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def pairwise(a: Measurement, b: Measurement) -> float:
    """How many times faster a is than b: the median over the turns, in each of which both ran."""
    return statistics.median(x / y for x, y in zip(a.runs, b.runs, strict=True))


def ratios(results: list[Measurement]) -> None:
    """Print the kernels' backends as multiples of everything else."""
    ours = [result for result in results if result.backend in kernels.backends()]
    others = [result for result in results if result not in ours]
    table = Table("times faster than", *(result.backend for result in ours), title="Ratios, medians over the turns")
    for other in others:
        table.add_row(other.backend, *(f"{pairwise(mine, other):.3g}" for mine in ours))
    console.print(table)


def by_chunk(seconds: float, runs: int) -> dict[str, dict[int, float]]:
    """Hashes per second of one kernel call, and of one whole `search`, by their number of nonces."""
    name = kernels.backends()[0]
    [scan] = driver.load_backend(name).scans(TEMPLATE, 1)
    limit = driver.limit_above(15)

    def kernel(count: int) -> None:
        scan(0, count, limit, False)

    def search(count: int) -> None:
        kernels.search(TEMPLATE, 0, count, 15, backend=name)

    calls: dict[str, Callable[[int], None]] = {"kernel call": kernel, "search": search}
    contenders = [
        Contender(f"{what} of {count}", 1, repeated(lambda count=count, call=call: call(count), count))
        for what, call in calls.items()
        for count in CHUNKS
    ]
    results = iter(interleave(contenders, seconds / 3, runs))
    rates = {what: {count: next(results).hashes_per_second for count in CHUNKS} for what in calls}
    table = Table("nonces in a call", title=f"{name}: share of the long-run rate, by size of a call")
    for what in calls:
        table.add_column(what, justify="right")
    for count in CHUNKS:
        table.add_row(f"{count:,}", *(f"{rates[what][count] / rates['kernel call'][CHUNKS[-1]]:.1%}" for what in calls))
    console.print(table)
    return rates


def repeated(call: Callable[[], Any], hashes: int) -> Callable[[float], float]:
    """Measure a call of so many hashes by repeating it."""

    def measure(seconds: float) -> float:
        calls, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(max(1, 20_000 // hashes)):
                call()
                calls += 1
        return calls * hashes / passed

    return measure


@contextmanager
def references() -> Iterator[list[Contender]]:
    """What the kernels are compared to: what others would write."""
    found = [naive_contender(), library_contender()]
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in (("avx512", "-march=native"), ("avx2", "-march=haswell")):
            if name in machine.cpu_backends() and (compiler := shutil.which("cc")):
                library = Path(folder) / f"{name}.so"
                source = Path(__file__).with_name("reference.c")
                subprocess.run(
                    [compiler, "-O3", flags, "-shared", "-fPIC", "-o", str(library), str(source)], check=True
                )
                found.append(c_contender(f"C {name}", ctypes.CDLL(str(library)), 8 if name == "avx512" else 4))
        yield found


def c_contender(name: str, library: ctypes.CDLL, nonces: int) -> Contender:
    """reference.c, called as the kernels are; it must agree with the readable hash first."""
    scan = library.scan
    scan.restype = ctypes.c_uint64
    scan.argtypes = [ctypes.c_void_p, *[ctypes.c_uint64] * 3]
    message = keccak.encode(TEMPLATE.index, 0, TEMPLATE.entropy, TEMPLATE.farmer)
    lanes = np.array(keccak.first_linear(keccak.absorb(message)), np.uint64)
    prefixes = [
        int.from_bytes(keccak.hash_nonce(1, nonce, TEMPLATE.entropy, TEMPLATE.farmer)[:8], "big")
        for nonce in range(512)
    ]
    if scan(lanes.ctypes.data, 0, 512 // nonces, min(prefixes)) != prefixes.index(min(prefixes)) // nonces:
        raise SystemExit(f"{name} is wrong")
    return Contender(name, 1, repeated(lambda: scan(lanes.ctypes.data, 0, 65_536 // nonces, 0), 65_536))


def naive_contender() -> Contender:
    """Keccak as a textbook has it, compiled by Numba: one hash after the other, nothing shared between them."""
    offsets = np.array(keccak.RHO, np.uint64)
    sources = np.array(keccak.PI_SOURCE, np.int64)
    constants = np.array(keccak.ROUND_CONSTANTS, np.uint64)
    message = keccak.encode(TEMPLATE.index, 0, TEMPLATE.entropy, TEMPLATE.farmer)
    block = np.array(keccak.absorb(message), np.uint64)

    @numba.njit(nogil=True)
    def rol(word: Any, count: Any) -> Any:
        return (word << count) | (word >> ((np.uint64(64) - count) & np.uint64(63)))

    @numba.njit(nogil=True)
    def least(block: Any, count: Any) -> Any:
        best = np.uint64(2**64 - 1)
        a, b, c = np.empty(25, np.uint64), np.empty(25, np.uint64), np.empty(5, np.uint64)
        for nonce in range(count):
            a[:] = block
            a[1] ^= np.uint64(nonce)
            for constant in constants:
                for x in range(5):
                    c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]
                for lane in range(25):
                    x = sources[lane] % 5
                    word = a[sources[lane]] ^ c[(x + 4) % 5] ^ rol(c[(x + 1) % 5], np.uint64(1))
                    b[lane] = rol(word, offsets[sources[lane]])
                for y in range(0, 25, 5):
                    for x in range(5):
                        a[y + x] = b[y + x] ^ (~b[y + (x + 1) % 5] & b[y + (x + 2) % 5])
                a[0] ^= constant
            best = min(best, a[0])
        return best

    digest = keccak.hash_nonce(TEMPLATE.index, 0, TEMPLATE.entropy, TEMPLATE.farmer)
    if int(least(block, 1)) != int.from_bytes(digest[:8], "little"):
        raise SystemExit("the naive loop is wrong")
    return Contender("naive Numba", 1, repeated(lambda: least(block, 4_096), 4_096))


def library_contender() -> Contender:
    """A Python loop over PyCryptodome's Keccak."""
    from Crypto.Hash import keccak as library

    def hash_some() -> None:
        for nonce in range(256):
            message = keccak.encode(TEMPLATE.index, nonce, TEMPLATE.entropy, TEMPLATE.farmer)
            library.new(digest_bits=256, data=message).digest()

    return Contender("Python over C", 1, repeated(hash_some, 256))


if __name__ == "__main__":
    console.print(f"{platform.platform()}, Python {platform.python_version()}, Numba {numba.__version__}")
    main()
