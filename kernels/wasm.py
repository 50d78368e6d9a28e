"""The search as a WebAssembly module with 128-bit vectors, for browsers: the machine code of vector.py, by LLVM.

LLVM writes a relocatable object. That is a module already, but for the names of what it exports: `_exported` adds
these. It imports its memory (`env.__linear_memory`, with its tables at the bottom) and its stack
(`env.__stack_pointer`, a global that says where it begins, downwards). The host's part is browser.mjs. Needs llvmlite
and numpy, nothing else.

    prepare(state, lanes, words)         25 lanes after the linear half of round 1, from the absorbed state, twice: as
                                         lanes (200 bytes) and as the scan's words (25·16·parts bytes)
    scan(words, low, blocks, limit)      see vector.py
    score(lanes, low)                    the first 64 bits of one digest, big-endian
    nonces()                             of a block

As a program it writes the module to its standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

from llvmlite import binding, ir  # pyright: ignore[reportMissingTypeStubs]

from kernels import keccak, vector
from kernels.vector import I8, I32, I64, Layout

TRIPLE = "wasm32-unknown-unknown"
LAYOUT = Layout(128, 4)  # the fastest of those that benchmarks/browser.py measures
_POINTER = I8.as_pointer()
_CUSTOM, _IMPORTS, _EXPORTS = 0, 2, 7  # kinds of sections


def build(layout: Layout = LAYOUT, features: str = "+simd128,+sign-ext") -> bytes:
    """The module, in the form that `WebAssembly.compile` takes. A Layout(64, 1) without features is plain code."""
    module = ir.Module(name="kale")
    functions: dict[str, Any] = {
        "scan": vector.build_scan(module, layout),
        "score": vector.build_score(module),
        "prepare": _build_prepare(module, layout),
        "nonces": _build_nonces(module, layout),
    }
    return compiled(module, functions, features)


def compiled(module: ir.Module, functions: Mapping[str, Any], features: str, effort: int = 0) -> bytes:
    """A module of LLVM's as one of WebAssembly's that exports these functions by these names.

    effort: LLVM's, 0 to 3. The text is in a good order as it is. To make it better, LLVM moves loads away from where
    they are used, and an engine like V8, which keeps their order, is then short of registers: 164 moves to and from the
    stack in a round in place of 25, and a tenth slower.
    """
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module.triple = TRIPLE
    for name, function in functions.items():
        function.linkage, function.name = "external", name
        function.attributes.discard("alignstack(64)")
    llvm: Any = binding  # which has no types for this
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine("generic", features, effort, "static")
    module.data_layout = str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    if effort:
        passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(effort))
        passes.getModulePassManager().run(parsed, passes)
    return _exported(machine.emit_object(parsed), list(functions))


def _build_prepare(module: ir.Module, layout: Layout) -> ir.Function:
    kind = ir.FunctionType(ir.VoidType(), [_POINTER] * 3)
    function = cast(Any, ir.Function(module, kind, "kale.prepare"))
    builder = cast(Any, ir.IRBuilder(function.append_basic_block("entry")))
    state, lanes, out = (builder.bitcast(argument, I64.as_pointer()) for argument in function.args)
    scalar = vector.Words(builder, Layout(64, 1))
    loaded = [builder.load(builder.gep(state, [I32(lane)]), align=8) for lane in range(25)]
    made = keccak.next_linear(scalar, [[scalar.splat(lane)] for lane in loaded])
    words = vector.Words(builder, layout)
    place = builder.bitcast(out, ir.VectorType(I8, 16).as_pointer())
    for lane, vector_of_one in enumerate(made):
        one = builder.extract_element(vector_of_one, I32(0))
        builder.store(one, builder.gep(lanes, [I32(lane)]), align=8)
        if layout.parts == 1:
            builder.store(one, builder.gep(out, [I32(lane)]), align=8)
            continue
        for part, word in enumerate(words.spread(one)):
            builder.store(word, builder.gep(place, [I32(lane * layout.parts + part)]), align=16)
    builder.ret_void()
    return function


def _build_nonces(module: ir.Module, layout: Layout) -> ir.Function:
    function = cast(Any, ir.Function(module, ir.FunctionType(I32, []), "kale.nonces"))
    builder = cast(Any, ir.IRBuilder(function.append_basic_block("entry")))
    builder.ret(I32(layout.nonces))
    return function


def _exported(module: bytes, names: list[str]) -> bytes:
    """A relocatable object as a module that exports these of its functions.

    LLVM lays data and functions out as they are to be used, so there is nothing to relocate.
    """
    sections = list(_sections(module))
    imported = sum(kind == 0 for kind in _imports(dict(sections)[_IMPORTS]))
    symbols = next(body for kind, body in sections if kind == _CUSTOM and _text(body, 0)[0] == "linking")
    numbers = _functions(symbols)
    if imported:
        raise ValueError(f"the module imports {imported} functions: it must bring all it calls")
    entries = [_named(name) + b"\0" + _leb(numbers[name]) for name in names]
    exports = _leb(len(entries)) + b"".join(entries)
    kept = [(kind, body) for kind, body in sections if kind != _CUSTOM]
    place = next(number for number, (kind, _) in enumerate(kept) if kind > _EXPORTS)
    kept.insert(place, (_EXPORTS, exports))
    return module[:8] + b"".join(bytes([kind]) + _leb(len(body)) + body for kind, body in kept)


def _sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, content) of every section."""
    place = 8
    while place < len(module):
        kind = module[place]
        size, place = _number(module, place + 1)
        yield kind, module[place : place + size]
        place += size


def _imports(body: bytes) -> Iterator[int]:
    """The kind of everything that is imported: 0 is a function, 1 a table, 2 memory, 3 a global."""
    count, place = _number(body, 0)
    for _ in range(count):
        for _ in range(2):  # the names of module and field
            _, place = _text(body, place)
        kind, place = body[place], place + 1
        yield kind
        if kind == 3:
            place += 2
            continue
        if kind == 1:
            place += 1
        if kind:  # limits of a table or of memory
            limits, place = body[place], place + 1
            _, place = _number(body, place)
            if limits & 1:
                _, place = _number(body, place)
        else:
            _, place = _number(body, place)


def _functions(linking: bytes) -> Mapping[str, int]:
    """The numbers of the functions that the object defines, by their names in its symbol table."""
    _, place = _text(linking, 0)
    _, place = _number(linking, place)  # the version
    found: dict[str, int] = {}
    while place < len(linking):
        part = linking[place]
        size, place = _number(linking, place + 1)
        if part == 8:  # the symbol table
            _read_symbols(linking[place : place + size], found)
        place += size
    return found


def _read_symbols(body: bytes, found: dict[str, int]) -> None:
    count, place = _number(body, 0)
    for _ in range(count):
        kind = body[place]
        flags, place = _number(body, place + 1)
        undefined, named = flags & 0x10, flags & 0x40
        if kind == 1:  # data: a name, and where it lies
            _, place = _text(body, place)
            for _ in range(0 if undefined else 3):
                _, place = _number(body, place)
        else:
            number, place = _number(body, place)
            if kind == 3:  # a section
                continue
            if not undefined or named:
                name, place = _text(body, place)
                if kind == 0 and not undefined:
                    found[name] = number


def _text(body: bytes, place: int) -> tuple[str, int]:
    size, place = _number(body, place)
    return body[place : place + size].decode(), place + size


def _named(name: str) -> bytes:
    return _leb(len(name)) + name.encode()


def _number(body: bytes, place: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where it ends."""
    number = shift = 0
    while True:
        byte = body[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place


def _leb(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


if __name__ == "__main__":
    sys.stdout.buffer.write(build())
