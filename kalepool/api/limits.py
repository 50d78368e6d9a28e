"""What a caller may ask for: requests per minute, the size of a body, and how long it may take to arrive."""

from __future__ import annotations

import asyncio
import math
import time
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kalepool.api.problems import Problem
from kalepool.config import Settings
from kalepool.services.keys import Role

MOST_BYTES = 1 << 20
"""The largest body: 1 MiB."""

BODY_SECONDS = 15.0
"""A body must have arrived within this time."""


MOST_KNOWN = 100_000
"""Callers remembered; beyond it those who have their full allowance are forgotten."""


class RateLimits:
    """Requests per minute and subject by role, and per address for those without a key. In this process's memory.

    A subject is a pooler, farmer, miner or wallet that signed in, or all operators together: it may have many keys.

    The generic cell rate algorithm: every request moves the time at which the caller's allowance is full again by
    60 s / limit, and that time may lie at most a minute ahead. So a minute's requests may come at once.
    """

    def __init__(self, settings: Settings) -> None:
        usual = settings.requests_per_minute
        self._of_address = usual
        self._of_role: dict[Role, int] = {
            Role.FARMER: usual,
            Role.MINER: settings.miner_shares_per_minute,
            Role.POOLER: settings.pooler_requests_per_minute,
            Role.OPERATOR: settings.pooler_requests_per_minute,
        }
        self._full_at: dict[str, float] = {}

    def hit_subject(self, role: Role, subject: UUID | str | None, cost: int = 1) -> None:
        """Counts a request of a subject, that is as dear as `cost` usual ones. Problem 429 beyond its role's limit."""
        limit = self._of_role[role]
        self._hit(limit, f"{role} {subject}", min(cost, limit))

    def hit_address(self, request: Request) -> None:
        """Counts a request without a valid key against its address. Problem 429 beyond the limit."""
        self._hit(self._of_address, address_of(request))

    def _hit(self, limit: int, who: str, cost: int = 1) -> None:
        now = time.monotonic()
        full_at = max(self._full_at.get(who, now), now) + 60 * cost / limit
        if full_at - now > 60.0:
            wait = max(math.ceil(full_at - now - 60.0), 1)
            raise Problem(
                429,
                "rate-limited",
                f"more than {limit} requests a minute; come back in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        if len(self._full_at) >= MOST_KNOWN:
            self._full_at = {other: at for other, at in self._full_at.items() if at > now}
        self._full_at[who] = full_at


def address_of(request: Request) -> str:
    """The network that a request came from."""
    return network_of(request.client.host) if request.client else "unknown"


def network_of(host: str) -> str:
    """Whom an address belongs to: itself for IPv4; for IPv6 its /64, which one customer has whole."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address.packed[:8] + bytes(8), 64)))


async def per_address(request: Request) -> None:
    """A dependency for what needs no key: the address's rate limit."""
    limits: RateLimits = request.app.state.limits
    limits.hit_address(request)


class BodyLimits:
    """ASGI middleware: answers 413 to a body over MOST_BYTES, 408 to one that takes longer than BODY_SECONDS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            whole = await _read(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": whole, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers: dict[bytes, Any] = dict(scope["headers"])
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > MOST_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "bad-request", "the connection was closed before the body had arrived")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > MOST_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        headers_408 = {"Connection": "close"}
        raise Problem(408, "request-timeout", f"no body within {BODY_SECONDS:g} s", headers=headers_408) from None


def _too_large() -> Problem:
    return Problem(413, "too-large", f"a body has at most {MOST_BYTES} bytes", headers={"Connection": "close"})
