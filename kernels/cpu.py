"""The search on CPU vectors: `vector.py`'s LLVM functions inside a Numba function without the GIL."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir  # pyright: ignore[reportMissingTypeStubs]
from numba import types
from numba.extending import intrinsic

from kernels import keccak, machine, vector
from kernels.cache import KernelCache
from kernels.model import Scan, SlicePace, Template
from kernels.vector import Layout, Value

_SIGNATURE = types.UniTuple(types.uint64, 2)(*[types.uint64] * 5, types.boolean)


def layout(backend: str) -> Layout:
    """The measured best layout of a backend. What a newer processor has besides is not used by the older names."""
    if backend == "avx512":
        host = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        # Whatever processor NUMBA_CPU_NAME may name. In this order a Zen 5 is 3 % faster than in that for its own.
        return Layout(512, 1, ternary=True, target=host, tune="sapphirerapids")
    if backend == "avx2":
        return Layout(256, 4, target=("x86-64", "+avx2"))
    if backend == "sse2":
        return Layout(128, 16, target=("x86-64", "+sse2"))
    if backend == "neon":  # with the SHA-3 extension rotations are free
        return Layout(128, 1) if "sha3" in machine.cpu_features() else Layout(128, 4, short=True)
    # portable: lanes in vectors as wide as this machine's, and no intrinsic of any processor
    return Layout({"avx512": 512, "avx2": 256}.get("".join(machine.cpu_backends()[:1]), 128), 1)


@functools.cache
def load(name: str) -> _CpuBackend:
    """The compiled backend of that name, from the cache where it has been compiled before."""
    return _CpuBackend(name)


class _CpuBackend:
    def __init__(self, name: str) -> None:
        self.layout = layout(name)
        self.kernel = _compile(name, self.layout)
        self.paces = (SlicePace(0.008, 2**14, self.layout.nonces),)

        self.scan = functools.lru_cache(maxsize=512)(self._scan)

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        return [self.scan(template)] * threads

    def _scan(self, template: Template) -> Scan:
        kernel, layout = self.kernel, self.layout
        first = _window(template, 0, layout)
        latest = 0, first.lanes, first.words, first

        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            nonlocal latest
            high = start >> 32
            cached, lanes, words, window = latest
            if cached != high:
                window = _window(template, high, layout)
                lanes, words = window.lanes, window.words
                latest = high, lanes, words, window  # all at once: threads share it
            low, prefix = kernel(lanes, words, start & 0xFFFFFFFF, count, limit, lowest)
            return None if low >> 32 else (high << 32 | low, prefix)

        return scan


class _Window:
    """What a template's nonces with one high word share, where the kernel can read it."""

    def __init__(self, lanes: Sequence[int], layout: Layout, state: Sequence[int] = ()) -> None:
        """lanes: after the linear half of round 1; state: before it, for a short layout."""
        self._lanes = _aligned(np.array(lanes, np.uint64))
        words = vector.with_effects(state) if layout.short else lanes
        self._words = self._lanes if layout.parts == 1 else _aligned(vector.spread(words, layout.parts))
        self.lanes = self._lanes.ctypes.data
        self.words = self._words.ctypes.data


def _window(template: Template, high: int, layout: Layout) -> _Window:
    message = keccak.encode(template.index, high << 32, template.entropy, template.farmer)
    state = keccak.absorb(message)
    return _Window(keccak.first_linear(state), layout, state)


def _aligned(data: np.ndarray) -> np.ndarray:
    """The bytes of an array at a multiple of 64."""
    room = np.empty(data.nbytes + 64, np.uint8)
    offset = -room.ctypes.data % 64
    room[offset : offset + data.nbytes] = data.reshape(-1).view(np.uint8)
    return room[offset : offset + data.nbytes]


def _compile(backend: str, layout: Layout) -> Callable[..., tuple[int, int]]:
    """kernel(lanes, words, low, count, limit, lowest) -> (low word, prefix); a low word of 2^32 for none.

    See model.Scan. The first two are addresses: of the 25 lanes after the linear half of round 1, and of them in the
    layout's words.
    """

    def scan_type(context: Any, words: Any, low: Any, blocks: Any, limit: Any) -> Any:
        return types.uint64(*[types.uint64] * 4), _caller(lambda module: vector.build_scan(module, layout))

    def score_type(context: Any, lanes: Any, low: Any) -> Any:
        return types.uint64(types.uint64, types.uint64), _caller(vector.build_score)

    scan_blocks: Any = intrinsic(scan_type)
    score: Any = intrinsic(score_type)
    nonces = np.uint64(layout.nonces)
    zero, one, four, all_ones = (np.uint64(number) for number in (0, 1, 4, 2**64 - 1))

    def kernel(lanes: Any, words: Any, low: Any, count: Any, limit: Any, lowest: Any) -> tuple[Any, Any]:
        end = low + count
        best, prefix = np.uint64(2**32), zero
        base = low - low % nonces
        while base < end:
            blocks = (end - base + nonces - one) // nonces
            clear = scan_blocks(words, base, blocks, limit)
            if clear == blocks:
                break
            base += clear * nonces
            for nonce in range(max(base, low), min(base + nonces, end)):
                found = score(lanes, nonce)
                if found <= limit:
                    best, prefix = nonce, found
                    if lowest or found == zero:
                        return best, prefix
                    limit = all_ones  # now one more zero digit is needed
                    while limit >= found:
                        limit >>= four
            base += nonces
        return best, prefix

    dispatcher: Any = numba.njit(nogil=True)(kernel)
    dispatcher._cache = KernelCache(backend)
    dispatcher.compile(_SIGNATURE)
    dispatcher.disable_compile()
    return dispatcher


def _caller(build: Callable[[ir.Module], ir.Function]) -> Callable[..., Value]:
    """Code generation of an intrinsic that calls the function `build` adds; its first argument is an address."""

    def generate(context: Any, builder: Value, signature: Any, arguments: Sequence[Value]) -> Value:
        address, *others = arguments
        pointer = builder.inttoptr(address, ir.IntType(8).as_pointer())
        return builder.call(build(builder.module), [pointer, *others])

    return generate
