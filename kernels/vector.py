"""The search loop for CPUs, as LLVM functions over explicit vectors.

`build_scan` adds  scan(prefix, low, blocks, limit) -> i64  to a module: it hashes `blocks` blocks of
`Layout.nonces` nonces, the first at low word `low` (a multiple of that), and returns the number of the first
block that may hold a digest whose first 64 bits, big-endian, are at most `limit`; or `blocks`. Its shortcuts:

- While the high word stays, only the nonce's low word changes, and that reaches 11 lanes of round 1. `prefix`
  holds the 25 lanes after the linear half of round 1 with a low word of zero.
- By lanes, a block's state after the linear half of round 2 is the last block's, xored with a table (`_Steps`).
- The last round makes nothing but the first 64 bits.

Two layouts, by what the processor lacks:

- Lanes: a vector element is a lane of one nonce, and all 25 are in registers. Best where there are rotations
  and three-input logic (AVX-512).
- Interleaved: a vector is one word (see keccak.py) of many nonces. With 4 parts, say, every byte holds one bit
  of eight nonces, and 16 bytes in a row are the 16 bits of the word. So a rotation is one byte shuffle, where AVX2
  needs two shifts and an or, and a third of all instructions goes away. The state lives in the first-level
  cache, and a round is made part by part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from llvmlite import ir  # pyright: ignore[reportMissingTypeStubs]

from kernels import keccak
from kernels.keccak import NONCE_LANE

Value = Any  # of llvmlite's, which says little about its types

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a backend lays nonces out in vectors of `bits` bits. parts = 1: lanes; else interleaved words."""

    bits: int
    parts: int
    ternary: bool = False  # AVX-512's three-input logic, by intrinsic
    target: tuple[str, str] | None = None  # LLVM's processor and features to compile for; by default the host's
    tune: str | None = None  # the processor for which LLVM orders instructions; by default the target's
    short: bool = False  # interleaved: round 1 by the code of the others: it compiles in half the time

    @property
    def nonces(self) -> int:
        """Nonces in a block: those hashed together."""
        return self.bits * self.parts // 64

    @property
    def run(self) -> int:
        """Interleaved: how many bytes in a row hold the same bit, of different nonces."""
        return 16 * self.parts // 64


def build_scan(module: ir.Module, layout: Layout) -> ir.Function:
    """Add the scan of this layout to the module."""
    function = _function(module, "scan", [I8.as_pointer(), I64, I64, I64], layout)
    prefix, low, blocks, limit = function.args
    builder = cast(Value, ir.IRBuilder(function.append_basic_block("entry")))
    words = Words(builder, layout)
    hits = _lane_hits(words, prefix, limit) if layout.parts == 1 else _Interleaved(words, prefix, limit).hits

    entry, head, done = builder.block, function.append_basic_block("block"), function.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    block = builder.phi(I64)
    block.add_incoming(I64(0), entry)
    first = builder.icmp_unsigned("==", block, I64(0))
    hit = hits(builder.add(low, builder.mul(block, I64(layout.nonces))), first)
    following = builder.add(block, I64(1))
    block.add_incoming(following, builder.block)
    result = builder.select(hit, block, blocks)
    builder.cbranch(builder.or_(hit, builder.icmp_unsigned("==", following, blocks)), done, head)
    builder.position_at_end(done)
    builder.ret(result)
    return function


def build_score(module: ir.Module) -> ir.Function:
    """Add  score(lanes, low) -> i64: the first 64 bits, big-endian, of one nonce's digest.

    `lanes` are 25 lanes as in the `prefix` of a scan by lanes.
    """
    layout = Layout(64, 1)
    function = _function(module, "score", [I8.as_pointer(), I64], layout)
    lanes, low = function.args
    builder = cast(Value, ir.IRBuilder(function.append_basic_block("entry")))
    words = Words(builder, layout)
    prefixes = _lane_prefixes(words, _lanes_of_round_2(words, lanes, words.splat(low)))
    builder.ret(builder.extract_element(prefixes, I32(0)))
    return function


def spread(lanes: Sequence[int], parts: int) -> np.ndarray:
    """Lanes as interleaved words: uint8 of shape (lanes, parts, 16), every bit as bytes of 0x00 or 0xff."""
    bits = np.unpackbits(np.array(lanes, "<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    words = bits.reshape(len(lanes), 64 // parts, parts).transpose(0, 2, 1) * np.uint8(255)
    return np.ascontiguousarray(words.repeat(16 * parts // 64, axis=2))


def with_effects(state: Sequence[int]) -> list[int]:
    """The `prefix` of a short layout, before it is spread: a message's 25 lanes, and what theta adds to each column."""
    columns = [state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20] for x in range(5)]
    turned = [(column << 1 | column >> 63) & (2**64 - 1) for column in columns]
    return [*state, *(columns[(x + 4) % 5] ^ turned[(x + 1) % 5] for x in range(5))]


def table(module: ir.Module, element: ir.Type, values: Sequence[int], addrspace: int = 0) -> Value:
    """Add an array of constants."""
    kind = ir.ArrayType(element, len(values))
    variable: Value = ir.GlobalVariable(module, kind, module.get_unique_name("kale.table"), addrspace)
    variable.linkage, variable.global_constant, variable.align = "internal", True, 64
    variable.initializer = ir.Constant(kind, list(values))
    return variable


def inside(builder: Value, pointer: Value, place: int) -> Value:
    """The address of an element of what the pointer points to. In WebAssembly that is then part of a load or store."""
    return builder.gep(pointer, [I32(place)], inbounds=True)


def _function(module: ir.Module, name: str, arguments: Sequence[ir.Type], layout: Layout) -> Value:
    kind = ir.FunctionType(I64, arguments)
    function = cast(Value, ir.Function(module, kind, module.get_unique_name(f"kale.{name}")))
    function.linkage = "internal"
    function.attributes.add("noinline")
    set[str].add(function.attributes, "alignstack(64)")  # spilled vectors must not lie across cache lines
    if layout.target:
        processor, features = layout.target
        for attribute in (f'"target-cpu"="{processor}"', f'"target-features"="{features}"'):
            set[str].add(function.attributes, attribute)  # llvmlite's own add() knows no attributes with values
    if layout.tune:
        set[str].add(function.attributes, f'"tune-cpu"="{layout.tune}"')
    return function


class Words:
    """Keccak's words as LLVM vectors, and what else the two layouts do with vectors."""

    def __init__(self, builder: Value, layout: Layout) -> None:
        self.builder = builder
        self.layout = layout
        self.quads = ir.VectorType(I64, layout.bits // 64)
        self.bytes = ir.VectorType(I8, layout.bits // 8)
        self.type: Value = self.quads if layout.parts == 1 else self.bytes

    def xor(self, *words: Value) -> Value:
        first, *rest = words
        while self.layout.ternary and len(rest) > 1:
            first, *rest = self._ternary(0x96, first, rest[0], rest[1]), *rest[2:]
        for word in rest:
            first = self.builder.xor(first, word)
        return first

    def chi(self, a: Value, b: Value, c: Value) -> Value:
        if self.layout.ternary:
            return self._ternary(0xD2, a, b, c)
        return self.builder.xor(a, self.builder.and_(self.builder.not_(b), c))

    def rol(self, a: Value, count: int) -> Value:
        if self.layout.parts == 1:
            by = ir.Constant(self.type, [count] * self.type.count)
            return self.call(f"llvm.fshl.v{self.type.count}i64", self.type, a, a, by)
        return self._within_16(a, [(byte - count * self.layout.run) % 16 for byte in range(16)])

    def _ternary(self, logic: int, a: Value, b: Value, c: Value) -> Value:
        words = [self.builder.bitcast(word, self.quads) for word in (a, b, c)]
        result = self.call(f"llvm.x86.avx512.pternlog.q.{self.layout.bits}", self.quads, *words, I32(logic))
        return self.builder.bitcast(result, self.type)

    def call(self, name: str, result: ir.Type, *arguments: Value) -> Value:
        """Call an LLVM intrinsic by its full name."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def splat(self, value: Value) -> Value:
        """A vector of copies of an i64."""
        nothing = ir.Constant(self.quads, ir.Undefined)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        one = self.builder.insert_element(nothing, value, I32(0))
        first = ir.Constant(ir.VectorType(I32, self.quads.count), [0] * self.quads.count)
        return self.builder.shuffle_vector(one, one, first)

    def spread(self, lane: Value) -> list[Value]:
        """The interleaved words that hold a lane (i64) for every nonce: bytes of zeros or ones."""
        source = self.builder.bitcast(self.splat(lane), self.bytes)
        words: list[Value] = []
        for part in range(self.layout.parts):
            bits = [byte // self.layout.run * self.layout.parts + part for byte in range(16)]
            mask = ir.Constant(self.bytes, [1 << bit % 8 for bit in bits] * (self.bytes.count // 16))
            picked = self.builder.and_(self._within_16(source, [bit // 8 for bit in bits]), mask)
            words.append(self.builder.sext(self.builder.icmp_unsigned("==", picked, mask), self.bytes))
        return words

    def _within_16(self, a: Value, order: Sequence[int]) -> Value:
        """The bytes of every 16 in another order."""
        places = [first + place for first in range(0, self.bytes.count, 16) for place in order]
        return self.builder.shuffle_vector(a, a, ir.Constant(ir.VectorType(I32, len(places)), places))

    def repeated(self, pointer: Value) -> Value:
        """Load 16 bytes into every 16."""
        chunk = self.builder.load(self.builder.bitcast(pointer, ir.VectorType(I8, 16).as_pointer()), align=16)
        places = [byte % 16 for byte in range(self.bytes.count)]
        return self.builder.shuffle_vector(chunk, chunk, ir.Constant(ir.VectorType(I32, len(places)), places))

    def memory(self, count: int) -> Value:
        """Room on the stack for `count` words."""
        slot = self.builder.alloca(ir.ArrayType(self.type, count))
        slot.align = self.layout.bits // 8
        return self.builder.bitcast(slot, self.type.as_pointer())

    def load(self, pointer: Value, place: int) -> Value:
        return self.builder.load(inside(self.builder, pointer, place), align=self.layout.bits // 8)

    def store(self, word: Value, pointer: Value, place: int) -> None:
        self.builder.store(word, inside(self.builder, pointer, place), align=self.layout.bits // 8)

    @contextlib.contextmanager
    def counted(self, start: int, stop: int, *carried: Value) -> Generator[tuple[Value, list[Value]]]:
        """A loop over start <= number < stop, of at least one turn.

        Gives the number and the carried values, which the body replaces in the list; after the loop it holds the last.
        """
        builder = self.builder
        before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        number, *phis = [builder.phi(value.type) for value in (I32(start), *carried)]
        values = list(phis)
        yield number, values
        following = builder.add(number, I32(1))
        for phi, first, again in zip([number, *phis], [I32(start), *carried], [following, *values], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(again, builder.block)
        builder.cbranch(builder.icmp_unsigned("<", following, I32(stop)), loop, after)
        builder.position_at_end(after)


# hits(low, first): whether the block at that low word may hold a hit (i1), and whether it is the first of its scan.
Hits = Callable[[Value, Value], Value]


class _Steps:
    """From a block to the next: what its lanes are after the linear half of round 2, by one xor each.

    Within a group of blocks these are affine in the bits that number the block (see `keccak.affine_bits`). Counting up
    flips the lowest bits up to some bit, so it xors one of a few tables, which are made where a group begins.
    """

    def __init__(self, words: Words, lanes_at: Callable[[Value], Sequence[Value]]) -> None:
        self.words, self.lanes_at = words, lanes_at
        self.nonces = words.layout.nonces
        bits = range(self.nonces.bit_length() - 1, 32)  # of the low word; in the nonce lane its bytes are reversed
        self.bits = keccak.affine_bits(NONCE_LANE, [24 - bit // 8 * 8 + bit % 8 for bit in bits])
        # 25 lanes each: of the block, zeros for the first one, and what flipping the lowest 1, 2, … bits changes.
        self.memory = words.memory(25 * (self.bits + 2))

    def at(self, low: Value, first: Value) -> list[Value]:
        """The lanes of the block at `low`, the one after that of the last call unless it is the `first`."""
        words, builder = self.words, self.words.builder
        number = builder.udiv(low, I64(self.nonces))
        begins = builder.icmp_unsigned("==", builder.urem(number, I64(2**self.bits)), I64(0))
        flips = words.call("llvm.cttz.i64", I64, number, I1(0))
        starts = builder.or_(first, begins)
        with builder.if_then(starts):
            self._begin(low)
        table = builder.add(builder.select(starts, I64(0), builder.add(flips, I64(1))), I64(1))
        here, change = self._table(I64(0)), self._table(table)
        lanes: list[Value] = []
        for lane in range(25):
            lanes.append(words.xor(words.load(here, lane), words.load(change, lane)))
            words.store(lanes[-1], here, lane)
        return lanes

    def _begin(self, low: Value) -> None:
        """Prepare for the block at `low` and those that follow it in its group."""
        words, builder = self.words, self.words.builder
        here, none = self._table(I64(0)), self._table(I64(1))
        with words.counted(0, self.bits + 1) as (number, _):  # the block itself, then one bit flipped
            bit = builder.zext(number, I64)
            flipped = builder.and_(builder.lshr(builder.shl(I64(self.nonces), bit), I64(1)), I64(-self.nonces))
            for lane, word in enumerate(self.lanes_at(builder.xor(low, flipped))):
                words.store(word, self._table(builder.add(bit, I64(1))), lane)
        for lane in range(25):
            words.store(words.load(none, lane), here, lane)
            words.store(ir.Constant(words.type, None), none, lane)
        with words.counted(2, self.bits + 2) as (number, _):
            table = builder.zext(number, I64)
            flipped, fewer = self._table(table), self._table(builder.sub(table, I64(1)))
            for lane in range(25):
                words.store(words.xor(*(words.load(at, lane) for at in (flipped, here, fewer))), flipped, lane)

    def _table(self, number: Value) -> Value:
        return self.words.builder.gep(self.memory, [self.words.builder.mul(number, I64(25))])


def _lane_hits(words: Words, prefix: Value, limit: Value) -> Hits:
    """The layout by lanes."""
    builder, count = words.builder, words.type.count
    limits = words.splat(limit)
    numbers = ir.Constant(words.type, list(range(count)))
    mask = ir.IntType(count)
    steps = _Steps(words, lambda low: _lanes_of_round_2(words, prefix, builder.or_(words.splat(low), numbers)))

    def hits(low: Value, first: Value) -> Value:
        hit = builder.icmp_unsigned("<=", _lane_prefixes(words, steps.at(low, first)), limits)
        return builder.icmp_unsigned("!=", builder.bitcast(hit, mask), mask(0))

    return hits


def _lane_constant(words: Words, number: Value) -> list[Value]:
    constants = table(words.builder.module, I64, keccak.ROUND_CONSTANTS)
    return [words.splat(words.builder.load(words.builder.gep(constants, [I32(0), number])))]


def _lanes_of_round_2(words: Words, prefix: Value, nonces: Value) -> list[Value]:
    """The 25 lanes after the linear half of round 2, of a vector of low words."""
    builder, kind = words.builder, words.type
    lanes = builder.bitcast(prefix, I64.as_pointer())
    delta = builder.lshr(_swapped(words, nonces), ir.Constant(kind, [32] * kind.count))
    state: list[Value] = []
    for lane, reach in enumerate(keccak.influence(NONCE_LANE)):
        word = words.splat(builder.load(builder.gep(lanes, [I32(lane)])))
        state.append(words.xor(word, *(words.rol(delta, turn) for turn in reach)))
    state = [word for first in range(0, 25, 5) for word in keccak.chi_row(words, state[first : first + 5])]
    state[0] = words.xor(state[0], *_lane_constant(words, I32(0)))
    return keccak.next_linear(words, [[word] for word in state])


def _lane_prefixes(words: Words, state: Sequence[Value]) -> Value:
    """The first 64 bits, big-endian, of the digests that these lanes of round 2 lead to."""
    state = [word for first in range(0, 25, 5) for word in keccak.chi_row(words, state[first : first + 5])]
    state[0] = words.xor(state[0], *_lane_constant(words, I32(1)))
    with words.counted(2, keccak.ROUNDS - 1, *state) as (number, lanes):
        constant = _lane_constant(words, number)
        made = keccak.keccak_round(words, [[word] for word in lanes], constant)
        lanes[:] = [word for [word] in made]
    constant = _lane_constant(words, I32(keccak.ROUNDS - 1))
    [word] = keccak.first_lane(words, [[word] for word in lanes], constant)
    return _swapped(words, word)


def _swapped(words: Words, value: Value) -> Value:
    return words.call(f"llvm.bswap.v{words.type.count}i64", words.type, value)


class _Stored(Sequence[Value]):
    """The words of a lane in memory, loaded when asked for."""

    def __init__(self, words: Words, state: Value, lane: int) -> None:
        self.words, self.state, self.lane = words, state, lane

    def __len__(self) -> int:
        return self.words.layout.parts

    def __getitem__(self, part: Any) -> Value:
        return self.words.load(self.state, self.lane * len(self) + part)


class _Interleaved:
    """The interleaved layout. A round is made part by part, out of one of two states in memory into the other."""

    def __init__(self, words: Words, prefix: Value, limit: Value) -> None:
        self.words, self.builder, self.prefix = words, words.builder, prefix
        layout = words.layout
        self.parts = layout.parts
        constants = list(spread(keccak.ROUND_CONSTANTS, self.parts).tobytes())
        self.constants = table(self.builder.module, I8, constants)
        self.steps = _steps(layout)
        self.required = words.spread(_required(self.builder, limit))
        # Two states, read and written in turn: 25 lanes and the 5 words of theta's effect. A whole number of pages
        # apart, because a load must not look like one of a word just stored elsewhere: processors compare 12 bits of an
        # address.
        self.size = -(-30 * self.parts * layout.bits // 8 // 4096) * 4096 * 8 // layout.bits
        self.memory = words.memory((3 if layout.short else 2) * self.size)
        if layout.short:
            self._begin()

    def hits(self, low: Value, first: Value) -> Value:
        words, builder = self.words, self.builder
        lane = words.spread(builder.lshr(builder.bswap(low), I64(32)))
        delta = [words.xor(word, step) for word, step in zip(lane, self.steps, strict=True)]
        if words.layout.short:
            begin, source = 0, self._first_state()
            self._number(delta)
        else:
            begin, source = 1, self._state_after(I32(0))
            self._finish(I32(0), lambda part: self._first_rows(delta, part))
        with words.counted(begin, keccak.ROUNDS - 1, source) as (number, sources):
            [source] = sources
            self._finish(number, lambda part: (self._linear(source, part, range(y, y + 5)) for y in range(0, 25, 5)))
            sources[0] = self._state_after(number)
        missed = self._missed_bits(sources[0])
        everything = ir.IntType(words.layout.bits)
        return builder.icmp_unsigned("!=", builder.bitcast(missed, everything), everything(2**words.layout.bits - 1))

    def _missed_bits(self, source: Value) -> Value:
        """The last round. Ones for a nonce that misses; one that may be a hit has zeros in all of its bits."""
        words, builder = self.words, self.builder
        last = I32(keccak.ROUNDS - 1)
        missed = None  # ones where a bit that must be zero is not
        for part in range(self.parts):
            word = words.xor(words.chi(*self._linear(source, part, (0, 1, 2))), self._constant(last, part))
            word = builder.and_(word, self.required[part])
            missed = word if missed is None else builder.or_(missed, word)
        turns = 64 // self.parts // 2
        while turns:  # or over the bits of a word
            missed = builder.or_(missed, words.rol(missed, turns))
            turns //= 2
        return missed

    def _state_after(self, number: Value) -> Value:
        return self.builder.gep(self.memory, [self.builder.mul(self.builder.and_(number, I32(1)), I32(self.size))])

    def _constant(self, number: Value, part: int) -> Value:
        place = self.builder.add(self.builder.mul(number, I32(16 * self.parts)), I32(16 * part))
        return self.words.repeated(self.builder.gep(self.constants, [I32(0), place]))

    def _begin(self) -> None:
        """A third state, beside the two: the message's, with theta's effect on it."""
        words, first = self.words, self._first_state()
        with words.counted(0, 30 * self.parts) as (number, _):
            word = words.repeated(self.builder.gep(self.prefix, [self.builder.mul(number, I32(16))]))
            self.builder.store(word, self.builder.gep(first, [number]), align=words.layout.bits // 8)

    def _number(self, delta: Sequence[Value]) -> None:
        """The nonces of a block into the message's state: their lane, and theta's effect on the columns beside it."""
        words, first = self.words, self._first_state()
        above, below = (NONCE_LANE + 1) % 5, (NONCE_LANE + 4) % 5
        for part in range(self.parts):
            turned = keccak.rotate(words, delta.__getitem__, 1, part, self.parts)
            for lane, word in ((NONCE_LANE, delta[part]), (25 + above, delta[part]), (25 + below, turned)):
                place = lane * self.parts + part
                plain = words.repeated(inside(self.builder, self.prefix, 16 * place))
                words.store(words.xor(plain, word), first, place)

    def _first_state(self) -> Value:
        return self.builder.gep(self.memory, [I32(2 * self.size)])

    def _linear(self, source: Value, part: int, wanted: Sequence[int]) -> list[Value]:
        lanes = [_Stored(self.words, source, lane) for lane in range(30)]
        return keccak.linear(self.words, lanes[:25], lambda x, cut: [lanes[25 + x][cut]], part, wanted)

    def _first_rows(self, delta: Sequence[Value], part: int) -> Iterable[list[Value]]:
        """Round 1's rows before chi: those of the prefix with what the nonces of the block add."""
        words, reach = self.words, keccak.influence(NONCE_LANE)
        for first in range(0, 25, 5):
            row: list[Value] = []
            for lane in range(first, first + 5):
                word = words.repeated(inside(self.builder, self.prefix, 16 * (lane * self.parts + part)))
                turned = [keccak.rotate(words, delta.__getitem__, turn, part, self.parts) for turn in reach[lane]]
                row.append(words.xor(word, *turned))
            yield row

    def _finish(self, number: Value, rows: Callable[[int], Iterable[list[Value]]]) -> None:
        """Chi, iota and the next round's theta effect; `rows(part)` gives the five rows before chi."""
        words, target = self.words, self._state_after(number)
        columns: list[list[Value]] = [[] for _ in range(5)]

        def store_effects(part: int) -> None:
            for x in range(5):
                effect = words.xor(*keccak.theta_effect(words, columns, x, part))
                words.store(effect, target, (25 + x) * self.parts + part)

        for part in range(self.parts):
            sums: list[Value] = []
            for y, row in enumerate(rows(part)):
                row = keccak.chi_row(words, row)
                if y == 0:
                    row[0] = words.xor(row[0], self._constant(number, part))
                for x, word in enumerate(row):
                    words.store(word, target, (x + 5 * y) * self.parts + part)
                sums = [words.xor(*pair) for pair in zip(sums, row, strict=True)] if sums else row
            for column, total in zip(columns, sums, strict=True):
                column.append(total)
            if part:
                store_effects(part)
        store_effects(0)  # needs the parities of the last part


def _steps(layout: Layout) -> list[ir.Constant]:
    """Interleaved words of what a nonce's number in its block adds to the nonce lane."""
    words = [bytearray(layout.bits // 8) for _ in range(layout.parts)]
    for nonce in range(layout.nonces):
        chunk, place = divmod(nonce, 8 * layout.run)
        lane = int.from_bytes(nonce.to_bytes(4, "big"), "little")
        for bit in range(32):
            if lane >> bit & 1:
                row, part = divmod(bit, layout.parts)
                words[part][16 * chunk + row * layout.run + place // 8] |= 1 << place % 8
    kind = ir.VectorType(I8, layout.bits // 8)
    return [ir.Constant(kind, list(word)) for word in words]


def _required(builder: Value, limit: Value) -> Value:
    """The bits of a digest's first lane that are zero in every prefix up to `limit`: those above its highest."""
    mask = limit
    for shift in (1, 2, 4, 8, 16, 32):
        mask = builder.or_(mask, builder.lshr(mask, I64(shift)))
    return builder.bswap(builder.not_(mask))
