"""Browsers that are signed in: a cookie's secret, kept as its SHA-256, that stands on a key and ends with it.

Whoever signs in gets a new secret, whatever the browser brought: one that somebody else put there is worth nothing. A
browser may be signed in once for each role, as who is a farmer and a miner: the others go on under the new secret.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from kalepool.database import Database, new_id
from kalepool.errors import NotFoundError
from kalepool.services.keys import SIGN_IN, Role, revoke_own_key, revoke_tokens_of

MOST_SESSIONS = 20
"""Browsers of one key at the same time. One more, and the oldest is signed out."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A browser that has just signed in. `secret` is its cookie: given to it, kept nowhere."""

    session_id: UUID
    expires_at: datetime
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser that is signed in, and whom it speaks for: as services.keys.KeyOwner says."""

    session_id: UUID
    created_at: datetime
    expires_at: datetime
    key_id: UUID
    role: Role
    subject_id: UUID | None
    subject_wallet: str | None
    label: str


def new_secret() -> str:
    """What a cookie holds: 256 random bits."""
    return secrets.token_urlsafe(32)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


async def begin(database: Database, key_id: UUID, *, seconds: float, instead_of: str | None) -> NewSession:
    """Signs a browser in with a key that was just proven. `instead_of`: the secret that it came with, which ends; in
    other roles it stays signed in."""
    secret, session_id = new_secret(), new_id()
    async with database.transaction() as tx:
        await tx.execute("delete_old_browser_sessions")
        before: list[BrowserSession] = []
        if instead_of is not None:
            before = await tx.fetch_all("select_browser_sessions", row=BrowserSession, token_hash=_hash(instead_of))
            await tx.execute("end_browser_session", token_hash=_hash(instead_of))
        await tx.execute("end_browser_sessions", key_id=key_id, keep=MOST_SESSIONS - 1)
        row = await tx.fetch_one(
            "insert_browser_session", session_id=session_id, token_hash=_hash(secret), key_id=key_id, seconds=seconds
        )
        assert row is not None
        made = await tx.fetch_all("select_browser_sessions", row=BrowserSession, token_hash=_hash(secret))
        roles = {each.role for each in made}
        for each in before:
            if each.role not in roles:
                carried = {"session_id": new_id(), "old_session_id": each.session_id}
                await tx.execute("carry_browser_session", token_hash=_hash(secret), **carried)
    return NewSession(session_id, row["expires_at"], secret)


async def find(database: Database, secret: str) -> list[BrowserSession]:
    """By role one at most, the newest first; none that is unknown, was ended, is over, or whose key is."""
    return await database.fetch_all("select_browser_sessions", row=BrowserSession, token_hash=_hash(secret))


async def end(database: Database, secret: str, session: BrowserSession, *, everywhere: bool = False) -> None:
    """Signs out. `everywhere`: every browser of the key too; of a wallet, all that ever signed in with it."""
    async with database.transaction() as tx:
        await tx.execute("end_browser_session", token_hash=_hash(secret))
        if everywhere:
            await tx.execute("end_browser_sessions", key_id=session.key_id, keep=0)
        if session.label != SIGN_IN or session.subject_wallet is None:
            return  # a key of somebody's own outlives the browser
        if everywhere:
            await revoke_tokens_of(tx, session.subject_wallet)
            return
        with suppress(NotFoundError):  # ended meanwhile
            await revoke_own_key(tx, session.key_id, session.role, session.subject_id, session.subject_wallet)
