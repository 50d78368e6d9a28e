"""The share log of a block: its lines, and what anybody can check with it. Pure.

A log is text, one JSON object a line: first what the block is, then each share that counts, by farmer and nonce. A
closed block names the logs of its window, each by the SHA-256 of its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kalepool.policy.bookkeeping import fee_of
from kalepool.policy.credits import HOUSE, shared_of, split, window_sums
from kalepool.policy.shares import below_for, parse_nonce
from kalepool.protocol.hashing import hash_work

MOST_FAULTS = 20
"""Of one log that are told; of the others how many there are."""

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a line raises that is none of a log."""


@dataclass(frozen=True, slots=True)
class LogHead:
    """A log's first line: the block, what its hashes were made with, and what the pool's own workers hashed in it."""

    block_index: int
    entropy: bytes
    house_hashes: int

    def line(self) -> bytes:
        return _line(block_index=self.block_index, entropy=self.entropy.hex(), house_hashes=str(self.house_hashes))


@dataclass(frozen=True, slots=True)
class LoggedShare:
    """Any other line: who brought it, for which farmer, and the hashes that it counts for. solo: for that farmer alone,
    and in nobody's part."""

    miner: str
    farmer: str
    nonce: int
    difficulty: int
    digest: bytes
    solo: bool = False

    def line(self) -> bytes:
        return _line(
            miner=self.miner,
            farmer=self.farmer,
            nonce=str(self.nonce),
            difficulty=str(self.difficulty),
            hash=self.digest.hex(),
            **({"solo": True} if self.solo else {}),
        )


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What a closing says of a block's log. sha256: of its bytes, in hex; None where not all shares were kept any more
    when it was to be written."""

    block_index: int
    sha256: str | None
    shares: int


@dataclass(frozen=True, slots=True)
class HarvestFee:
    """A harvest of a block, and the pool's part of it. transaction_hash: None where somebody else harvested. solo: a
    rig of the farmer's own found the work. nonce, work_transaction_hash: what was worked with, as far as we did."""

    farmer: str
    reward_stroops: int
    fee_rate: Decimal
    fee_stroops: int
    transaction_hash: str | None
    solo: bool = False
    nonce: int | None = None
    work_transaction_hash: str | None = None

    @property
    def work(self) -> tuple[str, int]:
        """Farmer and nonce, as `LogVerdict.solo` has them; -1 for no nonce."""
        return self.farmer, -1 if self.nonce is None else self.nonce


@dataclass(frozen=True, slots=True)
class Closing:
    """A closed block. fees_stroops: of all its harvests. shared_stroops: what of that is shared out by the hashes of
    the window_blocks blocks that end with it: nothing of SOLO's, whose fee is at most the part solo_fee of a reward.
    credits: what was posted for each miner. kept_stroops: for the operator: the part of the pool's own workers, and
    what is not shared out. window_hash: window_hash() of `logs`."""

    block_index: int
    closed_at: datetime
    window_blocks: int
    window_hash: str | None
    miner_fee_part: Decimal
    fees_stroops: int
    shared_stroops: int
    kept_stroops: int
    credits: Mapping[str, int]
    logs: Sequence[LogRecord]
    harvests: Sequence[HarvestFee]
    solo_fee: Decimal = Decimal(0)


def _line(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def window_hash(logs: Iterable[LogRecord]) -> str:
    """One hash for all logs of a window: of their lines `index sha256`, the oldest first."""
    lines = (f"{each.block_index} {each.sha256 or '-'}\n" for each in sorted(logs, key=lambda log: log.block_index))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------------------------
# Checked


@dataclass(slots=True)
class LogVerdict:
    """What a log says, and what is wrong with it. hashes: what counts of each miner, the house among them; of shares
    that are right. shares: their number, SOLO's too. solo: farmers and nonces of SOLO shares, which are in no part."""

    hashes: dict[str, int] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)
    solo: set[tuple[str, int]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    more_faults: int = 0

    def fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)
        else:
            self.more_faults += 1

    @property
    def told(self) -> list[str]:
        """The faults, and how many there are beyond."""
        return [*self.faults, *([f"and {self.more_faults} more like these"] if self.more_faults else [])]


def check_log(lines: Iterable[bytes], record: LogRecord, entropy: bytes | None) -> LogVerdict:
    """Hashes each share again. entropy: the block's, by the chain; None where it has forgotten the block, and the log's
    is taken."""
    index, found = record.block_index, LogVerdict()
    digest, rows = hashlib.sha256(), iter(lines)
    first = next(rows, b"")
    digest.update(first)
    try:
        head = _head(first)
    except UNREADABLE:
        found.fault(f"block {index}: the log's first line is no head")
        head = LogHead(index, entropy or bytes(32), 0)
    if head.block_index != index:
        found.fault(f"block {index}: this is the log of block {head.block_index}")
    if entropy is not None and head.entropy != entropy:
        found.fault(f"block {index}: the chain has the entropy {entropy.hex()}, the log {head.entropy.hex()}")
    if head.house_hashes:
        found.hashes[HOUSE] = head.house_hashes
    seen: set[tuple[str, int]] = set()
    number = 1
    for number, line in enumerate(rows, 2):
        digest.update(line)
        share = _share(line)
        wrong = "is no share" if share is None else _wrong(share, index, entropy or head.entropy, seen)
        if share is None or wrong:
            found.fault(f"block {index}, line {number}: {wrong}")
            continue
        seen.add((share.farmer, share.nonce))
        if share.solo:
            found.solo.add((share.farmer, share.nonce))
        else:
            found.hashes[share.miner] = found.hashes.get(share.miner, 0) + share.difficulty
        found.shares[share.miner] = found.shares.get(share.miner, 0) + 1
    if number - 1 != record.shares:
        found.fault(f"block {index}: the log has {number - 1} shares, its closing says {record.shares}")
    if digest.hexdigest() != record.sha256:
        found.fault(f"block {index}: the log's SHA-256 is {digest.hexdigest()}, its closing says {record.sha256}")
    return found


def _head(line: bytes) -> LogHead:
    read = json.loads(line)
    head = LogHead(read["block_index"], bytes.fromhex(read["entropy"]), int(read["house_hashes"]))
    if head.line() != line or head.house_hashes < 0:
        raise ValueError(line)
    return head


def _share(line: bytes) -> LoggedShare | None:
    """None for what is no line of a log, to the byte."""
    try:
        read = json.loads(line)
        nonce, digest = parse_nonce(read["nonce"]), bytes.fromhex(read["hash"])
        if nonce is None or not all(isinstance(read[name], str) for name in ("miner", "farmer")):
            return None
        solo = read.get("solo") is True
        share = LoggedShare(read["miner"], read["farmer"], nonce, int(read["difficulty"]), digest, solo)
    except UNREADABLE:
        return None
    return share if share.line() == line and share.miner != HOUSE else None


def _wrong(share: LoggedShare, index: int, entropy: bytes, seen: set[tuple[str, int]]) -> str:
    """Why a share does not count; empty where it does."""
    named = f"nonce {share.nonce} of miner {share.miner} for {share.farmer}"
    if (share.farmer, share.nonce) in seen:
        return f"{named} was there before"
    try:
        digest, below = hash_work(index, share.nonce, entropy, share.farmer), below_for(share.difficulty)
    except ValueError as error:
        return f"{named}: {error}"
    if digest != share.digest:
        return f"{named} has the hash {digest.hex()}, the log says {share.digest.hex()}"
    if int.from_bytes(digest[:8], "big") >= below:
        return f"{named} is not below the target of difficulty {share.difficulty}"
    return ""


def expected_credits(closing: Closing, hashes: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """What each miner, and the house, earns with the block. hashes: by block, then miner."""
    index = closing.block_index
    [(_, window)] = window_sums(hashes, {index: closing.window_blocks})
    return split(window, closing.shared_stroops)


def check_closing(
    closing: Closing, expected: Mapping[str, int], solo: Collection[tuple[str, int]] = ()
) -> Iterator[str]:
    """What is wrong with a closing in itself, by `expected` credits, and by the `solo` shares of its block's log."""
    index = closing.block_index
    if (made := window_hash(closing.logs)) != closing.window_hash:
        yield f"block {index}: its logs make the window's hash {made}, the closing says {closing.window_hash}"
    for each in closing.harvests:
        fee = fee_of(each.reward_stroops, Fraction(each.fee_rate))
        if fee != each.fee_stroops:
            yield f"block {index}: the fee of {each.farmer} is {fee} stroops, the closing says {each.fee_stroops}"
        if each.solo != (each.work in solo):
            said, found = ("SOLO", "no") if each.solo else ("not SOLO", "a")
            yield f"block {index}: the work of {each.farmer} was {said} by the closing, and is {found} SOLO share's"
        if each.solo and each.fee_rate > closing.solo_fee:
            yield f"block {index}: {each.fee_rate} is taken of {each.farmer}'s SOLO work, more than {closing.solo_fee}"
    fees = sum(each.fee_stroops for each in closing.harvests)
    if fees != closing.fees_stroops:
        yield f"block {index}: its harvests make {fees} stroops of fees, the closing says {closing.fees_stroops}"
    solo_fees = sum(each.fee_stroops for each in closing.harvests if each.solo)
    shared = shared_of(max(closing.fees_stroops, solo_fees), solo_fees, Fraction(closing.miner_fee_part))
    if shared != closing.shared_stroops:
        yield f"block {index}: {shared} stroops are to be shared out, the closing says {closing.shared_stroops}"
    due = {miner: stroops for miner, stroops in expected.items() if stroops and miner != HOUSE}
    for miner in sorted(due.keys() | closing.credits.keys()):
        is_due, posted = due.get(miner, 0), closing.credits.get(miner, 0)
        if is_due != posted:
            yield f"block {index}: miner {miner} earns {is_due} stroops, {posted} were credited"
    kept = closing.fees_stroops - sum(due.values())
    if kept != closing.kept_stroops:
        yield f"block {index}: the pool keeps {kept} stroops, the closing says {closing.kept_stroops}"
