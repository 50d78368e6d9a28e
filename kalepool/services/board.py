"""What the page shows: one moment of the pool, read once for everybody who looks, and judged in one word."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from kalepool.chain import Farm
from kalepool.database import Database
from kalepool.errors import ChainError
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import forecast
from kalepool.services.context import Context
from kalepool.services.farmers import Lacking, missing_funds
from kalepool.units import amount, kale

BLOCKS = 60
EVENTS = 16
HISTORY_SECONDS = 3600
BIN_SECONDS = 30
SAMPLE_SECONDS = 10.0

PATIENCE_SECONDS = 3.0
"""A chain that takes longer to answer is silent."""

SLOW_SECONDS = 10.0
"""History, and what waiting farmers lack, are read again when they are older: history's samples come no more often."""

GONE_SECONDS = 120.0
"""Who has reported no hashrate for so long is named no more."""


@dataclass(frozen=True, slots=True)
class FarmerRow:
    """One farmer in one block. None: not (yet). Amounts in stroops."""

    farmer_id: UUID
    custodial_wallet: str
    status: str
    stake_stroops: int | None
    found_zeros: int | None
    worked_zeros: int | None
    gap: int | None
    forecast_stroops: int | None
    reward_stroops: int | None
    harvested_at: datetime | None
    plant_transaction: bytes | None
    work_transaction: bytes | None
    harvest_transaction: bytes | None
    failed_code: str | None
    missing: Lacking | None = None  # of a registered farmer; None also where the chain does not answer

    @property
    def waits_for(self) -> str:
        """What a registered farmer needs to become active. The pool adds the trustline by itself."""
        if self.missing is None:
            return "waits for XLM"
        return f"waits for {amount(self.missing.native_stroops)} XLM" if self.missing.native_stroops else "is let in"

    @property
    def planted(self) -> bool:
        return self.stake_stroops is not None

    def with_forecast(self, block: Block, index: int) -> FarmerRow:
        """With what its pail would bring if the block ended as it stands."""
        if self.stake_stroops is None or self.gap is None:
            return self
        pail = Pail(0, self.gap, self.stake_stroops, self.worked_zeros)
        return replace(self, forecast_stroops=forecast(block, pail, index, index).reward_stroops)

    @property
    def worked(self) -> bool:
        return self.worked_zeros is not None


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block, all poolers together."""

    block_index: int
    started_at: datetime
    open: bool
    given_up: bool
    planted: int
    worked: int
    harvested: int
    best_zeros: int | None
    staked_stroops: int
    rewarded_stroops: int
    forecast_stroops: int


@dataclass(frozen=True, slots=True)
class Searcher:
    """A worker of ours (kind cpu or cuda, told by its number) or a miner (told by its name)."""

    id: UUID
    kind: str
    name: str
    hashes_per_second: float
    number: int

    @property
    def label(self) -> str:
        return self.name if self.kind == "miner" else f"{self.kind} worker {self.number}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a block's rewards are measured against."""

    min_zeros: int
    max_zeros: int
    min_gap: int
    max_gap: int


@dataclass(frozen=True, slots=True)
class Series:
    """Hashes a second of one searcher, one value for each of the history's times."""

    label: str
    values: tuple[float, ...]
    miner_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Hashrates by searcher over the last hour, the same times for all."""

    times: tuple[datetime, ...] = ()
    series: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """The stakes that a block lost."""

    block_index: int
    farmers: int
    stake_stroops: int


@dataclass(frozen=True, slots=True)
class Board:
    """The pool at `at`, by the ledger's clock.

    `paused`: by the contract; `planting_paused`: by an operator. `lost`: in the newest block with plants that is over.
    """

    at: datetime
    index: int | None
    bounds: Bounds | None
    ends_at: datetime | None
    block_seconds: int
    ledger_seconds: float
    chain_problem: bool
    paused: bool
    farmers: tuple[FarmerRow, ...]
    blocks: tuple[BlockRow, ...]  # newest first
    searchers: tuple[Searcher, ...]
    events: tuple[dict[str, Any], ...]
    history: History = field(default_factory=History)
    planting_paused: bool = False
    lost: Lost | None = None

    @property
    def seconds_left(self) -> float | None:
        return None if self.ends_at is None else max((self.ends_at - self.at).total_seconds(), 0.0)

    @property
    def active(self) -> int:
        """Farmers that this block can count on: those that may be planted, and those that are."""
        return sum(farmer.status == "active" or farmer.planted for farmer in self.farmers)

    @property
    def planted(self) -> int:
        return sum(farmer.planted for farmer in self.farmers)

    @property
    def unworked(self) -> tuple[FarmerRow, ...]:
        return tuple(farmer for farmer in self.farmers if farmer.planted and not farmer.worked)

    @property
    def worked(self) -> int:
        return self.planted - len(self.unworked)

    @property
    def at_risk_stroops(self) -> int:
        return sum(farmer.stake_stroops or 0 for farmer in self.unworked)

    @property
    def hashes_per_second(self) -> float:
        return sum(searcher.hashes_per_second for searcher in self.searchers)

    @property
    def last_over(self) -> BlockRow | None:
        """The newest block that can be harvested."""
        return next((block for block in self.blocks if block.block_index < (self.index or 0)), None)


# ----------------------------------------------------------------------------------------------------------------------
# Decide: is the block safe?


@dataclass(frozen=True, slots=True)
class Verdict:
    """level: good (nothing to do), busy (under way as it should be), warn (look at it), bad (a loss)."""

    level: Literal["good", "busy", "warn", "bad"]
    title: str
    detail: str


def judge(board: Board) -> Verdict:
    """Whether stakes are safe, in words for somebody who was just woken: those of this block, and, until the next one
    is over, those of the last."""
    now = _judge_block(board)
    if now.level == "bad":
        return now
    lost = board.lost
    if lost is not None:
        stakes = f"{lost.farmers} stake{'' if lost.farmers == 1 else 's'}"
        title = f"Block {lost.block_index} lost {stakes}, {kale(lost.stake_stroops)} KALE"
        return Verdict("bad", title, f"This block: {now.title}. {now.detail}")
    return now


def _judge_block(board: Board) -> Verdict:
    """Of this block alone."""
    left = board.seconds_left
    if board.chain_problem:
        return Verdict("bad", "Chain does not answer", "The node is silent: what is shown here may be old.")
    if board.index is None or left is None:
        return Verdict("busy", "Waiting", "The first block has not begun.")
    if not board.active:
        waiting = sum(farmer.status == "registered" for farmer in board.farmers)
        detail = (
            f"{_farmers(waiting)} registered; below is what each waits for." if waiting else "Nobody takes part yet."
        )
        return Verdict("busy", "No farmers", detail)
    if board.paused:
        return Verdict("warn", "Farm paused", "The KALE contract takes no plants.")
    elapsed = board.block_seconds - left
    if board.planting_paused and not board.unworked:
        return Verdict("warn", *PAUSED)
    if not board.planted:
        if left == 0:
            return Verdict("busy", "Between blocks", "The next block begins with the next plant.")
        if elapsed < max(6 * board.ledger_seconds, 0.1 * board.block_seconds):
            return Verdict("busy", "Planting", f"{_farmers(board.active)} to plant.")
        return Verdict("bad", "Not planted", f"None of {_farmers(board.active)} is planted in this block.")
    unworked = board.unworked
    if not unworked:
        return _safe(board)
    risk = f"{kale(board.at_risk_stroops)} KALE of stakes"
    count = f"{len(unworked)} of {board.planted}"
    if left <= 2 * board.ledger_seconds:
        return Verdict("bad", "At risk", f"{count} planted farmers not worked and no time left: {risk} may be lost.")
    empty = sum(farmer.found_zeros is None for farmer in unworked)
    if not board.hashes_per_second and empty:
        return Verdict("bad", "Nobody is mining", f"{_farmers(empty)} without a share, {risk} at risk.")
    if empty and elapsed > board.block_seconds / 2:
        return Verdict("warn", "Shares missing", f"{_farmers(empty)} without any share after half the block: {risk}.")
    if left <= max(4 * board.ledger_seconds, 0.05 * board.block_seconds):
        return Verdict("warn", "Closing", f"{count} planted farmers still to be worked: {risk} at risk.")
    course = f"{count} planted farmers to be worked before the end. Works go out late on purpose."
    if board.planting_paused:
        return Verdict("warn", PAUSED[0], f"Nothing more is planted; {course}")
    return Verdict("busy", "On course", course)


PAUSED = ("Paused by the operator", "Nothing is planted. What was planted before is worked and harvested as ever.")


def _safe(board: Board) -> Verdict:
    missing = sum(farmer.failed_code is not None and not farmer.planted for farmer in board.farmers)
    if missing:
        return Verdict(
            "warn", "Safe, not whole", f"All {board.planted} planted are worked; {_farmers(missing)} could not plant."
        )
    return Verdict(
        "good", "Safe", f"All {_farmers(board.planted)} planted are worked. No stake of this block is at risk."
    )


def _farmers(count: int) -> str:
    return f"{count} farmer{'' if count == 1 else 's'}"


# ----------------------------------------------------------------------------------------------------------------------
# Do: read it


class BoardReader:
    """Reads boards. Where the chain does not answer, its last word is shown again, and that it is silent."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._farm: Farm | None = None
        self._history: tuple[datetime, History] | None = None
        self._missing: tuple[datetime, dict[str, Lacking]] | None = None

    async def read(self) -> Board:
        """The pool now. Raises DatabaseError."""
        ctx, database = self._ctx, self._ctx.database
        problem = False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._farm = await ctx.chain.read_farm()
                at = await ctx.chain.now()
        except (ChainError, TimeoutError):
            problem, at = True, datetime.now(UTC)
        farm = self._farm
        index = farm.index if farm else None
        block = farm.block if farm else None
        shown = -1 if index is None else index
        farmers = await database.fetch_all("select_page_farmers", row=FarmerRow, block_index=shown, everybody=True)
        missing = {} if problem else await self._read_missing(farmers)
        farmers = [replace(farmer, missing=missing.get(farmer.custodial_wallet)) for farmer in farmers]
        if index is not None and block is not None:
            farmers = [farmer.with_forecast(block, index) for farmer in farmers]
        lost = await database.fetch_one("select_page_lost", row=Lost, before_index=shown)
        paused = await database.fetch_one("select_paused")
        network = ctx.settings.chain
        ends_at = None
        if farm is not None and farm.farm_block is not None:
            ends_at = datetime.fromtimestamp(farm.farm_block.timestamp + network.block_seconds, UTC)
        return Board(
            at=at,
            index=index,
            bounds=Bounds(block.min_zeros, block.max_zeros, block.min_gap, block.max_gap) if block else None,
            ends_at=ends_at,
            block_seconds=network.block_seconds,
            ledger_seconds=network.ledger_seconds,
            chain_problem=problem,
            paused=bool(farm and farm.paused),
            farmers=tuple(farmers),
            blocks=tuple(
                await database.fetch_all("select_page_blocks", row=BlockRow, newest_index=shown, count=BLOCKS)
            ),
            searchers=tuple(await database.fetch_all("select_page_searchers", row=Searcher)),
            events=tuple(await database.fetch_all("select_page_events", farmer_id=None, limit=EVENTS)),
            history=await self._read_history(),
            planting_paused=paused is not None and paused["planting_paused"],
            lost=lost,
        )

    async def _read_missing(self, farmers: Sequence[FarmerRow]) -> dict[str, Lacking]:
        """By wallet, what registered farmers lack; nothing where the chain does not say so."""
        now = datetime.now(UTC)
        if self._missing is not None and (now - self._missing[0]).total_seconds() < SLOW_SECONDS:
            return self._missing[1]
        spare = self._ctx.settings.min_spare_stroops
        wallets = [farmer.custodial_wallet for farmer in farmers if farmer.status == "registered"]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                accounts = await self._ctx.chain.read_accounts(wallets) if wallets else {}
            found = {wallet: missing_funds(accounts.get(wallet), spare) for wallet in wallets}
        except (ChainError, TimeoutError):
            found = {}
        self._missing = (now, found)
        return found

    async def _read_history(self) -> History:
        now = datetime.now(UTC)
        if self._history is not None and (now - self._history[0]).total_seconds() < SLOW_SECONDS:
            return self._history[1]
        since = now - timedelta(seconds=HISTORY_SECONDS)
        rows = await self._ctx.database.fetch_all("select_page_rates", since=since, bin_seconds=BIN_SECONDS)
        history = make_history(rows, now)
        self._history = (now, history)
        return history


async def sample_miners(database: Database) -> None:
    """One point of every rig's hashrate, as the coordinator does for its workers; old points go.

    Call every SAMPLE_SECONDS.
    """
    await database.execute("insert_miner_hashrates")
    await database.execute("delete_old_hashrates")


def make_history(rows: Sequence[dict[str, Any]], now: datetime) -> History:
    """Rows (at, hashes_per_second, and kind, number or miner_id, name) as series over whole bins.

    The bin that `now` is in is left out: it is not full yet. From the first one on, a bin without
    a row counts as 0. Who has not been heard of for GONE_SECONDS is one with all others of its kind.
    """
    step = timedelta(seconds=BIN_SECONDS)
    open_bin = datetime.fromtimestamp(now.timestamp() // BIN_SECONDS * BIN_SECONDS, UTC)
    rows = [row for row in rows if row["at"] < open_bin]
    if not rows:
        return History()
    first = min(row["at"] for row in rows)
    times = tuple(first + step * number for number in range(round((open_bin - first) / step)))
    positions = {at: number for number, at in enumerate(times)}
    newest: dict[tuple[Any, ...], datetime] = {}
    for row in rows:
        newest[_searcher(row)] = max(row["at"], newest.get(_searcher(row), first))
    long_ago = open_bin - timedelta(seconds=GONE_SECONDS)
    values: dict[tuple[str, UUID | None], list[float]] = defaultdict(lambda: [0.0] * len(times))
    for row in rows:
        miner_id = row["miner_id"]
        gone = newest[_searcher(row)] < long_ago
        if miner_id is not None:
            label, miner_id = ("earlier miners", None) if gone else (str(row["name"]), miner_id)
        elif row["kind"] is None or gone:
            label = "earlier workers"
        else:
            label = f"{row['kind']} worker {row['number']}"
        values[label, miner_id][positions[row["at"]]] += row["hashes_per_second"]
    return History(times, tuple(Series(label, tuple(found), miner) for (label, miner), found in values.items()))


def _searcher(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["miner_id"], row["kind"], row["number"]
