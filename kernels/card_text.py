"""The search as source text, for cards whose driver brings a compiler: OpenCL C, and WGSL for browsers.

Words are names of variables, and each of Keccak's operations writes a line (see keccak.py); what is around the
permutation is written by hand. A work item hashes `RUN` consecutive nonces. What it finds it puts among the results,
with a 32-bit atomic minimum, which every card has: at place `missing` the lowest of the nonces that lack so many zero
digits of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernels import keccak
from kernels.keccak import State

RUN = 16  # nonces of a work item; a power of two, at most 16
RESULTS = 18  # by digits that are no zeros, 0 to 16; then the least of these
NOTHING = 2**32 - 1  # a result while nothing is found
_LAST = keccak.ROUNDS - 1  # the last round's number
WGSL_GROUP = 64
WGSL_CONSTANTS = [word for constant in keccak.ROUND_CONSTANTS for word in keccak.split(constant, 2)]


class _Lines:
    """Words that are expressions of OpenCL C."""

    declaration = "const word"

    def __init__(self, prefix: str, indent: str) -> None:
        self.prefix, self.indent = prefix, indent
        self.lines: list[str] = []

    def _assign(self, expression: str) -> str:
        name = f"{self.prefix}{len(self.lines)}"
        self.lines.append(f"{self.indent}{self.declaration} {name} = {expression};\n")
        return name

    def xor(self, *words: str) -> str:
        return self._assign(" ^ ".join(words))

    def chi(self, a: str, b: str, c: str) -> str:
        return self._assign(f"{a} ^ (~{b} & {c})")

    def rol(self, a: str, count: int) -> str:
        return self._assign(f"rotate({a}, (word){count})")


class _WgslLines(_Lines):
    """Words of 32 bits that are expressions of WGSL."""

    declaration = "let"

    def rol(self, a: str, count: int) -> str:
        return self._assign(f"({a} << {count}u) | ({a} >> {32 - count}u)")


@dataclass(frozen=True, slots=True)
class _Permutation:
    """The text of all rounds: before the loop, inside it and after it; `result` are the words of the first lane."""

    before: str
    inside: str
    after: str
    result: list[str]


def _permutation(
    lines: type[_Lines],
    variable: str,
    data: str,
    constants: Callable[[str], list[str]],
    delta: Sequence[str],
    ternary: bool,
    rounds_a_turn: int,
) -> _Permutation:
    """lines: the language; in it, how a variable is declared, the name of the array of `keccak.first_round`'s lanes,
    a round's constants by the expression of its number, and the nonce lane's low half, in words."""
    parts = len(delta)
    names = [[f"a{lane}_{part}" for part in range(parts)] for lane in range(25)]

    def assigned(indent: str, words: State[str]) -> str:
        pairs = [pair for lane in zip(names, words, strict=True) for pair in zip(*lane, strict=True)]
        return "".join(f"{indent}{name} = {word};\n" for name, word in pairs)

    first, turn, last = lines("f", "    "), lines("t", "        "), lines("l", "    ")
    lanes = [f"{data}[{place}]" for place in range(25 * parts)]
    state = keccak.first_round(first, lanes, delta, constants("0"))
    made: State[str] = names
    for offset in range(rounds_a_turn):
        made = keccak.keccak_round(turn, made, constants(f"number + {offset}"), ternary=ternary)
    result = keccak.first_lane(last, names, constants(str(_LAST)), ternary=ternary)
    before, inside, after = ("".join(part.lines) for part in (first, turn, last))
    return _Permutation(
        before + assigned(f"    {variable} ", state), inside + assigned("        ", made), after, result
    )


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
    delta = [f"d{part}" for part in range(parts)]

    def of_round(number: str) -> list[str]:
        return [f"CONSTANTS[{parts} * ({number}) + {part}]" for part in range(parts)]

    text = _permutation(_Lines, "word", "lanes", of_round, delta, ternary, rounds_a_turn)
    returned = text.result[0] if parts == 1 else f"(ulong){text.result[1]} << 32 | {text.result[0]}"
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
{text.before}
#pragma unroll 1
    for (uint number = 1; number < {_LAST}; number += {rounds_a_turn}) {{
{text.inside}    }}
{text.after}    return {returned};
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


def wgsl(*, ternary: bool = True, rounds_a_turn: int = 2) -> str:
    """The same for WebGPU, which has no words of 64 bits: a lane is two, its even and its odd bits.

    The buffers of group 0: 0, `data`: the 50 words of `keccak.first_round`, then `WGSL_CONSTANTS`. 1, `job`: start,
    count (at most 2^31), the limit's high and low half, lowest. 2, `results`, as for `opencl_c`. Work groups are of
    WGSL_GROUP, in two dimensions where there are many.
    """

    def of_round(number: str) -> list[str]:
        return [f"data[50 + 2 * ({number}) + {part}]" for part in range(2)]

    text = _permutation(_WgslLines, "var", "data", of_round, ["d0", "d1"], ternary, rounds_a_turn)
    return f"""\
@group(0) @binding(0) var<storage, read> data: array<u32, {50 + len(WGSL_CONSTANTS)}>;
@group(0) @binding(1) var<storage, read> job: array<u32, 5>;
@group(0) @binding(2) var<storage, read_write> results: array<atomic<u32>, {RESULTS}>;
{_WGSL}
// Lane 0 of the digest, in its words, for a nonce lane that has these in its low half.
fn first_lane(d0: u32, d1: u32) -> vec2u {{
{text.before}
    for (var number = 1u; number < {_LAST}u; number += {rounds_a_turn}u) {{
{text.inside}    }}
{text.after}    return vec2u({", ".join(text.result)});
}}

@compute @workgroup_size({WGSL_GROUP})
fn search(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {{
    let start = job[0];
    let count = job[1];
    let lowest = job[4] != 0u;
    let nonces = start - start % {RUN}u + {RUN}u * (id.x + {WGSL_GROUP}u * groups.x * id.y);
    var limit = vec2u(job[2], job[3]);
    if (lowest) {{
        if (nonces - start < count && atomicLoad(&results[0]) < nonces - start) {{ return; }}
    }} else {{
        let least = atomicLoad(&results[{RESULTS - 1}]);  // what lacks more is of no use
        if (least < 16u) {{ limit = lesser(limit, below(least)); }}
    }}
    var clear = clear_bits(limit);
    // In the nonce lane, where the low word's bytes are reversed, a run changes bits 24 to 27.
    let low = reversed(nonces);
    let lane = vec2u(even_bits(low), even_bits(low >> 1u));
    for (var step = 0u; step < {RUN}u; step++) {{
        let even = lane.x ^ (((step & 1u) | ((step & 4u) >> 1u)) << 12u);
        let odd = lane.y ^ ((((step & 2u) >> 1u) | ((step & 8u) >> 2u)) << 12u);
        let first = first_lane(even, odd);
        if (any((first & clear) != vec2u(0u))) {{ continue; }}
        let offset = nonces + step - start;
        let prefix = prefix_of(first);
        if (offset >= count || exceeds(prefix, limit)) {{ continue; }}
        if (lowest) {{
            atomicMin(&results[0], offset);
            return;
        }}
        var missing = (35u - countLeadingZeros(prefix.y)) / 4u;
        if (prefix.x != 0u) {{ missing = 8u + (35u - countLeadingZeros(prefix.x)) / 4u; }}
        atomicMin(&results[missing], offset);
        atomicMin(&results[{RESULTS - 1}], missing);
        if (missing == 0u) {{ return; }}
        limit = below(missing - 1u);
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

_WGSL = """
fn reversed(word: u32) -> u32 {
    let pairs = ((word & 0x00ff00ffu) << 8u) | ((word >> 8u) & 0x00ff00ffu);
    return (pairs << 16u) | (pairs >> 16u);
}

fn even_bits(word: u32) -> u32 {
    var bits = word & 0x55555555u;
    bits = (bits | (bits >> 1u)) & 0x33333333u;
    bits = (bits | (bits >> 2u)) & 0x0f0f0f0fu;
    bits = (bits | (bits >> 4u)) & 0x00ff00ffu;
    return (bits | (bits >> 8u)) & 0x0000ffffu;
}

fn spread_bits(half: u32) -> u32 {
    var bits = half & 0x0000ffffu;
    bits = (bits | (bits << 8u)) & 0x00ff00ffu;
    bits = (bits | (bits << 4u)) & 0x0f0f0f0fu;
    bits = (bits | (bits << 2u)) & 0x33333333u;
    return (bits | (bits << 1u)) & 0x55555555u;
}

// The first eight bytes of a digest as a number, high word and low word, from the even and the odd bits of its lane.
fn prefix_of(first: vec2u) -> vec2u {
    return vec2u(
        reversed(spread_bits(first.x) | (spread_bits(first.y) << 1u)),
        reversed(spread_bits(first.x >> 16u) | (spread_bits(first.y >> 16u) << 1u))
    );
}

fn above_highest(word: u32) -> u32 {
    if (word == 0u) { return 0xffffffffu; }
    let bits = countLeadingZeros(word);
    if (bits == 0u) { return 0u; }
    return 0xffffffffu << (32u - bits);
}

// The bits of a first lane, in its words, that are zero in every prefix up to the limit.
fn clear_bits(limit: vec2u) -> vec2u {
    var low = 0u;
    if (limit.x == 0u) { low = above_highest(limit.y); }
    let front = reversed(above_highest(limit.x));
    let back = reversed(low);
    return vec2u(
        even_bits(front) | (even_bits(back) << 16u), even_bits(front >> 1u) | (even_bits(back >> 1u) << 16u)
    );
}

fn exceeds(a: vec2u, b: vec2u) -> bool {
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

fn lesser(a: vec2u, b: vec2u) -> vec2u {
    return select(a, b, exceeds(a, b));
}

// The largest prefix that lacks no more than so many zero digits, 0 to 15.
fn below(missing: u32) -> vec2u {
    if (missing < 8u) { return vec2u(0u, (1u << (4u * missing)) - 1u); }
    return vec2u((1u << (4u * (missing - 8u))) - 1u, 0xffffffffu);
}
"""
