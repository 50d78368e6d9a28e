"""The search as source text, for cards whose driver brings a compiler: OpenCL C.

Words are names of variables, and each of Keccak's operations writes a line (see keccak.py); what is around the
permutation is written by hand. A work item hashes `RUN` consecutive nonces. What it finds it puts among the results,
with a 32-bit atomic minimum, which every card has: at place `missing` the lowest of the nonces that lack so many zero
digits of 16.
"""

from __future__ import annotations

from kernels import keccak

RUN = 16  # nonces of a work item; a power of two, at most 16
RESULTS = 18  # by digits that are no zeros, 0 to 16; then the least of these
NOTHING = 2**32 - 1  # a result while nothing is found
_LAST = keccak.ROUNDS - 1  # the last round's number


class _Lines:
    """Words that are expressions of OpenCL C."""

    def __init__(self, prefix: str, indent: str) -> None:
        self.prefix, self.indent = prefix, indent
        self.lines: list[str] = []

    def _assign(self, expression: str) -> str:
        name = f"{self.prefix}{len(self.lines)}"
        self.lines.append(f"{self.indent}const word {name} = {expression};\n")
        return name

    def xor(self, *words: str) -> str:
        return self._assign(" ^ ".join(words))

    def chi(self, a: str, b: str, c: str) -> str:
        return self._assign(f"{a} ^ (~{b} & {c})")

    def rol(self, a: str, count: int) -> str:
        return self._assign(f"rotate({a}, (word){count})")

    def text(self) -> str:
        return "".join(self.lines)


def opencl_c(parts: int, *, ternary: bool = True, rounds_a_turn: int = 2) -> str:
    """The program in words of 64 / `parts` bits, a lane in `parts` of them. Its kernel is

        search(lanes, start, count, limit, lowest, results)

    lanes: 25·parts words, see `keccak.first_round`. start, count: the low words to hash, at most 2^31 of them, by
    work items of RUN, the first of which begins at the multiple of RUN before `start`. limit: the largest prefix that
    is a hit. results: RESULTS numbers, all NOTHING before; nonces count from `start`. With `lowest` only place 0 is
    used, for the lowest hit.

    ternary: for cards that have an exclusive or of three words. rounds_a_turn divides 22.
    """
    constants = [word for constant in keccak.ROUND_CONSTANTS for word in keccak.split(constant, parts)]
    names = [[f"a{lane}_{part}" for part in range(parts)] for lane in range(25)]
    delta = [f"d{part}" for part in range(parts)]

    def of_round(number: str) -> list[str]:
        return [f"CONSTANTS[{parts} * ({number}) + {part}]" for part in range(parts)]

    first = _Lines("f", "    ")
    lanes = [f"lanes[{place}]" for place in range(25 * parts)]
    state = keccak.first_round(first, lanes, delta, of_round("0"))
    declared = "".join(
        f"    word {name} = {word};\n"
        for lane, words in zip(names, state, strict=True)
        for name, word in zip(lane, words, strict=True)
    )
    turn = _Lines("t", "        ")
    made = names
    for offset in range(rounds_a_turn):
        made = keccak.keccak_round(turn, made, of_round(f"number + {offset}"), ternary=ternary)
    again = "".join(
        f"        {name} = {word};\n"
        for lane, words in zip(names, made, strict=True)
        for name, word in zip(lane, words, strict=True)
    )
    last = _Lines("l", "    ")
    result = keccak.first_lane(last, names, of_round(str(_LAST)), ternary=ternary)
    returned = result[0] if parts == 1 else f"(ulong){result[1]} << 32 | {result[0]}"
    values = ", ".join(f"{constant:#x}{'UL' if parts == 1 else 'U'}" for constant in constants)
    return f"""\
typedef {"ulong" if parts == 1 else "uint"} word;

__constant word CONSTANTS[{len(constants)}] = {{{values}}};

{_HALVES if parts == 2 else _WHOLE}
ulong reversed(ulong lane) {{
    return as_ulong(as_uchar8(lane).s76543210);
}}

/* The bits of a first lane, in its words, that are zero in every prefix up to limit. */
ulong clear_bits(ulong limit) {{
    return words_of(reversed(limit ? limit >> 63 ? 0UL : ~0UL << (64 - clz(limit)) : ~0UL));
}}

/* Lane 0 of the digest, in its words, for a nonce lane that has these in its low half. */
ulong first_lane(__constant const word *lanes, {", ".join(f"word {name}" for name in delta)}) {{
{first.text()}{declared}
#pragma unroll 1
    for (uint number = 1; number < {_LAST}; number += {rounds_a_turn}) {{
{turn.text()}{again}    }}
{last.text()}    return {returned};
}}

__kernel void search(
    __constant const word *lanes, uint start, uint count, ulong limit, uint lowest, volatile __global uint *results
) {{
    const uint nonces = start - start % {RUN} + {RUN} * (uint)get_global_id(0);
    if (lowest) {{
        if (nonces - start < count && results[0] < nonces - start) return;
    }} else {{
        const uint least = results[{RESULTS - 1}];  /* what lacks more is of no use */
        if (least < 16) limit = min(limit, (1UL << 4 * least) - 1);
    }}
    ulong clear = clear_bits(limit);
    /* In the nonce lane, where the low word's bytes are reversed, a run changes bits 24 to 27. */
    const ulong lane = words_of(reversed((ulong)nonces << 32));
#pragma unroll 1
    for (uint step = 0; step < {RUN}; step++) {{
        {_step(parts)}
        if (first & clear) continue;
        const uint offset = nonces + step - start;
        const ulong prefix = reversed(lane_of(first));
        if (offset >= count || prefix > limit) continue;
        if (lowest) {{
            atomic_min(&results[0], offset);
            return;
        }}
        const uint missing = (67 - (uint)clz(prefix)) / 4;
        atomic_min(&results[missing], offset);
        atomic_min(&results[{RESULTS - 1}], missing);
        if (!missing) return;
        limit = (1UL << 4 * (missing - 1)) - 1;
        clear = clear_bits(limit);
    }}
}}
"""


def _step(parts: int) -> str:
    """The first lane of nonce number `step` of the run."""
    if parts == 1:
        return "const ulong first = first_lane(lanes, lane ^ (ulong)step << 24);"
    even, odd = "(step & 1) | (step & 4) >> 1", "(step & 2) >> 1 | (step & 8) >> 2"
    return f"const ulong first = first_lane(lanes, (uint)lane ^ ({even}) << 12, (uint)(lane >> 32) ^ ({odd}) << 12);"


_WHOLE = """\
ulong words_of(ulong lane) {
    return lane;
}

ulong lane_of(ulong words) {
    return words;
}
"""

_HALVES = """\
ulong swapped(ulong lane, ulong mask, uint shift) {
    const ulong other = (lane ^ lane >> shift) & mask;
    return lane ^ other ^ other << shift;
}

/* A lane's odd bits above its even bits (Hacker's Delight, 7-2). */
ulong words_of(ulong lane) {
    lane = swapped(lane, 0x2222222222222222UL, 1);
    lane = swapped(lane, 0x0C0C0C0C0C0C0C0CUL, 2);
    lane = swapped(lane, 0x00F000F000F000F0UL, 4);
    lane = swapped(lane, 0x0000FF000000FF00UL, 8);
    return swapped(lane, 0x00000000FFFF0000UL, 16);
}

ulong lane_of(ulong words) {
    words = swapped(words, 0x00000000FFFF0000UL, 16);
    words = swapped(words, 0x0000FF000000FF00UL, 8);
    words = swapped(words, 0x00F000F000F000F0UL, 4);
    words = swapped(words, 0x0C0C0C0C0C0C0C0CUL, 2);
    return swapped(words, 0x2222222222222222UL, 1);
}
"""
