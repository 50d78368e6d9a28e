"""Which of the API's processes leads: it alone opens the master key, sends to the chain and does the chores.

Who holds a lock in the database leads; taking it ends the term of whoever led before, and with it all that one could
still write down to be sent (see insert_submission). The others wait for the lock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import FastAPI

from kalepool.api.routes import metrics, page
from kalepool.api.webhook_shapes import shaped
from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.custody import open_custody
from kalepool.database import Database
from kalepool.errors import DatabaseError
from kalepool.services import upkeep
from kalepool.services.books.results import Days
from kalepool.services.context import Context
from kalepool.services.health import Health
from kalepool.services.journal.state import LeadLostError
from kalepool.services.siblings import Siblings, read_term, show_lead, take_lead
from kalepool.services.signin import SignIn
from kalepool.tasks import end_tasks

log = structlog.get_logger()

LOCK = "the lead among the API's processes"

FIRST_LOOK_SECONDS = 1.0
"""How long a start waits for the lock, so that one process alone leads from its first answer on: the database may take
a moment to see that an earlier one is dead."""

RELEASE_SECONDS = 12.0
"""A leader that is frozen, or whose machine is gone, loses the lock after so long without a word."""

LOOK_SECONDS = 0.2
"""How often who waits for the lock asks for it."""

SHUTDOWN_SECONDS = 3.0
"""What runs at the end may go on for so long; the rest is left to recovery at the next start."""


@dataclass
class Leading:
    """One for each API process; `async with leading.running()`. `leads`: the app's state has what a leader needs."""

    app: FastAPI
    settings: Settings
    database: Database
    siblings: Siblings
    leads: bool = False
    _term: int | None = None
    _looked: asyncio.Event = field(default_factory=asyncio.Event)  # it leads, or somebody else does
    _held: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Leads when it is entered, or as soon as nobody else does, until the block ends. Raises what keeps it from
        leading at once: ConfigError, CustodyError, DatabaseError."""
        task = asyncio.create_task(self._run())
        looked = asyncio.create_task(self._looked.wait())
        await asyncio.wait([task, looked], return_when=asyncio.FIRST_COMPLETED)
        await end_tasks([looked])
        if task.done():
            await task
        task.add_done_callback(self._ended)
        try:
            yield
        finally:
            self._ending.set()
            await asyncio.wait([task])

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            holding = asyncio.create_task(self._hold())
            stack.push_async_callback(end_tasks, [holding])
            if not await self._wait(self._held, FIRST_LOOK_SECONDS, holding):
                self._looked.set()
                log.info("api_follows", pid=os.getpid())
                await self._wait(self._held, None, holding)
            if self._ending.is_set() or not self._held.is_set():
                return
            await self._begin(stack)
            self._looked.set()
            await self._wait(self._ending, None, holding)

    async def _wait(self, event: asyncio.Event, seconds: float | None, holding: asyncio.Task[None]) -> bool:
        """Waits for an event, or the end. Raises what ends the holding of the lock."""
        waits = [asyncio.create_task(each.wait()) for each in (event, self._ending)]
        try:
            await asyncio.wait([*waits, holding], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(waits)
        if holding.done() and not self._ending.is_set():
            await holding
        return event.is_set()

    async def _hold(self) -> None:
        """Holds the lock, and sees after every break that nobody else has led meanwhile."""
        async for _ in self.database.hold_lock(LOCK, None, release_seconds=RELEASE_SECONDS, look_seconds=LOOK_SECONDS):
            if self._term is not None:
                await self._require_term()
            self._held.set()

    async def _require_term(self) -> None:
        while True:
            try:
                if await read_term(self.database) != self._term:
                    raise LeadLostError("another API process has taken the lead")
            except DatabaseError as error:
                log.warning("term_not_read", reason=str(error))
                await asyncio.sleep(LOOK_SECONDS)
                continue
            return

    async def _begin(self, stack: AsyncExitStack) -> None:
        """Opens all that a leader needs."""
        state, database, settings = self.app.state, self.database, self.settings
        self._term = await take_lead(database)
        chain = await stack.enter_async_context(Chain.of(settings))
        await chain.servers.require_one_network(wait_for_one=False)
        ctx = Context(settings, chain, await open_custody(settings, database), database)
        ctx.journal.term = self._term
        state.context = ctx
        state.health = Health(ctx)
        state.days = Days(database)
        state.viewing.reader = page.PageReader(ctx, state.days)
        state.metrics = metrics.Metrics(ctx, state.health, state.days)
        state.sign_in = await SignIn.open(ctx)
        await stack.enter_async_context(upkeep.running(ctx, shaped))
        stack.push_async_callback(self._stop)
        await show_lead(database, self._term, self.siblings.process_id)
        self.leads = True
        log.info("api_leads", pid=os.getpid(), term=self._term)

    async def _stop(self) -> None:
        """Gives operations under way a moment to end, then breaks them off: recovery settles what they leave open."""
        self.leads = False
        running: set[asyncio.Task[Any]] = self.app.state.running
        if running:
            await asyncio.wait(running, timeout=SHUTDOWN_SECONDS)
        await end_tasks(running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Without a lead to wait for, or to keep, the process ends: it starts again with nothing in its memory."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.critical("api_ends", reason=str(error) or type(error).__name__, exc_info=error)
            self.app.state.end()
