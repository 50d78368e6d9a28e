"""The NEON backend without an ARM machine: right, how long to compile, how large?

    apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    python -m benchmarks.arm

Compiles the search for 64-bit ARM on this machine, for processors with SHA-3 instructions and without, and as
`portable` is compiled there; then has QEMU hash all recorded vectors with it. The times are processor time of LLVM
alone, medians of 9; what Numba does around it is the same for all.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding, ir

import kernels
from kernels import driver, keccak, vector
from kernels.model import Scan, SlicePace, Template
from kernels.vector import Layout

VECTORS = Path(__file__).parents[1] / "tests/conformance/hash.json"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
HARNESS = """
#include <stdint.h>
#include <stdio.h>
uint64_t scan(const uint8_t *, uint64_t, uint64_t, uint64_t), score(const uint8_t *, uint64_t);
static _Alignas(64) uint8_t lanes[200], words[30 * 16 * 16];
int main(void) {
    uint64_t asked[5];  /* what: 0 prepare, 1 scan, 2 score */
    while (fread(asked, sizeof asked, 1, stdin)) {
        uint64_t answer = 0;
        if (!asked[0] && !(fread(lanes, sizeof lanes, 1, stdin) && fread(words, asked[1], 1, stdin))) return 1;
        if (asked[0] == 1) answer = scan(words, asked[1], asked[2], asked[3]);
        if (asked[0] == 2) answer = score(lanes, asked[1]);
        fwrite(&answer, sizeof answer, 1, stdout);
        fflush(stdout);
    }
}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A processor, and how its backend lays nonces out (see cpu.layout)."""

    name: str
    processor: str
    features: str
    layout: Layout


TARGETS = [
    Target("portable", "cortex-a72", "+neon", Layout(128, 1)),
    Target("neon", "cortex-a72", "+neon", Layout(128, 4, short=True)),
    Target("neon with SHA-3", "neoverse-v1", "+neon,+sha3", Layout(128, 1)),
]


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code, what it took, and how large it is."""

    code: bytes
    seconds: float
    instructions: int


def compiled(target: Target) -> Compiled:
    """scan and score, as Numba has LLVM compile them."""
    module = ir.Module(name="kale")
    for name, function in {
        "scan": vector.build_scan(module, target.layout),
        "score": vector.build_score(module),
    }.items():
        function.linkage, function.name = "external", name
    module.triple = "aarch64-unknown-linux-gnu"
    llvm: Any = binding
    machine = llvm.Target.from_triple(module.triple).create_target_machine(
        target.processor, target.features, 3, "pic", "small"
    )
    module.data_layout = str(machine.target_data)
    began = time.process_time()
    parsed = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    passes.getModulePassManager().run(parsed, passes)
    code = machine.emit_object(parsed)
    seconds = time.process_time() - began
    lines = machine.emit_assembly(parsed).splitlines()
    return Compiled(code, seconds, sum(line.startswith("\t") and not line.startswith("\t.") for line in lines))


class Emulated:
    """The backend in a process of QEMU's."""

    def __init__(self, target: Target, code: bytes, folder: Path) -> None:
        self.layout, self.paces = target.layout, (SlicePace(0.05, 2**12, target.layout.nonces),)
        (folder / "scan.o").write_bytes(code)
        (folder / "harness.c").write_text(HARNESS)
        program = folder / "harness"
        command = [COMPILER, "-O1", "-static", "-o", program, folder / "harness.c", folder / "scan.o"]
        subprocess.run(command, check=True)
        # "max" has every extension; a Cortex-A72 ends at an instruction that it does not have.
        processor = "max" if "sha3" in target.features else "cortex-a72"
        self.process = subprocess.Popen(
            [EMULATOR, "-cpu", processor, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, *words: int, more: bytes = b"") -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(struct.pack("<5Q", *words, *[0] * (5 - len(words))) + more)
        self.process.stdin.flush()
        answer = self.process.stdout.read(8)
        if len(answer) < 8:
            raise SystemExit(f"the emulated program ended with status {self.process.wait()}")
        return struct.unpack("<Q", answer)[0]

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        nonces = self.layout.nonces

        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            high, low = start >> 32, start & 0xFFFFFFFF
            message = keccak.encode(template.index, high << 32, template.entropy, template.farmer)
            state = keccak.absorb(message)
            lanes = keccak.first_linear(state)
            plain = np.array(lanes, "<u8").tobytes()
            given = vector.with_effects(state) if self.layout.short else lanes
            words = plain if self.layout.parts == 1 else vector.spread(given, self.layout.parts).tobytes()
            self.ask(0, len(words), more=plain + words)
            best, base, end = None, low - low % nonces, low + count
            while base < end:
                blocks = -(-(end - base) // nonces)
                clear = self.ask(1, base, blocks, limit)
                if clear == blocks:
                    break
                base += clear * nonces
                for nonce in range(max(base, low), min(base + nonces, end)):
                    prefix = self.ask(2, nonce)
                    if prefix <= limit:
                        best = high << 32 | nonce, prefix
                        if lowest or not prefix:
                            return best
                        limit = driver.limit_above(16 - (prefix.bit_length() + 3) // 4)
                base += nonces
            return best

        return [scan]


def check(backend: Emulated) -> str:
    """Hash and search all that is recorded."""
    known = driver._load
    driver._load = lambda name: backend if name == "arm" else known(name)  # pyright: ignore[reportAttributeAccessIssue]
    vectors = json.loads(VECTORS.read_text())
    try:
        for each in vectors["hash"]:
            nonce, prefix = int(each["nonce"]), int(each["hash"][:16], 16)
            assert kernels.search(_template(each), nonce, 1, backend="arm") == kernels.Best(each["zeros"], nonce), each
            assert kernels.find(_template(each), nonce, 1, prefix + 1, backend="arm") == nonce, each
        for each in vectors["search"]:
            best = kernels.Best(each["best_zeros"], int(each["best_nonce"]))
            found = kernels.search(_template(each), int(each["start"]), each["count"], backend="arm")
            assert found == best, (each, found)
            more = kernels.search(_template(each), int(each["start"]), each["count"], best.zeros, backend="arm")
            assert more is None, (each, more)
    finally:
        driver._load = known
    return f"right: {len(vectors['hash'])} hashes, {2 * len(vectors['search'])} searches"


def _template(of: dict[str, Any]) -> Template:
    return Template(int(of["index"]), bytes.fromhex(of["entropy"]), base64.b32decode(of["farmer"])[1:33])


def main() -> None:
    """Compile, check and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    emulates = shutil.which(COMPILER) and shutil.which(EMULATOR)
    turns = [[compiled(target) for target in TARGETS] for _ in range(9)]
    first = statistics.median(turn[0].seconds for turn in turns)
    for number, target in enumerate(TARGETS):
        seconds = statistics.median(turn[number].seconds for turn in turns)
        made = turns[0][number]
        said = f"{seconds:.2f} s to compile, {seconds / first:.2f} × portable; {made.instructions} instructions"
        if emulates:
            with tempfile.TemporaryDirectory(prefix="kalepool-arm-") as name:
                backend = Emulated(target, made.code, Path(name))
                said += f"; {check(backend)}"
                backend.process.kill()
                backend.process.communicate()
        print(f"{target.name}: {said}", flush=True)
    if not emulates:
        raise SystemExit(f"nothing was run: there is no {COMPILER} or no {EMULATOR} here, see --help")


if __name__ == "__main__":
    main()
