"""The search on NVIDIA cards, through Numba's CUDA target.

The words are 32 bits: the even and the odd bits of a lane ("bit interleaving", see keccak.py), because a card rotates
32 bits in one instruction but 64 in two, and theta's rotation by one is then half free. The 25 lanes after the linear
half of round 1 are kernel arguments, so they lie in constant memory; the state stays in registers; two rounds make one
turn of the loop.

A thread keeps its best nonce as one number that is smaller the better it is; a block of threads takes its least in
shared memory and touches global memory only if it found any.

Under NUMBA_ENABLE_CUDASIM=1 the same kernel runs as Python, on ints instead of registers.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # pyright: ignore[reportMissingTypeStubs]
from numba import types

from kernels import keccak, machine
from kernels.model import Scan, SlicePace, Template
from kernels.vector import I32, I64, table

cuda: Any = importlib.import_module("numba.cuda")  # with the types it declares, its own examples are errors

PARTS = 2
THREADS = 256  # of a block; a power of two
WAVES = 4  # blocks for each that runs at a time: multiprocessors are not all as quick
MOST_REGISTERS: int | None = None  # of a thread; None leaves it to the assembler
ROUNDS_A_TURN = 2  # of the loop over the 22 whole rounds
RUN = 16  # consecutive nonces a thread hashes in one go
SLICE_SECONDS = 0.025  # a launch and its answer cost some 30 µs
NONE = 2**64 - 1  # no nonce found
NOTHING = np.array([NONE], np.uint64)
WORD_MASK = 2**32 - 1
SIMULATED = [card.name for card in machine.cuda_cards()] == ["simulator"]


class _Registers:
    """Keccak's words as 32-bit registers."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def xor(self, *words: Any) -> Any:
        return functools.reduce(self.builder.xor, words)  # the assembler makes three-input logic of it

    def chi(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.xor(a, self.builder.and_(self.builder.not_(b), c))

    def rol(self, a: Any, count: int) -> Any:
        name = "llvm.fshl.i32"
        kind = ir.FunctionType(I32, [I32, I32, I32])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, [a, a, I32(count)])


class _Ints32:
    """Keccak's words as 32-bit ints, for the simulator."""

    def xor(self, *words: int) -> int:
        return functools.reduce(lambda a, b: a ^ b, words)

    def chi(self, a: int, b: int, c: int) -> int:
        return a ^ (~b & c)

    def rol(self, a: int, count: int) -> int:
        return (a << count & WORD_MASK) | a >> (32 - count)


CONSTANTS = [keccak.split(constant, PARTS) for constant in keccak.ROUND_CONSTANTS]


def _generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
    tuple_, even, odd = arguments
    ops = _Registers(builder)
    constants = table(builder.module, I32, [word for words in CONSTANTS for word in words], addrspace=4)

    def constant(number: Any, offset: int) -> list[Any]:
        first = builder.add(builder.mul(number, I32(PARTS)), I32(PARTS * offset))
        places = [builder.add(first, I32(part)) for part in range(PARTS)]
        return [builder.load(builder.gep(constants, [I32(0), place])) for place in places]

    lanes = [builder.extract_value(tuple_, number) for number in range(25 * PARTS)]
    state = keccak.first_round(ops, lanes, [even, odd], [I32(word) for word in CONSTANTS[0]])

    before, loop, last = builder.block, builder.append_basic_block("rounds"), builder.append_basic_block("last")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(I32)
    inputs = [[builder.phi(I32) for _ in range(PARTS)] for _ in range(25)]
    outputs = inputs
    for offset in range(ROUNDS_A_TURN):
        outputs = keccak.keccak_round(ops, outputs, constant(number, offset), ternary=True)
    following = builder.add(number, I32(ROUNDS_A_TURN))
    phis = [number, *(word for lane in inputs for word in lane)]
    firsts = [I32(1), *(word for lane in state for word in lane)]
    agains = [following, *(word for lane in outputs for word in lane)]
    for phi, first, again in zip(phis, firsts, agains, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.block)
    builder.cbranch(builder.icmp_unsigned("==", following, I32(keccak.ROUNDS - 1)), last, loop)
    builder.position_at_end(last)
    words = keccak.first_lane(ops, outputs, [I32(word) for word in CONSTANTS[-1]], ternary=True)
    even, odd = (builder.zext(word, I64) for word in words)
    return builder.or_(builder.shl(odd, I64(32)), even)


def _simulated_first_lane(lanes: Sequence[int], even: int, odd: int) -> int:
    ops = _Ints32()
    state = keccak.first_round(ops, [int(word) for word in lanes], [int(even), int(odd)], CONSTANTS[0])
    words = _int_rounds()([word for lane in state for word in lane], CONSTANTS[1:-1])
    state = [words[place : place + PARTS] for place in range(0, 25 * PARTS, PARTS)]
    even, odd = keccak.first_lane(ops, state, CONSTANTS[-1], ternary=True)
    return odd << 32 | even


@functools.cache
def _int_rounds() -> keccak.RoundsOnInts:
    return keccak.rounds_on_ints(PARTS)


def _compiled_first_lane() -> Any:
    from numba.cuda.extending import intrinsic

    @intrinsic
    def first_lane(context: Any, lanes: Any, even: Any, odd: Any) -> Any:
        return types.uint64(lanes, types.uint32, types.uint32), _generate

    return first_lane


# first_lane(lanes, even, odd): lane 0 of the digest, odd bits above even bits, for a nonce lane of these bits.
first_lane: Any = _simulated_first_lane if SIMULATED else _compiled_first_lane()

u32, u64 = np.uint32, np.uint64


@cuda.jit(device=True, inline="always")
def reversed_bytes(lane: Any) -> Any:
    """The eight bytes of a lane in the other order."""
    lane = (lane & u64(0x00FF00FF00FF00FF)) << u64(8) | (lane >> u64(8)) & u64(0x00FF00FF00FF00FF)
    lane = (lane & u64(0x0000FFFF0000FFFF)) << u64(16) | (lane >> u64(16)) & u64(0x0000FFFF0000FFFF)
    return lane << u64(32) | lane >> u64(32)


@cuda.jit(device=True, inline="always")
def swapped(lane: Any, mask: int, shift: int) -> Any:
    """The bits under `mask` exchanged with those `shift` further up."""
    other = (lane ^ (lane >> u64(shift))) & u64(mask)
    return lane ^ other ^ (other << u64(shift))


@cuda.jit(device=True, inline="always")
def halves(lane: Any) -> Any:
    """A lane's odd bits above its even bits (Hacker's Delight, 7-2)."""
    lane = swapped(lane, 0x2222222222222222, 1)
    lane = swapped(lane, 0x0C0C0C0C0C0C0C0C, 2)
    lane = swapped(lane, 0x00F000F000F000F0, 4)
    lane = swapped(lane, 0x0000FF000000FF00, 8)
    return swapped(lane, 0x00000000FFFF0000, 16)


@cuda.jit(device=True, inline="always")
def whole(lane: Any) -> Any:
    """The inverse of `halves`."""
    lane = swapped(lane, 0x00000000FFFF0000, 16)
    lane = swapped(lane, 0x0000FF000000FF00, 8)
    lane = swapped(lane, 0x00F000F000F000F0, 4)
    lane = swapped(lane, 0x0C0C0C0C0C0C0C0C, 2)
    return swapped(lane, 0x2222222222222222, 1)


@cuda.jit(device=True, inline="always")
def clear_bits(limit: Any) -> Any:
    """The bits of a first lane, in halves, that are zero in every prefix up to `limit`."""
    clear = u64(NONE)
    while limit:
        limit >>= u64(1)
        clear <<= u64(1)
    return halves(reversed_bytes(clear))


def search_kernel(lanes: Any, start: Any, end: Any, limit: Any, lowest: Any, result: Any) -> None:
    """Into result[0]: the least (16 - zeros) · 2^32 + low word of all hits, or the least low word if `lowest`.

    lanes: 50 words, see `first_lane`. start, end: low words, 0 <= start < end <= 2^32. limit: the largest prefix that
    is a hit.
    """
    best = u64(NONE)
    clear = clear_bits(limit)
    run = start // u64(RUN) + u64(cuda.grid(1))
    while run * u64(RUN) < end:
        nonces = run * u64(RUN)
        # In the nonce lane, where the low word's bytes are reversed, a run changes bits 24 to 27. It goes upwards, so
        # that the first of equals is the lowest.
        lane = halves(reversed_bytes(nonces << u64(32)))
        for step in range(RUN):
            even = u32(lane & u64(0xFFFFFFFF)) ^ u32((step & 1) | (step & 4) >> 1) << u32(12)
            odd = u32(lane >> u64(32)) ^ u32((step & 2) >> 1 | (step & 8) >> 2) << u32(12)
            first = u64(first_lane(lanes, even, odd))
            if first & clear == u64(0):
                low = nonces + u64(step)
                prefix = reversed_bytes(whole(first))
                if start <= low and low < end and prefix <= limit:
                    missing = u64(0)
                    if not lowest:
                        limit = u64(0)  # from now on this thread needs more zeros
                        while missing < u64(16) and prefix >> (u64(4) * missing):
                            limit = limit << u64(4) | u64(15)
                            missing += u64(1)
                        limit >>= u64(4)
                        clear = clear_bits(limit)
                    best = min(best, missing << u64(32) | low)
        run += u64(cuda.gridsize(1))

    shared = cuda.shared.array(THREADS, types.uint64)
    place = cuda.threadIdx.x
    shared[place] = best
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half:
        if place < half:
            shared[place] = min(shared[place], shared[place + half])
        cuda.syncthreads()
        half //= 2
    if place == 0 and shared[0] != u64(NONE):
        cuda.atomic.min(result, 0, shared[0])


SIGNATURE = types.void(
    types.UniTuple(types.uint32, 25 * PARTS), *[types.uint64] * 3, types.boolean, types.Array(types.uint64, 1, "C")
)


@functools.cache
def load(cards: tuple[int, ...]) -> _CudaBackend:
    """The cards of these numbers."""
    return _CudaBackend([_Card(card) for card in cards])


class _CudaBackend:
    """The cards that search together, each driven by a host thread of its own."""

    def __init__(self, cards: Sequence[_Card]) -> None:
        self.cards = cards
        self.paces = [SlicePace(SLICE_SECONDS, card.turn, card.turn) for card in cards]

    def scans(self, template: Template, threads: int) -> Sequence[Scan]:
        return [card.scan(template) for card in self.cards]


class _Card:
    """One CUDA card with the kernel compiled for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        with cuda.gpus[number]:
            if SIMULATED:
                self.blocks, self.threads, self.kernel = 1, 2, cuda.jit(search_kernel)
            else:
                self.kernel = cuda.jit(SIGNATURE, lto=False, max_registers=MOST_REGISTERS)(
                    search_kernel
                )  # by way of PTX, as it is tested
                registers = -(-self.kernel.get_regs_per_thread(SIGNATURE) // 8) * 8  # given out in eights
                device = cuda.get_current_device()
                resident = device.MAX_REGISTERS_PER_MULTIPROCESSOR // (registers * THREADS)
                self.blocks, self.threads = WAVES * device.MULTIPROCESSOR_COUNT * max(resident, 1), THREADS
            self.result = cuda.to_device(NOTHING)
        self.turn = self.blocks * self.threads * RUN  # nonces hashed while every thread makes one run
        self.lock = threading.Lock()

    def scan(self, template: Template) -> Scan:
        def scan(start: int, count: int, limit: int, lowest: bool) -> tuple[int, int] | None:
            high, low = start >> 32, start & WORD_MASK
            with self.lock, cuda.gpus[self.number]:
                self.result.copy_to_device(NOTHING)
                arguments = _words(template, high), u64(low), u64(low + count), u64(limit), lowest, self.result
                self.kernel[self.blocks, self.threads](*arguments)
                best = int(self.result.copy_to_host()[0])  # waits for the kernel, without the GIL
            if best == NONE:
                return None
            nonce = high << 32 | best & WORD_MASK
            digest = keccak.hash_nonce(template.index, nonce, template.entropy, template.farmer)
            return nonce, int.from_bytes(digest[:8], "big")

        return scan


@functools.lru_cache(maxsize=512)
def _words(template: Template, high: int) -> tuple[np.uint32, ...]:
    """What nonces with one high word share: round 1's linear half, as 50 words."""
    message = keccak.encode(template.index, high << 32, template.entropy, template.farmer)
    lanes = keccak.first_linear(keccak.absorb(message))
    return tuple(np.uint32(word) for lane in lanes for word in keccak.split(lane, PARTS))
