"""Requests between the API's processes: what only the leader does is passed on to it, a rig's jobs to who has the rig.

Each process has a second listener, for the others alone. What comes there carries a token that follows from a key in
the database, and says whose request it is.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Protocol, Self

import httpx2
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalepool.api.limits import AT_METRICS, COUNTED, FROM_SIBLING
from kalepool.api.problems import Problem
from kalepool.api.routes.metrics import came_to_metrics
from kalepool.api.routes.page import Reading
from kalepool.errors import DatabaseError
from kalepool.services.mining.homes import ElsewhereError
from kalepool.services.siblings import CONNECT_SECONDS, NoLeaderError, Siblings

log = structlog.get_logger()

HERE = {
    ("GET", "/alive"),
    ("GET", "/events"),
    ("GET", "/miner/job"),
    ("GET", "/miner/jobs/stream"),
    ("POST", "/miner/shares"),
}
"""What every process answers by itself: what comes often, and needs neither the chain nor a key of ours."""

HERE_UNDER = "/static/"
SOLO = re.compile(rb"(^|&)solo=")

TAKEOVER_SECONDS = 8.0
"""How long a request waits for somebody to lead. Killed, the leader is followed within a second or two."""

LOOK_SECONDS = 0.1
RETRY_SECONDS = 1
READ_SECONDS = 10.0
"""For an answer that needs no operation: the page's parts."""

TOKEN, CLIENT, SCHEME, COUNT, METRICS = (
    b"x-kalepool-token",
    b"x-kalepool-client",
    b"x-kalepool-scheme",
    b"x-kalepool-counted",
    b"x-kalepool-metrics",
)
OURS = (TOKEN, CLIENT, SCHEME, COUNT, METRICS)
HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection"}
"""Of one connection alone (RFC 9110, 7.6.1)."""

PARTS = "/parts"
"""At the listener for siblings alone: the page's parts."""


class LeadState(Protocol):
    """Whether this process leads; see leading.py."""

    leads: bool


class Peers:
    """Asks the other processes. `async with Peers.open(siblings) as peers`."""

    def __init__(self, siblings: Siblings, client: httpx2.AsyncClient) -> None:
        self.siblings = siblings
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, siblings: Siblings) -> AsyncIterator[Self]:
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        # Shorter than the server's: none is taken up again that it is about to close.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=5.0)
        async with httpx2.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as client:
            yield cls(siblings, client)

    async def pass_on(self, request: Request, body: bytes, address: str, *, counted: bool = False) -> Response:
        """What the process at `address` answers to the request. counted: its rate limit was. Raises
        httpx2.ConnectError and ConnectTimeout where it did not get there, other TransportErrors where it may have."""
        scope = request.scope
        headers = [(n, v) for n, v in scope["headers"] if n not in HOP and n not in OURS and n != b"content-length"]
        headers.append((TOKEN, self.siblings.token.encode()))
        headers.append((SCHEME, scope["scheme"].encode()))
        if (client := scope.get("client")) is not None:
            headers.append((CLIENT, f"{client[0]} {client[1]}".encode()))
        headers += [(name, b"1") for name, is_so in ((COUNT, counted), (METRICS, came_to_metrics(request))) if is_so]
        if body or request.method not in ("GET", "HEAD", "OPTIONS"):
            headers.append((b"content-length", str(len(body)).encode()))
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        host, _, port = address.rpartition(":")
        url = httpx2.URL(scheme="http", host=host.strip("[]"), port=int(port), raw_path=target)
        sent = httpx2.Request(request.method, url, headers=headers, content=body or None)
        answer = await self._client.send(sent, stream=True)
        passed = StreamingResponse(_whole(answer), answer.status_code)
        passed.raw_headers = [
            (name.lower(), value)
            for name, value in answer.headers.raw
            # the date is the server's to say, and other origins' leave is given by who answers them
            if name.lower() not in HOP and name.lower() != b"date" and not name.lower().startswith(b"access-control-")
        ]
        return passed

    async def leader(self, seconds: float, lead: LeadState) -> str | None:
        """The address of who leads; None where it is this process by now. Raises NoLeaderError where nobody does within
        so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not lead.leads:
                    if (found := self.siblings.leader) and await self.siblings.reach(found.process_id):
                        return found.address
                    await asyncio.sleep(LOOK_SECONDS)
                    with suppress(DatabaseError):
                        await self.siblings.look(LOOK_SECONDS)
        except TimeoutError:
            raise NoLeaderError("no API process leads: another takes the lead within seconds") from None
        return None

    async def read(self, languages: Sequence[str]) -> Reading:
        """The page's parts, as the leader draws them: a Reader of the page. Raises NoLeaderError."""
        found = self.siblings.leader
        if found is None:
            raise NoLeaderError("no API process leads at this moment")
        try:
            answer = await self._client.get(
                f"http://{found.address}{PARTS}",
                params={"languages": ",".join(languages)},
                headers={TOKEN.decode(): self.siblings.token},
                timeout=READ_SECONDS,
            )
            answer.raise_for_status()
            told = answer.json()
        except httpx2.HTTPError as error:
            raise NoLeaderError(f"the leader does not answer: {error or type(error).__name__}") from None
        parts = {(language, name): html for language, each in told["parts"].items() for name, html in each.items()}
        return Reading(datetime.fromisoformat(told["at"]), parts)


async def _whole(answer: httpx2.Response) -> AsyncIterator[bytes]:
    """An answer as it comes. One that breaks off breaks off here; a stream of events, which has no end, ends."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx2.TransportError:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise
    finally:
        await answer.aclose()


def _gone() -> Problem:
    return Problem(
        503,
        "leader-gone",
        "the process that was asked has ended; the same request may be sent again, nothing is done twice",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


async def pass_home(request: Request, error: Exception) -> Response:
    """An app's answer to ElsewhereError: what the process says that has the rig."""
    assert isinstance(error, ElsewhereError)
    peers: Peers = request.app.state.peers
    try:
        return await peers.pass_on(request, b"", error.address, counted=True)
    except httpx2.TransportError:
        return _gone().response()


class Forwarding:
    """ASGI middleware: passes on to the leader what this process does not answer itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["app"].state.lead.leads or _is_for_any(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        answer = await self._ask(request, body)
        if answer is not None:
            await answer(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)

    async def _ask(self, request: Request, body: bytes) -> Response | None:
        """The leader's answer; None where this process leads by now."""
        peers: Peers = request.app.state.peers
        lead: LeadState = request.app.state.lead
        if request.scope.get(FROM_SIBLING):  # who takes the lead is told of before it is ready, or has just lost it
            return None if await _leads_soon(lead) else _gone().response()
        ends_at = asyncio.get_running_loop().time() + TAKEOVER_SECONDS
        while True:
            try:
                address = await peers.leader(ends_at - asyncio.get_running_loop().time(), lead)
                return None if address is None else await peers.pass_on(request, body, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                await asyncio.sleep(LOOK_SECONDS)  # it did not get there: nothing was done
            except httpx2.TransportError:
                return _gone().response()
            except NoLeaderError as error:
                headers = {"Retry-After": str(RETRY_SECONDS)}
                return Problem(503, error.code, str(error), headers=headers).response()


async def _leads_soon(lead: LeadState) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(TAKEOVER_SECONDS):
            while not lead.leads:  # noqa: ASYNC110  it may never
                await asyncio.sleep(LOOK_SECONDS)
    return lead.leads


def _is_for_any(scope: Scope) -> bool:
    path = scope["path"]
    if SOLO.search(scope["query_string"]):
        return False  # whose farmer it is, only the leader can tell
    return (scope["method"], path) in HERE or path.startswith(HERE_UNDER)


class SiblingDoor:
    """The ASGI app of the listener for siblings: the API's own, for who has the token, on behalf of whom it says."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        peers: Peers | None = getattr(self._app.state, "peers", None)
        if peers is None:  # the process starts
            await _gone().response()(scope, receive, send)
            return
        siblings = peers.siblings
        if not hmac.compare_digest(headers.get(TOKEN, b""), siblings.token.encode()):
            problem = Problem(403, "forbidden", "this address is for the API's own processes")
            await problem.response()(scope, receive, send)
            return
        if scope["path"] == PARTS:
            answer = await self._parts(Request(scope))
            await answer(scope, receive, send)
            return
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in OURS]
        scope["client"] = _place(headers.get(CLIENT))
        scope["scheme"] = headers.get(SCHEME, b"http").decode("latin-1")
        scope[FROM_SIBLING] = True
        scope[COUNTED], scope[AT_METRICS] = COUNT in headers, METRICS in headers
        await self._app(scope, receive, send)

    async def _parts(self, request: Request) -> Response:
        state = self._app.state
        if not state.lead.leads:
            return _gone().response()
        try:
            reading: Reading = await state.viewing.told(request.query_params.get("languages", "en").split(","))
        except (DatabaseError, NoLeaderError) as error:
            return Problem(503, error.code, str(error)).response()
        parts: dict[str, dict[str, str]] = {}
        for (language, name), html in reading.parts.items():
            parts.setdefault(language, {})[name] = html
        return JSONResponse({"at": reading.at.isoformat(), "parts": parts})


def _place(said: bytes | None) -> tuple[str, Any] | None:
    if said is None:
        return None
    host, _, port = said.decode("latin-1").rpartition(" ")
    return (host, int(port) if port.isdecimal() else None)
