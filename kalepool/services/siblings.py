"""The API's processes as each of them sees the others: who is there, who leads, what they tell each other.

What is told is counts, so that limits and difficulties agree within a moment: every tenth of a second, and only where
there is anybody to hear it. What must be right is in the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import structlog

from kalepool.database import Database, new_id
from kalepool.errors import DatabaseError, KalepoolError
from kalepool.notices import SiblingNotice, hear, tell
from kalepool.tasks import end_tasks

log = structlog.get_logger()

BEAT_SECONDS = 1.0
"""How often a process says that it is there, and looks who else is."""

ALIVE_SECONDS = 4.0
"""Not heard of for so long, a process counts as gone."""

FORGET_SECONDS = 60.0

TELL_SECONDS = 0.1

MOST_BYTES = 7_800
"""In one notice, which PostgreSQL bounds to 8,000 bytes."""

UNREACHABLE_SECONDS = 5.0
"""A process that could not be reached is not tried again for so long."""

CONNECT_SECONDS = 1.0


class NoLeaderError(KalepoolError):
    """No API process leads at this moment: another takes the lead within seconds."""

    code = "no-leader"


class Shared:
    """Something that every process counts for itself and tells the others of, in rows of JSON's own types."""

    is_shared = False
    """Whether anybody collects what is untold."""

    def untold(self) -> Iterable[Sequence[Any]]:
        """What was not told yet; told from now on."""
        raise NotImplementedError

    def heard(self, row: Sequence[Any], sender: UUID) -> None:
        """A row of another process."""
        raise NotImplementedError

    def missed(self) -> None:
        """Some rows may have been lost."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A process that is there. `address`: host:port where the others reach it; empty for nowhere."""

    process_id: UUID
    address: str
    leads: bool


async def read_siblings(database: Database) -> list[Sibling]:
    """All that are there. Raises DatabaseError."""
    return await database.fetch_all("select_siblings", row=Sibling, alive_seconds=ALIVE_SECONDS)


async def take_lead(database: Database) -> int:
    """Ends the term of whoever led before: nothing it has not written down leaves it. Returns the new term."""
    row = await database.fetch_one("take_lead")
    assert row is not None
    return row["term"]


async def show_lead(database: Database, term: int, process_id: UUID) -> None:
    """Lets the others send what only the leader does. Raises DatabaseError."""
    await database.execute("show_lead", term=term, process_id=process_id)


async def read_term(database: Database) -> int:
    """The term of who took the lead last; how often it was taken. Raises DatabaseError."""
    row = await database.fetch_one("select_term")
    assert row is not None
    return row["term"]


class Siblings:
    """One for each API process; `async with Siblings.open(database, key, address) as siblings`."""

    def __init__(self, database: Database, key: bytes, address: str) -> None:
        self._database = database
        self._key = key
        self._address = address
        self.process_id = new_id()
        self.token = hashlib.blake2b(key=key, digest_size=16, person=b"sibling request").hexdigest()
        """What a request between siblings carries: it may say whose it is."""
        self._others: dict[UUID, Sibling] = {}
        self._unreachable: dict[UUID, float] = {}  # until when
        self._shared: dict[str, Shared] = {}
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database, key: bytes, address: str = "") -> AsyncIterator[Self]:
        """On the list when it is entered, until the block ends. key: the pool's own, as job ids have. Raises
        DatabaseError."""
        siblings = cls(database, key, address)
        await siblings._beat()
        loops = (siblings._beating, siblings._telling, siblings._hearing)
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            yield siblings
        finally:
            await end_tasks(tasks)
            with suppress(DatabaseError):
                await database.execute("delete_sibling", process_id=siblings.process_id)

    @property
    def others(self) -> int:
        """How many other processes are there."""
        return len(self._others)

    @property
    def leader(self) -> Sibling | None:
        """The other process that leads, as was last seen; None for none that can be reached."""
        return next((each for each in self._others.values() if each.leads and each.address), None)

    @property
    def unreachable(self) -> set[UUID]:
        """Processes that could not be reached just now."""
        now = time.monotonic()
        return {process_id for process_id, until in self._unreachable.items() if until > now}

    def share(self, name: str, shared: Shared) -> None:
        """Tells the others of it from now on, under a name that is the same in all."""
        self._shared[name] = shared
        shared.is_shared = True

    async def look(self, fresh_seconds: float = 0.0) -> None:
        """Looks who is there, unless that was seen so lately. Raises DatabaseError."""
        async with self._looking:
            if time.monotonic() - self._looked_at < fresh_seconds:
                return
            found = await read_siblings(self._database)
            self._looked_at = time.monotonic()
        self._others = {each.process_id: each for each in found if each.process_id != self.process_id}

    async def reach(self, process_id: UUID) -> str | None:
        """The address of a process that takes connections now; None for one that is gone."""
        found, now = self._others.get(process_id), time.monotonic()
        if found is None:
            with suppress(DatabaseError):
                await self.look(BEAT_SECONDS / 4)
            found = self._others.get(process_id)
        if found is None or not found.address or self._unreachable.get(process_id, 0.0) > now:
            return None
        host, _, port = found.address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError):
            self._unreachable = {each: until for each, until in self._unreachable.items() if until > now}
            self._unreachable[process_id] = now + UNREACHABLE_SECONDS
            return None
        writer.close()
        return found.address

    # loops

    async def _beat(self) -> None:
        await self._database.execute(
            "beat_sibling", process_id=self.process_id, address=self._address, forget_seconds=FORGET_SECONDS
        )
        await self.look()

    async def _beating(self) -> None:
        said = False
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self._beat()
                said = False
            except DatabaseError as error:
                if not said:
                    log.warning("siblings_not_seen", reason=str(error))
                said = True

    async def _telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            rows = [[name, *row] for name, shared in self._shared.items() for row in shared.untold()]
            if not self._others:
                continue
            with suppress(DatabaseError):  # counts that are lost even out
                for body in _bodies(self.process_id, rows):
                    await tell(self._database, SiblingNotice(self._code(body), body))

    async def _hearing(self) -> None:
        while True:
            try:
                async for notice in hear(self._database, SiblingNotice):
                    self._take(notice)
            except Exception:
                log.exception("siblings_not_heard")
                await asyncio.sleep(1.0)

    def _take(self, notice: SiblingNotice | None) -> None:
        if notice is None:
            for shared in self._shared.values():
                shared.missed()
            return
        if not hmac.compare_digest(notice.code, self._code(notice.body)):
            log.warning("sibling_not_ours", body=notice.body[:100])
            return
        told = json.loads(notice.body)
        sender = UUID(told["from"])
        if sender == self.process_id:
            return
        for name, *row in told["rows"]:
            if (shared := self._shared.get(name)) is not None:
                shared.heard(row, sender)

    def _code(self, body: str) -> str:
        """Only the API's processes know the key: nobody else who may use the database speaks for them."""
        return hashlib.blake2b(body.encode(), key=self._key, digest_size=16, person=b"sibling news").hexdigest()


def _bodies(sender: UUID, rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The rows as JSON, as many in one as it may hold."""

    def body(texts: Sequence[str]) -> str:
        return f'{{"from":"{sender}","rows":[{",".join(texts)}]}}'

    texts: list[str] = []
    room = MOST_BYTES
    for row in rows:
        text = json.dumps(row, separators=(",", ":"))
        if texts and room < len(text) + 1:
            yield body(texts)
            texts, room = [], MOST_BYTES
        texts.append(text)
        room -= len(text) + 1
    if texts:
        yield body(texts)
