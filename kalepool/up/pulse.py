"""Parts that run and do nothing: each is asked whether it works; one that does not answer is killed and started again.

A part that dies is seen by the supervisor at once. One that hangs keeps its process, its connections and its locks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx2

from kalepool.database import answers
from kalepool.errors import DatabaseError
from kalepool.heartbeat import Heartbeats
from kalepool.tasks import end_tasks
from kalepool.up.alarms import Alarms
from kalepool.up.parts import Parts, needs_devnet
from kalepool.up.supervisor import Supervisor

ASK_SECONDS = 1.0  # between an answer and the next question
ANSWER_SECONDS = 7.0  # the API's health takes up to 3 s where another part is silent
PATIENCE_SECONDS = 15.0  # of silence, until a part is killed
DOWN_SECONDS = 15.0  # not serving for so long, for whatever reason, is an alarm
STEADY_SECONDS = 20.0  # serving for so long ends it
BEAT_SECONDS = 3.0  # not heard for so long, a child that tells by itself is silent
START_SECONDS = 60.0  # for its first word
LONGEST_PATIENCE_SECONDS = 120.0
OWN_LAG_SECONDS = 2.0  # a question that took so much longer than it may says that this process stood still


class NotServingError(Exception):
    """It answered, or refused to, and does not work: it starts, or has died. The supervisor sees to that."""


@dataclass(slots=True)
class Pulse:
    """How one part is asked.

    ask: returns when it works, raises NotServingError when it says that it does not; no answer within `answer_seconds`
    is silence, and `patience_seconds` of that have it killed: twice as long after each time, lest a slow machine is
    made slower. Without `restarts` it is not ours to kill.
    """

    name: str
    ask: Callable[[], Awaitable[None]]
    answer_seconds: float
    patience_seconds: float
    restarts: bool = True
    silent_since: float | None = None
    down_since: float | None = None
    well_since: float = field(default_factory=time.monotonic)

    def works(self, now: float) -> None:
        if self.down_since is not None:
            self.well_since = now
        self.silent_since = self.down_since = None

    def fails(self, began: float, *, silent: bool) -> None:
        self.down_since = self.down_since or began
        self.silent_since = (self.silent_since or began) if silent else None

    def is_hung(self, now: float) -> bool:
        return self.silent_since is not None and now - self.silent_since >= self.patience_seconds

    def is_down(self, now: float) -> bool:
        return self.down_since is not None and now - self.down_since >= DOWN_SECONDS

    def is_steady(self, now: float) -> bool:
        return self.down_since is None and now - self.well_since >= STEADY_SECONDS


class Pulses:
    """Asks every part again and again, each by itself."""

    def __init__(self, supervisor: Supervisor, alarms: Alarms, pulses: Sequence[Pulse]) -> None:
        self._supervisor, self._alarms, self._pulses = supervisor, alarms, pulses

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for pulse in self._pulses:
                group.create_task(self._mind(pulse))

    async def _mind(self, pulse: Pulse) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            if pulse.restarts and not self._supervisor.looks_after(pulse.name):
                continue  # it is not started yet, or was ended
            began = time.monotonic()
            silent, well, reason = False, False, "it does not answer"
            try:
                async with asyncio.timeout(pulse.answer_seconds):
                    await pulse.ask()
                well = True
            except TimeoutError:
                silent = True
            except NotServingError as error:
                reason = str(error)
            now = time.monotonic()
            if now - began > pulse.answer_seconds + OWN_LAG_SECONDS:
                pulse.silent_since = None  # it was us who stood still
                continue
            if well:
                pulse.works(now)
            else:
                pulse.fails(began, silent=silent)
            self._judge(pulse, now, reason)

    def _judge(self, pulse: Pulse, now: float, reason: str) -> None:
        key = f"part-down:{pulse.name}"
        if pulse.restarts and pulse.is_hung(now):
            said = f"{pulse.name} has not answered for {now - (pulse.silent_since or now):.0f} s"
            self._alarms.raise_("part-down", key, f"{said}: it is killed and started again.")
            self._supervisor.replace(pulse.name, said)
            pulse.patience_seconds = min(2 * pulse.patience_seconds, LONGEST_PATIENCE_SECONDS)
            pulse.silent_since = None
        elif pulse.is_down(now):
            self._alarms.raise_("part-down", key, f"{pulse.name} has not worked for {DOWN_SECONDS:.0f} s: {reason}")
        elif pulse.is_steady(now):
            self._alarms.resolve(key)


@asynccontextmanager
async def minded(
    parts: Parts, database_url: str, supervisor: Supervisor, heartbeats: Heartbeats, alarms: Alarms
) -> AsyncIterator[None]:
    """Parts that hang are replaced, and operators told, while the body runs."""
    ours, times = parts.settings.database_url is None, (ANSWER_SECONDS, PATIENCE_SECONDS)
    name = "postgres" if ours else "the database"
    async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client:
        pulses = [
            Pulse(name, lambda: ask_database(database_url), *times, restarts=ours),
            Pulse("api", lambda: ask_http(client, f"{parts.api_url}/health"), *times),
            *(Pulse(name, partial(ask_heart, heartbeats, supervisor, name), *times) for name in parts.coordinators()),
        ]
        if needs_devnet(parts.settings):
            body = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
            pulses.append(Pulse("devnet", lambda: ask_http(client, parts.rpc_url, body), *times))
        tasks = [
            asyncio.create_task(Pulses(supervisor, alarms, pulses).run()),
            asyncio.create_task(alarms.run()),
        ]
        try:
            yield
        finally:
            await end_tasks(tasks)


async def ask_http(client: httpx2.AsyncClient, url: str, body: object | None = None) -> None:
    """Any answer will do: what is wrong with other parts is not this one's fault. Raises NotServingError."""
    try:
        await (client.get(url) if body is None else client.post(url, json=body))
    except httpx2.TimeoutException:
        raise TimeoutError from None
    except httpx2.HTTPError as error:
        raise NotServingError(str(error)) from None


async def ask_database(url: str) -> None:
    """On a connection of its own, as whoever comes new. Raises NotServingError."""
    try:
        await answers(url)
    except DatabaseError as error:
        raise NotServingError(str(error)) from None


async def ask_heart(heartbeats: Heartbeats, supervisor: Supervisor, name: str) -> None:
    """Whether a child that tells by itself was heard of lately. Raises NotServingError, TimeoutError.

    Its first beat comes before it waits for anything.
    """
    if heartbeats.address is None:
        return
    silent = heartbeats.silent_seconds(supervisor.pid(name))
    if silent is None:
        if supervisor.age(name) > START_SECONDS:
            raise TimeoutError
        raise NotServingError("it starts")
    if silent > BEAT_SECONDS:
        raise TimeoutError
