"""How the pool is: each part with its state, how long it took to answer, and since when it is so."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import DatabaseError, DatabaseFullError, KalepoolError
from kalepool.policy.endurance import WARN_HOURS
from kalepool.services.context import Context
from kalepool.services.coordinators import LEADERLESS_SECONDS, coordinating, who_leads
from kalepool.services.journal import gaps
from kalepool.services.siblings import read_siblings
from kalepool.units import amount, counted, kale, lasting, rate

PATIENCE_SECONDS = 3.0
"""A part that does not answer in this time is down."""

LATE_LEDGERS = 6
"""A network that closed no ledger for this many ledgers' time is down."""

SILENT_SECONDS = 30.0
"""A worker not heard of for so long is gone."""

WORKERS_AWAITED_SECONDS = 45.0
"""So long after a pool or its coordinator began its workers are on their way: Ray starts, and hashing is compiled."""

NOBODY_MINES = "neither a worker nor a miner searches for"

KEPT_SECONDS = 1.0
"""An answer is given again for this long, so that asking often costs nothing."""


@dataclass(frozen=True, slots=True)
class Component:
    """`state`: up, down, waiting (for the operator or the network), starting (it is on its way), or none (there is
    nothing to watch)."""

    state: str
    latency_ms: float
    since: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """`state` is up when no part is down, waiting or starting; starting when some are, and none is worse."""

    state: str
    components: dict[str, Component]


class Health:
    """Looks at every part, at most once a second, and remembers since when each is in its state."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._since: dict[str, tuple[str, datetime]] = {}
        self._last: tuple[float, HealthReport] | None = None
        self._lock = asyncio.Lock()

    async def report(self) -> HealthReport:
        """The state of all parts. Never raises."""
        async with self._lock:
            if self._last is not None and time.monotonic() - self._last[0] < KEPT_SECONDS:
                return self._last[1]
            checks: dict[str, Callable[[], Awaitable[tuple[str, str]]]] = {
                "database": self._database,
                "disk": self._disk,
                "chain": self._chain,
                "custody": self._custody,
                "accounts": self._accounts,
                "journal": self._journal,
                "workers": self._workers,
                "coordinator": self._coordinator,
                "price": self._price,
                "relayer": self._relayer,
                "processes": self._processes,
            }
            found = await asyncio.gather(*(self._look(name, check) for name, check in checks.items()))
            components = dict(zip(checks, found, strict=True))
            report = HealthReport(overall({component.state for component in found}), components)
            self._last = (time.monotonic(), report)
            return report

    async def _look(self, name: str, check: Callable[[], Awaitable[tuple[str, str]]]) -> Component:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                state, detail = await check()
        except TimeoutError:
            state, detail = "down", f"no answer within {PATIENCE_SECONDS:g} s"
        except DatabaseFullError:
            state, detail = "down", "the database cannot write: its disk is full"
        except DatabaseError:
            state, detail = "down", "the database does not answer"
        except KalepoolError as error:
            state, detail = "down", str(error)
        latency_ms = round((time.perf_counter() - begun) * 1000, 2)
        before = self._since.get(name)
        if before is None or before[0] != state:
            self._since[name] = (state, datetime.now(UTC))
        return Component(state, latency_ms, self._since[name][1], detail)

    async def _database(self) -> tuple[str, str]:
        await self._ctx.database.write()
        return "up", ""

    async def _disk(self) -> tuple[str, str]:
        room = await disk_room(self._ctx.settings)
        detail = f"{room.free_bytes / 1e9:.1f} of {room.total_bytes / 1e9:.1f} GB free"
        if room.is_low:
            return "down", f"{detail}, KALEPOOL_MIN_FREE_MB wants {self._ctx.settings.min_free_mb} MB: make room"
        return "up", detail

    async def _chain(self) -> tuple[str, str]:
        health = await self._ctx.chain.read_health()
        # By our own count of time: its close time and our clock need not agree.
        age = self._ctx.chain.ledger_age_seconds
        if age > LATE_LEDGERS * self._ctx.chain.network.ledger_seconds + 5:
            return "down", f"no ledger closed for {age:.0f} s, the last is {health.ledger.sequence}"
        said = self._ctx.chain.servers.describe()
        return "up", f"ledger {health.ledger.sequence}" + (said and f"; {said}")

    async def _custody(self) -> tuple[str, str]:
        if self._ctx.accounts.pool is None:
            return "up", "no key in use yet"
        self._ctx.accounts.pool.sign(b"whether the master key opens what it sealed")
        if broken := self._ctx.broken_seals:
            return (
                "down",
                f"{counted(len(broken), 'row')} of the database changed past the pool, of {broken[0].address} first",
            )
        return "up", ""

    async def _accounts(self) -> tuple[str, str]:
        if restarted := self._ctx.accounts.restarted:
            return "down", restarted
        needs = self._ctx.accounts.needs
        ready, wanted = len(self._ctx.accounts.channels), self._ctx.settings.channel_accounts
        if needs is not None:
            return "waiting", f"send {amount(needs.native_stroops)} XLM to the pool's account {needs.address}"
        if self._ctx.accounts.pool is None or not ready:
            return "waiting", waiting_for_accounts(self._ctx.accounts.to_be_made)
        said, lasts = f"{ready} of {counted(wanted, 'channel account')}", self._ctx.accounts.endurance
        if lasts is None or lasts.hours is None:
            return "up", said
        said = f"{said}; XLM for {lasting(lasts.hours)} at {kale(lasts.daily_stroops)} a day"
        if lasts.short_of is not None:
            said = f"{said}: send some to the pool's account {self._ctx.accounts.payer.public_key}"
        return "waiting" if lasts.short_of == min(WARN_HOURS) else "up", said

    async def _journal(self) -> tuple[str, str]:
        found = self._ctx.journal.gaps
        if found is None:
            return "waiting", "our accounts were not held against the ledger yet"
        return ("down", gaps.describe(found)) if found else ("up", "")

    async def _coordinator(self) -> tuple[str, str]:
        found = await coordinating(self._ctx.database)
        if not found:
            return "none", "no coordinator of ours has led yet"
        gone = [each for each in found if each.leaderless_seconds > LEADERLESS_SECONDS]
        named = len(found) > 1
        said = "; ".join(f"{each.pooler}: " * named + who_leads(each) for each in found)
        if all(each.given_up for each in gone):
            return "none" if len(gone) == len(found) else "up", said
        return "down", said

    async def _price(self) -> tuple[str, str]:
        return "none" if self._ctx.settings.kale_price_xlm is None else "up", what_is_known(self._ctx.settings)

    async def _relayer(self) -> tuple[str, str]:
        relayer = self._ctx.chain.relayer
        if relayer is None:
            return "none", ""
        trouble, pause = relayer.trouble, relayer.paused_seconds
        if trouble is None or not pause:
            return "up", f"{relayer.taken} transactions taken, {relayer.refused} not"
        said = f"not asked for {pause:.0f} s, the pool pays itself: {trouble.message}"
        return ("waiting" if trouble.is_of_the_key else "up"), said

    async def _processes(self) -> tuple[str, str]:
        there = len(await read_siblings(self._ctx.database))
        return ("up", f"{there} API processes") if there > 1 else ("none", "")

    async def _workers(self) -> tuple[str, str]:
        database = self._ctx.database
        counts = await database.fetch_one("select_worker_counts", silent_seconds=SILENT_SECONDS)
        assert counts is not None
        unsearched = await count_unsearched(database, self._ctx.settings.chain.block_seconds)
        if unsearched.farmers or (counts["machines"] and not counts["heard"]):
            awaited = await awaited_seconds(database)
            if awaited is not None and is_starting(awaited):
                usual = f"{WORKERS_AWAITED_SECONDS:.0f} s are usual"
                return "starting", f"workers are on their way, for {awaited:.0f} s now: up to {usual}"
        if unsearched.farmers:
            return "down", f"{NOBODY_MINES} {counted(unsearched.farmers, 'planted stake')}"
        if not counts["machines"]:
            return "none", "no worker has joined"
        machines = f"{counts['machines'] - counts['machines_gone']} of {counted(counts['machines'], 'machine')}"
        if not counts["heard"]:
            since = f"{counts['last_seen_at']:%H:%M:%S} UTC"
            return "down", f"no worker on any of {counted(counts['machines'], 'machine')} since {since}"
        return "up", f"{counted(counts['heard'], 'worker')} on {machines}, {rate(counts['hashes_per_second'])}"


def overall(states: set[str]) -> str:
    """Of all parts together: up, starting or down."""
    worse = states - {"up", "none"}
    return "down" if worse - {"starting"} else "starting" if worse else "up"


def what_is_known(settings: Settings) -> str:
    """Whether the pool knows that it earns, in words; empty where what it spends is worth nothing anyway."""
    if settings.kale_price_xlm == "pool":
        return "the price of a KALE is that of the chain's liquidity pool"
    if settings.kale_price_xlm is not None:
        return f"a KALE is taken to be worth {settings.kale_price_xlm:g} XLM"
    if settings.network != "mainnet":
        return ""
    return "no price of KALE is set: the pool does not know whether it earns: set KALEPOOL_KALE_PRICE_XLM"


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """Of the data folder's disk: what this user may still write, and all there is, in bytes."""

    free_bytes: int
    total_bytes: int
    is_low: bool


async def disk_room(settings: Settings) -> DiskRoom:
    """The embedded database, the devnet's chain and the logs are on this disk."""
    folder = settings.data_dir.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    status = await asyncio.to_thread(os.statvfs, there)
    free = status.f_bavail * status.f_frsize
    return DiskRoom(free, status.f_blocks * status.f_frsize, free < settings.min_free_mb * 1_000_000)


@dataclass(frozen=True, slots=True)
class Unsearched:
    """Planted farmers that are not worked, while neither a worker nor a miner searches, and their stakes."""

    farmers: int
    stake_stroops: int


async def count_unsearched(database: Database, block_seconds: int) -> Unsearched:
    """Of blocks that did not just begin. Raises DatabaseError."""
    early = min(SILENT_SECONDS, block_seconds / 5)
    found = await database.fetch_one(
        "count_unsearched", row=Unsearched, early_seconds=early, silent_seconds=SILENT_SECONDS
    )
    assert found is not None
    return found


async def awaited_seconds(database: Database) -> float | None:
    """Since the pool or a coordinator of it began; None where a worker has come since, or nobody began. Raises
    DatabaseError."""
    found = await database.fetch_one("select_awaited")
    return None if found is None else found["seconds"]


def is_starting(awaited: float | None) -> bool:
    """Whether workers that are not there are on their way."""
    return awaited is not None and awaited < WORKERS_AWAITED_SECONDS


def waiting_for_accounts(to_be_made: int | None) -> str:
    """Why no account of the pool's can be used. `to_be_made`: how many are not on the ledger, where that is known."""
    if to_be_made is None:
        return "the pool's accounts were not looked up on the ledger yet"
    return "the pool's accounts are being made" if to_be_made else "the pool's accounts wait for what is under way"
