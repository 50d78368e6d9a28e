"""The CUDA kernel without a card: as Python under Numba's simulator, and compiled for three generations of cards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda")

SIMULATED = """
import random, sys
import numpy as np
import kernels
from kernels import cuda, keccak
assert kernels.devices() == {"cuda:0": "simulator"} and kernels.backends()[0] == "cuda"
numbers = random.Random(5)
for job in range(200):
    template = kernels.Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
    start = (numbers.randrange(1, 2**32) << 32) - numbers.randrange(4) if job % 4 == 0 else numbers.getrandbits(63)
    count = numbers.randrange(1, 5)
    above = numbers.choice([-1, -1, 0])
    best = kernels.search(template, start, count, above, backend="cuda")
    assert best == kernels.search(template, start, count, above, backend="python"), (job, best)
    if job % 10 == 0:
        below = 2 ** numbers.randrange(61, 65) - 5
        first = kernels.find(template, start, count, below, backend="cuda:0")
        assert first == kernels.find(template, start, count, below, backend="python"), (job, first)
template = kernels.Template(1, bytes(32), bytes(32))  # several runs for each thread, and ties between threads
for count in (64, 150):
    assert kernels.search(template, 5, count, backend="cuda") == kernels.search(template, 5, count, backend="python")
for lane in (0, 1, 2**63, 0x0123456789ABCDEF, 2**64 - 1):
    even, odd = keccak.split(lane, 2)
    assert int(cuda.halves.fn(np.uint64(lane))) == odd << 32 | even
    assert int(cuda.whole.fn(np.uint64(odd << 32 | even))) == lane
try:
    kernels.search(template, 0, 1, backend="cuda:1")
except kernels.KernelError as error:
    assert "cards 0 to 0" in str(error)
else:
    sys.exit("a card that is not there")
print("agreed")
"""


@pytest.mark.slow(9, "Numba simulates a card in Python, thread by thread")
def test_the_simulator_agrees_with_the_readable_hash() -> None:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", SIMULATED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode, done.stdout) == (0, "agreed\n"), done.stderr


def tool(name: str) -> str:
    """One of NVIDIA's programs, from its pip package."""
    import nvidia

    for folder in nvidia.__path__:
        for path in Path(folder).glob(f"*/bin/{name}"):
            return str(path)
    pytest.skip(f"{name} is not installed")


def loops(sass: str) -> list[tuple[int, int]]:
    """(first, last) instruction of every loop in a disassembly, innermost first."""
    labels: dict[str, int] = {}
    jumps: list[tuple[str, int]] = []
    number = 0
    for line in sass.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = number
        elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            if jump := re.search(r"\bBRA\b.*(\.L_x_\d+)", instruction[1]):
                jumps.append((jump[1], number))
            number += 1
    found = [(labels[label], place) for label, place in jumps if labels[label] < place]
    return sorted(found, key=lambda loop: loop[1] - loop[0])


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0)])
def test_compiles_for_cards(capability: tuple[int, int], tmp_path: Path) -> None:
    from kernels import cuda

    text, _ = cuda.cuda.compile(cuda.search_kernel, cuda.SIGNATURE, device=False, cc=capability, abi="numba")
    (tmp_path / "kernel.ptx").write_text(text)
    architecture = f"sm_{capability[0]}{capability[1]}"
    command = [tool("ptxas"), "-v", f"-arch={architecture}", "kernel.ptx", "-o", "kernel.cubin"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in said
    registers = re.search(r"Used (\d+) registers", said)
    assert registers and int(registers[1]) <= 128  # four blocks of 128 threads and more on a multiprocessor

    command = [tool("nvdisasm"), "-c", "kernel.cubin"]
    sass = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\b(LDL|STL)\b", sass)  # no local memory
    # Two rounds are one turn of a loop of some 350 instructions; the loop around it is one hash a turn.
    rounds = next(loop for loop in loops(sass) if loop[1] - loop[0] > 300)
    nonces = next(loop for loop in loops(sass) if loop[0] < rounds[0] and rounds[1] < loop[1])
    turn = rounds[1] - rounds[0] + 1
    a_hash = 11 * turn + (nonces[1] - nonces[0] + 1 - turn)  # with what is only done on a hit
    print(f"{architecture}: {registers[1]} registers, at most {a_hash} instructions a hash")
    assert a_hash <= 4300
