"""Who may bring shares now: miners that send rubbish are slowed, then banned for a while, and told so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ForbiddenError
from kalepool.grouped import Grouped
from kalepool.policy.conduct import Conduct, Standing, judge, judge_haste, standing
from kalepool.policy.shares import ShareOutcome
from kalepool.services.mining.miners import MinerStatus

log = structlog.get_logger()


HASTY = "does not wait when told to"
RUBBISH = "too many shares did not count, the last one: {}"


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
    ban_reason: of its last ban. saved: whether the database has that. is_read: whether its bans were read there; else
    it is known from other processes alone, or its bans may have changed. lifts: how often they had been lifted then.
    """

    conduct: Conduct | None
    allowance: float
    filled_at: datetime
    seen_at: datetime
    next_at: datetime
    ban_reason: str | None = None
    saved: bool = True
    is_read: bool = True
    lifts: int = 0


@dataclass(slots=True)
class Visit:
    """What a miner did here that other processes are to know. hasty: its rigs, for each request that came too early."""

    shares: int = 0
    hasty: list[int] = field(default_factory=list)


async def _one() -> int:
    return 1


class Gate:
    """The conduct of all miners that were here lately. Bans are kept in the database, scores are not."""

    def __init__(
        self, database: Database, settings: Settings, banned: Callable[[UUID], None], *, is_told: bool = False
    ) -> None:
        """`banned` is called with each miner that gets banned. is_told: whether somebody takes what is untold."""
        self._database = database
        self._banned = banned
        self._limit = settings.miner_shares_per_minute
        self._miners: dict[UUID, KnownMiner] = {}
        self._is_told = is_told
        self._visits: dict[UUID, Visit] = {}
        self._changed: set[UUID] = set()
        self._rows = Grouped(self._read_rows)

    async def check(
        self, miner_id: UUID, now: datetime, shares: int = 0, rigs: Callable[[], Awaitable[int]] = _one
    ) -> None:
        """Notes that the miner is here, with so many shares. `rigs` counts its active ones. Raises BannedError, and
        SlowedError where it must wait."""
        known = self._miners.get(miner_id)
        if known is None or not known.is_read:
            known = await self._read(miner_id, now)
        stands, wait = standing(known.conduct, now)
        if stands is Standing.BANNED:
            until = (now + timedelta(seconds=wait)).isoformat(timespec="seconds")
            raise BannedError(f"you are banned until {until}: {known.ban_reason or 'no reason is known'}", wait)
        if shares:
            if stands is Standing.SLOWED:
                self._require_patience(miner_id, known, now, await rigs())
            self._use_allowance(known, shares, now)
            known.next_at = now + timedelta(seconds=wait)
            if self._is_told:
                self._visits.setdefault(miner_id, Visit()).shares += shares
        known.seen_at = now

    async def _read_rows(self, miner_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
        rows = await self._database.fetch_all("select_miner_bans", miner_ids=list(miner_ids))
        return {row["miner_id"]: row for row in rows}

    async def _read(self, miner_id: UUID, now: datetime) -> KnownMiner:
        """The miner with its bans as the database has them. What it did at other processes is kept."""
        row = await self._rows.answer(miner_id)
        if row is None or row["status"] != MinerStatus.ACTIVE:
            raise ForbiddenError(f"miner {miner_id} is not active")
        known = self._miners.setdefault(miner_id, KnownMiner(None, self._limit, now, now, now, is_read=False))
        if not known.is_read and known.saved:
            known.ban_reason, known.lifts = row["ban_reason"], row["ban_lifts"]
            if known.conduct is not None or row["bans"]:
                before = known.conduct or Conduct(0.0, now)
                known.conduct = replace(before, bans=row["bans"], banned_until=row["banned_until"])
        known.is_read = True
        return known

    def _require_patience(self, miner_id: UUID, known: KnownMiner, now: datetime, rigs: int) -> None:
        if now >= known.next_at or known.conduct is None:
            return
        self._set_conduct(miner_id, known, judge_haste(known.conduct, now, rigs), HASTY)
        if self._is_told:
            self._visits.setdefault(miner_id, Visit()).hasty.append(rigs)
        wait = (known.next_at - now).total_seconds()
        raise SlowedError("many of your last shares did not count: wait, and check your miner", wait)

    def _fill_allowance(self, known: KnownMiner, now: datetime) -> None:
        passed = max((now - known.filled_at).total_seconds(), 0.0)
        known.allowance = min(known.allowance + passed * self._limit / 60, self._limit)
        known.filled_at = now

    def _use_allowance(self, known: KnownMiner, shares: int, now: datetime) -> None:
        self._fill_allowance(known, now)
        needed = min(shares, self._limit)
        if known.allowance < needed:
            wait = (needed - known.allowance) / (self._limit / 60)
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
                RUBBISH.format(outcome),
            )

    def _set_conduct(self, miner_id: UUID, known: KnownMiner, conduct: Conduct, reason: str) -> None:
        """A ban is written down by all who see it: none knows whether another did. Not by who has not read how many
        there were before."""
        banned = conduct.bans > (known.conduct.bans if known.conduct else 0)
        known.conduct = conduct
        if banned:
            known.ban_reason, known.saved = reason, not known.is_read
            log.warning("miner_banned", miner=str(miner_id), until=conduct.banned_until, bans=conduct.bans, why=reason)
            self._banned(miner_id)

    # other processes

    def take_untold(self) -> tuple[dict[UUID, Visit], set[UUID]]:
        """What miners did here since the last call, and whose bans were changed here."""
        visits, self._visits = self._visits, {}
        changed, self._changed = self._changed, set()
        return visits, changed

    def hear(
        self, miner_id: UUID, shares: int, hasty: Sequence[int], outcomes: Counter[ShareOutcome], now: datetime
    ) -> None:
        """A miner did this at another process: it is judged as if it had been here."""
        known = self._miners.get(miner_id)
        if known is None:
            known = self._miners[miner_id] = KnownMiner(None, self._limit, now, now, now, is_read=False)
        known.seen_at = max(known.seen_at, now)
        self._fill_allowance(known, now)
        known.allowance = max(known.allowance - shares, 0.0)
        _, wait = standing(known.conduct, now)
        if shares:
            known.next_at = now + timedelta(seconds=wait)
        for rigs in hasty:
            conduct = judge_haste(known.conduct or Conduct(0.0, now), now, rigs)
            self._set_conduct(miner_id, known, conduct, HASTY)
        for outcome in outcomes.elements():
            conduct = judge(known.conduct, outcome, now)
            self._set_conduct(miner_id, known, conduct, RUBBISH.format(outcome))

    def hear_change(self, miner_id: UUID) -> None:
        """Another process wrote a ban down, or lifted it."""
        known = self._miners.get(miner_id)
        if known is not None:
            known.conduct, known.saved, known.is_read = None, True, False
            self._banned(miner_id)

    def read_again(self) -> None:
        """Bans may have been changed elsewhere."""
        for known in self._miners.values():
            known.is_read = False

    def _note_change(self, miner_id: UUID) -> None:
        if self._is_told:
            self._changed.add(miner_id)

    def standing(self, miner_id: UUID, banned_until: datetime | None, now: datetime) -> tuple[Standing, float]:
        """How a miner stands, and the seconds it has to wait. `banned_until`: as the database has it."""
        known = self._miners.get(miner_id)
        conduct = known.conduct if known and known.is_read else Conduct(0.0, now, banned_until=banned_until)
        return standing(conduct, now)

    async def ban(self, miner_id: UUID, until: datetime, reason: str) -> bool:
        """Keeps a miner out until a time. False where there is none of this id."""
        now = steady_now()
        row = (await self._read_rows([miner_id])).get(miner_id)
        if row is None:
            return False
        bans, lifts = row["bans"] + 1, row["ban_lifts"]
        ban = {"banned_until": until, "bans": bans, "ban_reason": reason}
        if not await self._database.execute("update_miner_ban", miner_id=miner_id, lifts=lifts, **ban):
            return await self.ban(miner_id, until, reason)  # lifted at just this moment
        known = self._miners.setdefault(miner_id, KnownMiner(None, self._limit, now, now, now))
        known.conduct = Conduct(0.0, now, bans, until)
        known.ban_reason, known.saved, known.is_read, known.lifts = reason, True, True, lifts
        self._note_change(miner_id)
        log.warning("miner_banned", miner=str(miner_id), until=until, bans=bans, why=reason)
        self._banned(miner_id)
        return True

    async def lift_ban(self, miner_id: UUID) -> None:
        """Lets a banned miner back in at once, with a clean slate."""
        await self._database.execute("lift_miner_ban", miner_id=miner_id)
        self._miners.pop(miner_id, None)
        self._note_change(miner_id)

    async def save_bans(self) -> None:
        """Writes down the bans that are not written yet, and forgets those that were lifted meanwhile. Raises
        DatabaseError."""
        for miner_id, known in list(self._miners.items()):
            if known.saved or known.conduct is None:
                continue
            written = await self._database.execute(
                "update_miner_ban",
                miner_id=miner_id,
                banned_until=known.conduct.banned_until,
                bans=known.conduct.bans,
                ban_reason=known.ban_reason,
                lifts=known.lifts,
            )
            known.saved = True
            if written:
                self._note_change(miner_id)
            else:
                known.conduct, known.is_read = None, False

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
