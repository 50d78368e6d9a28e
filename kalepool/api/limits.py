"""What a caller may ask for: requests a minute, and requests at the same time."""

from __future__ import annotations

import math
import time
from collections import Counter
from ipaddress import IPv4Address, IPv6Network, ip_address
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from kalepool.api.problems import Problem
from kalepool.config import Settings
from kalepool.services.keys import Role

UNKNOWN = "unknown"
"""The address of who has none."""

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
    return network_of(request.client.host) if request.client else UNKNOWN


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


class Holders:
    """Counts what each address holds of something, and lets none hold more than `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()

    def __getitem__(self, network: str) -> int:
        return self._held[network]

    def has_room(self, network: str) -> bool:
        return self._held[network] < self.most

    def take(self, network: str) -> None:
        """One more."""
        self._held[network] += 1

    def give_back(self, network: str) -> None:
        """One less; who has none left is forgotten."""
        self._held[network] -= 1
        if not self._held[network]:
            del self._held[network]


class UnderWay:
    """ASGI middleware: answers 503 to an address that has its most requests under way, streams among them. Needed for
    who comes through a proxy, whose connections are many people's."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._holders = Holders(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        network = network_of(scope["client"][0]) if scope.get("client") else UNKNOWN
        if not self._holders.has_room(network):
            problem = too_busy(f"{network} has {self._holders.most} requests under way, the most it may")
            await problem.response()(scope, receive, send)
            return
        self._holders.take(network)
        try:
            await self._app(scope, receive, send)
        finally:
            self._holders.give_back(network)


def too_busy(detail: str, retry_seconds: int = 10) -> Problem:
    """Problem 503 where as many are here as may be. The connection is closed: what else comes on it is not read."""
    headers = {"Retry-After": str(retry_seconds), "Connection": "close"}
    return Problem(503, "busy", detail, headers=headers)
