"""Finds become shares: hashed again by the readable hash, told to the state, and written down at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from kalepool.cluster.members import FalseReportError, Member
from kalepool.cluster.messages import WorkerReport
from kalepool.coordinator.state import CoordinatedFarmer, State
from kalepool.database import Database, new_id
from kalepool.errors import DatabaseError
from kalepool.notices import ShareNotice
from kalepool.policy.ranges import RangeExhaustedError, Searcher, prefix_range
from kalepool.policy.shares import ShareOutcome, check
from kalepool.policy.snapshot import Found
from kalepool.protocol.hashing import count_zeros, hash_work

RETRY_SECONDS = 0.5
FALSE_FINDS = 10  # of one worker; a chain that was set back can make some of an honest one
SERIALS_AT_ONCE = 32  # taken from the database together: all workers of a large cluster start at once

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class VerifiedFind:
    """A verified find with more zeros than the farmer had. `queued_at` is by the monotonic clock."""

    index: int
    farmer: CoordinatedFarmer
    serial: int
    nonce: int
    digest: bytes
    zeros: int
    found_at: datetime
    queued_at: float


class Finds:
    """Takes finds from everywhere. What is accepted reaches the database sooner or later, also over its restarts."""

    def __init__(self, state: State, database: Database, pooler_id: UUID) -> None:
        self.accepted = 0
        self.rejected = 0
        self.write_seconds: deque[float] = deque(maxlen=1000)  # from accepting a share to its commit
        self._state = state
        self._database = database
        self._pooler_id = pooler_id
        self._waiting: list[VerifiedFind] = []
        self._wake = asyncio.Event()
        self._own: Searcher | None = None
        self._serials: list[int] = []
        self._serials_lock = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Shares accepted and not written down yet."""
        return len(self._waiting)

    def take(self, member: Member, report: WorkerReport) -> None:
        """Judge a worker's finds. Those that do not improve on what is known are dropped unhashed.

        Raises FalseReportError for a worker whose finds are not what it says of them.
        """
        state = self._state
        if not report.finds or report.index != state.index or state.block is None:
            return
        for find in report.finds:
            farmer = state.by_key.get(find.farmer)
            if farmer is None or find.zeros <= state.best_zeros(farmer.wallet):
                continue
            serial = next((s for s in member.serials if find.nonce in prefix_range(s)), member.serials[-1])
            verdict = check(
                report.index, state.block.entropy, farmer.wallet, find.nonce, serial=serial, zeros_claimed=find.zeros
            )
            if verdict.outcome is ShareOutcome.ACCEPTED and verdict.digest is not None and verdict.zeros is not None:
                self._accept(farmer, serial, find.nonce, verdict.digest, verdict.zeros)
            else:
                self.rejected += 1
                member.false_finds += 1
                log.error("find_rejected", host=member.place.host, kind=member.place.kind, reason=verdict.outcome.value)
                if member.false_finds > FALSE_FINDS:
                    raise FalseReportError(
                        f"the worker on {member.place.host} is not believed: {FALSE_FINDS} false finds"
                    )

    async def seed(self) -> None:
        """One hash for every farmer without a share: a weak work saves a stake, and any share is better than none."""
        state = self._state
        missing = [farmer for farmer in state.searched() if state.best_zeros(farmer.wallet) < 0]
        if state.index is None or state.block is None or not missing:
            return
        index, entropy = state.index, state.block.entropy
        for farmer in missing:
            if self._own is None:
                self._own = Searcher(await self.next_serial())
            try:
                nonce = self._own.take(index, 1).start
            except (RangeExhaustedError, ValueError):  # ValueError: the chain was set back
                self._own = None
                continue
            digest = hash_work(index, nonce, entropy, farmer.wallet)
            if state.index != index or state.best_zeros(farmer.wallet) >= 0:
                continue
            self._accept(farmer, self._own.serial, nonce, digest, count_zeros(digest))

    async def recall(self) -> None:
        """What the database has for the current block: shares of external miners, and ours from before a restart."""
        state = self._state
        if state.index is None or state.block is None:
            return
        index, entropy = state.index, state.block.entropy
        rows = await self._database.fetch_all("select_block_records", pooler_id=self._pooler_id, block_index=index)
        for row in rows:
            if row["zeros"] <= state.best_zeros(row["wallet"]):
                continue
            zeros = count_zeros(hash_work(index, row["nonce"], entropy, row["wallet"]))
            if zeros == row["zeros"] and state.index == index:  # else of another chain's block
                state.saw_share(row["wallet"], Found(zeros, row["nonce"]))
        state.recalled = state.index == index

    def heard(self, notice: ShareNotice) -> None:
        """A share that somebody wrote to the database, verified by them."""
        state = self._state
        farmer = state.by_id.get(notice.farmer_id)
        if farmer and notice.pooler_id == self._pooler_id and notice.block_index == state.index:
            state.saw_share(farmer.wallet, Found(notice.zeros, notice.nonce))

    async def next_serial(self) -> int:
        """A searcher serial nobody ever had."""
        async with self._serials_lock:
            if not self._serials:
                rows = await self._database.fetch_all("select_next_searchers", count=SERIALS_AT_ONCE)
                self._serials = [row["searcher"] for row in rows]
            return self._serials.pop()

    async def write(self) -> None:
        """Write what waits, as soon as there is something; for ever. At cancellation nothing is left behind."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._write_waiting()
        finally:
            if self._waiting:
                await asyncio.shield(asyncio.wait_for(self._write_waiting(), 2.0))

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch = tuple(self._waiting)
            try:
                async with self._database.transaction() as session:
                    await session.execute("insert_worker_shares", **_columns(batch))
                    await session.execute("notify_shares", payloads=[self._notice(share).to_text() for share in batch])
            except DatabaseError as error:
                log.warning("shares_wait_for_database", shares=len(self._waiting), reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            del self._waiting[: len(batch)]
            now = time.monotonic()
            self.write_seconds.extend(now - share.queued_at for share in batch)

    def _accept(self, farmer: CoordinatedFarmer, serial: int, nonce: int, digest: bytes, zeros: int) -> None:
        index = self._state.index
        if index is not None and self._state.saw_share(farmer.wallet, Found(zeros, nonce)):
            self.accepted += 1
            now = time.monotonic()
            self._waiting.append(VerifiedFind(index, farmer, serial, nonce, digest, zeros, datetime.now(UTC), now))
            self._wake.set()

    def _notice(self, share: VerifiedFind) -> ShareNotice:
        return ShareNotice(share.index, self._pooler_id, share.farmer.farmer_id, share.nonce, share.zeros, share.serial)


def _columns(shares: Sequence[VerifiedFind]) -> dict[str, list[Any]]:
    return {
        "share_ids": [new_id() for _ in shares],
        "block_indexes": [share.index for share in shares],
        "farmer_ids": [share.farmer.farmer_id for share in shares],
        "searchers": [share.serial for share in shares],
        "nonces": [share.nonce for share in shares],
        "hashes": [share.digest for share in shares],
        "zeros": [share.zeros for share in shares],
        "found_at": [share.found_at for share in shares],
    }
