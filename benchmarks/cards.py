"""What is a card worth: right or wrong, hashes a second, and the length of a launch?

    python -m benchmarks.cards [--tune] [--peer 'COMMAND'] [--json FILE]

For the first CUDA card and the first OpenCL device, which may be the same card: the recorded vectors and 200 random
jobs, the rate of both and of a peer by turns, the rate by the size of a launch, and with --tune that of other shapes
of the kernels. Needs the kernels, what they need, and nothing else, so that it can be carried to a bare machine.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kernels
from kernels import driver, machine
from kernels.model import Backend, Scan

VECTORS = Path(__file__).parents[1] / "tests" / "conformance" / "hash.json"
TEMPLATE = kernels.Template(1, bytes(range(32)), bytes(range(32, 64)))
MAKERS: dict[str, Callable[[], Backend]] = {}
RESULTS: dict[str, Any] = {}


def main() -> None:
    """Measure what was asked for; a part that fails is told, and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (default 9)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one turn (default 0.5)")
    parser.add_argument("--jobs", type=int, default=200, help="random jobs (default 200)")
    parser.add_argument("--largest", type=int, default=29, help="largest launch, as a power of two (default 29)")
    parser.add_argument("--tune", action="store_true", help="try other shapes of the kernels")
    parser.add_argument("--peer", help="another miner's command, which prints lines like '[GPU] Hash Rate: 2.61 GH/s'")
    parser.add_argument("--only", choices=["cuda", "opencl"], help="only this backend")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    options = parser.parse_args()
    find_makers(options.only)
    for name in list(MAKERS):
        with told(f"{name}: vectors and random jobs"):
            check(name, options.jobs)
    with told("rates"):
        measure_rates(options.rounds, options.seconds, options.peer)
    for name in MAKERS:
        with told(f"{name}: by size of a launch"):
            by_size(name, options.largest)
    if options.tune:
        for name in MAKERS:
            with told(f"{name}: shapes"):
                tune(name)
    if options.json:
        options.json.write_text(json.dumps(RESULTS, indent=1) + "\n")


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what begins and how long it took; a failure is printed."""
    print(f"-- {what}", flush=True)
    began = time.perf_counter()
    try:
        yield
    except Exception:
        traceback.print_exc(file=sys.stdout)
    print(f"   ({time.perf_counter() - began:.1f} s)", flush=True)


def find_makers(only: str | None) -> None:
    """What is there: MAKERS builds each anew."""
    if only != "opencl" and (cards := machine.cuda_cards()):
        print(f"CUDA: {cards[0].name}, {cards[0].address}")

        def make_cuda() -> Backend:
            from kernels import cuda

            return cuda._CudaBackend([cuda._Card(0)])

        MAKERS["cuda"] = make_cuda
    if only == "cuda" or importlib.util.find_spec("pyopencl") is None:
        return
    devices = machine.opencl_devices()
    for card in devices:
        print(
            f"OpenCL: {card.name} of {card.platform} {card.device.driver_version}, "
            f"vendor {card.vendor:#x}, {card.address}"
        )
    print(f"OpenCL would drive: {[card.name for card in machine.opencl_cards()]}")
    if devices:

        def make_opencl() -> Backend:
            from kernels import opencl

            card = opencl.fastest(devices[0].device)
            print(f"   chosen {card.form}")
            return opencl.OpenclBackend([card])

        MAKERS["opencl"] = make_opencl


@contextmanager
def as_backend(backend: Backend) -> Iterator[str]:
    """The name under which `kernels.search` finds this backend."""
    known, driver._load = driver._load, lambda name: backend if name == "card" else known(name)  # type: ignore[assignment]
    try:
        yield "card"
    finally:
        driver._load = known


def check(name: str, jobs: int) -> None:
    """Hold a card against the recorded answers, and against the CPU in random jobs."""
    began = time.perf_counter()
    backend = MAKERS[name]()
    slow = backend.paces[0].grain < 100  # the simulator
    print(f"   ready after {time.perf_counter() - began:.2f} s")
    vectors = json.loads(VECTORS.read_text())
    cpu = next(other for other in kernels.backends() if not kernels.is_of_cards(other))
    with as_backend(backend) as card:
        for vector in vectors["hash"]:
            nonce, prefix = int(vector["nonce"]), int(vector["hash"][:16], 16)
            template = _template(vector)
            assert kernels.search(template, nonce, 1, backend=card) == kernels.Best(vector["zeros"], nonce), vector
            assert kernels.find(template, nonce, 1, prefix + 1, backend=card) == nonce, vector
            assert prefix == 0 or kernels.find(template, nonce, 1, prefix, backend=card) is None, vector
        searches = [vector for vector in vectors["search"] if not slow or vector["count"] <= 100]
        for vector in searches:
            best = kernels.Best(vector["best_zeros"], int(vector["best_nonce"]))
            found = kernels.search(_template(vector), int(vector["start"]), vector["count"], backend=card)
            assert found == best, vector
        print(f"   right: {len(vectors['hash'])} hashes and {len(searches)} searches recorded")
        numbers = random.Random(5)
        for job in range(jobs):
            template = kernels.Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
            start = numbers.getrandbits(64)
            if job % 4 == 0:
                start = (numbers.randrange(1, 2**32 + 1) << 32) - numbers.randrange(1, 100_000)
            count = min(numbers.choice([1, 40, 5000, 300_000, 3_000_000]), 2**64 - start)
            if slow:
                count = min(count, 5)
            above, below = numbers.randrange(-1, 6), 2 ** numbers.randrange(40, 65) - 3
            for call, bound in ((kernels.search, above), (kernels.find, below)):
                expected = call(template, start, count, bound, backend=cpu, threads=os.cpu_count() or 1)
                found = call(template, start, count, bound, backend=card)
                assert found == expected, (job, call.__name__, start, count, bound, found, expected)
        print(f"   right: {jobs} random jobs, as by {cpu}")


def measure_rates(rounds: int, seconds: float, peer: str | None) -> None:
    """The rates by turns, and how long the launches took."""
    launches: dict[str, list[float]] = {name: [] for name in MAKERS}
    contenders: dict[str, Callable[[], float]] = {}
    for name, make in MAKERS.items():
        backend = make()
        timed = _Timed(backend, launches[name])

        def turn(timed: _Timed = timed) -> float:
            with as_backend(timed) as card:
                stop = threading.Event()
                timer = threading.Timer(seconds, stop.set)
                timer.start()
                began = time.perf_counter()
                progress = kernels.search_until(TEMPLATE, 0, 2**63, 15, backend=card, stop=stop)
                rate = progress.tried / (time.perf_counter() - began)
                timer.join()
                return rate

        contenders[name] = turn
    if peer:
        contenders["peer"] = lambda: _peer_rate(peer, max(seconds, 3.0))
    for warm_up in contenders.values():
        warm_up()
    for times in launches.values():
        times.clear()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    with _Clocks() as clocks:
        for _ in range(rounds):
            for name, measure in contenders.items():
                rates[name].append(measure())
    for name, found in rates.items():
        median = statistics.median(found)
        print(
            f"   {name}: median {median / 1e6:,.2f} MH/s of {rounds} turns, "
            f"{min(found) / 1e6:,.2f} to {max(found) / 1e6:,.2f}"
        )
    for name, times in launches.items():
        times.sort()
        ends = f"{1000 * times[len(times) // 2]:.2f} ms, longest {1000 * times[-1]:.2f} ms"
        print(f"   {name}: {len(times)} launches, median {ends}")
    if clocks.seen:
        print(f"   clock {statistics.median(clocks.seen):.0f} MHz (of {len(clocks.seen)} looks)")
    RESULTS["rates"] = rates
    RESULTS["launches"] = {name: [times[0], statistics.median(times), times[-1]] for name, times in launches.items()}
    RESULTS["clock_mhz"] = clocks.seen


class _Timed:
    """A backend whose launches are timed."""

    def __init__(self, backend: Backend, times: list[float]) -> None:
        self.backend, self.times, self.paces = backend, times, backend.paces

    def scans(self, template: kernels.Template, threads: int) -> list[Scan]:
        def timed(scan: Scan) -> Scan:
            def call(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
                began = time.perf_counter()
                found = scan(start, count, limit, lowest)
                self.times.append(time.perf_counter() - began)
                return found

            return call

        return [timed(scan) for scan in self.backend.scans(template, threads)]


class _Clocks:
    """The card's clock in MHz, looked at now and then, where nvidia-smi tells it."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __enter__(self) -> _Clocks:
        command = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", "-lms", "200"]
        try:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        except OSError:
            self.process = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            output = self.process.communicate()[0]
            self.seen = [float(line) for line in output.split() if line.isdigit()]


def _peer_rate(command: str, seconds: float) -> float:
    """The median of the rates that another miner prints in that time."""
    child = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    output = child.communicate()[0]
    timer.cancel()
    units = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
    found = [float(rate) * units[unit] for rate, unit in re.findall(r"Hash Rate: ([\d.]+) ([KMG]?)H/s", output)]
    if not found:
        raise RuntimeError(f"the peer printed no rate, but {output[-300:]!r}")
    return statistics.median(found)


def by_size(name: str, largest: int) -> None:
    """The rate of launches of a power of two of nonces."""
    [scan] = MAKERS[name]().scans(TEMPLATE, 1)
    found: dict[int, float] = {}
    for power in range(min(10, largest), largest + 1):
        found[power] = _scan_rate(scan, 2**power, 0.15)
        print(f"   2^{power}: {found[power] / 1e6:,.1f} MH/s, {1000 * 2**power / found[power]:.3f} ms", flush=True)
    RESULTS[f"{name} by size"] = found


def _scan_rate(scan: Scan, count: int, seconds: float) -> float:
    """Hashes a second of launches of so many nonces; the median of them."""
    limit = driver.limit_above(15)
    scan(0, count, limit, False)
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < 3:
        began = time.perf_counter()
        scan(0, count, limit, False)
        times.append(time.perf_counter() - began)
    return count / statistics.median(times)


def tune(name: str) -> None:
    """Other shapes of the kernels, all by launches of the same size."""
    shapes = _cuda_shapes() if name == "cuda" else _opencl_shapes()
    found: dict[str, float] = {}
    for shape, make in shapes:
        try:
            began = time.perf_counter()
            scan, said = make()
            built = time.perf_counter() - began
            count = 2**14
            while count < 2**30 and 2 * count / _scan_rate(scan, count, 0) < 0.04:
                count *= 2
            found[shape] = max(_scan_rate(scan, count, 0.15) for _ in range(3))
            print(f"   {shape}: {found[shape] / 1e6:,.1f} MH/s, built in {built:.1f} s {said}", flush=True)
        except Exception as error:
            print(f"   {shape}: {type(error).__name__}: {str(error)[:200]}", flush=True)
    RESULTS[f"{name} shapes"] = found


def _cuda_shapes() -> Iterator[tuple[str, Callable[[], tuple[Scan, str]]]]:
    from kernels import cuda

    names = ("THREADS", "WAVES", "ROUNDS_A_TURN", "MOST_REGISTERS")
    standing = [getattr(cuda, name) for name in names]
    shapes = [
        *((256, waves, 2, None) for waves in (1, 2, 4, 8, 16)),
        *((128, waves, 2, None) for waves in (1, 4, 16)),
        (64, 4, 2, None),
        (512, 4, 2, 64),
        *((256, 4, turn, None) for turn in (1, 11, 22)),
        *((256, 4, 2, most) for most in (64, 80)),
    ]
    for shape in shapes:

        def make(shape: tuple[int | None, ...] = shape) -> tuple[Scan, str]:
            for name, value in zip(names, shape, strict=True):
                setattr(cuda, name, value)
            try:
                card = cuda._Card(0)
            finally:
                for name, value in zip(names, standing, strict=True):
                    setattr(cuda, name, value)
            used = card.kernel.get_regs_per_thread(cuda.SIGNATURE)
            return card.scan(TEMPLATE), f"({card.blocks} blocks, {used} registers)"

        threads, waves, turn, registers = shape
        yield f"{threads} threads, {waves} waves, {turn} rounds a turn, registers ≤ {registers}", make


def _opencl_shapes() -> Iterator[tuple[str, Callable[[], tuple[Scan, str]]]]:
    from kernels import opencl

    device = machine.opencl_devices()[0].device
    shapes = [(form, 128) for form in opencl.FORMS]
    shapes += [(opencl.Form(2, True, turn), 128) for turn in (1, 11, 22)]
    shapes += [(opencl.Form(1, True, turn), 128) for turn in (1, 11, 22)]
    shapes += [(opencl.Form(2, True), group) for group in (64, 256)]
    for form, group in shapes:

        def make(form: Any = form, group: int = group) -> tuple[Scan, str]:
            card = opencl.Card(device, form)
            card.group = min(card.group, group) if group < 128 else group
            return card.scan(TEMPLATE), ""

        yield (
            f"{64 // form.parts} bits, ternary {form.ternary}, {form.rounds_a_turn} rounds a turn, groups of {group}",
            make,
        )


def _template(vector: dict[str, Any]) -> kernels.Template:
    farmer = base64.b32decode(vector["farmer"])[1:33]
    return kernels.Template(int(vector["index"]), bytes.fromhex(vector["entropy"]), farmer)


if __name__ == "__main__":
    main()
