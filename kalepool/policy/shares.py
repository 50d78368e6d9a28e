"""Shares: are they what they claim, what do they count for, and what do they say about the finder's speed.

A share's fine target is a bound on the first 8 bytes of its digest, read big-endian: it counts when they are below
it. A bound b is met by one hash in 2^64 / b, its difficulty: the hashes that such a share stands for, and is credited
with, whatever the digest happened to reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from kalepool.policy.ranges import NonceRange, prefix_range
from kalepool.policy.vardiff import MAX_DIFFICULTY
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import U64_MAX


class ShareOutcome(StrEnum):
    """What became of a share."""

    ACCEPTED = "accepted"
    STALE = "stale"
    DUPLICATE = "duplicate"
    LOW_DIFFICULTY = "low-difficulty"
    OUT_OF_RANGE = "out-of-range"
    UNKNOWN_JOB = "unknown-job"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Job:
    """What a searcher was asked: find a nonce in `nonces` for this block and farmer, at this difficulty (hashes a
    share).
    """

    job_id: str
    index: int
    entropy: bytes
    farmer: str
    nonces: NonceRange
    difficulty: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of hashing a share again. `digest` and `zeros` are None where it was refused before that."""

    outcome: ShareOutcome
    digest: bytes | None = None
    zeros: int | None = None
    credited_hashes: int = 0


@dataclass(frozen=True, slots=True)
class Hashrate:
    """An estimated speed in hashes/s with its 95 % interval."""

    hashes_per_second: float
    low: float
    high: float


def parse_nonce(value: object) -> int | None:
    """The nonce in a message: a decimal string, or an int that JSON can carry exactly. None when it is not a u64."""
    if isinstance(value, str):
        # isdecimal alone would take other scripts' digits.
        if not (value.isascii() and value.isdecimal() and len(value) <= 20):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U64_MAX:
        return None
    return value


def below_for(difficulty: int) -> int:
    """The bound that one in `difficulty` hashes is below. ValueError unless it is 2 to MAX_DIFFICULTY."""
    if not 2 <= difficulty <= MAX_DIFFICULTY:
        raise ValueError(f"a difficulty is 2 to 2^60 hashes, not {difficulty}")
    return 2**64 // difficulty


def verify(job: Job | None, nonce: int, *, open_index: int | None) -> Verdict:
    """Judges a miner's share for `job` (None: no such job was given to this miner), hashing it again.

    `open_index` is the block that work is taken for, None when there is none. Whether the nonce was brought before is
    the database's to say.
    """
    if job is None:
        return Verdict(ShareOutcome.UNKNOWN_JOB)
    if job.index != open_index:
        return Verdict(ShareOutcome.STALE)
    if nonce not in job.nonces:
        return Verdict(ShareOutcome.OUT_OF_RANGE)
    digest = hash_work(job.index, nonce, job.entropy, job.farmer)
    zeros = count_zeros(digest)
    if int.from_bytes(digest[:8], "big") >= below_for(job.difficulty):
        return Verdict(ShareOutcome.LOW_DIFFICULTY, digest, zeros)
    return Verdict(ShareOutcome.ACCEPTED, digest, zeros, job.difficulty)


def check(index: int, entropy: bytes, farmer: str, nonce: int, *, serial: int, zeros_claimed: int) -> Verdict:
    """Judges a find that a worker of ours reports under its searcher's serial, hashing it again. Credits nothing."""
    if nonce not in prefix_range(serial):
        return Verdict(ShareOutcome.OUT_OF_RANGE)
    digest = hash_work(index, nonce, entropy, farmer)
    zeros = count_zeros(digest)
    return Verdict(ShareOutcome.ACCEPTED if zeros >= zeros_claimed else ShareOutcome.LOW_DIFFICULTY, digest, zeros)


def luck(best_hash: bytes, hashes: int) -> float:
    """How many hashes one as low as the best (32 bytes) takes on average, as a part of those that were made: 1 is as
    expected. ValueError unless some were made."""
    if hashes <= 0:
        raise ValueError("there is no luck without a hash")
    return 2**64 / (int.from_bytes(best_hash[:8]) + 1) / hashes


def estimate_hashrate(credited_hashes: int, shares: int, seconds: float, difficulty: int = 0) -> Hashrate:
    """The speed behind `shares` shares, worth `credited_hashes` together, of the last `seconds` seconds.

    Shares are a Poisson process: the expectation is credited_hashes / seconds. The interval is the exact one for the
    number of shares (Garwood 1936) in Byar's approximation (Breslow and Day 1987, section 2.3), times the mean share.
    With no share at all, `difficulty` is what a share would have stood for. ValueError unless `seconds` is positive.
    """
    if seconds <= 0:
        raise ValueError(f"no speed can be told from {seconds} s")
    z = 1.959964
    mean_share = credited_hashes / shares if shares else difficulty
    low = shares * (1 - 1 / (9 * shares) - z / (3 * math.sqrt(shares))) ** 3 if shares else 0.0
    high = (shares + 1) * (1 - 1 / (9 * (shares + 1)) + z / (3 * math.sqrt(shares + 1))) ** 3
    return Hashrate(credited_hashes / seconds, max(low, 0.0) * mean_share / seconds, high * mean_share / seconds)
