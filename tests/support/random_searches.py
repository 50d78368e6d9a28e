"""Searches at random, of two backends: they have to agree."""

from __future__ import annotations

import random

import kernels
from kernels import Template


def require_agreement(backend: str, trusted: str, most: int) -> None:
    """200 jobs of up to `most` nonces, always the same; many are at the end of a window, or at either end of all."""
    numbers = random.Random(7)
    for job in range(200):
        template = Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        start = numbers.getrandbits(64)
        if job % 4 == 0:
            start = (numbers.randrange(1, 2**32 + 1) << 32) - numbers.randrange(1, 90)
        if job % 4 == 1:
            start = numbers.randrange(40)
        count = min(numbers.randrange(1, most), 2**64 - start)
        above, below = numbers.randrange(-1, 4), 2 ** numbers.randrange(52, 65) - 3
        best = kernels.search(template, start, count, above, backend=backend)
        assert best == kernels.search(template, start, count, above, backend=trusted), (job, start, count, above)
        first = kernels.find(template, start, count, below, backend=backend)
        assert first == kernels.find(template, start, count, below, backend=trusted), (job, start, count, below)
