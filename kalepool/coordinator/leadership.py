"""Which of a pooler's coordinators leads: one stands by until it does, renews its lease, knows when that is over."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from uuid import UUID

import structlog

from kalepool.database import Database, new_id
from kalepool.errors import DatabaseError
from kalepool.fencing import Fence, fenced
from kalepool.services import coordinators
from kalepool.services.coordinators import CoordinatorSelf

RENEWALS = 4  # of a lease, while it lasts
LOOK_SECONDS = 0.5  # between two looks of one that stands by, at most
TELL_SECONDS = 2.0  # how often it says that it stands by
RETRY_SECONDS = 0.5

log = structlog.get_logger()


class Leadership:
    """One try at leading a pooler. `seconds`: how long a lease lasts that nobody renews."""

    def __init__(self, database: Database, pooler_id: UUID, seconds: float) -> None:
        self.fence: Fence | None = None
        self.leader: str | None = None  # the place of whoever leads, where that is another
        self._me = CoordinatorSelf(new_id(), pooler_id, f"{socket.gethostname()}/{os.getpid()}")
        self._database = database
        self._seconds = seconds
        self._told_at = float("-inf")
        self._asked = (float("-inf"), float("-inf"))  # when the lease was last renewed, by both clocks

    @property
    def is_sure(self) -> bool:
        """Whether nobody can have taken over: by the lease's length, and both clocks.

        The monotonic one is never set, the other goes on while a machine sleeps.
        """
        since = max(time.monotonic() - self._asked[0], time.time() - self._asked[1])
        return self.fence is not None and since < self._seconds

    async def stand_by(self) -> Fence:
        """Until this one leads; whatever becomes of the database meanwhile."""
        while True:
            pause = min(LOOK_SECONDS, self._seconds / 8)
            try:
                with fenced(None):
                    if fence := await self._try():
                        return fence
            except DatabaseError as error:
                log.warning("leadership_not_looked_at", reason=str(error))
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _try(self) -> Fence | None:
        tells = time.monotonic() - self._told_at > TELL_SECONDS
        lead = await coordinators.look(self._database, self._me, tells=tells)
        if tells:
            self._told_at = time.monotonic()
        if lead is not None:
            if lead.place != self.leader:
                self.leader = lead.place
                log.info("coordinator_stands_by", leader=lead.place, number=lead.fence)
            return None
        self._asked = (time.monotonic(), time.time())
        taken = await coordinators.take(self._database, self._me, self._seconds)
        if taken is None:
            return None
        self.fence, self.leader = Fence(self._me.pooler_id, taken.fence), None
        log.info("coordinator_leads", number=taken.fence, taken_from=taken.taken_from, place=self._me.place)
        return self.fence

    async def keep(self) -> None:
        """Renews the lease, for ever. Raises NotLeadingError once another has taken over."""
        answers = True
        while True:
            await asyncio.sleep(self._seconds / RENEWALS)
            try:
                await self._renew()
                answers = True
            except DatabaseError as error:
                if answers:
                    log.warning("lease_not_renewed", reason=str(error))
                answers = False

    async def confirm(self) -> None:
        """Returns if this one leads now, by what it knows or by what the database says.

        Raises NotLeadingError, and DatabaseError where nobody can say.
        """
        if not self.is_sure:
            await self._renew()

    async def _renew(self) -> None:
        assert self.fence is not None
        asked = (time.monotonic(), time.time())
        with fenced(None):
            await coordinators.renew(self._database, self._me, self.fence.number, self._seconds)
        self._asked = asked

    async def give_up(self) -> None:
        """Whoever stands by leads at once. Raises DatabaseError."""
        with fenced(None):
            await coordinators.give_up(self._database, self._me, self.fence.number if self.fence else None)
        self.fence = None
