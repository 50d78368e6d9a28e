"""Who is calling: `Authorization: Bearer <key>` to a Principal, with its role and its rate limit."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from kalepool import tracing
from kalepool.api.limits import COUNTED, RateLimits
from kalepool.api.problems import Problem
from kalepool.database import Database, Session
from kalepool.fencing import HEADER, Fence, act_for
from kalepool.grouped import Grouped
from kalepool.notices import KeyNotice, hear
from kalepool.services import operators
from kalepool.services.context import Context
from kalepool.services.coordinators import require_leader
from kalepool.services.keys import KeyOwner, Role, find_owners
from kalepool.services.mining.payout_wallets import miners_paid_to
from kalepool.tasks import end_tasks

log = structlog.get_logger()

MOST_KEPT = 10_000
KEPT_SECONDS = 60.0  # a key is looked up again after this, should news of its end not have come

bearer = HTTPBearer(auto_error=False, description="A key given at registration, or by an operator.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `subject_id`: the pooler, farmer or miner it speaks for; None for an operator."""

    key_id: UUID
    role: Role
    subject_id: UUID | None
    subject_wallet: str | None

    @property
    def subject(self) -> UUID | str | None:
        """Whom it speaks for, whichever of its keys is used; None for any operator."""
        return self.subject_id or self.subject_wallet

    def require_pooler(self, pooler_id: UUID) -> None:
        """Problem 403 unless it may act for this pooler."""
        if self.role != Role.OPERATOR and (self.role != Role.POOLER or self.subject_id != pooler_id):
            raise Problem(403, "forbidden", f"this key does not act for pooler {pooler_id}")


class Keys:
    """Finds whom a key speaks for; remembers it until the key is changed, which PostgreSQL tells at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[KeyOwner, float]] = {}  # with when it was read
        self._changes = 0
        self._owners = Grouped(partial(find_owners, database))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Forgets each key that is changed or revoked, until the block ends."""

        async def forget() -> None:
            while True:  # whatever happens: who does not listen would honour ended keys for ever
                try:
                    async for notice in hear(self._database, KeyNotice):
                        self.forget(notice.key_id if notice else None)
                except Exception:
                    log.exception("key_news_interrupted")
                    self.forget(None)
                    await asyncio.sleep(1)

        task = asyncio.create_task(forget())
        try:
            yield
        finally:
            await end_tasks([task])

    def forget(self, key_id: UUID | None) -> None:
        """Forgets a key, or all where any may have changed."""
        self._known = {
            digest: known for digest, known in self._known.items() if key_id is not None and known[0].key_id != key_id
        }
        self._changes += 1

    async def owner(self, key: str) -> KeyOwner | None:
        """Whom the key speaks for now; None for one that is unknown, revoked or expired."""
        digest = hashlib.sha256(key.encode(errors="replace")).digest()
        owner, read_at = self._known.get(digest, (None, 0.0))
        now = time.monotonic()
        if owner is None or now - read_at > KEPT_SECONDS:
            self._known.pop(digest, None)
            changes = self._changes
            owner = await self._owners.answer(key)
            if owner is None:
                return None
            # Read before a change and stored after it, it would be kept for good.
            if changes == self._changes:
                if len(self._known) >= MOST_KEPT:
                    self._known.clear()
                self._known[digest] = owner, now
        if owner.expires_at is not None and owner.expires_at <= datetime.now(UTC):
            return None
        return owner


async def principal(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Principal:
    """Who is calling, within its rate limit. Problem 401 without a valid key, 429 beyond the limit."""
    keys: Keys = request.app.state.keys
    limits: RateLimits = request.app.state.limits
    owner = await keys.owner(credentials.credentials) if credentials is not None else None
    if owner is None:
        limits.hit_address(request)
        detail = "this key is unknown, expired or revoked" if credentials else "Authorization: Bearer <key> is missing"
        raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
    caller = Principal(owner.key_id, owner.role, owner.subject_id, owner.subject_wallet)
    if not request.scope.get(COUNTED):
        limits.hit_subject(caller.role, caller.subject)
    await _act_for_leadership(request, caller)
    return caller


async def _act_for_leadership(request: Request, caller: Principal) -> None:
    """What a coordinator asks for is done for its leadership: once another leads, nothing of it is written or sent.

    Raises NotLeadingError where that is so already, Problem 422 for what is no number.
    """
    act_for(None)
    if caller.role == Role.POOLER:
        tracing.follow(request.headers.get(tracing.HEADER))
    given = request.headers.get(HEADER)
    if given is None or caller.role != Role.POOLER or caller.subject_id is None:
        return
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise Problem(422, "invalid-input", f"{HEADER}: this is no number")
    fence = Fence(caller.subject_id, int(given))
    database: Database = request.app.state.database
    await require_leader(database, fence)
    act_for(fence)


async def still_valid(request: Request) -> bool:
    """Whether the key that a long answer began with may still be used."""
    keys: Keys = request.app.state.keys
    return await keys.owner(request.headers["Authorization"].partition(" ")[2].strip()) is not None


def costs(more: int) -> Callable[..., Awaitable[None]]:
    """A dependency for what is as dear as so many more requests. Problem 429 beyond the limit."""

    async def check(request: Request, caller: Annotated[Principal, Depends(principal)]) -> None:
        limits: RateLimits = request.app.state.limits
        limits.hit_subject(caller.role, caller.subject, more)

    return check


def require(*roles: Role) -> Callable[..., Awaitable[Principal]]:
    """A dependency that gives the Principal if it has one of the roles. Problem 403 otherwise."""

    async def check(caller: Annotated[Principal, Depends(principal)]) -> Principal:
        if caller.role not in roles:
            key = f"{'an' if caller.role == 'operator' else 'a'} {caller.role}'s key"
            raise Problem(403, "forbidden", f"{key} may not do this; it takes a key of: {', '.join(roles)}")
        return caller

    return check


Anyone = Annotated[Principal, Depends(principal)]
"""Any valid key."""

Operator = Annotated[Principal, Depends(require(Role.OPERATOR))]


def require_sign_in(caller: Principal) -> None:
    """Problem 403 for a farmer's key, which others may know too: its payout wallet has to sign in."""
    if caller.role == Role.FARMER and caller.subject_wallet is None:
        raise Problem(403, "sign-in-needed", "sign in with the payout wallet for this: GET /auth")


async def signed_in(caller: Annotated[Principal, Depends(require(Role.FARMER))]) -> Principal:
    """A farmer who signed in with its payout wallet. Problem 403 for a key."""
    require_sign_in(caller)
    return caller


async def paid_miner(
    request: Request,
    caller: Annotated[Principal, Depends(require(Role.MINER, Role.FARMER))],
    miner_id: Annotated[
        UUID | None, Query(description="Which miner, where several are paid to the wallet that signed in.")
    ] = None,
) -> Principal:
    """The miner that calls: by its key, or by its payout wallet, which signed in. Problem 403 for anybody else, 409
    where the wallet is several miners'."""
    if caller.role == Role.MINER:
        mine = [caller.subject_id]
    elif caller.subject_wallet is not None:
        context: Context = request.app.state.context
        mine = await miners_paid_to(context.database, context.custody, caller.subject_wallet)
    else:
        mine = []
    found = [each for each in mine if miner_id in (None, each)]
    if not found:
        raise Problem(403, "forbidden", "no miner's key, nor a sign-in of its payout wallet")
    if len(found) > 1:
        ids = ", ".join(str(each) for each in found)
        raise Problem(409, "several-miners", f"several miners are paid to this wallet: add ?miner_id=, one of {ids}")
    return Principal(caller.key_id, Role.MINER, found[0], caller.subject_wallet)


PaidMiner = Annotated[Principal, Depends(paid_miner)]


async def record(
    database: Database | Session, caller: Principal, action: str, subject_id: UUID | None = None, **detail: str | int
) -> None:
    """Notes for good what an operator did; what anybody else did to its own is no operator's action."""
    if caller.role == Role.OPERATOR:
        await operators.record(database, caller.key_id, action, subject_id, **detail)


SignedIn = Annotated[Principal, Depends(signed_in)]

PoolerOrOperator = Annotated[Principal, Depends(require(Role.POOLER, Role.OPERATOR))]
