"""What there is to hash and who hashes it: places (farmers in open blocks), rigs, and who gets which job.

In memory only. Nothing here waits or reads a clock; service.py feeds it from the database and the requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from kalepool.policy.external_rigs import assign
from kalepool.policy.shares import Job
from kalepool.policy.turns import in_turn
from kalepool.policy.vardiff import MIN_DIFFICULTY, Pace, adjust, job_difficulty
from kalepool.services.mining.jobs import JobIds, JobTerms

ACTIVE_SECONDS = 60.0
"""A rig that asks for jobs by polling counts as hashing for this long after it was last heard."""

MOVE_SECONDS = 1.0
"""A rig is not given other work of the same block more often than this."""


@dataclass(slots=True)
class FarmerPlace:
    """A farmer in its pooler's open block, and the most zeros found for it so far.

    age_seconds: how long ago the coordinator first saw the block, by the database's clock alone: started_at is the
    ledger's, and need not agree with ours. ends_at, by our clock, follows from it. least_zeros: what all of the block
    are searched for before anybody gets a zero that pays.
    """

    block_index: int
    pooler_id: UUID
    entropy: bytes
    started_at: datetime
    farmer_id: UUID
    wallet: str
    zeros: int
    age_seconds: float
    min_zeros: int = 0
    least_zeros: int = 0
    ends_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """A block that is past earns nothing more, also while no coordinator is there to say so."""
        return self.ends_at is not None and now < self.ends_at


@dataclass(frozen=True, slots=True)
class GivenJob:
    """A job as a rig has it: what to verify by, and what the miner is told beside it."""

    job: Job
    place: FarmerPlace
    closes_at: datetime
    solo: bool = False


@dataclass(eq=False, slots=True)
class Rig:
    """One machine of a miner, by its number among all searchers. Every job it is given has nonces of its own."""

    miner_id: UUID
    name: str
    searcher: int
    pace: Pace
    whole_zeros: bool = False
    solo: UUID | None = None  # the farmer of its own that it hashes for
    given: GivenJob | None = None
    given_at: datetime | None = None
    seen_at: datetime | None = None
    proven: bool = False  # it has brought a share: its pace is more than a claim
    streams: int = 0  # open connections that wait for its next job
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set when `given` changes; then there is a new one

    @property
    def job_id(self) -> str | None:
        return self.given.job.job_id if self.given else None

    def is_active(self, now: datetime) -> bool:
        return self.streams > 0 or (self.seen_at is not None and (now - self.seen_at).total_seconds() < ACTIVE_SECONDS)

    def give(self, given: GivenJob | None, now: datetime) -> None:
        """Hands it a job, or none, and tells whoever waits. A pause does not count as slowness."""
        if self.given is None:
            self.pace = Pace(self.pace.difficulty, now, settled=self.pace.settled)
        self.given, self.given_at = given, now
        self.wake()

    def wake(self) -> None:
        """Lets everything that waits for this rig look again."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Dealer:
    """All places, and the rigs of this process."""

    def __init__(self, ids: JobIds, *, block_seconds: int, share_seconds: float) -> None:
        self._ids = ids
        self._block_seconds = block_seconds
        self._share_seconds = share_seconds
        self.places: dict[UUID, FarmerPlace] = {}
        self.rigs: dict[int, Rig] = {}
        self.serials: deque[int] = deque()
        """Numbers for jobs to come, that nobody ever had."""
        self.processes = 1
        """How many deal jobs side by side, each to rigs of its own."""

    @property
    def newest_index(self) -> int:
        """The newest open block; 0 while there is none."""
        return max((place.block_index for place in self.places.values()), default=0)

    def set_places(self, places: Iterable[FarmerPlace], claims: Mapping[UUID, int], now: datetime) -> None:
        """Replaces all places by those just read, in the order of their turns.

        What was found meanwhile for a farmer in the same block is kept.
        """
        unordered = {place.wallet: place for place in places}
        claims_of = {wallet: claims.get(place.farmer_id, 0) for wallet, place in unordered.items()}
        seed = max((place.entropy for place in unordered.values()), default=b"")  # one of the newest block, mostly
        turns = (unordered[wallet] for wallet in in_turn(unordered, claims_of, seed))
        old, self.places = self.places, {place.farmer_id: place for place in turns}
        for farmer_id, place in self.places.items():
            place.ends_at = now + timedelta(seconds=self._block_seconds - place.age_seconds)
            before = old.get(farmer_id)
            if before is not None and (before.block_index, before.entropy) == (place.block_index, place.entropy):
                place.ends_at = before.ends_at  # the database's clock may have been set since
                place.zeros = max(place.zeros, before.zeros)

    def improve(self, farmer_id: UUID, block_index: int, zeros: int) -> bool:
        """Notes a share of a farmer. Whether it is the best so far."""
        place = self.places.get(farmer_id)
        if place is None or place.block_index != block_index or zeros <= place.zeros:
            return False
        place.zeros = zeros
        return True

    def count_share(self, searcher: int, credited_hashes: int, now: datetime) -> None:
        """Notes an accepted share of a rig, if it is here."""
        if rig := self.rigs.get(searcher):
            rig.pace, rig.proven = rig.pace.add(credited_hashes, now, self._share_seconds), True

    def active_rigs(self, miner_id: UUID, now: datetime) -> int:
        """How many machines of a miner are here."""
        return sum(rig.miner_id == miner_id and rig.is_active(now) for rig in self.rigs.values())

    def job_of(self, terms: JobTerms, job_id: str, now: datetime) -> tuple[Job, FarmerPlace] | None:
        """The job behind an id's terms, if its block is still open for its farmer."""
        place = self.places.get(terms.farmer_id)
        if place is None or place.block_index != terms.block_index or not place.is_open(now):
            return None
        return Job(job_id, place.block_index, place.entropy, place.wallet, terms.nonces, terms.difficulty), place

    def adjust_paces(self, now: datetime) -> None:
        """Lets every active rig's difficulty follow its shares."""
        for rig in self.rigs.values():
            if rig.given is not None and rig.is_active(now):
                rig.pace = adjust(rig.pace, now, self._share_seconds)

    def deal(self, now: datetime) -> bool:
        """Gives every active rig the job it should have. Whether some rig must wait a little for its next one."""
        every = {searcher: rig for searcher, rig in self.rigs.items() if rig.is_active(now)}
        own = {searcher: place for searcher, rig in every.items() if (place := self._own_place(rig, now))}
        rigs = {searcher: rig for searcher, rig in every.items() if searcher not in own}
        zeros = {farmer_id: place.zeros for farmer_id, place in self.places.items() if place.is_open(now)}
        # Who only claims to be fast must not keep the others from a farmer.
        paces = {searcher: rig.pace.difficulty if rig.proven else MIN_DIFFICULTY for searcher, rig in rigs.items()}
        speeds = {searcher: pace / self._share_seconds for searcher, pace in paces.items()}
        floor = max((place.min_zeros for place in self.places.values() if place.is_open(now)), default=0)
        least = max((place.least_zeros for place in self.places.values() if place.is_open(now)), default=0)
        placed = assign(zeros, speeds, self._present(rigs), floor, least, processes=self.processes)
        waiting = False
        for searcher, rig in every.items():
            farmer_id = placed.get(searcher)
            target = self.places[farmer_id] if farmer_id is not None else own.get(searcher)
            waiting |= self._give(rig, target, now, solo=searcher in own)
        return waiting

    def _own_place(self, rig: Rig, now: datetime) -> FarmerPlace | None:
        """Where a SOLO rig hashes; None for one that hashes for all, as it does while its farmer is in no block."""
        place = self.places.get(rig.solo) if rig.solo is not None else None
        return place if place is not None and place.is_open(now) else None

    @staticmethod
    def _present(rigs: Mapping[int, Rig]) -> dict[int, UUID]:
        return {searcher: rig.given.place.farmer_id for searcher, rig in rigs.items() if rig.given is not None}

    def _give(self, rig: Rig, target: FarmerPlace | None, now: datetime, *, solo: bool) -> bool:
        if target is None:
            if rig.given is not None:
                rig.give(None, now)
            return False
        difficulty = job_difficulty(
            rig.pace.difficulty, target.zeros, whole_zeros=rig.whole_zeros, first=not rig.proven
        )
        present = rig.given
        if present is not None and rig.given_at is not None:
            same_block = present.place.block_index == target.block_index and present.job.entropy == target.entropy
            same_farmer = same_block and present.place.farmer_id == target.farmer_id
            if same_farmer and present.job.difficulty == difficulty and present.solo == solo:
                return False
            if same_block and now - rig.given_at < timedelta(seconds=MOVE_SECONDS):
                return True
        if not self.serials:
            return True
        terms = JobTerms(target.block_index, target.farmer_id, rig.searcher, self.serials.popleft(), difficulty, solo)
        job = Job(self._ids.issue(terms), target.block_index, target.entropy, target.wallet, terms.nonces, difficulty)
        closes_at = target.started_at + timedelta(seconds=self._block_seconds)
        rig.give(GivenJob(job, target, closes_at, solo), now)
        return False
