"""The search loop for CPUs, as LLVM functions over explicit vectors.

`build_scan` writes  scan(prefix, low, blocks, limit) -> i64  into a module: hashes `blocks` blocks of `Layout.nonces` nonces, the first
at low word `low` (a multiple of that), and returns the number of the first block that may hold a digest whose first 64 bits are <= `limit`
(big-endian), or `blocks`. Its shortcuts:

- Within a window the nonce's low word is all that changes, and it reaches 11 lanes of round 1: `prefix` holds the 25 lanes after the
  linear half of round 1 with a low word of zero.
- The last round makes nothing but the first 64 bits.

Two layouts, by what the processor lacks:

- Lanes: a vector element is a lane of one nonce, all 25 in registers. Best with rotations and three-input logic (AVX-512).
- Interleaved: a vector is one word of a lane (see keccak.py) of many nonces: a byte, say, holds one bit of eight nonces, and 16 bytes
  the word's 16 bits. A rotation is then one byte shuffle, where AVX2 and SSE2 need two shifts and an or. The state lies
  in the first-level cache, and a round is made part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from kernels import keccak

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
NONCE_LANE = 1  # its low 32 bits are the nonce's low word, bytes reversed


@dataclass(frozen=True, slots=True)
class Layout:
    """How a backend lays nonces out in vectors of `bits` bits. parts = 1: lanes; else interleaved words."""

    bits: int
    parts: int
    ternary: bool = False  # AVX-512's three-input logic, by intrinsic
    target: tuple[str, str] | None = None  # LLVM processor and features to compile for; by default the host's

    @property
    def nonces(self) -> int:
        """Nonces in a block: those hashed together."""
        return self.bits * self.parts // 64

    @property
    def bytes_per_bit(self) -> int:
        """Interleaved: neighbouring bytes that hold the same bit of different nonces."""
        return 16 * self.parts // 64


class _Words:
    """Keccak's words as LLVM vectors."""

    def __init__(self, builder: ir.IRBuilder, layout: Layout) -> None:
        self.builder = builder
        self.layout = layout
        self.type = ir.VectorType(I64, layout.bits // 64) if layout.parts == 1 else ir.VectorType(I8, layout.bits // 8)

    def xor(self, *words: ir.Value) -> ir.Value:
        first, *rest = words
        while self.layout.ternary and len(rest) > 1:
            first, *rest = self._ternary(0x96, first, rest[0], rest[1]), *rest[2:]
        for word in rest:
            first = self.builder.xor(first, word)
        return first

    def chi(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        if self.layout.ternary:
            return self._ternary(0xD2, a, b, c)
        return self.builder.xor(a, self.builder.and_(self.builder.not_(b), c))

    def rol(self, a: ir.Value, count: int) -> ir.Value:
        if self.layout.parts == 1:
            by = ir.Constant(self.type, [count] * self.type.count)
            return self.call(f"llvm.fshl.v{self.type.count}i64", self.type, a, a, by)
        size = self.layout.bytes_per_bit
        order = [
            chunk + (byte - count * size) % 16 for chunk in range(0, self.layout.bits // 8, 16) for byte in range(16)
        ]
        return self.builder.shuffle_vector(a, a, ir.Constant(ir.VectorType(I32, len(order)), order))

    def _ternary(self, table: int, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        quads = ir.VectorType(I64, self.layout.bits // 64)
        words = [self.builder.bitcast(word, quads) for word in (a, b, c)]
        result = self.call(f"llvm.x86.avx512.pternlog.q.{self.layout.bits}", quads, *words, I32(table))
        return self.builder.bitcast(result, self.type)

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        """Call an LLVM intrinsic by its full name."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def splat(self, value: ir.Value) -> ir.Value:
        """A vector of copies of `value` (i64), as 64-bit elements."""
        count = self.layout.bits // 64
        kind = ir.VectorType(I64, count)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, count), [0] * count))

    def spread(self, lane: ir.Value) -> list[ir.Value]:
        """Interleaved words that hold the lane (i64) for every nonce: bytes of zeros or ones."""
        source = self.builder.bitcast(self.splat(lane), self.type)
        words = []
        for part in range(self.layout.parts):
            bits = [
                byte % 16 // self.layout.bytes_per_bit * self.layout.parts + part for byte in range(self.type.count)
            ]
            order = ir.Constant(
                ir.VectorType(I32, len(bits)), [byte // 16 * 16 + bit // 8 for byte, bit in enumerate(bits)]
            )
            mask = ir.Constant(self.type, [1 << bit % 8 for bit in bits])
            picked = self.builder.and_(self.builder.shuffle_vector(source, source, order), mask)
            words.append(self.builder.sext(self.builder.icmp_unsigned("==", picked, mask), self.type))
        return words

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """Load 16 bytes and repeat them."""
        chunk = ir.VectorType(I8, 16)
        value = self.builder.load(self.builder.bitcast(pointer, chunk.as_pointer()), align=16)
        order = ir.Constant(ir.VectorType(I32, self.type.count), [byte % 16 for byte in range(self.type.count)])
        return self.builder.shuffle_vector(value, value, order)


def build_scan(module: ir.Module, layout: Layout) -> ir.Function:
    """Add the scan of this layout to the module."""
    function = _function(module, "scan", [I8.as_pointer(), I64, I64, I64], layout)
    prefix, low, blocks, limit = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    words = _Words(builder, layout)
    hits = _lane_hits(words, prefix, limit) if layout.parts == 1 else _interleaved_hits(words, prefix, limit)

    entry, head, done = builder.block, function.append_basic_block("block"), function.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    block = builder.phi(I64)
    block.add_incoming(I64(0), entry)
    hit = hits(builder.add(low, builder.mul(block, I64(layout.nonces))))
    following = builder.add(block, I64(1))
    block.add_incoming(following, builder.block)
    result = builder.select(hit, block, blocks)
    builder.cbranch(builder.or_(hit, builder.icmp_unsigned("==", following, blocks)), done, head)
    builder.position_at_end(done)
    builder.ret(result)
    return function


def build_score(module: ir.Module) -> ir.Function:
    """Add  score(lanes, low) -> i64: the first 64 bits, big-endian, of one nonce's digest; `lanes` are 25 lanes as a scan's `prefix`."""
    layout = Layout(64, 1)
    function = _function(module, "score", [I8.as_pointer(), I64], layout)
    lanes, low = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    words = _Words(builder, layout)
    builder.ret(builder.extract_element(_lane_prefixes(words, lanes, words.splat(low)), I32(0)))
    return function


def _function(module: ir.Module, name: str, arguments: Sequence[ir.Type], layout: Layout) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(I64, arguments), module.get_unique_name(f"kale.{name}"))
    function.linkage = "internal"
    function.attributes.add("noinline")
    if layout.target:
        processor, features = layout.target
        for attribute in (f'"target-cpu"="{processor}"', f'"target-features"="{features}"'):
            set.add(function.attributes, attribute)  # llvmlite's own add() knows no attributes with values
    return function


def _lane_hits(words: _Words, prefix: ir.Value, limit: ir.Value) -> Callable[[ir.Value], ir.Value]:
    builder, count = words.builder, words.type.count
    limits = words.splat(limit)
    steps = ir.Constant(words.type, list(range(count)))
    mask = ir.IntType(count)

    def hits(low: ir.Value) -> ir.Value:
        prefixes = _lane_prefixes(words, prefix, builder.or_(words.splat(low), steps))
        hit = builder.icmp_unsigned("<=", prefixes, limits)
        return builder.icmp_unsigned("!=", builder.bitcast(hit, mask), mask(0))

    return hits


def _lane_prefixes(words: _Words, prefix: ir.Value, nonces: ir.Value) -> ir.Value:
    """The first 64 bits, big-endian, of the digests of a vector of low words."""
    builder, kind = words.builder, words.type
    lanes = builder.bitcast(prefix, I64.as_pointer())
    constants = table(builder.module, I64, keccak.ROUND_CONSTANTS)

    def element(pointer: ir.Value, *indices: ir.Value) -> ir.Value:
        return words.splat(builder.load(builder.gep(pointer, indices)))

    def swapped(value: ir.Value) -> ir.Value:
        return words.call(f"llvm.bswap.v{kind.count}i64", kind, value)

    delta = builder.lshr(swapped(nonces), ir.Constant(kind, [32] * kind.count))
    state = []
    for lane, reach in enumerate(keccak.influence(NONCE_LANE)):
        state.append(words.xor(element(lanes, I32(lane)), *(words.rol(delta, turn) for turn in reach)))
    state = [word for first in range(0, 25, 5) for word in keccak.chi_row(words, state[first : first + 5])]
    state[0] = words.xor(state[0], element(constants, I32(0), I32(0)))

    before, loop, last = builder.block, builder.append_basic_block("rounds"), builder.append_basic_block("last")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(I32)
    inputs = [builder.phi(kind) for _ in range(25)]
    constant = [element(constants, I32(0), number)]
    outputs = keccak.keccak_round(words, [[word] for word in inputs], constant, ternary=words.layout.ternary)
    following = builder.add(number, I32(1))
    for phi, first, again in zip(
        [number, *inputs], [I32(1), *state], [following, *(w for [w] in outputs)], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.block)
    builder.cbranch(builder.icmp_unsigned("==", following, I32(keccak.ROUNDS - 1)), last, loop)
    builder.position_at_end(last)
    [word] = keccak.first_lane(words, outputs, [element(constants, I32(0), following)], ternary=words.layout.ternary)
    return swapped(word)


def _interleaved_hits(words: _Words, prefix: ir.Value, limit: ir.Value) -> Callable[[ir.Value], ir.Value]:
    builder, kind, layout = words.builder, words.type, words.layout
    parts, size = layout.parts, layout.bits // 8
    reach = keccak.influence(NONCE_LANE)
    constants = table(builder.module, I8, list(spread(keccak.ROUND_CONSTANTS, parts).tobytes()))
    steps = _steps(layout)
    memory = [_memory(builder, kind, 25 * parts) for _ in range(2)]
    effects = [_memory(builder, kind, 5 * parts) for _ in range(2)]
    # Which bits of the prefix must be zero at least: those above the limit's highest.
    leading = words.call("llvm.ctlz.i64", I64, limit, I1(0))
    whole = builder.icmp_unsigned("==", leading, I64(0))
    shift = builder.select(whole, I64(0), builder.sub(I64(64), leading))
    wanted = builder.select(whole, I64(0), builder.shl(I64(2**64 - 1), shift))
    wanted = builder.select(builder.icmp_unsigned("==", leading, I64(64)), I64(2**64 - 1), wanted)
    needed = words.spread(builder.bswap(wanted))

    def at(pointer: ir.Value, number: int) -> ir.Value:
        return builder.gep(pointer, [I32(number)])

    class Stored(Sequence):
        """Words in memory, loaded when asked for."""

        def __init__(self, pointer: ir.Value, first: int) -> None:
            self.pointer, self.first = pointer, first

        def __len__(self) -> int:
            return parts

        def __getitem__(self, part: int) -> ir.Value:
            return builder.load(at(self.pointer, self.first + part), align=size)

    def constant(number: ir.Value, part: int) -> ir.Value:
        where = builder.add(builder.mul(number, I32(16 * parts)), I32(16 * part))
        return words.broadcast(builder.gep(constants, [I32(0), where]))

    def finish(rows, number: ir.Value, source: int) -> None:
        """Chi, iota and the next round's theta effect; `rows(part)` yields the five rows before chi."""
        target = 1 - source
        columns: list[list[ir.Value]] = [[] for _ in range(5)]
        for part in range(parts):
            sums: list[list[ir.Value]] = [[] for _ in range(5)]
            for y, row in enumerate(rows(part)):
                row = keccak.chi_row(words, row)
                if y == 0:
                    row[0] = words.xor(row[0], constant(number, part))
                for x, word in enumerate(row):
                    builder.store(word, at(memory[target], (x + 5 * y) * parts + part), align=size)
                    sums[x].append(word)
                    if len(sums[x]) == (3 if layout.ternary else 2):
                        sums[x] = [words.xor(*sums[x])]
            for x in range(5):
                columns[x].append(sums[x][0])
            if part:
                store_effect(columns, part, target)
        store_effect(columns, 0, target)

    def store_effect(columns, part: int, target: int) -> None:
        for x in range(5):
            effect = words.xor(*keccak.theta_effect(words, columns, x, part))
            builder.store(effect, at(effects[target], x * parts + part), align=size)

    def state(source: int) -> list[Stored]:
        return [Stored(memory[source], lane * parts) for lane in range(25)]

    def effect(source: int):
        return lambda x, part: [Stored(effects[source], x * parts)[part]]

    def hits(low: ir.Value) -> ir.Value:
        reversed_low = builder.lshr(builder.bswap(low), I64(32))
        delta = [words.xor(a, b) for a, b in zip(words.spread(reversed_low), steps, strict=True)]

        def first(part: int):
            for y in range(5):
                row = []
                for lane in range(5 * y, 5 * y + 5):
                    word = words.broadcast(builder.gep(prefix, [I32(16 * (lane * parts + part))]))
                    turns = [keccak.rotate(words, delta.__getitem__, t, part, parts) for t in reach[lane]]
                    row.append(words.xor(word, *turns))
                yield row

        finish(first, I32(0), 1)
        before = builder.block
        loop, last = builder.append_basic_block("rounds"), builder.append_basic_block("last")
        builder.branch(loop)
        builder.position_at_end(loop)
        number = builder.phi(I32)
        number.add_incoming(I32(1), before)
        for source in (0, 1):

            def rows(part: int, source: int = source):
                for y in range(5):
                    yield keccak.linear(words, state(source), effect(source), part, range(5 * y, 5 * y + 5))

            finish(rows, builder.add(number, I32(source)), source)
        following = builder.add(number, I32(2))
        number.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_unsigned("==", following, I32(23)), last, loop)
        builder.position_at_end(last)
        missed = None
        for part in range(parts):
            row = keccak.linear(words, state(0), effect(0), part, (0, 1, 2))
            word = words.xor(words.chi(*row), constant(I32(23), part))
            word = builder.and_(word, needed[part])
            missed = word if missed is None else builder.or_(missed, word)
        turn = 64 // parts // 2
        while turn:
            missed = builder.or_(missed, words.rol(missed, turn))
            turn //= 2
        whole = ir.IntType(layout.bits)
        return builder.icmp_unsigned("!=", builder.bitcast(missed, whole), ir.Constant(whole, 2**layout.bits - 1))

    return hits


def spread(lanes: Sequence[int], parts: int) -> np.ndarray:
    """Lanes as interleaved words: uint8 of shape (lanes, parts, 16), every bit as bytes of 0x00 or 0xff."""
    bits = np.unpackbits(np.array(lanes, "<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    words = bits.reshape(len(lanes), 64 // parts, parts).transpose(0, 2, 1) * np.uint8(255)
    return np.ascontiguousarray(words.repeat(16 * parts // 64, axis=2))


def _steps(layout: Layout) -> list[ir.Constant]:
    """Interleaved words of what the number of a nonce in its block adds to the nonce lane."""
    size, parts = layout.bytes_per_bit, layout.parts
    words = [bytearray(layout.bits // 8) for _ in range(parts)]
    for nonce in range(layout.nonces):
        chunk, place = divmod(nonce, 8 * size)
        lane = int.from_bytes(nonce.to_bytes(4, "big"), "little")
        for bit in range(32):
            if lane >> bit & 1:
                words[bit % parts][16 * chunk + bit // parts * size + place // 8] |= 1 << place % 8
    kind = ir.VectorType(I8, layout.bits // 8)
    return [ir.Constant(kind, list(word)) for word in words]


def _memory(builder: ir.IRBuilder, kind: ir.Type, count: int) -> ir.Value:
    slot = builder.alloca(ir.ArrayType(kind, count))
    slot.align = kind.count
    return builder.bitcast(slot, kind.as_pointer())


def table(module: ir.Module, element: ir.Type, values: Sequence[int], addrspace: int = 0) -> ir.GlobalVariable:
    """Add an array of constants."""
    kind = ir.ArrayType(element, len(values))
    variable = ir.GlobalVariable(module, kind, module.get_unique_name("kale.table"), addrspace)
    variable.linkage, variable.global_constant, variable.align = "internal", True, 64
    variable.initializer = ir.Constant(kind, list(values))
    return variable
