"""API keys: 256 random bits, shown once, kept as their SHA-256. A fast hash suffices: there is nothing to guess."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, NotFoundError
from kalepool.marking import mark

MOST_KEYS = 50
"""Keys and tokens of one subject that may be used at the same time."""

SIGN_IN = "sign-in"
"""The label of a token that a wallet's signature was given."""


class TooManyKeysError(ConflictError):
    """The subject has its most keys already."""

    code = "too-many-keys"


class Role(StrEnum):
    """Whom a key speaks for."""

    FARMER = "farmer"
    MINER = "miner"
    POOLER = "pooler"
    OPERATOR = "operator"


_FORM = re.compile(r"kp_[A-Za-z0-9_-]{43}|ey[A-Za-z0-9_-]{1,1000}(\.[A-Za-z0-9_-]{1,1000}){2}")
"""A key, or a token of a farmer who signed in. Both are found by their hash, so that both can be revoked."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `key` is the secret: shown once, kept nowhere."""

    key_id: UUID
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whom a valid key speaks for: `subject_id` is the farmer, miner or pooler, None for an operator.

    `subject_wallet`: a payout wallet that signed in and may own several farmers.
    """

    key_id: UUID
    role: Role
    subject_id: UUID | None
    subject_wallet: str | None
    label: str
    created_at: datetime
    expires_at: datetime | None


def new_key() -> str:
    """A key for the Authorization header: `kp_` and 43 letters, digits, - and _."""
    return "kp_" + secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """What the database keeps of it (32 bytes); looking a key up by it leaks nothing through timing."""
    return hashlib.sha256(key.encode()).digest()


async def create_key(
    database: Database | Session,
    role: Role,
    *,
    subject_id: UUID | None = None,
    subject_wallet: str | None = None,
    label: str = "",
    expires_at: datetime | None = None,
    key: str | None = None,
) -> NewKey:
    """Makes a key for `role` and stores its hash. `key`: the secret itself where it is more than random, as a token."""
    new = NewKey(new_id(), key or new_key())
    await database.execute(
        "insert_api_key",
        key_id=new.key_id,
        key_hash=key_hash(new.key),
        role=role,
        subject_id=subject_id,
        subject_wallet=subject_wallet,
        label=label,
        expires_at=expires_at,
    )
    return new


async def find_owner(database: Database, key: str) -> KeyOwner | None:
    """Whom the key speaks for; None for a key that is unknown, revoked or expired."""
    return (await find_owners(database, [key])).get(key)


async def find_owners(database: Database, keys: Iterable[str]) -> dict[str, KeyOwner]:
    """Whom each of the keys speaks for; those that are unknown, revoked or expired are not in it."""
    by_hash = {key_hash(key): key for key in keys if _FORM.fullmatch(key)}
    if not by_hash:
        return {}
    rows = await database.fetch_all("select_api_keys", key_hashes=list(by_hash))
    return {by_hash[row.pop("key_hash")]: KeyOwner(**row) for row in rows}


async def find_wallet_key(session: Database | Session, role: Role, wallet: str) -> KeyOwner | None:
    """The lasting key of a role and a wallet, which only sessions of browsers use; None where it has none."""
    return await session.fetch_one("select_wallet_key", row=KeyOwner, role=role, subject_wallet=wallet)


async def own_keys(
    database: Database | Session,
    role: Role,
    subject_id: UUID | None,
    subject_wallet: str | None,
    *,
    after: UUID | None,
    limit: int,
) -> list[KeyOwner]:
    """A page of a subject's keys and tokens that may be used, the newest first."""
    return await database.fetch_all(
        "select_own_keys",
        row=KeyOwner,
        role=role,
        subject_id=subject_id,
        subject_wallet=subject_wallet,
        after=after,
        limit=limit,
    )


async def all_keys(
    database: Database, role: Role | None, subject_id: UUID | None, *, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """A page of anybody's keys, ended or not, the newest first; of one role and one subject unless these are None."""
    return await database.fetch_all("select_keys", role=role, subject_id=subject_id, after=after, limit=limit)


async def add_own_key(
    database: Database,
    role: Role,
    subject_id: UUID | None,
    *,
    label: str,
    expires_at: datetime | None,
    replaces: UUID | None,
    overlap_seconds: float,
    note: Callable[[Session, NewKey], Awaitable[None]],
) -> NewKey:
    """Another key of a subject's. The one that it replaces ends after `overlap_seconds`.

    `note` writes down, in the same transaction, that it was made. NotFoundError where `replaces` is no key of the
    subject's that may still be used, TooManyKeysError where it has its most; nothing is made then.
    """
    async with database.transaction() as tx:
        if replaces is not None:
            await revoke_own_key(tx, replaces, role, subject_id, None, seconds=overlap_seconds)
        await require_room(tx, role, subject_id)
        new = await create_key(tx, role, subject_id=subject_id, label=label, expires_at=expires_at)
        await note(tx, new)
    return new


async def require_room(session: Session, role: Role, subject_id: UUID | None) -> None:
    """TooManyKeysError where a subject has its most keys; operators are one. Nobody else adds one meanwhile."""
    await lock_keys(session, role, subject_id)
    found = await session.fetch_one("count_live_keys", role=role, subject_id=subject_id)
    if found is not None and found["keys"] >= MOST_KEYS:
        raise TooManyKeysError(
            mark("this %(role)s has %(count)s keys that may be used, the most there can be: end one of them first"),
            role=role,
            count=found["keys"],
        )


async def lock_keys(session: Session, role: Role, subject_id: UUID | None) -> None:
    """Nobody else makes or ends a key of the subject's until the transaction is over, where it asks for this too."""
    await session.execute("lock_keys", subject=f"{role} {subject_id}")


async def make_room_for_token(session: Session, wallet: str) -> None:
    """Ends a payout wallet's oldest tokens where it has its most, and deletes everybody's that ended long ago."""
    await session.execute("delete_old_tokens")
    await session.execute("end_oldest_tokens", subject_wallet=wallet, most=MOST_KEYS - 1)


async def revoke_tokens_of(session: Session, wallet: str) -> None:
    """Ends every token of a wallet: it is signed in nowhere any more."""
    await session.execute("end_oldest_tokens", subject_wallet=wallet, most=0)


async def revoke_own_key(
    session: Database | Session,
    key_id: UUID,
    role: Role,
    subject_id: UUID | None,
    subject_wallet: str | None,
    *,
    seconds: float = 0,
) -> None:
    """Ends a key of a subject's after some seconds. NotFoundError for none of its keys that may still be used."""
    if not await session.execute(
        "revoke_own_key",
        key_id=key_id,
        role=role,
        subject_id=subject_id,
        subject_wallet=subject_wallet,
        seconds=seconds,
    ):
        raise NotFoundError(f"no key {key_id} of the caller's that may still be used")


async def revoke_keys_called(session: Session, subject_id: UUID, label: str) -> None:
    """Ends every key of a subject that carries this label."""
    await session.execute("revoke_api_keys", subject_id=subject_id, label=label)
