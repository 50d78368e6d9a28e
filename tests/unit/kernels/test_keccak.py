"""The readable hash and the abstract permutation, against a library, recorded answers and each other."""

from __future__ import annotations

import base64
import functools
import json
import operator
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from Crypto.Hash import keccak as library
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import keccak

VECTORS = json.loads((Path(__file__).parents[2] / "conformance/hash.json").read_text())
lanes = st.lists(st.integers(0, 2**64 - 1), min_size=25, max_size=25)


@pytest.mark.parametrize("size", range(keccak.RATE))
def test_digest_equals_the_library(size: int) -> None:
    message = bytes(range(size))
    assert keccak.digest(message) == library.new(digest_bits=256, data=message).digest()


def test_digest_takes_one_block_only() -> None:
    with pytest.raises(ValueError, match="136 bytes"):
        keccak.digest(bytes(136))


def test_recorded_hashes() -> None:
    assert len(VECTORS["hash"]) > 100
    for vector in VECTORS["hash"]:
        farmer = base64.b32decode(vector["farmer"])[1:33]
        digest = keccak.hash_nonce(vector["index"], int(vector["nonce"]), bytes.fromhex(vector["entropy"]), farmer)
        assert digest.hex() == vector["hash"]
        assert keccak.leading_zeros(digest) == vector["zeros"]


@pytest.mark.parametrize(
    ("index", "nonce", "entropy", "farmer", "named"),
    [
        (2**32, 0, bytes(32), bytes(32), "index 4294967296"),
        (-1, 0, bytes(32), bytes(32), "index -1"),
        (0, 2**64, bytes(32), bytes(32), "nonce 18446744073709551616"),
        (0, 0, bytes(31), bytes(32), "not 31 and 32"),
        (0, 0, bytes(32), bytes(33), "not 32 and 33"),
    ],
)
def test_encode_names_what_does_not_fit(index: int, nonce: int, entropy: bytes, farmer: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        keccak.encode(index, nonce, entropy, farmer)


def test_leading_zeros_counts_hex_digits() -> None:
    assert [keccak.leading_zeros(bytes.fromhex(text)) for text in ("1000", "0f00", "00ff", "000f", "0000")] == [
        0,
        1,
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("parts", [2, 4, 8, 16])
@settings(max_examples=5, deadline=None)
@given(state=lanes)
def test_interleaved_words_permute_alike(parts: int, state: list[int]) -> None:
    words = [word for lane in state for word in keccak.split(lane, parts)]
    constants = [keccak.split(constant, parts) for constant in keccak.ROUND_CONSTANTS]
    made = keccak.rounds_on_ints(parts)(words, constants)
    assert list(made) == [word for lane in keccak.permute(state) for word in keccak.split(lane, parts)]


@settings(max_examples=20, deadline=None)
@given(state=lanes, lane=st.integers(0, 24), change=st.integers(0, 2**64 - 1))
def test_influence_is_what_a_change_of_a_lane_does(state: list[int], lane: int, change: int) -> None:
    changed = state.copy()
    changed[lane] ^= change
    after = [a ^ b for a, b in zip(keccak.first_linear(state), keccak.first_linear(changed), strict=True)]
    for difference, turns in zip(after, keccak.influence(lane), strict=True):
        for turn in turns:
            difference ^= (change << turn | change >> (64 - turn)) & keccak.LANE_MASK
        assert difference == 0


def test_affine_bits_flip_the_same_whatever_the_others_are() -> None:
    """The lowest bits of a nonce that number a block of 8: two rounds' linear half changes by a xor for each."""
    bits = [24 - bit // 8 * 8 + bit % 8 for bit in range(3, 32)]
    count = keccak.affine_bits(1, bits)
    assert count == 10  # the eleventh meets the sixth
    numbers = random.Random(2)
    start = [numbers.getrandbits(64) for _ in range(25)]

    def after(flipped: Iterable[int]) -> list[int]:
        state = start.copy()
        for bit in flipped:
            state[1] ^= 1 << bit
        lanes = keccak.first_linear(state)
        for row in range(0, 25, 5):
            a, b, c, d, e = lanes[row : row + 5]
            lanes[row : row + 5] = [a ^ ~b & c, b ^ ~c & d, c ^ ~d & e, d ^ ~e & a, e ^ ~a & b]
        return keccak.first_linear([lane & keccak.LANE_MASK for lane in lanes])

    nothing = after([])
    alone = {bit: [a ^ b for a, b in zip(after([bit]), nothing, strict=True)] for bit in bits}

    def sum_of(chosen: Sequence[int]) -> list[int]:
        return [
            functools.reduce(operator.xor, column)
            for column in zip(nothing, *(alone[bit] for bit in chosen), strict=True)
        ]

    for _ in range(50):
        chosen = [bit for bit in bits[:count] if numbers.random() < 0.5]
        assert after(chosen) == sum_of(chosen)
    assert after(bits[: count + 1]) != sum_of(bits[: count + 1])


def test_the_readable_hash_and_the_package_load_neither_numba_nor_numpy() -> None:
    code = (
        "import sys, kernels, kernels.keccak; "
        "sys.exit(bool({'numba', 'numpy', 'llvmlite', 'kalepool'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
