"""What every service needs, in one place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.custody import Binding, Custody
from kalepool.database import Database
from kalepool.services.absences import Absences
from kalepool.services.journal.gaps import note_restore
from kalepool.services.journal.state import Journal
from kalepool.services.lookups import Lookups
from kalepool.services.pool_accounts import PoolAccounts
from kalepool.services.wallet_turns import WalletTurns


@dataclass
class Context:
    """The API process's hands: everything a service acts through. Built once, see kalepool.api.app."""

    settings: Settings
    chain: Chain
    custody: Custody
    database: Database
    journal: Journal = field(init=False)
    """Through it goes every transaction."""
    accounts: PoolAccounts = field(init=False)
    """The pool's own: one pays, the channels carry work and harvests."""
    lookups: Lookups = field(init=False)
    """What may be asked of the chain on a caller's behalf."""
    broken_seals: list[Binding] = field(default_factory=list)
    """Rows that somebody changed in the database, past us; see seals.py."""
    absences: Absences = field(default_factory=Absences)
    """Pails that the chain was asked for and did not have."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.journal = Journal(self.chain, self.database, self.settings.parallel_calls)
        self.chain.note_restore = partial(note_restore, self.journal)
        self.accounts = PoolAccounts(self.settings, self.chain, self.custody, self.database, self.journal)
        self.lookups = Lookups(self.chain)
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._turns: WeakValueDictionary[UUID, WalletTurns] = WeakValueDictionary()

    def lock(self, *key: Hashable) -> asyncio.Lock:
        """The lock of this name: the same request twice runs one after the other, and the second finds it done."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    @asynccontextmanager
    async def wallet(
        self, farmer_id: UUID, *, first: bool = False, within_seconds: float | None = None
    ) -> AsyncIterator[None]:
        """A farmer's wallet for oneself: see WalletTurns.take."""
        turns = self._turns.get(farmer_id)
        if turns is None:
            turns = self._turns[farmer_id] = WalletTurns()
        async with turns.take(first=first, within_seconds=within_seconds):
            yield
