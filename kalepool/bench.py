"""`kalepool bench`: how fast this machine hashes, with every backend of the kernels and beside another miner's program.

All contenders take turns, run by run, so that a machine that is busy or hot for a while is so for all of them.
"""

from __future__ import annotations

import functools
import json
import platform
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import kernels
from kalepool.errors import InputError, KalepoolError
from kalepool.platforms import cores, processor, split_command
from kernels import driver

PEER = "peer"
PEER_SECONDS = 2.5  # a peer prints its rate about every second
NEVER_ZEROS = 15  # no nonce of a run has more zeros, so nothing is found
_RATE = re.compile(r"hash ?rate\W*(\d+(?:\.\d+)?)\s*([kmgt]?)h/s", re.IGNORECASE)
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that hashes: `measure(seconds)` runs it for about that long and gives hashes per second."""

    backend: str
    threads: int
    measure: Callable[[float], float]


@dataclass(slots=True)
class Measurement:
    """A contender's hashes per second, run by run."""

    backend: str
    threads: int
    runs: list[float] = field(default_factory=list)

    @property
    def hashes_per_second(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """From the slowest to the fastest run, as a fraction of the median."""
        return (max(self.runs) - min(self.runs)) / self.hashes_per_second


def bench(
    backend: Annotated[
        list[str] | None, typer.Option(help="Only this backend (avx512, avx2, …, cuda, opencl). May be given again.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Only this many threads; by default one and all cores.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.05, max=3600, help="Length of one run.")] = 0.5,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each, taken in turns.")] = 5,
    peer: Annotated[
        str | None,
        typer.Option(
            help="Another miner's command, which prints lines like '[CPU] Hash Rate: 2.61 MH/s'. "
            "{threads} in it is replaced."
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the medians into this PNG file.")] = None,
) -> None:
    """Measure every search backend of this machine."""
    for path in (json_file, plot):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(f"{path} cannot be written: it is a folder, or in one that is not there")
    names = backend or list(kernels.backends())
    try:
        for name in names:
            driver.load_backend(name)
    except kernels.KernelError as error:
        raise InputError(str(error)) from error
    counts = [threads] if threads else sorted({1, cores()})
    contenders = [
        search_contender(name, count)
        for name in names
        for count in counts
        if not (kernels.is_of_cards(name) and count != counts[0])  # a card is driven by one thread
    ]
    if peer:
        contenders += [peer_contender(peer, count) for count in counts]
    clocks: list[float] = []
    results = interleave(contenders, seconds, runs, between=lambda: clocks.append(clock_hertz()))
    clock = statistics.median(clocks) if platform.machine().lower() in ("x86_64", "amd64") else None
    show(results, clock)
    if json_file:
        json_file.write_text(json.dumps(report(results, clock, peer), indent=2) + "\n")
    if plot:
        draw(results, plot)


def search_contender(backend: str, threads: int) -> Contender:
    """A backend as its users call it: a search that is stopped after the time is over."""
    template = kernels.Template(1, bytes(range(32)), bytes(range(32, 64)))

    def measure(seconds: float) -> float:
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        began = time.perf_counter()
        progress = kernels.search_until(template, 0, 2**63, NEVER_ZEROS, backend=backend, threads=threads, stop=stop)
        rate = progress.tried / (time.perf_counter() - began)
        timer.join()
        return rate

    return Contender(backend, threads, measure)


def peer_contender(command: str, threads: int) -> Contender:
    """Another miner's program: started, read until it has printed its rate a few times, and ended."""
    try:
        arguments = split_command(command.replace("{threads}", str(threads)))
    except ValueError as error:
        raise InputError(f"--peer: {command!r} cannot be read: {error}") from None
    if not arguments:
        raise InputError("--peer needs a command")

    def measure(seconds: float) -> float:
        try:
            child = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise InputError(f"cannot start the peer {arguments[0]!r}: {error.strerror}") from error
        rates: list[float] = []
        said: list[str] = []
        deadline = threading.Timer(max(seconds, PEER_SECONDS), child.terminate)
        deadline.start()
        try:
            for line in child.stdout or ():
                said.append(line.rstrip())
                if (match := _RATE.search(line)) and (rate := float(match[1]) * _UNITS[match[2].lower()]) > 0:
                    rates.append(rate)
        finally:
            deadline.cancel()
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if not rates:
            raise InputError(
                f"the peer printed no 'Hash Rate: … MH/s' within {max(seconds, PEER_SECONDS)} s, "
                f"but: {' / '.join(said[-3:]) or 'nothing'}"
            )
        return statistics.median(rates)

    return Contender(PEER, threads, measure)


def interleave(
    contenders: Sequence[Contender], seconds: float, runs: int, between: Callable[[], object] = lambda: None
) -> list[Measurement]:
    """Warm each contender up, then let them take turns; `between` is called once in every turn."""
    results = [Measurement(contender.backend, contender.threads) for contender in contenders]
    for contender in contenders:
        if contender.backend != PEER:
            contender.measure(min(seconds, 0.1))  # compiles, fills caches, finds its slice
    for _ in range(runs):
        between()
        for contender, result in zip(contenders, results, strict=True):
            result.runs.append(contender.measure(seconds))
    return results


def clock_hertz() -> float:
    """The processor's clock now, on x86: timed by a chain of multiplications (3 cycles) and additions (1 cycle)."""
    chain = _compiled_chain()
    turns = 500_000
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        chain(turns)
        best = min(best, time.perf_counter() - began)
    return 4 * turns / best


@functools.cache
def _compiled_chain() -> Callable[[int], int]:
    import numba

    @numba.njit("uint64(uint64)", nogil=True)
    def chain(turns: Any) -> Any:
        value = turns
        for number in range(turns):
            value = value * value + number
        return value

    return chain


def show(results: Sequence[Measurement], clock: float | None) -> None:
    """Print the table."""
    peers = {result.threads: result.hashes_per_second for result in results if result.backend == PEER}
    table = Table("backend", title=f"KALE hashes on {processor()}")
    for name in ("threads", "MH/s", "spread", "cycles/hash", *(["× peer"] if peers else [])):
        table.add_column(name, justify="right")
    for result in results:
        rate = result.hashes_per_second
        on_clock = clock and result.backend != PEER and not kernels.is_of_cards(result.backend)
        row = [
            result.backend,
            str(result.threads),
            f"{rate / 1e6:,.2f}" if rate >= 1e5 else f"{rate / 1e6:.4f}",
            f"{result.spread:.0%}",
            f"{clock * result.threads / rate:,.0f}" if clock and on_clock else "",
        ]
        if peers:
            row.append(f"{rate / peers[result.threads]:.2f}" if result.threads in peers else "")
        table.add_row(*row)
    console = Console()
    console.print(table)
    if clock:
        console.print(f"Clock {clock / 1e9:.2f} GHz, measured beside the runs with scalar code.")


def report(results: Sequence[Measurement], clock: float | None, peer: str | None) -> dict[str, Any]:
    """The results as JSON: rates in hashes per second, the clock in hertz."""
    return {
        "processor": processor(),
        "cores": cores(),
        "cards": kernels.devices(),
        "clock_hertz": clock,
        "peer": peer,
        "results": [
            {
                "backend": result.backend,
                "threads": result.threads,
                "hashes_per_second": result.hashes_per_second,
                "runs": result.runs,
            }
            for result in results
        ],
    }


def draw(results: Sequence[Measurement], path: Path) -> None:
    """Bars of the medians by backend, a colour for each number of threads. Raises KalepoolError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise KalepoolError("--plot needs matplotlib: install kalepool[plot]") from error
    backends = list(dict.fromkeys(result.backend for result in results))
    counts = sorted({result.threads for result in results})
    figure = Figure(figsize=(1.6 + 1.2 * len(backends), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(counts)
    for number, count in enumerate(counts):
        mine = [result for result in results if result.threads == count]
        places = [backends.index(result.backend) + (number - (len(counts) - 1) / 2) * width for result in mine]
        bars = axes.bar(
            places,
            [result.hashes_per_second / 1e6 for result in mine],
            width,
            label="1 thread" if count == 1 else f"{count} threads",
        )
        axes.bar_label(bars, fmt="%.3g")
    axes.set_xticks(range(len(backends)), backends)
    axes.set_ylabel("MH/s")
    axes.set_title(f"KALE hashes on {processor()}", fontsize="medium")
    axes.legend()
    figure.savefig(path, format="png", dpi=150)
