"""Keccak-f[1600] and the KALE hash, written once for every backend, and readable.

The permutation is a handful of functions over abstract words, which only ever call `xor`, `chi` and `rol` of the `Ops`
they are given. Python source text, LLVM vectors and CUDA registers are such words, so no backend has a Keccak of its
own. This module needs the standard library alone; `hash_nonce` is the truth that every other backend must equal.

A lane is 64 bits; the state is 25 lanes, lane x + 5·y. A backend may cut every lane into `parts` words: word j holds
its bits j, j + parts, j + 2·parts, …, so that a rotation of the lane is mostly a renaming of words ("bit
interleaving", Keccak implementation overview 3.2, section 2.1). With parts = 1 a word is a lane.

Source: FIPS 202, section 3, but with Keccak's original padding (0x01), as the KALE contract uses it.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

W = TypeVar("W")
State = Sequence[Sequence[W]]  # [lane][part]; of columns, [x][part]
Effect = Callable[[int, int], Sequence[W]]

ROUNDS = 24
RATE = 136  # bytes of a Keccak-256 block
MESSAGE_SIZE = 76  # index u32, nonce u64 (both big-endian), entropy 32, farmer 32
LANE_MASK = 2**64 - 1
NONCE_LANE = 1  # its low 32 bits are the nonce's low word, bytes reversed


class Ops(Protocol[W]):
    """What a backend's words can do."""

    def xor(self, *words: W) -> W:
        """Exclusive or of two or more words."""
        ...

    def chi(self, a: W, b: W, c: W) -> W:
        """a ^ (~b & c)."""
        ...

    def rol(self, a: W, count: int) -> W:
        """The word rotated left by `count`, 0 < count < its length in bits."""
        ...


def _rho_offsets() -> list[int]:
    """Rotation of every lane (FIPS 202, 3.2.2)."""
    offsets = [0] * 25
    x, y = 1, 0
    for t in range(24):
        offsets[x + 5 * y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return offsets


def _round_constants() -> list[int]:
    """Constants of iota from its shift register (FIPS 202, 3.2.5)."""
    constants: list[int] = []
    register = 1
    for _ in range(ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << (2**j - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


RHO = tuple(_rho_offsets())
ROUND_CONSTANTS = tuple(_round_constants())
# Where pi takes each output lane from: B[y, 2x + 3y] = A[x, y].
PI_SOURCE = tuple((x + 3 * y) % 5 + 5 * x for y in range(5) for x in range(5))


def split(lane: int, parts: int) -> list[int]:
    """Cut a 64-bit lane into `parts` interleaved words."""
    return [sum((lane >> (bit * parts + part) & 1) << bit for bit in range(64 // parts)) for part in range(parts)]


def rotate(ops: Ops[W], lane: Callable[[int], W], count: int, part: int, parts: int) -> W:
    """Word `part` of a lane rotated left by `count` bits; `lane(j)` is its word j, asked for only where needed."""
    turns, source = divmod(part - count, parts)
    turns = -turns % (64 // parts)
    return ops.rol(lane(source), turns) if turns else lane(source)


def parity(ops: Ops[W], state: State[W], part: int) -> list[W]:
    """Theta's column parities of one part: a word for each x."""
    return [ops.xor(*(state[x + 5 * y][part] for y in range(5))) for x in range(5)]


def theta_effect(ops: Ops[W], columns: State[W], x: int, part: int) -> tuple[W, W]:
    """The two words theta adds to column x, given the parities of all columns and parts."""
    after = columns[(x + 1) % 5]
    return columns[(x + 4) % 5][part], rotate(ops, lambda source: after[source], 1, part, len(after))


def linear(ops: Ops[W], state: State[W], effect: Effect[W], part: int, wanted: Sequence[int]) -> list[W]:
    """Theta, rho and pi: one part of the `wanted` lanes.

    `effect(x, part)` gives the words theta adds to column x: either the two of `theta_effect`, where a three-input
    xor costs no more than one of two, or their sum. The order of the columns they come from is what compiles best.
    """
    made: dict[int, W] = {}
    for target in sorted(wanted, key=lambda lane: PI_SOURCE[lane] % 5):
        source = PI_SOURCE[target]
        lane = state[source]

        def shifted(cut: int, lane: Sequence[W] = lane, x: int = source % 5) -> W:
            return ops.xor(lane[cut], *effect(x, cut))

        made[target] = rotate(ops, shifted, RHO[source], part, len(lane))
    return [made[target] for target in wanted]


def chi_row(ops: Ops[W], row: Sequence[W]) -> list[W]:
    """Chi of the five words of a row."""
    return [ops.chi(row[x], row[(x + 1) % 5], row[(x + 2) % 5]) for x in range(5)]


def _effect(ops: Ops[W], state: State[W], ternary: bool) -> Effect[W]:
    """Theta's effect on a state that is all in registers, as `linear` takes it."""
    parts = range(len(state[0]))
    columns = list(zip(*(parity(ops, state, part) for part in parts), strict=True))
    effects: list[list[Sequence[W]]] = [[theta_effect(ops, columns, x, part) for part in parts] for x in range(5)]
    if not ternary:
        effects = [[[ops.xor(*effect)] for effect in column] for column in effects]
    return lambda x, part: effects[x][part]


def keccak_round(ops: Ops[W], state: State[W], constant: Sequence[W], *, ternary: bool = False) -> list[list[W]]:
    """One round, for backends that hold the whole state in registers.

    `constant` is the round's constant in parts. With `ternary` theta's effect is added in one xor of three words.
    """
    parts = len(state[0])
    effect = _effect(ops, state, ternary)
    lanes: list[list[W]] = [[] for _ in range(25)]
    for part in range(parts):
        for first in range(0, 25, 5):
            row = linear(ops, state, effect, part, range(first, first + 5))
            for lane, word in enumerate(chi_row(ops, row), first):
                lanes[lane].append(word)
        lanes[0][part] = ops.xor(lanes[0][part], constant[part])
    return lanes


def next_linear(ops: Ops[W], state: State[W], *, ternary: bool = False) -> list[W]:
    """The 25 lanes after theta, rho and pi of a state that is not cut into parts."""
    return linear(ops, state, _effect(ops, state, ternary), 0, range(25))


def first_lane(ops: Ops[W], state: State[W], constant: Sequence[W], *, ternary: bool = False) -> list[W]:
    """Lane 0 after one more round, in parts: all that the first 64 bits of a digest need."""
    effect = _effect(ops, state, ternary)
    rows = [linear(ops, state, effect, part, (0, 1, 2)) for part in range(len(state[0]))]
    return [ops.xor(ops.chi(*row), word) for row, word in zip(rows, constant, strict=True)]


class _Turns:
    """Words that are sets of rotations: which turned copies of one lane a word holds."""

    def xor(self, *words: frozenset[int]) -> frozenset[int]:
        return functools.reduce(lambda a, b: a ^ b, words)

    def chi(self, a: frozenset[int], b: frozenset[int], c: frozenset[int]) -> frozenset[int]:
        raise NotImplementedError("chi is not linear")

    def rol(self, a: frozenset[int], count: int) -> frozenset[int]:
        return frozenset((turn + count) % 64 for turn in a)


@functools.cache
def influence(lane: int) -> tuple[tuple[int, ...], ...]:
    """For each lane after theta, rho and pi: the rotations by which a change of input lane `lane` is added to it."""
    ops = _Turns()
    reached = next_linear(ops, [[frozenset({0} if number == lane else ())] for number in range(25)])
    return tuple(tuple(sorted(turns)) for turns in reached)


def first_round(ops: Ops[W], lanes: Sequence[W], delta: Sequence[W], constant: Sequence[W]) -> list[list[W]]:
    """The state after round 1, of nonces that share their high word.

    lanes: the 25·parts words after the round's linear half with a low word of zero, those of a lane side by side.
    delta: the nonce lane's low 32 bits, in parts. constant: the round's, in parts.
    """
    parts = len(delta)
    state: list[list[W]] = []
    for lane, turns in enumerate(influence(NONCE_LANE)):
        words: list[W] = []
        for part in range(parts):
            turned = [rotate(ops, delta.__getitem__, turn, part, parts) for turn in turns]
            words.append(ops.xor(lanes[parts * lane + part], *turned) if turned else lanes[parts * lane + part])
        state.append(words)
    for first in range(0, 25, 5):
        rows = [chi_row(ops, [lane[part] for lane in state[first : first + 5]]) for part in range(parts)]
        state[first : first + 5] = [list(words) for words in zip(*rows, strict=True)]
    state[0] = [ops.xor(word, more) for word, more in zip(state[0], constant, strict=True)]
    return state


def affine_bits(lane: int, bits: Sequence[int]) -> int:
    """How many of these bits of the lane, from the first on, may change while round 1 stays affine in them.

    Chi multiplies neighbours in a row, so two bits must not come to stand side by side. As long as they do not,
    flipping one of them flips the same bits after round 1, and after the linear half of round 2, whatever the others
    are.
    """
    reach = influence(lane)
    neighbours = [(5 * y + x, 5 * y + (x + 1) % 5) for y in range(5) for x in range(5)]
    apart = {(a - b) % 64 for left, right in neighbours for a in reach[left] for b in reach[right]}
    for count, bit in enumerate(bits):
        if any((bit - other) % 64 in apart or (other - bit) % 64 in apart for other in bits[:count]):
            return count
    return len(bits)


class _Ints:
    """Words that are 64-bit lanes as ints."""

    def xor(self, *words: int) -> int:
        # operator.xor has no types, but is quicker than what has
        return functools.reduce(operator.xor, words)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    def chi(self, a: int, b: int, c: int) -> int:
        return a ^ (~b & c)

    def rol(self, a: int, count: int) -> int:
        return (a << count & LANE_MASK) | a >> (64 - count)


def first_linear(state: Sequence[int]) -> list[int]:
    """The 25 lanes after theta, rho and pi of the first round."""
    return next_linear(_Ints(), [[lane] for lane in state])


class _PythonSource:
    """Words that are names of Python variables holding ints; every operation writes a line of source."""

    def __init__(self, word_bits: int) -> None:
        self.lines: list[str] = []
        self.word_bits = word_bits

    def _assign(self, expression: str) -> str:
        self.lines.append(f"t{len(self.lines)} = {expression}")
        return f"t{len(self.lines) - 1}"

    def xor(self, *words: str) -> str:
        return self._assign(" ^ ".join(words))

    def chi(self, a: str, b: str, c: str) -> str:
        return self._assign(f"{a} ^ {c} ^ {b} & {c}")  # no ~: a negative int is slow

    def rol(self, a: str, count: int) -> str:
        return self._assign(f"({a} << {count} & {2**self.word_bits - 1}) | {a} >> {self.word_bits - count}")


RoundsOnInts = Callable[[Sequence[int], Iterable[Sequence[int]]], tuple[int, ...]]


def rounds_on_ints(parts: int = 1) -> RoundsOnInts:
    """Compile  rounds(state, constants) -> state  for Python's own ints, ten times faster than `keccak_round` on them.

    The state is 25·parts words, those of a lane side by side. Each of the constants, given in parts, is a round.
    """
    ops = _PythonSource(64 // parts)
    names = [[f"a{lane}_{part}" for part in range(parts)] for lane in range(25)]
    constant = [f"c{part}" for part in range(parts)]
    result = keccak_round(ops, names, constant)
    state = ", ".join(name for lane in names for name in lane)
    body = "".join(f"        {line}\n" for line in ops.lines)
    source = (
        f"def rounds(state, constants):\n    {state} = state\n    for [{', '.join(constant)}] in constants:\n{body}"
        f"        {state} = {', '.join(name for lane in result for name in lane)}\n    return {state}\n"
    )
    namespace: dict[str, RoundsOnInts] = {}
    exec(compile(source, "<keccak on ints>", "exec"), namespace)  # noqa: S102 - the text is made above from constants
    return namespace["rounds"]


_rounds = rounds_on_ints()
_ALL_ROUNDS = tuple((constant,) for constant in ROUND_CONSTANTS)


def permute(state: Sequence[int]) -> tuple[int, ...]:
    """Keccak-f[1600] of 25 lanes (ints below 2^64)."""
    return _rounds(state, _ALL_ROUNDS)


def absorb(message: bytes) -> list[int]:
    """The 25 lanes before the one permutation: a message of less than 136 bytes, padded."""
    if len(message) >= RATE:
        raise ValueError(f"the message has {len(message)} bytes: this hash takes at most {RATE - 1}")
    block = bytearray(message.ljust(200, b"\0"))
    block[len(message)] ^= 0x01
    block[RATE - 1] ^= 0x80
    return list(struct.unpack("<25Q", block))


def digest(message: bytes) -> bytes:
    """Keccak-256 (32 bytes) of any message of less than 136 bytes."""
    return struct.pack("<4Q", *permute(absorb(message))[:4])


def encode(index: int, nonce: int, entropy: bytes, farmer: bytes) -> bytes:
    """The 76 bytes a KALE hash is taken of.

    Args: the block's index (u32), nonce (u64), the block's entropy (32 bytes), the farmer (the last 32 bytes of the
    address as XDR).
    Raises ValueError naming what does not fit.
    """
    if not 0 <= index < 2**32:
        raise ValueError(f"index {index} is not a u32")
    if not 0 <= nonce < 2**64:
        raise ValueError(f"nonce {nonce} is not a u64")
    if len(entropy) != 32 or len(farmer) != 32:
        raise ValueError(f"entropy and farmer are 32 bytes each, not {len(entropy)} and {len(farmer)}")
    return struct.pack(">IQ", index, nonce) + entropy + farmer


def hash_nonce(index: int, nonce: int, entropy: bytes, farmer: bytes) -> bytes:
    """The digest (32 bytes) of a nonce; arguments and errors as `encode`."""
    return digest(encode(index, nonce, entropy, farmer))


def leading_zeros(digest: bytes) -> int:
    """Leading zero hex digits: what KALE scores."""
    text = digest.hex()
    return len(text) - len(text.lstrip("0"))
