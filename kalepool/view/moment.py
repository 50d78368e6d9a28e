"""One moment of the pool, read in one place for everybody who looks: the page, the terminal and `kalepool status`.

Which block it is, its bounds and its end come from the chain, as do balances; what was done in it comes from the
database, which knows every transaction of ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kalepool.chain import Account, ChainReader, Farm
from kalepool.database import Database
from kalepool.errors import ChainError
from kalepool.policy.planting import PlantingPlan
from kalepool.protocol.model import U32_MAX, Block, Pail
from kalepool.protocol.rewards import forecast
from kalepool.services.farmers import FarmerStatus, Lacking, missing_funds
from kalepool.services.health import awaited_seconds, is_starting
from kalepool.units import plain
from kalepool.view.sitting_out import in_words
from kalepool.view.words import ENGLISH, Language

BLOCKS = 60

PATIENCE_SECONDS = 3.0
"""A chain that takes longer to answer is silent."""

GRACE_SECONDS = 30.0
"""So long after its time bound a transaction's outcome may still be asked for; after that it waits for somebody."""

FRESH_LEDGERS = 0.4
"""For so much of a ledger's time what the chain said is shown again without asking: little changes in it."""

SLOW_SECONDS = 10.0
"""What waiting farmers lack is read again when it is older."""


@dataclass(frozen=True, slots=True)
class FarmerProgress:
    """One farmer in one block. None: not (yet), or not known. Amounts in stroops.

    `name` is for the operator's eyes; the page is public and shows wallets. `received`: by the last harvest, of
    whichever block. `missing`: what a registered farmer lacks.
    """

    farmer_id: UUID
    custodial_wallet: str
    name: str | None
    status: str
    stake_stroops: int | None
    found_zeros: int | None  # of the best share found
    worked_zeros: int | None  # of the best work on the chain
    gap: int | None
    forecast_stroops: int | None  # in the current block: the reward, if it ended as it stands
    reward_stroops: int | None
    harvested_at: datetime | None
    plant_transaction: bytes | None
    work_transaction: bytes | None
    harvest_transaction: bytes | None
    failed_code: str | None
    received_stroops: int | None
    received_index: int | None
    deposit_stroops: int = 0
    plants_itself: bool = False
    missing: Lacking | None = None
    balance_stroops: int | None = None

    @property
    def planted(self) -> bool:
        return self.stake_stroops is not None

    @property
    def worked(self) -> bool:
        return self.worked_zeros is not None

    @property
    def waits_for(self) -> str:
        """What a registered farmer needs to become active. The pool adds the trustline by itself."""
        return self.waiting_for(ENGLISH)

    def waiting_for(self, words: Language) -> str:
        """As `waits_for`, in this language."""
        if self.missing is None:
            return words.say("waits for XLM")
        if self.missing.native_stroops:
            return words.say("waits for %(amount)s XLM", amount=words.amount(self.missing.native_stroops))
        if self.missing.kale_stroops and not self.missing.trustline:
            return words.say("waits for %(amount)s KALE", amount=words.amount(self.missing.kale_stroops))
        return words.say("is let in")

    def forecast_in(self, block: Block, index: int) -> int | None:
        """What its pail would bring if the block ended as it stands, in stroops; None where nothing is known of one."""
        if self.stake_stroops is None or self.gap is None:
            return None
        pail = Pail(0, self.gap, self.stake_stroops, self.worked_zeros)
        return forecast(block, pail, index, index).reward_stroops


NO_BLOCK = {"stake_stroops": None, "worked_zeros": None, "gap": None, "forecast_stroops": None}
"""Nothing said of a stake or a work: whether the block is still the chain's is not known."""


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """How much of a block was done. `unplanted`: farmers whose plants all failed. `planted_at`: of the first try."""

    block_index: int
    open: bool
    given_up: bool
    started_at: datetime
    closed_at: datetime | None
    planted: int
    worked: int
    harvested: int
    best_zeros: int | None
    staked_stroops: int
    rewarded_stroops: int
    forecast_stroops: int
    unplanted: int
    planted_at: datetime | None

    @property
    def status(self) -> str:
        return "open" if self.open else "given up" if self.given_up else "finished"

    @property
    def is_settled(self) -> bool:
        """Over, and everything that was worked is harvested."""
        return not self.open and self.harvested >= self.worked

    @property
    def is_whole(self) -> bool:
        """Every farmer that should have been planted was, and every one of them was worked and harvested."""
        return self.is_settled and self.unplanted == 0 and 0 < self.planted == self.worked == self.harvested


@dataclass(frozen=True, slots=True)
class ActiveSearcher:
    """A worker of ours (kind cpu or cuda, told by its number) or a miner (told by its name, and with no node)."""

    id: UUID
    kind: str
    name: str
    hashes_per_second: float
    number: int
    node: str
    backend: str
    threads: int
    best_zeros: int

    @property
    def is_miner(self) -> bool:
        return self.kind == "miner"

    @property
    def label(self) -> str:
        return self.name if self.is_miner else f"{self.kind} worker {self.number}"


def trouble_first(farmer: FarmerProgress) -> tuple[int, int, str]:
    """Failed and unworked ones before those that are done, and before those that only wait; the fewest zeros first."""
    group = 2 if farmer.worked else 0 if farmer.failed_code else 3 if farmer.status == FarmerStatus.REGISTERED else 1
    zeros = farmer.worked_zeros if farmer.worked_zeros is not None else farmer.found_zeros
    return group, -1 if zeros is None else zeros, farmer.custodial_wallet


@dataclass(frozen=True, slots=True)
class LostStakes:
    """The stakes that a block lost."""

    block_index: int
    farmers: int
    stake_stroops: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The pool at `at`, by the ledger's clock.

    `ledger`: None where the chain was never read; then only what the database knows is there, and `index` is its newest
    block. `block`: None before the first plant ever. `paused`: by the contract; `planting_paused`: by an operator.
    `lost`: in the newest block with plants that is over. `trouble`: why the chain does not answer now; what it said
    last is shown then. It is for who runs the pool. `under_way`: transactions that may still land. `awaited_seconds`:
    since the pool began, where no worker has come since.
    """

    at: datetime
    ledger: int | None
    index: int | None
    block: Block | None
    ends_at: datetime | None
    block_seconds: int
    ledger_seconds: float
    paused: bool
    planting_paused: bool
    farmers: tuple[FarmerProgress, ...]
    blocks: tuple[BlockSummary, ...]  # newest first
    searchers: tuple[ActiveSearcher, ...]
    lost: LostStakes | None = None
    trouble: str | None = None
    under_way: int = 0
    awaited_seconds: float | None = None
    servers: str = ""  # of several RPC servers: which one is asked, and why
    plans: tuple[PlantingPlan, ...] = ()  # of this block and the next, as far as they are made

    @property
    def plan(self) -> PlantingPlan | None:
        """For this block; for the next where this one is over and nothing planted in it waits for a work."""
        index = (self.index or 0) + (self.seconds_left == 0 and not self.unworked)
        return next((plan for plan in self.plans if plan.index == index), None)

    @property
    def is_starting(self) -> bool:
        """Nobody searches yet: the workers are on their way."""
        return not self.searchers and is_starting(self.awaited_seconds)

    def sitting_out(self, words: Language = ENGLISH) -> str:
        """How many farmers sit the block out and why, in words; empty where nobody does."""
        said = in_words(self.plan, words) if self.plan else ""
        return said and said[0].upper() + said[1:]

    @property
    def may_stop(self) -> bool:
        """Whether the pool loses nothing if it ends now: nothing new is planted, and no stake waits for a work."""
        return self.planting_paused and not self.is_silent and not self.unworked and not self.under_way

    @property
    def is_silent(self) -> bool:
        return self.trouble is not None

    @property
    def told_servers(self) -> str:
        """What everybody is told of the RPC servers: nothing of a single one, whose address is the operator's."""
        return self.servers if ";" in self.servers else ""

    @property
    def seconds_left(self) -> float | None:
        return self.seconds_left_at(self.at)

    def seconds_left_at(self, now: datetime) -> float | None:
        """Until the block may be followed by the next; 0 when it already may. None without a block."""
        return None if self.ends_at is None else max((self.ends_at - now).total_seconds(), 0.0)

    @property
    def active(self) -> int:
        """Farmers that this block can count on: those that may be planted, and those that are."""
        return sum(farmer.status == "active" or farmer.planted for farmer in self.farmers)

    @property
    def planted(self) -> int:
        return sum(farmer.planted for farmer in self.farmers)

    @property
    def unworked(self) -> tuple[FarmerProgress, ...]:
        return tuple(farmer for farmer in self.farmers if farmer.planted and not farmer.worked)

    @property
    def worked(self) -> int:
        return self.planted - len(self.unworked)

    @property
    def at_risk_stroops(self) -> int:
        return sum(farmer.stake_stroops or 0 for farmer in self.unworked)

    @property
    def best_zeros(self) -> int | None:
        return max((farmer.found_zeros for farmer in self.farmers if farmer.found_zeros is not None), default=None)

    @property
    def hashes_per_second(self) -> float:
        return sum(searcher.hashes_per_second for searcher in self.searchers)

    @property
    def workers(self) -> tuple[ActiveSearcher, ...]:
        """Our own searchers, by node."""
        ours = (searcher for searcher in self.searchers if not searcher.is_miner)
        return tuple(sorted(ours, key=lambda worker: (worker.node, worker.kind, worker.number)))

    @property
    def miners(self) -> int:
        return sum(searcher.is_miner for searcher in self.searchers)

    @property
    def last_over(self) -> BlockSummary | None:
        """The newest block that can be harvested."""
        return next((block for block in self.blocks if block.block_index < (self.index or 0)), None)


async def count_under_way(database: Database) -> int:
    """Transactions of ours that may still land, of those whose time bound is not long over. Raises DatabaseError."""
    row = await database.fetch_one("count_open_submissions", grace_seconds=GRACE_SECONDS)
    return row["open"] if row else 0


class MomentReader:
    """Reads moments of one pooler's part of the pool, or of everybody's.

    Where the chain does not answer, its last word is shown again, and that it is silent. Without such a word what the
    database knows is left, which says nothing of this block's stakes. `balances`: of every farmer, each time; else only
    farmers that wait are looked up, now and then.
    """

    def __init__(
        self,
        database: Database,
        chain: ChainReader,
        *,
        min_spare_stroops: int,
        pooler_id: UUID | None = None,
        balances: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._database, self._chain, self._pooler_id = database, chain, pooler_id
        self._min_spare_stroops = min_spare_stroops
        self._balances = balances
        self._patience_seconds = patience_seconds
        self._said: tuple[Farm, datetime, float] | None = None  # the last word, its time, and ours
        self._accounts: tuple[float, dict[str, Account | None]] | None = None
        self._is_silent = False

    @property
    def _fresh_seconds(self) -> float:
        return FRESH_LEDGERS * self._chain.network.ledger_seconds

    async def read(self) -> Moment:
        """The pool now. Raises DatabaseError."""
        database, pooler_id = self._database, self._pooler_id
        trouble = await self._ask()
        network = self._chain.network
        farm, at = self._last_word()
        newest = farm.index if farm else U32_MAX
        blocks = await read_blocks(database, pooler_id, to_index=-1 if newest is None else newest)
        if farm is None:
            newest = blocks[0].block_index if blocks else None
        shown = -1 if newest is None else newest
        farmers = await database.fetch_all(
            "select_farmers_in_block", row=FarmerProgress, pooler_id=pooler_id, block_index=shown, everybody=True
        )
        accounts = {} if trouble else await self._read_accounts(farmers)
        completed = await asyncio.to_thread(
            lambda: tuple(self._complete(farmer, number, farm, accounts) for number, farmer in enumerate(farmers, 1))
        )
        paused = await database.fetch_one("select_paused")
        return Moment(
            at=at,
            ledger=farm.ledger if farm else None,
            index=newest,
            block=farm.block if farm else None,
            ends_at=_ends_at(farm, network.block_seconds),
            block_seconds=network.block_seconds,
            ledger_seconds=network.ledger_seconds,
            paused=farm is not None and farm.paused,
            planting_paused=paused is not None and paused["planting_paused"],
            farmers=completed,
            blocks=tuple(blocks),
            searchers=tuple(await database.fetch_all("select_searchers", row=ActiveSearcher)),
            lost=await database.fetch_one("select_last_loss", row=LostStakes, pooler_id=pooler_id, before_index=shown),
            trouble=trouble,
            servers=self._chain.servers.describe(),
            plans=tuple(
                await database.fetch_all("select_block_plans", row=PlantingPlan, pooler_id=pooler_id, block_index=shown)
            ),
            under_way=await count_under_way(database),
            awaited_seconds=await awaited_seconds(database),
        )

    async def _ask(self) -> str | None:
        """Hear the chain's word, unless it has just given it. Why there is none, if so."""
        if self._said is not None and not self._is_silent and time.monotonic() - self._said[2] < self._fresh_seconds:
            return None
        self._is_silent = True
        try:
            async with asyncio.timeout(self._patience_seconds):
                farm, _ = await asyncio.gather(self._chain.read_farm(), self._chain.read_limits())
                self._said = (farm, await self._chain.now(), time.monotonic())
                self._is_silent = False
        except TimeoutError:
            return f"the RPC server {self._chain.servers.place} did not answer within {self._patience_seconds:g} s"
        except ChainError as error:
            return str(error) or type(error).__name__
        return None

    def _last_word(self) -> tuple[Farm | None, datetime]:
        """What the chain said last, and its clock carried on to now."""
        if self._said is None:
            return None, datetime.now(UTC)
        farm, at, heard = self._said
        return farm, at + timedelta(seconds=time.monotonic() - heard)

    async def _read_accounts(self, farmers: Sequence[FarmerProgress]) -> dict[str, Account | None]:
        """By wallet; None for one that is not on the chain. Nothing where the chain does not say so."""
        now = time.monotonic()
        kept = self._fresh_seconds if self._balances else SLOW_SECONDS
        if self._accounts is not None and now - self._accounts[0] < kept:
            return self._accounts[1]
        wallets = [
            each.custodial_wallet
            for each in farmers
            if (self._balances or each.status == "registered") and not each.plants_itself
        ]
        try:
            async with asyncio.timeout(self._patience_seconds):
                found = await self._chain.read_accounts(wallets) if wallets else {}
            accounts = {wallet: found.get(wallet) for wallet in wallets}
        except (ChainError, TimeoutError):
            accounts = {}
        self._accounts = (now, accounts)
        return accounts

    def _complete(
        self, farmer: FarmerProgress, number: int, farm: Farm | None, accounts: Mapping[str, Account | None]
    ) -> FarmerProgress:
        """A row with what the chain adds to it. Copied once at most: there are thousands."""
        changes: dict[str, Any] = {}
        name = plain(farmer.name or f"farmer {number}")
        if name != farmer.name:
            changes["name"] = name
        if farm is None:
            return replace(farmer, **changes | NO_BLOCK)
        if farm.block is not None and farm.index is not None:
            expected = farmer.forecast_in(farm.block, farm.index)
            if expected is not None:
                changes["forecast_stroops"] = expected
        if farmer.custodial_wallet in accounts:
            account = accounts[farmer.custodial_wallet]
            waits = farmer.status == "registered"
            spare = self._min_spare_stroops
            changes["missing"] = missing_funds(account, spare, farmer.deposit_stroops) if waits else None
            changes["balance_stroops"] = account.kale_stroops if account else None
        return replace(farmer, **changes) if changes else farmer


async def read_blocks(
    database: Database, pooler_id: UUID | None, *, from_index: int = 0, to_index: int = U32_MAX, limit: int = BLOCKS
) -> list[BlockSummary]:
    """The newest blocks in a range, newest first: of one pooler's part, or of all together."""
    return await database.fetch_all(
        "select_blocks_done",
        row=BlockSummary,
        pooler_id=pooler_id,
        from_index=from_index,
        to_index=to_index,
        limit=limit,
    )


def _ends_at(farm: Farm | None, block_seconds: int) -> datetime | None:
    """The contract lets the next block begin this long after FarmBlock's timestamp."""
    if farm is None or farm.farm_block is None:
        return None
    return datetime.fromtimestamp(farm.farm_block.timestamp + block_seconds, UTC)
