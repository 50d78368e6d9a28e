"""What miners earn: pay per last N shares (PPLNS), exact to the stroop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def pplns_parts(shares: Iterable[tuple[str, int]], window_hashes: int) -> dict[str, int]:
    """The hashes each miner is credited with within the last `window_hashes` hashes.

    `shares` are (miner, credited hashes), the newest first; sums over a miner and block do as well as single shares.
    The one at the window's edge counts in part. ValueError when the window is not positive.
    """
    if window_hashes <= 0:
        raise ValueError(f"a window of {window_hashes} hashes credits nobody")
    parts: dict[str, int] = {}
    left = window_hashes
    for miner, credited in shares:
        counted = min(credited, left)
        if counted > 0:
            parts[miner] = parts.get(miner, 0) + counted
            left -= counted
        if not left:
            break
    return parts


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
