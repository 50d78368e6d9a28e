"""The KALE nonce search, on every CPU, on CUDA and on OpenCL.

    best = kernels.search(kernels.Template(index, entropy, farmer), start, count, above_zeros)

Light to import: numba is loaded by the first search. Needs numpy and numba, nothing else; for NVIDIA cards numba-cuda,
for others pyopencl.

keccak.py   the permutation, written once over abstract words; the readable hash
model.py    what goes into a search and comes out of it; what a backend is
machine.py  which backends and cards this machine has
driver.py   search and find: ranges, slices, threads, ties; brings backends up
numa.py     a process for each of a machine's NUMA nodes, and searches in it
cpu.py      the CPU backends: a Numba function around the machine code of vector.py
vector.py   that machine code: the search loop over LLVM vectors
cuda.py     the CUDA backend
opencl.py   the OpenCL backend: a program of card_text.py on each card, in the words that are faster there
card_text.py  the search for cards as source text: OpenCL C, and WGSL for browsers
wasm.py     vector.py's machine code as a WebAssembly module for browsers; browser.mjs is the host's part
cache.py    compiled kernels on disk
"""

from __future__ import annotations

from kernels.driver import backends, devices, find, is_of_cards, search, search_until
from kernels.model import Best, KernelError, Progress, SearchStoppedError, Stop, Template

__all__ = [
    "Best",
    "KernelError",
    "Progress",
    "SearchStoppedError",
    "Stop",
    "Template",
    "backends",
    "devices",
    "find",
    "is_of_cards",
    "search",
    "search_until",
]
