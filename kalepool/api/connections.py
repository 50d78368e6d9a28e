"""Connections as the server takes them: how many there may be, and how long a head or a stuck answer may take."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kalepool.api.limits import Holders, network_of, too_busy
from kalepool.api.problems import Problem
from kalepool.api.proxies import Proxies
from kalepool.config import Settings, is_local

HEAD_SECONDS = 10.0
"""The head of a request must have arrived within this time, from the connection or its first byte on."""

MOST_HEAD_BYTES = 1 << 16
"""The largest head: 64 KiB."""

STUCK_SECONDS = 30.0
"""An answer that is not read for so long is broken off."""


RESERVED = 100
"""Places beyond the most, for this machine alone: strangers must not shut out the pool's own parts."""


class Doors:
    """Counts open connections, in all and by whose they are. Those of trusted proxies are many people's."""

    def __init__(self, settings: Settings, holders: Holders | None = None) -> None:
        """holders: where what each address holds is counted; by default for this process alone."""
        self.most = settings.api_connections
        self._proxies = Proxies(settings.trusted_proxies)
        self._holders = holders or Holders(settings.api_connections_per_address)
        self._open = 0

    def enter(self, host: str) -> Problem | None:
        """Counts a connection; gives why it cannot be, and counts nothing then."""
        network = network_of(host)
        if self._open >= self.most + RESERVED * is_local(host):
            return too_busy("too many connections are open; come back later")
        if not self._holders.has_room(network) and host not in self._proxies:
            return too_busy(f"{network} has {self._holders.most} connections open, the most it may")
        self._open += 1
        self._holders.take(network)
        return None

    def leave(self, host: str) -> None:
        """Counts the end of a connection that entered."""
        self._open -= 1
        self._holders.give_back(network_of(host))


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's connection, which alone would wait for a head, and for who does not read, as long as it takes."""

    doors: Doors

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_ends: TimerHandle | None = None
        self._stuck_ends: TimerHandle | None = None
        self._host = self.client[0] if self.client else ""
        refused = self.doors.enter(self._host)
        self._entered = refused is None
        if refused is not None:
            self._refuse(refused)
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._entered:
            self._entered = False
            self.doors.leave(self._host)
        self._head_came()
        self._cancel_stuck()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._entered or self.transport.is_closing():
            return
        if self._is_idle() and self._head_ends is None:
            self._await_head()
        super().data_received(data)
        if self._head_ends is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(Problem(431, "head-too-large", f"a request's head has at most {MOST_HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_ends is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck_ends is None:
            self._stuck_ends = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_stuck()
        super().resume_writing()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_ends = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _head_is_late(self) -> None:
        self._head_ends = None
        self._refuse(Problem(408, "request-timeout", f"no request's head within {HEAD_SECONDS:g} s"))

    def _cancel_stuck(self) -> None:
        if self._stuck_ends is not None:
            self._stuck_ends.cancel()
            self._stuck_ends = None

    def _refuse(self, problem: Problem) -> None:
        """Ends the connection, with a word where no answer is under way on it."""
        if self.transport.is_closing():
            return
        if self._is_idle():
            answer = problem.response()
            head = [f"HTTP/1.1 {problem.status} {problem.phrase}", "connection: close"]
            head += [f"{name.decode()}: {value.decode()}" for name, value in answer.raw_headers]
            self.transport.write("\r\n".join([*head, "\r\n"]).encode() + bytes(answer.body))
        self.transport.close()


def guarded(settings: Settings, holders: Holders | None = None) -> Callable[..., GuardedConnection]:
    """The class of connections of one server; `holders` as Doors has it."""
    return type("GuardedConnection", (GuardedConnection,), {"doors": Doors(settings, holders)})
