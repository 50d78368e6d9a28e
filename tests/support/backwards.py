"""Keccak run backwards: digests that no search would meet."""

from __future__ import annotations

import random

from kernels import keccak

WORD = keccak.LANE_MASK


def lanes_leading_to(prefix: int, low: int) -> list[int]:
    """The 25 lanes after the linear half of round 1 at a low word of zero, for a digest with this prefix at this low
    word."""
    numbers = random.Random(low)
    first_lane = int.from_bytes(prefix.to_bytes(8, "big"), "little")
    lanes = inverse_rounds([first_lane, *(numbers.getrandbits(64) for _ in range(24))])
    change = int.from_bytes(low.to_bytes(4, "big"), "little")
    for lane, turns in enumerate(keccak.influence(keccak.NONCE_LANE)):
        for turn in turns:
            lanes[lane] ^= (change << turn | change >> (64 - turn)) & WORD
    return lanes


def inverse_rounds(state: list[int]) -> list[int]:
    """The 25 lanes after the linear half of the first round that lead to this state after the last one.

    Chi has order 4 and theta has order 192, so the rest of their powers undo them.
    """

    def chi(lanes: list[int]) -> list[int]:
        return [
            lanes[y + x] ^ (~lanes[y + (x + 1) % 5] & lanes[y + (x + 2) % 5] & WORD)
            for y in range(0, 25, 5)
            for x in range(5)
        ]

    def theta(lanes: list[int]) -> list[int]:
        sums = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        turned = [(word << 1 | word >> 63) & WORD for word in sums]
        return [lanes[lane] ^ sums[(lane + 4) % 5] ^ turned[(lane + 1) % 5] for lane in range(25)]

    for number in reversed(range(keccak.ROUNDS)):
        state[0] ^= keccak.ROUND_CONSTANTS[number]
        for _ in range(3):
            state = chi(state)
        if number:
            before = [0] * 25
            for target, source in enumerate(keccak.PI_SOURCE):
                turn = keccak.RHO[source]
                before[source] = (state[target] >> turn | state[target] << (64 - turn)) & WORD
            for _ in range(191):
                before = theta(before)
            state = before
    return state
