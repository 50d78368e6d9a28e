"""How the pool is: each part with its state, how long it took to answer, and since when it is so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kalepool.database import Database
from kalepool.errors import DatabaseError, KalepoolError
from kalepool.services.context import Context
from kalepool.units import amount

PATIENCE_SECONDS = 3.0
"""A part that does not answer in this time is down."""

LATE_LEDGERS = 6
"""A network that closed no ledger for this many ledgers' time is down."""

SILENT_SECONDS = 30.0
"""A worker not heard of for so long is gone."""

NOBODY_MINES = "neither a worker nor a miner searches for"

KEPT_SECONDS = 1.0
"""An answer is given again for this long, so that asking often costs nothing."""


@dataclass(frozen=True, slots=True)
class Component:
    """`state`: up, down, waiting (for the operator or the network), or none (there is nothing to watch)."""

    state: str
    latency_ms: float
    since: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """`state` is up when no part is down or waiting."""

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
                "chain": self._chain,
                "custody": self._custody,
                "accounts": self._accounts,
                "workers": self._workers,
            }
            found = await asyncio.gather(*(self._look(name, check) for name, check in checks.items()))
            components = dict(zip(checks, found, strict=True))
            well = all(component.state in ("up", "none") for component in found)
            report = HealthReport("up" if well else "down", components)
            self._last = (time.monotonic(), report)
            return report

    async def _look(self, name: str, check: Callable[[], Awaitable[tuple[str, str]]]) -> Component:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                state, detail = await check()
        except TimeoutError:
            state, detail = "down", f"no answer within {PATIENCE_SECONDS:g} s"
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
        await self._ctx.database.fetch_one("select_nothing")
        return "up", ""

    async def _chain(self) -> tuple[str, str]:
        health = await self._ctx.chain.read_health()
        # By our own count of time: its close time and our clock need not agree.
        age = self._ctx.chain.ledger_age_seconds
        if age > LATE_LEDGERS * self._ctx.settings.chain.ledger_seconds + 5:
            return "down", f"no ledger closed for {age:.0f} s, the last is {health.ledger.sequence}"
        return "up", f"ledger {health.ledger.sequence}"

    async def _custody(self) -> tuple[str, str]:
        if self._ctx.accounts.pool is None:
            return "up", "no key in use yet"
        self._ctx.accounts.pool.sign(b"whether the master key opens what it sealed")
        if broken := self._ctx.broken_seals:
            return (
                "down",
                f"{len(broken)} rows of the database were changed past the pool, of {broken[0].address} first",
            )
        return "up", ""

    async def _accounts(self) -> tuple[str, str]:
        needs = self._ctx.accounts.needs
        ready, wanted = len(self._ctx.accounts.channels), self._ctx.settings.channel_accounts
        if needs is not None:
            return "waiting", f"send {amount(needs.native_stroops)} XLM to the pool's account {needs.address}"
        if self._ctx.accounts.pool is None or not ready:
            return "waiting", "the pool's accounts are being made"
        return "up", f"{ready} of {wanted} channel accounts"

    async def _workers(self) -> tuple[str, str]:
        database = self._ctx.database
        counts = await database.fetch_one("select_worker_counts", silent_seconds=SILENT_SECONDS)
        assert counts is not None
        unsearched = await count_unsearched(database, self._ctx.settings.chain.block_seconds)
        if unsearched.farmers:
            return "down", f"{NOBODY_MINES} {unsearched.farmers} planted stakes"
        if not counts["machines"]:
            return "none", "no worker has joined"
        machines = f"{counts['machines'] - counts['machines_gone']} of {counts['machines']} machines"
        if not counts["heard"]:
            return (
                "down",
                f"no worker on any of {counts['machines']} machines since {counts['last_seen_at']:%H:%M:%S} UTC",
            )
        return "up", f"{counts['heard']} workers on {machines}, {counts['hashes_per_second']:.0f} hashes per second"


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
