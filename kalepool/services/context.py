"""What every service needs, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakValueDictionary

from kalepool.chain import Chain, Channels, Signer
from kalepool.config import Settings
from kalepool.custody import Custody
from kalepool.database import Database
from kalepool.services.results import CallTimeoutError, NotReadyError


@dataclass(frozen=True, slots=True)
class Needs:
    """XLM to be sent to the pool's account."""

    address: str
    native_stroops: int


@dataclass
class Context:
    """The API process's hands: everything a service acts through. Built once, see kalepool.api.app."""

    settings: Settings
    chain: Chain
    custody: Custody
    database: Database
    channels: Channels = field(init=False)
    """The pool's accounts that submit what needs no farmer's signature, one transaction at a time each."""
    pool: Signer | None = None
    """Signs for the account that pays the fees; None until it is on the ledger."""
    needs: Needs | None = None
    """What the operator has to send before the pool can work, or soon; None when all is well."""
    following: set[UUID] = field(default_factory=set)
    """Submissions this process follows at the moment; recovery leaves them alone."""
    undecided: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    """Submissions (action, transaction hash) whose outcome only an operator can find out: see forgotten.py."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    calls: asyncio.Semaphore = field(init=False)
    """How many transactions may be prepared (simulated and signed) at the same time."""

    def __post_init__(self) -> None:
        self.channels = Channels(self.chain)
        self.calls = asyncio.Semaphore(self.settings.parallel_calls)
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @property
    def payer(self) -> Signer:
        """The pool's account. NotReadyError while it is not funded."""
        if self.pool is None:
            raise NotReadyError("the pool's account is not funded yet; GET /health says what is missing")
        return self.pool

    @asynccontextmanager
    async def channel(self, deadline: datetime) -> AsyncIterator[Signer]:
        """A channel account for the caller alone. NotReadyError where there is none, CallTimeoutError when none is free
        before the deadline."""
        if not len(self.channels):
            raise NotReadyError("the pool's channel accounts are not funded yet; GET /health says what is missing")
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout((deadline - await self.chain.now()).total_seconds()):
                    signer = await stack.enter_async_context(self.channels.lend())
            except TimeoutError:
                raise CallTimeoutError(f"none of {len(self.channels)} channel accounts came free in time") from None
            yield signer

    def lock(self, *key: Hashable) -> asyncio.Lock:
        """The lock of this name: the same request twice runs one after the other, and the second finds it done."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
