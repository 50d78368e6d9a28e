"""What miners earn: pay per last N shares (PPLNS) of the last blocks, exact to the stroop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

HOUSE = "house"
"""The pool's own workers among the miners: they are given their part like everybody, and it stays the pool's."""


def harvest_rate(fee_rate: Fraction, solo_fee: Fraction | None) -> Fraction:
    """The pool's part of a reward. fee_rate: by the farmer's terms; solo_fee: where a rig of its own found the work."""
    return fee_rate if solo_fee is None else min(fee_rate, solo_fee)


def shared_of(fees_stroops: int, solo_fees_stroops: int, part: Fraction) -> int:
    """What of a block's fees is shared out by hashes: this part of what is not SOLO's, rounded down.

    ValueError where more is SOLO's than there is.
    """
    if not 0 <= solo_fees_stroops <= fees_stroops:
        raise ValueError(f"{solo_fees_stroops} stroops of {fees_stroops} cannot be of SOLO harvests")
    return (fees_stroops - solo_fees_stroops) * part.numerator // part.denominator


def window_sums(
    blocks: Mapping[int, Mapping[str, int]], widths: Mapping[int, int]
) -> Iterator[tuple[int, dict[str, int]]]:
    """(index, hashes of each miner in the `widths[index]` blocks that end with it), for each index, in their order.

    blocks: hashes of each miner by block. One pass: from a window to the next, what comes is added, what goes is taken
    away. ValueError for a window without a block.
    """
    sums: dict[str, int] = {}
    inside = range(0)
    for index in sorted(widths):
        if widths[index] < 1:
            raise ValueError(f"a window of {widths[index]} blocks credits nobody")
        window = range(index - widths[index] + 1, index + 1)
        for sign, come_or_go in ((-1, _without(inside, window)), (1, _without(window, inside))):
            for block in come_or_go:
                for miner, hashes in blocks.get(block, {}).items():
                    sums[miner] = sums.get(miner, 0) + sign * hashes
        sums = {miner: hashes for miner, hashes in sums.items() if hashes}
        inside = window
        yield index, dict(sums)


def _without(some: range, others: range) -> Iterator[int]:
    return (block for block in some if block not in others)


def split(parts: Mapping[str, int], amount_stroops: int) -> dict[str, int]:
    """Splits an amount in proportion to the parts, to the last stroop.

    Everybody gets the floor of the exact share, and the stroops left over go one by one to the largest remainders
    (Hamilton's method), ties to the lower name. Parts of 0 in all get nothing. ValueError for a negative amount or
    part.
    """
    if amount_stroops < 0 or any(part < 0 for part in parts.values()):
        raise ValueError(f"cannot split {amount_stroops} stroops by {dict(parts)}")
    total = sum(parts.values())
    if not total:
        return {}
    paid = {miner: amount_stroops * part // total for miner, part in parts.items()}
    by_remainder = sorted(parts, key=lambda miner: (-(amount_stroops * parts[miner] % total), miner))
    for miner in by_remainder[: amount_stroops - sum(paid.values())]:
        paid[miner] += 1
    return paid
