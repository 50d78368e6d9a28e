"""Which rigs this process deals with. However many come back at once, a few statements claim them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from kalepool.clock import steady_now
from kalepool.config import Settings
from kalepool.database import Database, new_id
from kalepool.errors import ConflictError, DatabaseError, DuplicateRowError, KalepoolError, NotFoundError
from kalepool.grouped import Grouped
from kalepool.policy.vardiff import FIRST_DIFFICULTY, MIN_DIFFICULTY, Pace, difficulty_for
from kalepool.services.mining.dealer import Rig
from kalepool.services.siblings import ALIVE_SECONDS, Siblings

log = structlog.get_logger()

IDLE_SECONDS = 30.0
"""A rig that was not heard of for so long, and waits for nothing, gives its place to one of another name."""

SAVE_SECONDS = 30.0
"""How often it is written down when each rig was seen."""

RigName = tuple[UUID, str]
"""A miner, and what it calls the rig."""


class ElsewhereError(KalepoolError):
    """Another process has this rig, and is to be asked for its jobs, at `address`."""

    code = "elsewhere"

    def __init__(self, address: str) -> None:
        super().__init__(f"the API process at {address} has this rig")
        self.address = address


@dataclass(frozen=True, slots=True)
class RigClaim:
    """Who comes for jobs. hashes_per_second: what a new rig believes to do. at_once: it is dealt with here from now on,
    wherever it was. whole_zeros, solo: as Rig has them."""

    miner_id: UUID
    name: str
    hashes_per_second: float | None = None
    at_once: bool = False
    whole_zeros: bool = False
    solo: UUID | None = None


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A rig in the database. elsewhere: the process that has it, if it is not this one."""

    searcher: int
    miner_id: UUID
    name: str
    difficulty: int | None
    elsewhere: UUID | None


class Homes:
    """One for each API process."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        rigs: dict[int, Rig],
        siblings: Siblings | None,
        gave_away: Callable[[int], None],
        claimed: Callable[[], Awaitable[None]],
    ) -> None:
        """rigs: those at this process by searcher, kept here. `gave_away` gets each searcher that has another name now.
        `claimed` is awaited when rigs have come, before they are given to who claimed them."""
        self._database = database
        self._settings = settings
        self._rigs = rigs
        self._siblings = siblings
        self._gave_away = gave_away
        self._claimed = claimed
        self._home = siblings.process_id if siblings is not None else new_id()
        self._names: dict[RigName, Rig] = {}
        self._moving = asyncio.Lock()  # held while rigs come or go
        self._claims = Grouped(self._claim)

    def rig(self, miner_id: UUID, name: str) -> Rig | None:
        """The rig of that name, where it is here already."""
        return self._names.get((miner_id, name))

    async def claim(self, claim: RigClaim) -> Rig:
        """The rig, made if it is new. Raises ConflictError when the miner has its most rigs and none of them is idle,
        ElsewhereError, DatabaseError."""
        claimed = await self._claims.answer(claim)
        assert claimed is not None
        if isinstance(claimed, KalepoolError):
            raise claimed
        return claimed

    async def _claim(self, claims: Sequence[RigClaim]) -> Mapping[RigClaim, Rig | KalepoolError]:
        async with self._moving:
            found: dict[RigName, Rig | KalepoolError] = {}
            wanted: dict[RigName, RigClaim] = {}
            for claim in claims:
                name = claim.miner_id, claim.name
                if (rig := self._names.get(name)) is not None:
                    found[name] = rig
                else:
                    at_once = claim.at_once or (name in wanted and wanted[name].at_once)
                    wanted[name] = replace(claim, at_once=at_once)
            if wanted:
                await self._take(wanted, found)
                await self._make(wanted, found)
                for name in wanted.keys() - found.keys():
                    found[name] = await self._take_over(wanted[name])
                await self._claimed()
        return {claim: found[claim.miner_id, claim.name] for claim in claims}

    async def _take(self, wanted: Mapping[RigName, RigClaim], found: dict[RigName, Rig | KalepoolError]) -> None:
        """Finds those that there are: at this process from now on, unless another one that is there has them."""
        gone = set(self._siblings.unreachable) if self._siblings is not None else set[UUID]()
        asked = [claim for name, claim in wanted.items() if name not in found]
        while asked:
            rows = await self._database.fetch_all(
                "take_rigs",
                row=ClaimedRow,
                home=self._home,
                miner_ids=[claim.miner_id for claim in asked],
                names=[claim.name for claim in asked],
                at_once=[claim.at_once for claim in asked],
                gone=list(gone),
                alive_seconds=ALIVE_SECONDS,
            )
            addresses = await self._reach({row.elsewhere for row in rows if row.elsewhere is not None})
            asked = []
            for row in rows:
                name = row.miner_id, row.name
                if row.elsewhere is None:
                    found[name] = self._load(row, wanted[name])
                elif (address := addresses[row.elsewhere]) is not None:
                    found[name] = ElsewhereError(address)
                else:
                    gone.add(row.elsewhere)
                    asked.append(wanted[name])

    async def _reach(self, homes: set[UUID]) -> dict[UUID, str | None]:
        """The address of each process; None for one that is gone."""
        if self._siblings is None:
            return dict.fromkeys(homes)
        each = list(homes)
        return dict(zip(each, await asyncio.gather(*(self._siblings.reach(home) for home in each)), strict=True))

    async def _make(self, wanted: Mapping[RigName, RigClaim], found: dict[RigName, Rig | KalepoolError]) -> None:
        """Makes those that there were not, as far as their miners have room."""
        new = [name for name in wanted if name not in found]
        if not new:
            return
        rows = await self._database.fetch_all(
            "insert_rigs",
            row=ClaimedRow,
            home=self._home,
            miner_ids=[miner_id for miner_id, _ in new],
            names=[name for _, name in new],
            most=self._settings.miner_rigs,
        )
        for row in rows:
            found[row.miner_id, row.name] = self._load(row, wanted[row.miner_id, row.name])
        await self._take(wanted, found)  # another process may have been quicker with the same

    def _load(self, row: ClaimedRow, claim: RigClaim) -> Rig:
        difficulty = row.difficulty
        if difficulty is None and claim.hashes_per_second:
            difficulty = difficulty_for(claim.hashes_per_second, self._settings.miner_share_seconds)
        difficulty = max(difficulty or FIRST_DIFFICULTY, MIN_DIFFICULTY)
        now = steady_now()
        pace = Pace(difficulty, now, settled=row.difficulty is not None)
        rig = Rig(claim.miner_id, claim.name, row.searcher, pace, claim.whole_zeros, claim.solo, seen_at=now)
        self._names[claim.miner_id, claim.name] = rig
        self._rigs[rig.searcher] = rig
        return rig

    async def _take_over(self, claim: RigClaim) -> Rig | KalepoolError:
        """The place of the rig that is idle for the longest: containers have another name at every start."""
        here = [rig for rig in self._rigs.values() if rig.miner_id == claim.miner_id]
        # Those that this process does not know; that a rig was seen is written down every SAVE_SECONDS.
        taken: dict[str, Any] = {
            "miner_id": claim.miner_id,
            "name": claim.name,
            "idle_seconds": IDLE_SECONDS + SAVE_SECONDS,
            "home": self._home,
            "known": [rig.searcher for rig in here],
        }
        try:
            row = await self._database.fetch_one("take_over_rig", row=ClaimedRow, **taken, searcher=None)
        except DuplicateRowError:  # another process was quicker with the same
            name, found = (claim.miner_id, claim.name), dict[RigName, Rig | KalepoolError]()
            await self._take({name: replace(claim, at_once=True)}, found)
            return found.get(name) or self._full()
        if row is not None:
            self._gave_away(row.searcher)
            return self._load(row, claim)
        before = steady_now() - timedelta(seconds=IDLE_SECONDS)
        idle = [rig for rig in here if not rig.streams and rig.seen_at is not None and rig.seen_at < before]
        if not idle:
            return self._full()
        oldest = min(idle, key=lambda rig: (rig.seen_at or before, rig.searcher))
        self.forget(oldest)
        row = await self._database.fetch_one("take_over_rig", row=ClaimedRow, **taken, searcher=oldest.searcher)
        return self._full() if row is None else self._load(row, claim)

    def _full(self) -> ConflictError:
        most = self._settings.miner_rigs
        return ConflictError(f"this miner has {most} rigs at work, the most it may; none of them is idle")

    # they go

    def forget(self, rig: Rig) -> None:
        """It is claimed anew when it comes again."""
        if self._rigs.get(rig.searcher) is rig:  # and no other in its place
            del self._rigs[rig.searcher]
            del self._names[rig.miner_id, rig.name]

    async def leave(self, rigs: Iterable[Rig]) -> None:
        """Lets rigs go that nothing waits for: who comes back may come to another process."""
        async with self._moving:
            gone = [rig for rig in rigs if not rig.streams and self._rigs.get(rig.searcher) is rig]
            if not gone:
                return
            for rig in gone:
                self.forget(rig)
            try:
                await self._database.execute(
                    "leave_rigs",
                    home=self._home,
                    searchers=[rig.searcher for rig in gone],
                    difficulties=[rig.pace.difficulty for rig in gone],
                    seen_at=[rig.seen_at for rig in gone],
                )
            except DatabaseError as error:
                log.warning("rigs_not_left", reason=str(error))

    async def retire(self, miner_id: UUID, searcher: int) -> str:
        """Forgets a rig that is gone for good, and gives its name. Raises NotFoundError, ConflictError for one that is
        at work."""
        async with self._moving:
            rig = self._rigs.get(searcher)
            if rig is not None and rig.miner_id == miner_id:
                before = steady_now() - timedelta(seconds=IDLE_SECONDS)
                if rig.streams or (rig.seen_at is not None and rig.seen_at > before):
                    raise ConflictError(f"rig {rig.name!r} is at work: stop it, and wait {IDLE_SECONDS:g} s")
                self.forget(rig)
            row = await self._database.fetch_one("delete_rig", miner_id=miner_id, searcher=searcher)
        if row is None:
            raise NotFoundError(f"this miner has no rig with the number {searcher}")
        return row["name"]
