"""Which bound does the AVX-512 search meet, and does another form of it do better?

    python -m benchmarks.avx512 [--rounds 400]

For every form: what a turn of its loop of rounds is made of, counted in the machine code, how many cycles 8 nonces take
by the pipes and by the rotations on a Zen 5 (four 512-bit pipes, two of which rotate) and on a Golden Cove (two, one),
and its speed, by turns on one thread. The turns are short and the best of each counts. Forms that need another option
of LLVM are compiled in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from llvmlite import binding

import kernels
from kalepool.bench import clock_hertz
from kernels import cpu, keccak, machine, vector
from kernels.vector import I32, Layout, Value, Words

TEMPLATE = kernels.Template(1, bytes(range(32)), bytes(range(32, 64)))
AT_ONCE = 2**15
ROTATES, LOGIC = re.compile("vprol"), re.compile("vpternlog|vpxor|vpand|vpor[dq]?$|vpandn")
MICROARCHITECTURES = {"Zen 5": (4, 2), "Golden Cove": (2, 1)}
LAYOUT = cpu.layout("avx512") if "avx512" in machine.cpu_backends() else Layout(512, 1, ternary=True)

Prefixes = Callable[[Words, Sequence[Value]], Value]


def prefixes(*, turn: int = 1, joined: bool = False) -> Prefixes:
    """`vector._lane_prefixes`: `turn` rounds a turn of the loop; theta's effect `joined` to a lane by one operation."""

    def made(words: Words, state: Sequence[Value]) -> Value:
        state = [word for first in range(0, 25, 5) for word in keccak.chi_row(words, state[first : first + 5])]
        state[0] = words.xor(state[0], *vector._lane_constant(words, I32(1)))
        count = (keccak.ROUNDS - 3) // turn
        for number in range(2, 2 + (keccak.ROUNDS - 3) % turn):
            constant = vector._lane_constant(words, I32(number))
            state = [
                word for [word] in keccak.keccak_round(words, [[word] for word in state], constant, ternary=joined)
            ]
        first = 2 + (keccak.ROUNDS - 3) % turn
        with words.counted(0, count, *state) as (number, lanes):
            at = words.builder.add(words.builder.mul(number, I32(turn)), I32(first))
            for step in range(turn):
                constant = vector._lane_constant(words, words.builder.add(at, I32(step)))
                after = keccak.keccak_round(words, [[word] for word in lanes], constant, ternary=joined)
                lanes[:] = [word for [word] in after]
        constant = vector._lane_constant(words, I32(keccak.ROUNDS - 1))
        [word] = keccak.first_lane(words, [[word] for word in lanes], constant, ternary=joined)
        return vector._swapped(words, word)

    return made


FORMS: dict[str, tuple[Layout, Prefixes | None, str]] = {
    "as it is": (LAYOUT, None, ""),
    "theta's effect joined by one operation": (LAYOUT, prefixes(joined=True), ""),
    "3 rounds a turn": (LAYOUT, prefixes(turn=3), ""),
    "7 rounds a turn": (LAYOUT, prefixes(turn=7), ""),
    "3 rounds a turn, joined": (LAYOUT, prefixes(turn=3, joined=True), ""),
    "no ternary logic by intrinsic": (replace(LAYOUT, ternary=False), None, ""),
    "256-bit vectors": (replace(LAYOUT, bits=256), None, ""),
    "1,024 bits: two half-states": (replace(LAYOUT, bits=1024, ternary=False), None, ""),
    "LLVM: no scheduling": (LAYOUT, None, "-enable-misched=false"),
    "LLVM: scheduled from the top": (LAYOUT, None, "-misched-prera-direction=topdown"),
    "LLVM: scheduled again after registers": (LAYOUT, None, "-enable-post-misched=true -misched-postra"),
    "LLVM: without splitting live ranges": (
        LAYOUT,
        None,
        "-enable-split-loopiv-heuristic=false -split-spill-mode=size",
    ),
    "LLVM: tuned for this processor": (replace(LAYOUT, tune=None), None, ""),
    "LLVM: tuned for znver4": (replace(LAYOUT, tune="znver4"), None, ""),
    "LLVM: tuned for knl": (replace(LAYOUT, tune="knl"), None, ""),
}


@contextmanager
def form_of(name: str) -> Any:
    layout, made, _ = FORMS[name]
    known = vector._lane_prefixes
    vector._lane_prefixes = made or known
    try:
        yield layout
    finally:
        vector._lane_prefixes = known


class Form:
    """One form, compiled."""

    def __init__(self, name: str) -> None:
        with form_of(name) as layout:
            self.layout, kernel = layout, cpu._compile(f"try-{time.time_ns()}", layout)
        self.assembly = next(iter(kernel.inspect_asm().values()))  # pyright: ignore[reportFunctionMemberAccess]
        self.kernel, self.window = kernel, cpu._window(TEMPLATE, 0, layout)
        assert self.kernel(self.window.lanes, self.window.words, 0, 2**20, 2**44, True)[0] == EXPECTED

    def rate(self) -> float:
        began = time.perf_counter()
        self.kernel(self.window.lanes, self.window.words, 0, AT_ONCE, 0, True)
        return AT_ONCE / (time.perf_counter() - began)


EXPECTED = kernels.find(TEMPLATE, 0, 2**20, 2**44 + 1, backend="portable")


def loop_of(assembly: str) -> list[str]:
    """The instructions of the loop that has most rotations: its last label before them to its jump back."""
    lines = [line.strip() for line in assembly.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if line.endswith(":")}
    best: list[str] = []
    for number, line in enumerate(lines):
        jump = re.match(r"j\w+\s+(\S+)", line)
        if jump and labels.get(jump[1], number) < number:
            body = [each for each in lines[labels[jump[1]] : number + 1] if re.match(r"[a-z]", each)]
            density = sum(bool(ROTATES.match(each)) for each in body) / len(body)
            known = sum(bool(ROTATES.match(each)) for each in best) / max(len(best), 1)
            if density > known:
                best = body
    return best


def counts_of(body: list[str]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for line in body:
        name = line.split()[0]
        if ROTATES.match(name):
            kinds["rotations"] += 1
        elif LOGIC.match(name):
            kinds["logic"] += 1
        elif name.startswith("vmov") and ("rsp" in line or "rbp" in line):
            kinds["spilled"] += 1
        elif name.startswith("vmov"):
            kinds["moves"] += 1
        else:
            kinds["other"] += 1
    kinds["from the stack"] = sum("rsp" in line or "rbp" in line for line in body)
    return dict(kinds)


def main() -> None:
    """Count, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400, help="turns of each (default 400)")
    parser.add_argument("--forms", nargs="*", choices=list(FORMS), default=list(FORMS), help="only these")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if "avx512" not in machine.cpu_backends():
        raise SystemExit("this processor has no AVX-512")
    if options.only:
        serve(options.only)
        return
    children = {name: Child(name) for name in options.forms}
    rates: dict[str, list[float]] = {name: [] for name in children}
    clocks: list[float] = []
    for _ in range(options.rounds):
        for name, child in children.items():
            rates[name].append(child.rate())
        if len(clocks) < 20:
            clocks.append(clock_hertz())
    clock = max(clocks)
    print(f"{machine.platform.machine()}, LLVM's {binding.get_host_cpu_name()}, clock {clock / 1e9:.2f} GHz")
    print(f"{'form':45}{'MH/s':>7}{'cycles/8':>10}  in a turn of the loop")
    for name, child in children.items():
        best = max(rates[name])
        print(f"{name:45}{best / 1e6:7.1f}{8 * clock / best:10.0f}  {child.counts}")
        child.end()
    whole = keccak_operations()
    for of, (pipes, rotating) in MICROARCHITECTURES.items():
        print(
            f"{of}: {whole['all'] / pipes:.0f} cycles for 8 nonces by its {pipes} pipes, "
            f"{whole['rotations'] / rotating:.0f} by the {rotating} that rotate"
        )


def keccak_operations() -> dict[str, int]:
    """What 8 nonces take at the least: 21 whole rounds, the halves before them, and the last lane."""

    class Counting:
        def __init__(self) -> None:
            self.made: Counter[str] = Counter()

        def xor(self, *words: int) -> int:
            self.made["all"] += (len(words)) // 2  # a ternary operation takes three words
            return 0

        def chi(self, a: int, b: int, c: int) -> int:
            self.made["all"] += 1
            return 0

        def rol(self, a: int, count: int) -> int:
            self.made["all"] += 1
            self.made["rotations"] += 1
            return 0

    counting, state = Counting(), [[0]] * 25
    for _ in range(21):
        keccak.keccak_round(counting, state, [0])
    for first in range(0, 25, 5):
        keccak.chi_row(counting, [0] * 5)
        assert first < 25
    counting.made["all"] += 26  # the step to the next block, and iota
    keccak.first_lane(counting, state, [0])
    return dict(counting.made)


class Child:
    """A form in a process of its own."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "benchmarks.avx512", "--only", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.counts = json.loads(self.process.stdout.readline())

    def rate(self) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(name: str) -> None:
    """Compile, print the counts, and measure for every line that comes."""
    for option in FORMS[name][2].split():
        binding.set_option("", option)  # pyright: ignore[reportAttributeAccessIssue]
    form = Form(name)
    print(json.dumps(counts_of(loop_of(form.assembly))), flush=True)
    for _ in sys.stdin:
        print(form.rate(), flush=True)


if __name__ == "__main__":
    main()
