"""One moment of the pool. Pails, balances and forecasts come from the chain, the rest from the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kalepool.chain import Account, ChainReader
from kalepool.database import Database
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import forecast
from kalepool.units import plain

RECENT_BLOCKS = 6


@dataclass(frozen=True, slots=True)
class FarmerView:
    """One farmer in the current block. None: not yet. Amounts in stroops."""

    name: str
    address: str
    status: str
    planted: bool
    stake_stroops: int | None
    found_zeros: int | None  # of the best share found
    worked_zeros: int | None  # of the work on the chain
    gap: int | None
    forecast_stroops: int | None  # the reward, as the block stands now
    received_stroops: int | None  # reward of the last harvest
    received_index: int | None  # which block that was of
    balance_stroops: int | None


@dataclass(frozen=True, slots=True)
class BlockView:
    """How much of a block was done. `unplanted`: farmers whose plants all failed. `planted_at`: of the first try."""

    block_index: int
    status: str
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
    def is_settled(self) -> bool:
        """Over, and everything that was worked is harvested."""
        return self.status != "open" and self.harvested >= self.worked

    @property
    def is_whole(self) -> bool:
        """Every farmer that should have been planted was, and every one of them was worked and harvested."""
        return self.is_settled and self.unplanted == 0 and 0 < self.planted == self.worked == self.harvested


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One searcher."""

    node: str
    kind: str
    backend: str
    threads: int
    hashes_per_second: float
    best_zeros: int
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class View:
    """The pool at `at`, by the ledger's clock. `block` is None before the first plant ever. `planting_paused`: by an
    operator. `ledger`: None where the chain was not read; then only what the database knows is there."""

    at: datetime
    ledger: int | None
    index: int | None
    block: Block | None
    ends_at: datetime | None
    farmers: tuple[FarmerView, ...]
    blocks: tuple[BlockView, ...]  # newest first
    workers: tuple[WorkerView, ...]
    miners: int
    miners_hashes_per_second: float
    planting_paused: bool = False

    @property
    def hashes_per_second(self) -> float:
        return self.miners_hashes_per_second + sum(worker.hashes_per_second for worker in self.workers)

    @property
    def active(self) -> int:
        """Farmers that this block can count on: those that may be planted, and those that are."""
        return sum(farmer.status == "active" or farmer.planted for farmer in self.farmers)

    @property
    def planted(self) -> int:
        return sum(farmer.planted for farmer in self.farmers)

    @property
    def worked(self) -> int:
        return sum(farmer.worked_zeros is not None for farmer in self.farmers)

    @property
    def best_zeros(self) -> int | None:
        return max((farmer.found_zeros for farmer in self.farmers if farmer.found_zeros is not None), default=None)

    def seconds_left(self, now: datetime) -> float | None:
        """Until the block may be followed by the next; 0 when it already may. None without a block."""
        return None if self.ends_at is None else max((self.ends_at - now).total_seconds(), 0.0)

    def harvested(self, index: int) -> BlockView | None:
        return next((block for block in self.blocks if block.block_index == index), None)


async def read_view(
    database: Database,
    chain: ChainReader | None,
    pooler_id: UUID | None,
    *,
    from_index: int = 0,
    blocks: int = RECENT_BLOCKS,
) -> View:
    """Read one moment of one pooler's part, or of everybody's. Raises ChainError and DatabaseError.

    chain: None reads the database alone. from_index, blocks: the newest `blocks` blocks from that index on.
    """
    farm = await chain.read_farm() if chain else None
    recent = await database.fetch_all(
        "select_live_blocks", row=BlockView, pooler_id=pooler_id, from_index=from_index, limit=blocks
    )
    newest = farm.index if farm else max((block.block_index for block in recent), default=None)
    index = -1 if newest is None else newest
    rows = await database.fetch_all("select_live_farmers", pooler_id=pooler_id, block_index=index)
    wallets = [row["custodial_wallet"] for row in rows]
    block = farm.block if farm else None
    farm_block = farm.farm_block if farm else None
    pails = await chain.read_pails([(wallet, index) for wallet in wallets]) if chain and block else {}
    accounts = await chain.read_accounts(wallets) if chain and wallets else {}
    workers = await database.fetch_all("select_live_workers", row=WorkerView)
    miners = await database.fetch_one("select_miners_hashrate") or {}
    paused = await database.fetch_one("select_paused") or {}
    return View(
        at=await chain.now() if chain else datetime.now(UTC),
        ledger=farm.ledger if farm else None,
        index=newest,
        block=block,
        ends_at=_ends_at(farm_block, chain.network.block_seconds) if chain and farm_block else None,
        farmers=tuple(
            _farmer(row, number, block, pails.get((row["custodial_wallet"], index)), accounts, index)
            for number, row in enumerate(rows, 1)
        ),
        blocks=tuple(recent),
        workers=tuple(workers),
        miners=miners.get("miners", 0),
        miners_hashes_per_second=miners.get("hashes_per_second", 0.0),
        planting_paused=paused.get("planting_paused", False),
    )


def _ends_at(farm_block: Block, block_seconds: int) -> datetime:
    """The contract lets the next block begin this long after FarmBlock's timestamp."""
    return datetime.fromtimestamp(farm_block.timestamp, tz=UTC) + timedelta(seconds=block_seconds)


def _farmer(
    row: dict, number: int, block: Block | None, pail: Pail | None, accounts: dict[str, Account], index: int
) -> FarmerView:
    account = accounts.get(row["custodial_wallet"])
    worked = block is not None and pail is not None and pail.zeros is not None
    return FarmerView(
        name=plain(row["name"] or f"farmer {number}"),
        address=row["custodial_wallet"],
        status=row["status"],
        planted=pail is not None,
        stake_stroops=pail.stake if pail else None,
        found_zeros=row["found_zeros"],
        worked_zeros=pail.zeros if pail else None,
        gap=pail.gap if pail else None,
        forecast_stroops=forecast(block, pail, index, index).reward_stroops if worked else None,  # pyright: ignore[reportArgumentType]
        received_stroops=row["received_stroops"],
        received_index=row["harvested_index"],
        balance_stroops=account.kale_stroops if account else None,
    )
