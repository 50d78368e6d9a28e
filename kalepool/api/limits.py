"""What a caller may ask for: requests a minute, and requests at the same time."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from kalepool.api.problems import Problem
from kalepool.config import Settings
from kalepool.services.keys import Role
from kalepool.services.siblings import Shared

FROM_SIBLING = "kalepool.from_sibling"
"""In the scope of a request that another process of the API passes on."""

COUNTED = "kalepool.counted"
"""And of one whose caller's rate limit that process has counted it against."""

AT_METRICS = "kalepool.at_metrics"
"""And of one that came to that process's port for metrics."""

UNKNOWN = "unknown"
"""The address of who has none."""

TOLD_SECONDS = 3.0
"""Of its allowance, which fills in a minute: the other processes are told when a caller has used so much more here."""

TOLD_PART = 10
"""The other processes are told of who holds a tenth of the most, or more, by steps of a tenth."""

TOLD_AGAIN_SECONDS, FORGOTTEN_SECONDS = 5.0, 15.0

MOST_HOSTS = 10_000
"""Whose networks are remembered."""

MOST_KNOWN = 100_000
"""Callers remembered; beyond it those who have their full allowance are forgotten."""


class RateLimits(Shared):
    """Requests per minute and subject by role, and per address for those without a key. In memory; what was used up at
    other processes counts as soon as they tell of it.

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
        self._untold: Counter[str] = Counter()  # seconds of the allowance

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
        self._keep(who, full_at, now)
        if self.is_shared:
            self._untold[who] += 60 * cost / limit  # pyright: ignore[reportArgumentType]

    def _keep(self, who: str, full_at: float, now: float) -> None:
        if len(self._full_at) >= MOST_KNOWN:
            self._full_at = {other: at for other, at in self._full_at.items() if at > now}
            self._untold = Counter({other: used for other, used in self._untold.items() if other in self._full_at})
        self._full_at[who] = full_at

    def untold(self) -> Iterable[Sequence[Any]]:
        """[caller, seconds of its allowance that it used here]."""
        for who in [who for who, used in self._untold.items() if used >= TOLD_SECONDS]:
            yield [who, round(self._untold.pop(who), 3)]

    def heard(self, row: Sequence[Any], sender: UUID) -> None:
        who, used = row
        now = time.monotonic()
        self._keep(who, min(max(self._full_at.get(who, now), now) + used, now + 60.0), now)


def address_of(request: Request) -> str:
    """The network that a request came from."""
    return network_of(request.client.host) if request.client else UNKNOWN


@lru_cache(MOST_HOSTS)
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


class Holders(Shared):
    """Counts what each address holds of something, and lets none hold more than `most`; of other processes, what they
    told of."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()
        self._elsewhere: dict[str, dict[UUID, tuple[int, float]]] = {}  # how many, and when that was told
        self._changed: set[str] = set()
        self._told: dict[str, tuple[int, float]] = {}

    def __getitem__(self, network: str) -> int:
        return self._held[network]

    def has_room(self, network: str) -> bool:
        return self._held[network] + self._held_elsewhere(network) < self.most

    def take(self, network: str) -> None:
        """One more."""
        self._held[network] += 1
        self._note(network)

    def give_back(self, network: str) -> None:
        """One less; who has none left is forgotten."""
        self._held[network] -= 1
        self._note(network)
        if not self._held[network]:
            del self._held[network]

    def _note(self, network: str) -> None:
        if self.is_shared:
            self._changed.add(network)

    def _held_elsewhere(self, network: str) -> int:
        if not (told := self._elsewhere.get(network)):
            return 0
        since = time.monotonic() - FORGOTTEN_SECONDS
        return sum(count for count, at in told.values() if at >= since)

    def untold(self) -> Iterable[Sequence[Any]]:
        """[address, how many it holds here]: where that is another by a step, or was told long ago."""
        now, step = time.monotonic(), max(self.most // TOLD_PART, 1)
        changed, self._changed = self._changed, set()
        old = {network for network, (_, at) in self._told.items() if now - at >= TOLD_AGAIN_SECONDS}
        for network in changed | old:
            held = self._held[network]
            said = held if held >= step else 0
            told = self._told.pop(network, (0, now))
            if network not in old and abs(said - told[0]) < step:
                said, now_told = told
            else:
                now_told = now
                yield [network, said]
            if said:
                self._told[network] = said, now_told

    def heard(self, row: Sequence[Any], sender: UUID) -> None:
        network, held = row
        told = self._elsewhere.setdefault(network, {})
        told[sender] = held, time.monotonic()
        if not held:
            del told[sender]
        since = time.monotonic() - FORGOTTEN_SECONDS
        self._elsewhere[network] = told = {each: known for each, known in told.items() if known[1] >= since}
        if not told:
            del self._elsewhere[network]


class UnderWay:
    """ASGI middleware: answers 503 to an address that has its most requests under way, streams among them. Needed for
    who comes through a proxy, whose connections are many people's."""

    def __init__(self, app: ASGIApp, holders: Holders) -> None:
        self._app = app
        self._holders = holders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get(FROM_SIBLING):  # which has counted it
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
