"""The live part of mining by others: keeps the board up to date, hands out jobs, takes shares."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Self
from uuid import UUID

import structlog

from kalepool import tracing
from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import DatabaseError
from kalepool.notices import AnyNotice, BlockNotice, FarmerNotice, ShareNotice, hear
from kalepool.policy.shares import ShareOutcome, parse_nonce, verify
from kalepool.policy.timing import blocks_per_day
from kalepool.services.mining.credits import Credits
from kalepool.services.mining.dealer import Dealer, FarmerPlace, GivenJob, Rig
from kalepool.services.mining.gate import CrowdedError, Gate
from kalepool.services.mining.homes import SAVE_SECONDS, Homes, RigClaim
from kalepool.services.mining.intake import Answer, Entry, Intake, request_id
from kalepool.services.mining.jobs import JobIds
from kalepool.services.mining.telling import MiningNews
from kalepool.services.owed import read_claims
from kalepool.services.siblings import Siblings
from kalepool.tasks import end_tasks

log = structlog.get_logger()

FORGET_SECONDS = 300.0

SERIALS = 64  # numbers for jobs that are kept in stock at the least

MOST_STREAMS = 4
"""Requests of one rig that may wait for jobs. It needs one; that another broke off is noticed late."""

CROWDED_SECONDS = 5.0
"""When to come back where too many wait."""


class Silence(Enum):
    """A rig's job has been the same for a while."""

    LASTS = "lasts"


@dataclass(frozen=True, slots=True)
class Offer:
    """A share as a miner brings it."""

    job_id: str
    nonce: str


class Mining:
    """One for each API process; `async with Mining.open(database, settings) as mining`. A rig is at one of them, which
    deals its jobs; its shares may come through any."""

    def __init__(self, database: Database, settings: Settings, key: bytes, siblings: Siblings | None = None) -> None:
        self._database = database
        self._settings = settings
        self._ids = JobIds(key)
        self.dealer = Dealer(
            self._ids, block_seconds=settings.chain.block_seconds, share_seconds=settings.miner_share_seconds
        )
        self._siblings = siblings
        self.gate = Gate(database, settings, self._end_streams, is_told=siblings is not None)
        self._news = MiningNews(self.gate, self._count_share, self._given_away)
        self.homes = Homes(database, settings, self.dealer.rigs, siblings, self._news.gave_away, self._rigs_came)
        if siblings is not None:
            siblings.share("mining", self._news)
        self._left: set[Rig] = set()  # whose last stream has ended
        self.credits = Credits(database, settings)
        self.intake = Intake(database, self._is_hit, self._counted)
        self._day = blocks_per_day(settings.chain)
        self._claims: Mapping[UUID, int] = {}
        self._claims_at = -1  # the block they were read for
        self._owners: dict[int, UUID] = {}  # of searchers that are not on the board
        self._reload = asyncio.Event()  # places may have changed
        self._dirty = asyncio.Event()  # jobs may have to change
        self._ending = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, database: Database, settings: Settings, siblings: Siblings | None = None
    ) -> AsyncIterator[Self]:
        """Knows the open blocks when it is entered. siblings: the other processes; None where there are none to be.
        Raises DatabaseError."""
        mining = cls(database, settings, await read_job_key(database), siblings)
        await mining._load_places()
        await mining._stock_serials()
        loops = [mining.intake.run, mining._reloading, mining._dealing, mining._keeping]
        loops += [mining._hear_shares, partial(mining._hear_changes, BlockNotice)]
        loops += [partial(mining._hear_changes, FarmerNotice)]
        tasks = [asyncio.create_task(_keep_up(loop)) for loop in loops]
        try:
            yield mining
        finally:
            await end_tasks(tasks)
            with contextlib.suppress(DatabaseError):
                await mining._save(steady_now())

    def end_waiting(self) -> None:
        """Answers everything that waits for a job, now and from here on: the process is about to stop."""
        self._ending = True
        for rig in self.dealer.rigs.values():
            rig.wake()

    # jobs

    async def claim_rig(
        self,
        miner_id: UUID,
        name: str,
        *,
        hashes_per_second: float | None = None,
        whole_zeros: bool = False,
        at_once: bool = False,
        solo: UUID | None = None,
    ) -> Rig:
        """The rig of that name, made if it is new, and marked as seen now.

        hashes_per_second: what it believes to do; sets its first difficulty. whole_zeros: targets of whole digits only.
        solo: the farmer that it hashes for alone, which has to be the miner's own (solo.py). at_once: it is dealt with
        here, wherever it was. Raises ConflictError when the miner has its most rigs and none of them is idle,
        BannedError, CrowdedError, ElsewhereError.
        """
        await self.gate.check(miner_id, steady_now())
        rig = self.homes.rig(miner_id, name)
        if rig is None:
            rig = await self.homes.claim(RigClaim(miner_id, name, hashes_per_second, at_once, whole_zeros, solo))
        if rig.streams >= MOST_STREAMS:
            raise CrowdedError(f"{rig.streams} requests of this rig wait for jobs, the most that may", CROWDED_SECONDS)
        now = steady_now()
        rig.seen_at = now
        if (rig.whole_zeros, rig.solo) != (whole_zeros, solo) or (not rig.given and self.dealer.places):
            rig.whole_zeros, rig.solo = whole_zeros, solo
            self.dealer.deal(now)
        return rig

    async def _rigs_came(self) -> None:
        """Has jobs for all of them at once."""
        try:
            await self._stock_serials()
        except DatabaseError as error:
            log.warning("serials_not_taken", reason=str(error))
        if self.dealer.deal(steady_now()):
            self._dirty.set()

    def _given_away(self, searcher: int) -> None:
        if (rig := self.dealer.rigs.get(searcher)) is not None and not rig.streams:
            self.homes.forget(rig)

    async def retire_rig(self, miner_id: UUID, searcher: int) -> str:
        """Forgets a rig that is gone, and gives its name; what it brought stays. Should it come again, it is a new one.

        Raises NotFoundError, ConflictError for one that is at work.
        """
        name = await self.homes.retire(miner_id, searcher)
        self._owners[searcher] = miner_id  # of shares that are still on their way
        return name

    async def next_job(self, rig: Rig, after: str | None, wait_seconds: float) -> GivenJob | None:
        """The rig's job once it is another than `after`; None when `wait_seconds` pass without one."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait_seconds
        rig.streams += 1
        try:
            while not self._ending and (rig.given is None or rig.job_id == after):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(ends_at):
                        await rig.changed.wait()
                        continue
                return None
            return rig.given if rig.job_id != after else None
        finally:
            rig.streams -= 1
            rig.seen_at = steady_now()

    async def jobs(self, rig: Rig, silence_seconds: float | None = None) -> AsyncGenerator[GivenJob | Silence | None]:
        """The rig's job now and whenever it changes; None when there is nothing to hash; Silence each time that has
        been so for so many seconds. Raises BannedError."""
        rig.streams += 1
        told: str | None = ""
        try:
            while not self._ending:
                changed = rig.changed  # whatever happens from here on sets this one
                await self.gate.check(rig.miner_id, steady_now())
                if rig.job_id != told:
                    told = rig.job_id
                    yield rig.given
                    continue
                while not await _happens(changed, silence_seconds):
                    yield Silence.LASTS
        finally:
            rig.streams -= 1
            rig.seen_at = steady_now()
            if not rig.streams:
                self._left.add(rig)

    # shares

    async def take_shares(
        self, miner_id: UUID, offers: Sequence[Offer], request_key: str | None = None
    ) -> list[Answer]:
        """Hashes each share again, and answers when all that count are in the database.

        request_key: the caller's name for this request; the same again is answered the same.
        Raises BannedError, SlowedError; DatabaseError when nothing can be stored now: send the same request again.
        """
        now = steady_now()
        with tracing.span_of_shares("shares", shares=len(offers)) as whole:
            await self.gate.check(miner_id, now, len(offers), partial(self._active_rigs, miner_id, now))
            seen: Counter[Offer] = Counter()
            entries: list[Entry] = []
            with whole.child("verify"):
                for position, offer in enumerate(offers):
                    name = request_id(request_key, offer.job_id, offer.nonce, seen[offer])
                    seen[offer] += 1
                    entries.append(await self._judge(miner_id, offer, name))
                    if position % 8 == 7:  # each is hashed here: a long batch must not hold up everybody else
                        await asyncio.sleep(0)
            with whole.child("store"):
                answers = await self.intake.record(entries)
            whole.note(accepted=sum(answer.outcome is ShareOutcome.ACCEPTED for answer in answers))
            return answers

    async def _active_rigs(self, miner_id: UUID, now: datetime) -> int:
        """How many machines of a miner there are, whichever process has them."""
        here = self.dealer.active_rigs(miner_id, now)
        if self._siblings is None or not self._siblings.others:
            return here
        row = await self._database.fetch_one("count_rigs_at_home", miner_id=miner_id)
        assert row is not None
        return max(here, row["rigs"])

    async def _judge(self, miner_id: UUID, offer: Offer, name: bytes) -> Entry:
        nonce, terms = parse_nonce(offer.nonce), self._ids.read(offer.job_id)
        if nonce is None or terms is None or await self._owner(terms.searcher) != miner_id:
            outcome = ShareOutcome.MALFORMED if nonce is None else ShareOutcome.UNKNOWN_JOB
            return Entry(miner_id, name, self.dealer.newest_index, _refusal(offer, outcome))
        found = self.dealer.job_of(terms, offer.job_id, steady_now())
        if found is None:
            answer = _refusal(offer, ShareOutcome.STALE)
            return Entry(miner_id, name, terms.block_index, answer, terms.farmer_id, None, terms.searcher, nonce)
        job, place = found
        verdict = verify(job, nonce, open_index=place.block_index)
        rig = self.dealer.rigs.get(terms.searcher)
        if rig is not None:
            rig.seen_at = steady_now()
        if verdict.outcome is ShareOutcome.ACCEPTED:
            answer = Answer(offer.nonce, verdict.outcome, verdict.zeros, verdict.credited_hashes)
        else:
            answer = _refusal(offer, verdict.outcome)
        return Entry(
            miner_id=miner_id,
            request_id=name,
            block_index=place.block_index,
            answer=answer,
            farmer_id=place.farmer_id,
            pooler_id=place.pooler_id,
            searcher=terms.searcher,
            nonce=nonce,
            digest=verdict.digest,
            solo=terms.solo,
        )

    async def _owner(self, searcher: int) -> UUID | None:
        """Whose rig has this number."""
        rig = self.dealer.rigs.get(searcher)
        if rig is not None:
            return rig.miner_id
        if searcher not in self._owners:
            row = await self._database.fetch_one("select_rig_owner", searcher=searcher)
            if row is None:
                return None
            self._owners[searcher] = row["miner_id"]
        return self._owners[searcher]

    def _is_hit(self, entry: Entry) -> bool:
        """Whether the coordinator must hear of an accepted share."""
        place = self.dealer.places.get(entry.farmer_id) if entry.farmer_id else None
        return place is None or place.block_index != entry.block_index or place.zeros < (entry.answer.zeros or 0)

    def _counted(self, entry: Entry) -> None:
        """An entry is in the database: places, the rig's pace and the miner's conduct follow."""
        answer = entry.answer
        if answer.outcome is ShareOutcome.ACCEPTED and entry.farmer_id is not None:
            if self.dealer.improve(entry.farmer_id, entry.block_index, answer.zeros or 0):
                self._dirty.set()
            self._count_share(entry.searcher, answer.credited_hashes)
        self.gate.count(entry.miner_id, answer.outcome, steady_now())
        self._news.counted(entry)

    def _count_share(self, searcher: int, credited_hashes: int) -> None:
        self.dealer.count_share(searcher, credited_hashes, steady_now())

    def _end_streams(self, miner_id: UUID) -> None:
        """Wakes what waits for a miner's rigs, to find that it is banned."""
        for rig in self.dealer.rigs.values():
            if rig.miner_id == miner_id:
                rig.wake()

    # loops

    async def _hear_changes(self, kind: type[AnyNotice]) -> None:
        async for _ in hear(self._database, kind):
            self._reload.set()

    async def _hear_shares(self) -> None:
        async for notice in hear(self._database, ShareNotice):
            if notice is None:
                self._reload.set()
            elif self.dealer.improve(notice.farmer_id, notice.block_index, notice.zeros):
                self._dirty.set()

    async def _load_places(self) -> None:
        places = await self._database.fetch_all("select_places", row=FarmerPlace)
        newest = max((place.block_index for place in places), default=0)
        if newest != self._claims_at:  # they change with the block
            self._claims = await read_claims(self._database, newest, self._day)
            self._claims_at = newest
        self.dealer.set_places(places, self._claims, steady_now())

    async def _stock_serials(self) -> None:
        """Numbers for as many jobs as all rigs may need until the next look, twice over."""
        wanted = max(SERIALS, 2 * len(self.dealer.rigs))
        if (stock := len(self.dealer.serials)) < wanted:
            rows = await self._database.fetch_all("select_next_job_serials", count=wanted * 3 // 2 - stock)
            self.dealer.serials.extend(row["serial"] for row in rows)

    async def _reloading(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                await self._load_places()
            except DatabaseError as error:
                log.warning("places_not_read", reason=str(error))
                self._reload.set()
                await asyncio.sleep(1.0)
                continue
            self.dealer.deal(steady_now())
            await asyncio.sleep(0.05)

    async def _dealing(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._stock_serials()
            except DatabaseError as error:
                log.warning("serials_not_taken", reason=str(error))
            self.dealer.processes = 1 + (self._siblings.others if self._siblings is not None else 0)
            now = steady_now()
            self.dealer.adjust_paces(now)
            if self.dealer.deal(now):
                self._dirty.set()
            with contextlib.suppress(DatabaseError):  # they hold in memory, and are tried again
                await self.gate.save_bans()
            await self._leave_rigs()
            await asyncio.sleep(0.1)

    async def _leave_rigs(self) -> None:
        """Lets rigs go whose stream has ended, where there is another process to come back to."""
        left, self._left = self._left, set()
        if left and self._siblings is not None and self._siblings.others:
            await self.homes.leave(left)

    async def _keeping(self) -> None:
        """Writes down what a restart should know, forgets who is gone."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            now = steady_now()
            try:
                await self._save(now)
            except DatabaseError as error:
                log.warning("mining_not_saved", reason=str(error))

    async def _save(self, now: datetime) -> None:
        rigs = [rig for rig in self.dealer.rigs.values() if rig.seen_at is not None]
        await self._database.execute(
            "update_rigs",
            searchers=[rig.searcher for rig in rigs],
            difficulties=[rig.pace.difficulty for rig in rigs],
            seen_at=[now if rig.streams else rig.seen_at for rig in rigs],
        )
        gone = now - timedelta(seconds=FORGET_SECONDS)
        await self.gate.save_seen(gone)
        shared = self._siblings is not None and self._siblings.others > 0
        for rig in rigs:
            if not rig.streams and rig.seen_at is not None and rig.seen_at < gone:
                self._left.add(rig) if shared else self.homes.forget(rig)


async def read_job_key(database: Database) -> bytes:
    """The key behind job ids, and what else the API's processes prove to each other. Raises DatabaseError."""
    row = await database.fetch_one("select_job_key")
    if row is None:
        raise DatabaseError("the table job_key is empty: it is filled by the migration and must not be emptied")
    return row["key"]


_REASONS = {
    ShareOutcome.STALE: "its block is over, or its farmer is out of it",
    ShareOutcome.UNKNOWN_JOB: "no such job was given to you",
    ShareOutcome.OUT_OF_RANGE: "the nonce is not in the range of the job",
    ShareOutcome.LOW_DIFFICULTY: "the hash is not below the target of the job",
    ShareOutcome.MALFORMED: "the nonce is not a decimal number of 64 bits",
}


async def _happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether it does within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def _keep_up(loop: Callable[[], Awaitable[None]]) -> None:
    """Runs a loop that is never to end; starts it again after an error nobody thought of."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("mining_loop_failed")
            await asyncio.sleep(1.0)


def _refusal(offer: Offer, outcome: ShareOutcome) -> Answer:
    return Answer(offer.nonce, outcome, detail=_REASONS[outcome])
