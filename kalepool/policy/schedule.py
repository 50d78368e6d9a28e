"""What to do now: whom to plant, which works to hand in, what to harvest. Pure; `decide` is called every tick.

The rules, in the order of a block's life:

- Plant as many as the plan has places (planting.py) as soon as the block exists; start it by planting when the one
  before is over.
- Search from the first second (see `search`), whether plants are confirmed or not.
- Insure: hand in a weak share half-way where the stake at risk is worth the fee, and keep the best one for the end.
- Hand in the best share as late as it still lands with the wanted probability: every ledger of gap earns.
- Pay for a work only what it is worth (price_gate.py).
- Retry what may succeed, until the block is over.
- Harvest past blocks when the works of this one do not need the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from kalepool.actions import ActionName
from kalepool.policy.price_gate import Spending
from kalepool.policy.retries import LEDGER_SAID_NO, may_retry
from kalepool.policy.snapshot import ChainState, FarmerState, Found, HarvestState, Snapshot
from kalepool.policy.timing import MOST_LEDGERS, Inclusion, LedgerClock
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import normalise, pot, scale


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """The schedule's rules as numbers. The first three are the operator's (see config.py), and have no value here; the
    others suit every network."""

    landing_probability: float
    """How surely a farmer's work must land before the block is over. A lower one gains gap and loses stakes. Beyond it
    the schedule weighs by itself: a ledger earlier costs a ledger of gap and of search, and makes it less likely to
    lose stake and reward."""

    works_per_ledger: int
    """Works that can be sent in one ledger: the number of channel accounts. More farmers start earlier."""

    insurance: bool
    """Whether to hand in an early, weak work where the stake at risk is worth its fee."""

    saved_landing_probability: float = 0.9
    """The same once the stake is saved by an earlier work: only the improvement is at stake then."""

    ledger_jitter: float = 0.2
    """Close times vary: the last safe ledger of a block is foreseen to close this part of a ledger before its end."""

    late_plant_ledgers: int = 2
    """A plant in a running block must leave at least this many ledgers of gap, or it waits for the next block."""

    plant_lead_seconds: float = 0.0
    """How long before a block is over the plants that start the next one leave. Above 0 only with a submitter that
    holds them until then: a plant that lands early fails."""

    hold_start_ledgers: float = 1.0
    """How long after a block's time planting the next one waits for works of ours that the ledger refused: they still
    count until somebody plants, and may be tried once more. It always waits for those that are under way, and for those
    that failed otherwise or were never tried: a pool that was away, or whose API or RPC server was, may only hand them
    in now. 0 never waits."""

    works_from: float = 0.5
    """The part of the block before which no work leaves, neither as insurance nor because some of late landed slowly;
    only more works than ledgers can take start earlier. Earlier covers longer outages, but an early work ends with few
    zeros, and lowers the next block's min_gap, which helps those who work early."""

    insurance_improvable: float = 0.999
    """How likely a better share must be until the end, for the only share there is to be handed in as insurance."""

    prior_miss_probability: float = 0.002
    """How often a pail is not worked in time, before anything was measured."""

    prior_miss_weight: float = 500.0
    """How many measured pails the prior weighs as much as."""

    relayer_ledgers: int = 0
    """A work leaves at least this many ledgers before the last safe one, so that a relayer may carry it, and the pool
    still sends it itself if that does not. 0 where there is none."""

    urgent_harvest_blocks: int = 200
    """A pail this many blocks old is harvested even while works are due. The coordinator sets it by the network's own
    TTL, after which a pail is lost: see timing.py."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Plant these farmers in block `index`: the current one, or the next, which this starts.

    `places`: no more pails than these in the block, those that are there among them; whose turn it is, comes first.
    `stake_stroops`: nobody stakes more. None: as many as there are, and what each stakes by itself.
    """

    index: int
    farmers: tuple[str, ...]
    places: int | None = None
    stake_stroops: int | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand this share in as the farmer's work. An improvement replaces an earlier work with strictly fewer zeros."""

    index: int
    farmer: str
    nonce: int
    zeros: int
    reason: Literal["final", "insurance", "improvement"]


@dataclass(frozen=True, slots=True)
class Harvest:
    """Harvest these pails (index, farmer)."""

    targets: tuple[tuple[int, str], ...]


Action = Plant | Submit | Harvest


def decide(snapshot: Snapshot, now: datetime, settings: ScheduleSettings) -> list[Action]:
    """What is to be done now. An action comes again every time until the snapshot shows it in flight or done."""
    time = now.timestamp()
    block = _Running.of(snapshot, settings)
    actions: list[Action] = []
    if block is not None:
        actions.extend(block.works(time))
    actions.extend(_plants(snapshot, block, time, settings))
    actions.extend(_harvests(snapshot, block, time, settings))
    return actions


def last_works(snapshot: Snapshot) -> list[Submit]:
    """What to hand in when the pool stops in mid-block: of every stake not saved the best share there is."""
    return [
        Submit(snapshot.chain.index or 0, f.farmer, f.shares[-1].nonce, f.shares[-1].zeros, "final")
        for f in snapshot.farmers
        if f.is_unsaved and f.shares and not f.working
    ]


def ledger_now(chain: ChainState, now: datetime) -> int:
    """The ledger that `Snapshot.inclusion_ledgers` counts from: the last one closed now, read or foreseen."""
    return _clock(chain).ledger_at(now.timestamp())


def miss_probability(due: int, lost: int, settings: ScheduleSettings) -> float:
    """The part of pails not worked in time: the mean of a beta distribution with the settings' prior."""
    weight = settings.prior_miss_weight
    return (lost + weight * settings.prior_miss_probability) / (due + weight)


def _clock(chain: ChainState) -> LedgerClock:
    return LedgerClock(chain.ledger, chain.ledger_closed_at.timestamp(), chain.ledger_seconds)


@dataclass(frozen=True, slots=True)
class _Running:
    """The current block and all that follows from it for works."""

    snapshot: Snapshot
    settings: ScheduleSettings
    chain: ChainState
    index: int
    block: Block
    ends_at: float
    clock: LedgerClock
    last_safe: int  # the last ledger that is surely the block's
    inclusion: Inclusion
    points_of: tuple[dict[int, int], dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}, {}))
    """Points by gap, by stake and by zeros, once reckoned: many farmers share them."""

    @classmethod
    def of(cls, snapshot: Snapshot, settings: ScheduleSettings) -> _Running | None:
        chain = snapshot.chain
        if chain.farm_block is None or chain.block is None:
            return None
        clock = _clock(chain)
        ends_at = chain.farm_block.timestamp + chain.block_seconds
        return cls(
            snapshot=snapshot,
            settings=settings,
            chain=chain,
            index=chain.index or 0,
            block=chain.block,
            ends_at=ends_at,
            clock=clock,
            last_safe=clock.last_before(ends_at - settings.ledger_jitter * chain.ledger_seconds),
            inclusion=Inclusion.fit(snapshot.inclusion_ledgers, chain.ledger_seconds),
        )

    def works(self, time: float) -> Iterator[Submit]:
        """The works to hand in now."""
        settings = self.settings
        ledger = self.clock.ledger_at(time)
        left = self.last_safe - ledger
        farmers = len(self.snapshot.farmers)
        insure = settings.insurance and time >= self.ends_at - self._works_seconds
        is_late = left <= self.inclusion.threshold + MOST_LEDGERS + farmers // settings.works_per_ledger
        if not insure and not is_late:
            return
        planted = [(f, f.pail) for f in self.snapshot.farmers if f.pail is not None and f.shares and not f.working]
        stroops_per_point = self._stroops_per_point(planted)
        # With more works than a ledger takes, some start earlier: those with least left to find, and of equals those
        # whose turn it is least.
        waiting = [(f, pail) for f, pail in planted if pail.zeros is None or f.shares[-1].zeros > pail.zeros]
        waiting.sort(key=lambda entry: (entry[1].zeros is None, entry[0].shares[-1].zeros))
        for rank, (farmer, pail) in enumerate(waiting):
            if not may_retry(ActionName.WORK, farmer.work_failure, self.index, time, self.chain.ledger_seconds):
                continue
            best = farmer.shares[-1]
            gap = ledger + self.inclusion.median - pail.sequence
            queued = rank // settings.works_per_ledger
            is_due = is_late and left <= self._needed(pail, best, gap, stroops_per_point) + queued
            if farmer.plants_itself:
                if pail.zeros is None and is_due:
                    yield Submit(self.index, farmer.farmer, best.nonce, best.zeros, "final")
            elif pail.zeros is None and is_due and self.is_worth_saving(pail, best.zeros, stroops_per_point):
                yield Submit(self.index, farmer.farmer, best.nonce, best.zeros, "final")
            elif pail.zeros is None and insure:
                weak = self._insurance(farmer, pail, gap, time, stroops_per_point)
                if weak is not None:
                    yield Submit(self.index, farmer.farmer, weak.nonce, weak.zeros, "insurance")
            elif pail.zeros is not None and is_due and left > 0 and self._improves(pail, best, gap, stroops_per_point):
                yield Submit(self.index, farmer.farmer, best.nonce, best.zeros, "improvement")

    def _points(self, pail: Pail, gap: int, zeros: int) -> int:
        by_gap, by_stake, by_zeros = self.points_of
        if gap not in by_gap or pail.stake not in by_stake or zeros not in by_zeros:
            by_gap[gap], by_stake[pail.stake], by_zeros[zeros] = normalise(self.block, gap, pail.stake, zeros)
        return by_gap[gap] + by_stake[pail.stake] + by_zeros[zeros]

    def _stroops_per_point(self, planted: Sequence[tuple[FarmerState, Pail]]) -> float:
        """What a point will about earn: the pot over the points there will be.

        These are the ones worked so far and those our pails will still bring, or as many as in the block before, if
        more.
        """
        ours = sum(
            self._points(pail, self.block.max_gap, farmer.shares[-1].zeros)
            for farmer, pail in planted
            if pail.zeros is None
        )
        points = float(self.block.normalized_total + ours)
        before = self.chain.previous_block
        if before is not None:
            points = max(points, before.normalized_total * scale(self.block) / scale(before))
        return pot(self.block, self.index) / max(points, 1.0)

    def _needed(self, pail: Pail, best: Found, gap: int, stroops_per_point: float) -> int:
        """How many ledgers before the last safe one the farmer's work should leave."""
        now = self._points(pail, gap, best.zeros)
        later = self._points(pail, gap + 1, best.zeros) - now
        another_zero = self._points(pail, gap, best.zeros + 1) - now
        hashes = self.snapshot.hashes_per_second * self.chain.ledger_seconds / len(self.snapshot.farmers)
        worth = later + another_zero * _found(hashes, best.zeros + 1)
        if pail.zeros is None:
            probability = self.settings.landing_probability
            loss = pail.stake + now * stroops_per_point
        else:
            probability = self.settings.saved_landing_probability
            loss = self._gain(pail, best, gap, stroops_per_point)
        needed = self.inclusion.ledgers_needed(probability, loss, worth * stroops_per_point)
        needed = max(needed, self.settings.relayer_ledgers)
        return min(needed, int(self._works_seconds / self.chain.ledger_seconds))

    @property
    def _works_seconds(self) -> float:
        """How long before the block's end works may leave."""
        return (1 - self.settings.works_from) * self.chain.block_seconds

    def _gain(self, pail: Pail, share: Found, gap: int, stroops_per_point: float) -> float:
        """What replacing the pail's work by `share` at `gap` earns, in stroops."""
        assert pail.gap is not None and pail.zeros is not None
        more = self._points(pail, gap, share.zeros) - self._points(pail, pail.gap, pail.zeros)
        return more * stroops_per_point

    def is_worth_saving(self, pail: Pail, zeros: int, stroops_per_point: float | None = None) -> bool:
        """Whether stake and reward of a pail that is not worked are worth the work and the harvest."""
        if stroops_per_point is None:
            stroops_per_point = self._stroops_per_point(())
        gain = pail.stake + self._points(pail, self.block.max_gap, zeros) * stroops_per_point
        return self.snapshot.gate.admits(Spending.FINAL, gain)

    def _improves(self, pail: Pail, share: Found, gap: int, stroops_per_point: float) -> bool:
        return self.snapshot.gate.admits(Spending.IMPROVEMENT, self._gain(pail, share, gap, stroops_per_point))

    def _insurance(
        self, farmer: FarmerState, pail: Pail, gap: int, time: float, stroops_per_point: float
    ) -> Found | None:
        """The share to save the stake with now; None where that is not worth the fee.

        The best share is kept for the end where there is a weaker one, since a later work needs strictly more zeros.
        """
        best = farmer.shares[-1]
        at_risk = pail.stake + self._points(pail, gap, best.zeros) * stroops_per_point
        missing = miss_probability(self.snapshot.works_due, self.snapshot.works_lost, self.settings)
        if not self.snapshot.gate.admits(Spending.INSURANCE, missing * at_risk):
            return None
        if len(farmer.shares) > 1:
            return farmer.shares[-2]
        seconds = max(self.clock.close_of(self.last_safe) - time, 0)
        hashes = self.snapshot.hashes_per_second * seconds / len(self.snapshot.farmers)
        return best if _found(hashes, best.zeros + 1) >= self.settings.insurance_improvable else None


def _found(hashes: float, zeros: int) -> float:
    """The chance that one of so many hashes has at least these zeros."""
    return -math.expm1(-hashes * 16.0**-zeros)


def _may_be_saved(farmer: FarmerState, block: _Running | None, again: bool) -> bool:
    """Whether a work of this block may still save the farmer's stake. `again`: also one that the ledger refused."""
    if not farmer.is_unsaved or farmer.working:
        return farmer.is_unsaved
    pail = farmer.pail
    if (
        block
        and pail
        and farmer.shares
        and not farmer.plants_itself
        and not block.is_worth_saving(pail, farmer.shares[-1].zeros)
    ):
        return False
    failure = farmer.work_failure
    return bool(farmer.shares) and (again or failure is None or failure.code not in LEDGER_SAID_NO)


def _plants(snapshot: Snapshot, block: _Running | None, time: float, settings: ScheduleSettings) -> Iterator[Plant]:
    chain = snapshot.chain
    if chain.paused or chain.farm_block is None:
        return
    index = chain.index or 0
    ends_at = chain.farm_block.timestamp + chain.block_seconds
    if time >= ends_at - settings.plant_lead_seconds:
        hold = settings.hold_start_ledgers * chain.ledger_seconds
        if hold and any(_may_be_saved(f, block, time < ends_at + hold) for f in snapshot.farmers):
            return
        index += 1
        planted: set[str] = set()
    elif block is None:
        # Block 0 before its first plant, or a block evicted while the farm stood still, which is followed by the next.
        index += index > 0
        planted = set()
    else:
        # Once for the plant to land, then for the work, and some gap between them.
        needed = 2 * block.inclusion.ledgers_needed(settings.landing_probability, 0, 0) + settings.late_plant_ledgers
        if block.last_safe - block.clock.ledger_at(time) < needed:
            return
        planted = {f.farmer for f in snapshot.farmers if f.pail is not None and not f.plants_itself}
    farmers = tuple(
        f.farmer
        for f in snapshot.farmers
        if f.may_plant
        and not f.planting
        and f.farmer not in planted
        and may_retry(ActionName.PLANT, f.plant_failure, index, time, chain.ledger_seconds)
    )
    plan = snapshot.plan if snapshot.plan is not None and snapshot.plan.index == index else None
    if plan is None:
        if farmers:
            yield Plant(index, farmers)
        return
    taken = len(planted) + sum(f.planting and f.farmer not in planted for f in snapshot.farmers)
    if farmers and taken < plan.places:
        yield Plant(index, farmers, plan.places, plan.stake_stroops)


def _harvests(snapshot: Snapshot, block: _Running | None, time: float, settings: ScheduleSettings) -> Iterator[Harvest]:
    chain = snapshot.chain
    index = chain.index or 0
    works_are_due = False
    if block is not None:
        queue = len(snapshot.farmers) // settings.works_per_ledger
        needed = block.inclusion.ledgers_needed(settings.landing_probability, 0, 0) + queue + 1
        works_are_due = block.last_safe - block.clock.ledger_at(time) <= needed and time < block.ends_at

    def is_due(harvest: HarvestState) -> bool:
        if harvest.harvesting or harvest.index >= index:
            return False
        if works_are_due and index - harvest.index < settings.urgent_harvest_blocks:
            return False
        return may_retry(ActionName.HARVEST, harvest.failure, harvest.index, time, chain.ledger_seconds)

    targets = tuple((h.index, h.farmer) for h in snapshot.harvests if is_due(h))
    if targets:
        yield Harvest(targets)
