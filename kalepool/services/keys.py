"""API keys in the database: made, and found again by their hash. See kalepool.keys for what a key is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from kalepool.database import Database, Session, new_id
from kalepool.keys import key_hash, new_key


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
    if not _FORM.fullmatch(key):
        return None
    return await database.fetch_one("select_api_key", row=KeyOwner, key_hash=key_hash(key))
