"""One miner as its owner sees it: its rigs with their speed and luck, its shares, what it earned and was paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kalepool.clock import steady_now
from kalepool.database import Database
from kalepool.policy.shares import ShareOutcome, luck
from kalepool.services.mining import miners, payout_records
from kalepool.services.mining.gate import HASTY, RUBBISH
from kalepool.services.mining.miners import SOLO, Miner, RigRow, RigWork
from kalepool.services.mining.payout_records import Payout
from kalepool.view.words import Language, mark

PRESENT_SECONDS = 75
"""A rig that was seen so lately is here. What it last did is written down every 30 s, and it is heard of every 15 s."""

RATE_SECONDS, LEAST_SECONDS = 600.0, 20.0
"""Over which rates are reckoned."""

BLOCKS = 40
"""The newest, in the chart."""

PAYOUTS = 20
"""The newest."""


@dataclass(frozen=True, slots=True)
class RigSeen:
    """A machine. Rate and `luck` (1: as expected) by what it brought lately; `luck` None where that was nothing. The
    rate of one that is gone is 0. solo: it hashes for a farmer of its own alone."""

    searcher: int
    name: str
    is_here: bool
    solo: bool
    last_seen_at: datetime
    hashes_per_second: float
    shares: int
    best_zeros: int | None
    luck: float | None


@dataclass(frozen=True, slots=True)
class MinerAccount:
    """What is shown of a miner to whom it is. `earnings`: (block, stroops), the newest first."""

    miner: Miner
    hashes_per_second: float
    rigs: Sequence[RigSeen]
    shares: Mapping[str, int]
    balance: Mapping[str, Any]
    earnings: Sequence[tuple[int, int]]
    payouts: Sequence[Payout]

    @property
    def accepted(self) -> int:
        return self.shares.get(ShareOutcome.ACCEPTED, 0)

    @property
    def solo(self) -> int:
        return self.shares.get(SOLO, 0)

    @property
    def refused(self) -> dict[ShareOutcome, int]:
        """By outcome, those that there were."""
        known = {outcome: self.shares.get(outcome, 0) for outcome in OUTCOMES}
        return {outcome: count for outcome, count in known.items() if count and outcome is not ShareOutcome.ACCEPTED}


OUTCOMES = {
    ShareOutcome.ACCEPTED: mark("accepted"),
    ShareOutcome.STALE: mark("too late: the block was over"),
    ShareOutcome.DUPLICATE: mark("brought before"),
    ShareOutcome.LOW_DIFFICULTY: mark("not below the target"),
    ShareOutcome.OUT_OF_RANGE: mark("out of the rig's range"),
    ShareOutcome.UNKNOWN_JOB: mark("for no job of this miner"),
    ShareOutcome.MALFORMED: mark("no number of 64 bits"),
}
"""As people call them."""


OUR_BANS = {HASTY: mark("it does not wait when told to")} | {
    RUBBISH.format(outcome): mark("too many shares did not count") for outcome in OUTCOMES
}
"""The pool's own reasons for a ban, as people call them."""


def why_banned(reason: str | None, words: Language) -> str:
    """An operator's own words stay as they are."""
    return words.gettext(OUR_BANS.get(reason, reason)) if reason else words.say("no reason is known")


async def read_account(database: Database, miner_id: UUID) -> MinerAccount:
    """Raises NotFoundError, DatabaseError."""
    record = await miners.read_record(database, miner_id)
    rigs = _rigs_seen(record.rigs, await miners.rig_work(database, miner_id))
    return MinerAccount(
        miner=record.miner,
        hashes_per_second=sum(rig.hashes_per_second for rig in rigs),
        rigs=rigs,
        shares=record.shares,
        balance=await payout_records.balance(database, miner_id),
        earnings=await payout_records.earnings(database, miner_id, limit=BLOCKS),
        payouts=await payout_records.payouts_of(database, miner_id, after=None, limit=PAYOUTS),
    )


async def rigs_seen(database: Database, miner_id: UUID) -> list[RigSeen]:
    """A miner's machines, those that are here first. Raises DatabaseError."""
    return _rigs_seen(await miners.rigs_of(database, miner_id), await miners.rig_work(database, miner_id))


async def hashes_per_second(database: Database, miner_id: UUID) -> float:
    """Of all rigs of a miner that are here, by their shares of the last ten minutes. Raises DatabaseError."""
    return sum(each.hashes_per_second for each in await rigs_seen(database, miner_id))


def _rigs_seen(rigs: Sequence[RigRow], work: Mapping[int, RigWork]) -> list[RigSeen]:
    now = steady_now()
    found = []
    for rig in rigs:
        done, is_here = work.get(rig.searcher), rig.last_seen_at > now - timedelta(seconds=PRESENT_SECONDS)
        found.append(
            RigSeen(
                searcher=rig.searcher,
                name=rig.name,
                is_here=is_here,
                solo=done is not None and done.solo,
                last_seen_at=rig.last_seen_at,
                hashes_per_second=float(done.recent_hashes) / _seconds_at_work(rig.created_at)
                if done and is_here
                else 0.0,
                shares=done.shares if done else 0,
                best_zeros=done.best_zeros if done else None,
                luck=luck(done.best_hash, int(done.hashes)) if done and done.hashes else None,
            )
        )
    return sorted(found, key=lambda rig: (not rig.is_here, rig.name))


def _seconds_at_work(since: datetime) -> float:
    """Over which a rig's rate is reckoned: ten minutes, or less for a new one."""
    return min(max((steady_now() - since).total_seconds(), LEAST_SECONDS), RATE_SECONDS)
