"""The KALE nonce search, on every CPU and on CUDA.

    best = kernels.search(kernels.Template(index, entropy, farmer), start, count, above_zeros)

Light to import: numba is loaded by the first search. Needs numpy and numba (numba-cuda for NVIDIA cards), nothing else.
"""

from __future__ import annotations

from kernels.driver import backends, devices, find, search, search_until
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
    "search",
    "search_until",
]
