"""What the miner is made of as a package of its own: for miner/hatch_build.py, and for the pool that gives it out."""

from __future__ import annotations

PARTS = (
    "kalepool/__init__.py",
    "kalepool/bench.py",
    "kalepool/endings.py",
    "kalepool/errors.py",
    "kalepool/hardening.py",
    "kalepool/mine",
    "kalepool/platforms.py",
    "kalepool/processes.py",
    "kalepool/protocol/__init__.py",
    "kalepool/protocol/hashing.py",
    "kalepool/units.py",
    "kernels",
)
"""Files and folders; of these their Python files."""

NEEDS = ("numpy", "numba", "httpx2", "typer", "rich")
"""Of what the pool needs."""

EXTRAS = ("cuda", "opencl")
"""Of the pool's."""
