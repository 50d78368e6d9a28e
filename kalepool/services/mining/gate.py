"""Who may bring shares now: miners that send rubbish are slowed, then banned for a while, and told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ForbiddenError
from kalepool.policy.conduct import Conduct, Standing, judge, judge_haste, standing
from kalepool.policy.shares import ShareOutcome
from kalepool.services.mining.miners import MinerStatus

log = structlog.get_logger()


class WaitError(ForbiddenError):
    """The miner must wait `retry_after_seconds` before it is listened to again."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BannedError(WaitError):
    """The miner is banned for a while: too many of its shares did not count."""

    code = "banned"


class SlowedError(WaitError):
    """The miner brings shares faster than it may now."""

    code = "slowed"


class CrowdedError(WaitError):
    """Too many requests of the rig wait for jobs."""

    code = "too-many-waiting"


@dataclass(slots=True)
class KnownMiner:
    """What is remembered of a miner between requests.

    allowance: the shares it may bring at once, as of filled_at. next_at: when it may bring shares again, while slowed.
    ban_reason: of its last ban. saved: whether the database has that.
    """

    conduct: Conduct | None
    allowance: float
    filled_at: datetime
    seen_at: datetime
    next_at: datetime
    ban_reason: str | None = None
    saved: bool = True


class Gate:
    """The conduct of all miners that were here lately. Bans are kept in the database, scores are not."""

    def __init__(self, database: Database, settings: Settings, banned: Callable[[UUID], None]) -> None:
        """`banned` is called with each miner that gets banned."""
        self._database = database
        self._banned = banned
        self._limit = settings.miner_shares_per_minute
        self._miners: dict[UUID, KnownMiner] = {}

    async def check(self, miner_id: UUID, now: datetime, shares: int = 0, rigs: Callable[[], int] = lambda: 1) -> None:
        """Notes that the miner is here, with so many shares. `rigs` counts its active ones. Raises BannedError, and
        SlowedError where it must wait."""
        known = self._miners.get(miner_id)
        if known is None:
            row = await self._database.fetch_one("select_miner", miner_id=miner_id)
            if row is None or row["status"] != MinerStatus.ACTIVE:
                raise ForbiddenError(f"miner {miner_id} is not active")
            conduct = Conduct(0.0, now, row["bans"], row["banned_until"]) if row["bans"] else None
            known = self._miners.setdefault(
                miner_id, KnownMiner(conduct, self._limit, now, now, now, row["ban_reason"])
            )
        stands, wait = standing(known.conduct, now)
        if stands is Standing.BANNED:
            until = (now + timedelta(seconds=wait)).isoformat(timespec="seconds")
            raise BannedError(f"you are banned until {until}: {known.ban_reason or 'no reason is known'}", wait)
        if shares:
            if stands is Standing.SLOWED:
                self._require_patience(miner_id, known, now, rigs())
            self._use_allowance(known, shares, now)
            known.next_at = now + timedelta(seconds=wait)
        known.seen_at = now

    def _require_patience(self, miner_id: UUID, known: KnownMiner, now: datetime, rigs: int) -> None:
        if now >= known.next_at or known.conduct is None:
            return
        self._set_conduct(miner_id, known, judge_haste(known.conduct, now, rigs), "does not wait when told to")
        wait = (known.next_at - now).total_seconds()
        raise SlowedError("many of your last shares did not count: wait, and check your miner", wait)

    def _use_allowance(self, known: KnownMiner, shares: int, now: datetime) -> None:
        per_second = self._limit / 60
        passed = max((now - known.filled_at).total_seconds(), 0.0)
        known.allowance = min(known.allowance + passed * per_second, self._limit)
        known.filled_at = now
        needed = min(shares, self._limit)
        if known.allowance < needed:
            wait = (needed - known.allowance) / per_second
            raise SlowedError(f"more than {self._limit} shares a minute: take the newest job, which is harder", wait)
        known.allowance -= needed

    def count(self, miner_id: UUID, outcome: ShareOutcome, now: datetime) -> None:
        """Notes what became of a share."""
        known = self._miners.get(miner_id)
        if known is not None:
            self._set_conduct(
                miner_id,
                known,
                judge(known.conduct, outcome, now),
                f"too many shares did not count, the last one: {outcome}",
            )

    def _set_conduct(self, miner_id: UUID, known: KnownMiner, conduct: Conduct, reason: str) -> None:
        banned = conduct.bans > (known.conduct.bans if known.conduct else 0)
        known.conduct = conduct
        if banned:
            known.ban_reason, known.saved = reason, False
            log.warning("miner_banned", miner=str(miner_id), until=conduct.banned_until, bans=conduct.bans, why=reason)
            self._banned(miner_id)

    def standing(self, miner_id: UUID, banned_until: datetime | None, now: datetime) -> tuple[Standing, float]:
        """How a miner stands, and the seconds it has to wait. `banned_until`: as the database has it."""
        known = self._miners.get(miner_id)
        return standing(known.conduct if known else Conduct(0.0, now, banned_until=banned_until), now)

    async def ban(self, miner_id: UUID, until: datetime, reason: str) -> bool:
        """Keeps a miner out until a time. False where there is none of this id."""
        now = steady_now()
        row = await self._database.fetch_one("select_miner", miner_id=miner_id)
        if row is None:
            return False
        bans = row["bans"] + 1
        await self._database.execute(
            "update_miner_ban", miner_id=miner_id, banned_until=until, bans=bans, ban_reason=reason
        )
        known = self._miners.setdefault(miner_id, KnownMiner(None, self._limit, now, now, now))
        known.conduct = Conduct(0.0, now, bans, until)
        known.ban_reason, known.saved = reason, True
        log.warning("miner_banned", miner=str(miner_id), until=until, bans=bans, why=reason)
        self._banned(miner_id)
        return True

    async def lift_ban(self, miner_id: UUID) -> None:
        """Lets a banned miner back in at once, with a clean slate."""
        await self._database.execute("update_miner_ban", miner_id=miner_id, banned_until=None, bans=0, ban_reason=None)
        self._miners.pop(miner_id, None)

    async def save_bans(self) -> None:
        """Writes down the bans that are not written yet. Raises DatabaseError."""
        for miner_id, known in list(self._miners.items()):
            if known.saved or known.conduct is None:
                continue
            await self._database.execute(
                "update_miner_ban",
                miner_id=miner_id,
                banned_until=known.conduct.banned_until,
                bans=known.conduct.bans,
                ban_reason=known.ban_reason,
            )
            known.saved = True

    async def save_seen(self, forget_before: datetime) -> None:
        """Writes down when each miner was last here, and forgets those that were not since `forget_before`."""
        await self._database.execute(
            "touch_miners",
            miner_ids=list(self._miners),
            seen_at=[known.seen_at for known in self._miners.values()],
        )
        for miner_id, known in list(self._miners.items()):
            stands, _ = standing(known.conduct, steady_now())
            if known.seen_at < forget_before and stands is Standing.OK and known.saved:
                del self._miners[miner_id]
