"""All the coordinator knows, in memory. Everything here can be read again from chain and database after a restart."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from kalepool.actions import ActionName
from kalepool.chain import Farm, Ledger
from kalepool.cluster.messages import WorkerJob
from kalepool.policy.planting import PlantingPlan
from kalepool.policy.price_gate import PriceGate
from kalepool.policy.retries import HOPELESS, UNFIT
from kalepool.policy.snapshot import ChainState, FailureState, FarmerState, Found, HarvestState, Snapshot
from kalepool.policy.stake import ceiling_of
from kalepool.policy.timing import LedgerClock
from kalepool.policy.turns import in_turn
from kalepool.protocol.hashing import farmer_bytes
from kalepool.protocol.model import Block, Pail

FINDS_PER_SECOND = 50
"""How many finds of all workers together may be told at once; lesser ones come with the next regular report."""

REMEMBERED = 300
"""Inclusion times kept, as the policy wants: in ledgers, of the last works."""

LEDGERS_MEASURED = 60


@dataclass(frozen=True, slots=True)
class CoordinatedFarmer:
    """One of the pooler's farmers. `key`: what goes into the hash for it."""

    farmer_id: UUID
    wallet: str
    may_plant: bool
    stake_percentage: Decimal = Decimal(0)
    stake_most_stroops: int | None = None
    plants_itself: bool = False

    @property
    def key(self) -> bytes:
        return farmer_bytes(self.wallet)

    def stake_of(self, kale_stroops: int, of_all: int | None = None) -> int:
        """The most it stakes of such a balance. `of_all`: the most that any farmer stakes."""
        return ceiling_of(kale_stroops, self.stake_percentage, self.stake_most_stroops, of_all)


@dataclass(slots=True)
class State:
    """What is known now. Farmers are named by their wallet, as the policy does; `by_key` and `by_id` lead there from what
    workers and the pool's API call them, and are made with `farmers`, which stand in the order of their turns.

    `pails` and `records` are of the current block only.
    """  # noqa: E501

    block_seconds: float
    nominal_ledger_seconds: float
    farm: Farm | None = None
    previous_block: Block | None = None
    previous_is_final: bool = False  # whether it was read when it was over
    others_staked: int | None = None  # the most that was seen in this block at once, of others than `farmers`
    previous_others_staked: int | None = None  # of the block before
    plan: PlantingPlan | None = None  # for the block to plant in
    gate: PriceGate = field(default_factory=PriceGate)
    farmers: dict[str, CoordinatedFarmer] = field(default_factory=dict)
    claims: Mapping[UUID, int] = field(default_factory=dict)  # to a turn, as turns.py has them
    by_key: dict[bytes, CoordinatedFarmer] = field(default_factory=dict)
    by_id: dict[UUID, CoordinatedFarmer] = field(default_factory=dict)
    pails: dict[str, Pail] = field(default_factory=dict)
    records: dict[str, list[Found]] = field(default_factory=dict)
    passed_over: set[tuple[int, str]] = field(default_factory=set)  # (index, wallet) not planted, and not to be now
    recalled: bool = False  # whether the database was asked for the current block's shares
    harvests: set[tuple[int, str]] = field(default_factory=set)
    failures: dict[tuple[ActionName, str, int], FailureState] = field(default_factory=dict)  # by action, wallet, index
    planting: dict[str, int] = field(default_factory=dict)  # wallet: index of the call in flight
    awaited: dict[str, int] = field(default_factory=dict)  # wallet: block it is planted in, which is yet to be seen
    working: set[tuple[int, str]] = field(default_factory=set)
    harvesting: set[tuple[int, str]] = field(default_factory=set)
    unanswered: dict[tuple[int, str], float] = field(default_factory=dict)
    """Works that the API was first asked for in vain: (index, wallet), and for how many seconds the block lasted then.
    Each is written down once, when the database is there."""
    stale_pails: set[str] = field(default_factory=set)  # wallets whose pail is to be read again
    inclusion_ledgers: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    works_due: int = 0
    works_lost: int = 0
    ledgers: deque[Ledger] = field(default_factory=lambda: deque(maxlen=LEDGERS_MEASURED))
    job_version: int = 0
    job_is_old: bool = False

    @property
    def index(self) -> int | None:
        """The current block's index; None while there is no block to work in."""
        return (self.farm.index or 0) if self.farm and self.farm.block else None

    @property
    def block(self) -> Block | None:
        return self.farm.block if self.farm else None

    @property
    def ledger_seconds(self) -> float:
        """The measured mean between ledgers; the network's nominal one while too few were seen."""
        if len(self.ledgers) < 10:
            return self.nominal_ledger_seconds
        first, last = self.ledgers[0], self.ledgers[-1]
        seconds = (last.closed_at - first.closed_at).total_seconds() / (last.sequence - first.sequence)
        return seconds or self.nominal_ledger_seconds

    @property
    def _clock(self) -> LedgerClock:
        last = self.ledgers[-1]
        return LedgerClock(last.sequence, last.closed_at.timestamp(), self.ledger_seconds)

    def ledger_at(self, now: datetime) -> int:
        """The last ledger closed now, read or foreseen; 0 while none was ever read."""
        return self._clock.ledger_at(now.timestamp()) if self.ledgers else 0

    def ledgers_left(self, ledger: int) -> int:
        """How many ledgers after this one close before the current block may end."""
        if self.farm is None or self.farm.farm_block is None or not self.ledgers:
            return 0
        return max(self._clock.last_before(self.farm.farm_block.timestamp + self.block_seconds) - ledger, 0)

    # What comes in

    def saw_ledger(self, ledger: Ledger) -> None:
        if not self.ledgers or ledger.sequence > self.ledgers[-1].sequence:
            self.ledgers.append(ledger)

    def saw_farm(self, farm: Farm) -> bool:
        """Take what the chain says now. True if this is another block than before: the old one is then forgotten."""
        before, self.farm = self.farm, farm
        is_other = farm.block is not None and (
            before is None
            or before.block is None
            or (before.index, before.block.entropy) != (farm.index, farm.block.entropy)
        )
        if is_other:
            self.awaited = {wallet: index for wallet, index in self.awaited.items() if index > (farm.index or 0)}
            self.recalled = False
            follows = before is not None and before.index is not None and farm.index == before.index + 1
            self.previous_others_staked = self.others_staked if follows else None
            self.others_staked = None
            self.pails.clear()
            self.records.clear()
            self.passed_over = {entry for entry in self.passed_over if entry[0] >= (farm.index or 0)}
            self.stale_pails = set(self.farmers)
            self.failures = {key: failure for key, failure in self.failures.items() if key[0] == ActionName.HARVEST}
            self._order()
        return is_other

    def saw_farmers(self, farmers: Iterable[CoordinatedFarmer]) -> None:
        known = {farmer.wallet: farmer for farmer in farmers}
        if known != self.farmers:
            self.stale_pails |= known.keys() - self.farmers.keys()
            self.farmers = known
            self.by_key = {farmer.key: farmer for farmer in known.values()}
            self.by_id = {farmer.farmer_id: farmer for farmer in known.values()}
            self._order()

    def saw_claims(self, claims: Mapping[UUID, int]) -> None:
        """What each farmer is owed of the last day. It may come before the farmers themselves."""
        self.claims = claims
        self._order()

    def _order(self) -> None:
        """The turns of this block: harvests, works and the search follow the order of `farmers`."""
        seed = self.block.entropy if self.block else b""
        claims = {wallet: self.claims.get(farmer.farmer_id, 0) for wallet, farmer in self.farmers.items()}
        self.farmers = {wallet: self.farmers[wallet] for wallet in in_turn(self.farmers, claims, seed)}
        self.job_is_old = True

    def saw_pails(self, pails: dict[str, Pail]) -> None:
        """What the chain has. A pail it does not show yet, of a plant we know to have landed, stays."""
        self.job_is_old |= any(self.plants_itself(wallet) for wallet in pails.keys() - self.pails.keys())
        self.pails.update(pails)
        for wallet in pails:
            self._pass_no_more(wallet)

    @property
    def unread_pails(self) -> set[str]:
        """Wallets whose pail of this block was not read yet; who plants itself may do so at any time."""
        return {wallet for wallet in self.stale_pails & self.farmers.keys() if not self.plants_itself(wallet)}

    def plants_itself(self, wallet: str) -> bool:
        farmer = self.farmers.get(wallet)
        return farmer is not None and farmer.plants_itself

    def saw_others(self) -> None:
        """How much others have staked, by a look in which all pails of ours are known: the contract counts a stake
        until its first work, so this is looked at in a block's first half."""
        farm = self.farm
        if farm is None or farm.block is None or not self.ledgers or self.unread_pails:
            return
        if self.planting or self.awaited or self.working:
            return
        half = farm.block.timestamp + self.block_seconds / 2
        if self.ledgers[-1].closed_at.timestamp() > half:
            return
        mine = sum(p.stake for p in self.pails.values() if p.zeros is None and p.sequence <= farm.ledger)
        self.others_staked = max(farm.block.staked_total - mine, self.others_staked or 0)

    def saw_share(self, wallet: str, found: Found) -> bool:
        """A verified share of the current block. True if it has more zeros than all before."""
        records = self.records.setdefault(wallet, [])
        if records and found.zeros <= records[-1].zeros:
            return False
        records.append(found)
        self.job_is_old = True
        return True

    def best_zeros(self, wallet: str) -> int:
        """The farmer's most zeros so far in this block; -1 if it has no share."""
        records = self.records.get(wallet)
        return records[-1].zeros if records else -1

    def saw_unharvested(self, pails: Iterable[tuple[int, str]]) -> None:
        self.harvests = set(pails)
        self.failures = {
            key: failure
            for key, failure in self.failures.items()
            if key[0] != ActionName.HARVEST or (key[2], key[1]) in self.harvests
        }

    # What came of our calls

    def failed(self, action: ActionName, wallet: str, index: int, code: str, now: datetime) -> None:
        before = self.failures.get((action, wallet, index))
        self.failures[action, wallet, index] = FailureState(index, code, now, before.count + 1 if before else 1)
        if action == ActionName.PLANT and code in (HOPELESS[ActionName.PLANT] | UNFIT) - {"pail-exists"}:
            self.passed_over.add((index, wallet))  # not searched for, unless it gets a pail all the same
            self.job_is_old = True
        self.stale_pails.add(wallet)

    def sits_out(self, wallet: str, index: int) -> None:
        """Others are planted in its place: nobody's fault, and nothing is searched for it."""
        self.passed_over.add((index, wallet))
        self.job_is_old = True

    def planted(self, wallet: str, index: int, pail: Pail) -> None:
        """A plant landed. The chain's own word on the pail is still to be read."""
        self.failures.pop((ActionName.PLANT, wallet, index), None)
        if index == self.index:
            self.pails.setdefault(wallet, pail)
            self._pass_no_more(wallet)
            self.stale_pails.add(wallet)
        elif self.index is None or index > self.index:  # an answer may also come when its block is past
            self.awaited[wallet] = index

    def _pass_no_more(self, wallet: str) -> None:
        """It has a pail in the current block: it is to be searched for."""
        if (self.index, wallet) in self.passed_over:
            self.passed_over.discard((self.index or 0, wallet))
            self.job_is_old = True

    def worked(self, wallet: str, index: int, zeros: int, gap: int) -> None:
        self.failures.pop((ActionName.WORK, wallet, index), None)
        pail = self.pails.get(wallet)
        if index == self.index and pail is not None:
            self.pails[wallet] = replace(pail, zeros=max(zeros, pail.zeros or 0), gap=gap)
            self.stale_pails.add(wallet)

    # What goes out

    @property
    def knows_stakes(self) -> bool:
        """Whether the current block's pails and shares have been read, of the chain and of the database."""
        unread = self.unread_pails - self.pails.keys()
        return self.block is None or (self.recalled and not unread)

    def snapshot(self, hashes_per_second: float) -> Snapshot | None:
        """What the policy decides from. None while nothing is known of the chain."""
        if self.farm is None or not self.ledgers:
            return None
        index = self.farm.index or 0
        turns = {wallet: turn for turn, wallet in enumerate(self.farmers)}
        return Snapshot(
            chain=ChainState(
                ledger=self.ledgers[-1].sequence,
                ledger_closed_at=self.ledgers[-1].closed_at,
                index=self.farm.index,
                farm_block=self.farm.farm_block,
                block=self.farm.block,
                paused=self.farm.paused,
                ledger_seconds=self.ledger_seconds,
                block_seconds=self.block_seconds,
                previous_block=self.previous_block,
            ),
            farmers=[self._farmer(farmer, index) for farmer in self.farmers.values()],
            harvests=[
                HarvestState(
                    block_index,
                    wallet,
                    harvesting=(block_index, wallet) in self.harvesting,
                    failure=self.failures.get((ActionName.HARVEST, wallet, block_index)),
                )
                for block_index, wallet in sorted(self.harvests, key=lambda h: (h[0], turns.get(h[1], 0), h[1]))
            ],
            hashes_per_second=hashes_per_second,
            inclusion_ledgers=tuple(self.inclusion_ledgers),
            works_due=self.works_due,
            works_lost=self.works_lost,
            plan=self.plan,
            gate=self.gate,
        )

    def _farmer(self, farmer: CoordinatedFarmer, index: int) -> FarmerState:
        wallet = farmer.wallet
        return FarmerState(
            farmer=wallet,
            may_plant=farmer.may_plant,
            plants_itself=farmer.plants_itself,
            pail=self.pails.get(wallet),
            shares=tuple(self.records.get(wallet, ())),
            planting=max(self.planting.get(wallet, -1), self.awaited.get(wallet, -1)) >= index,
            working=(index, wallet) in self.working,
            plant_failure=self._failure(ActionName.PLANT, wallet, index),
            work_failure=self._failure(ActionName.WORK, wallet, index),
        )

    def _failure(self, action: ActionName, wallet: str, index: int) -> FailureState | None:
        """Of the current block, or of the next, which a plant may have tried to start."""
        return self.failures.get((action, wallet, index + 1)) or self.failures.get((action, wallet, index))

    def searched(self) -> list[CoordinatedFarmer]:
        """Whom to search for: who has a pail in this block or may still get one."""
        plan = self.plan
        ours = sum(not self.plants_itself(wallet) for wallet in self.pails)
        if plan is not None and plan.index == self.index and ours >= plan.places:
            return [farmer for wallet, farmer in self.farmers.items() if wallet in self.pails]
        return [
            farmer
            for wallet, farmer in self.farmers.items()
            if wallet in self.pails or (farmer.may_plant and (self.index, wallet) not in self.passed_over)
        ]

    def job(self, hashes_per_second: float) -> WorkerJob | None:
        """The workers' job as it is now, with a new version. None while there is no block."""
        if self.index is None or self.block is None:
            return None
        self.job_version += 1
        self.job_is_old = False
        plan = self.plan
        return WorkerJob(
            version=self.job_version,
            index=self.index,
            block=self.block,
            farmers=tuple((farmer.key, max(self.best_zeros(farmer.wallet), 0)) for farmer in self.searched()),
            report_zeros=report_zeros(hashes_per_second),
            hashes_per_second=hashes_per_second,
            least_zeros=plan.least_zeros if plan is not None and plan.index == self.index else 0,
        )


def report_zeros(hashes_per_second: float) -> int:
    """The fewest zeros that at most FINDS_PER_SECOND hashes a second have at this speed."""
    return max(math.ceil(math.log(max(hashes_per_second / FINDS_PER_SECOND, 1), 16)), 0)
