"""Poolers: who runs a pool of farmers, in-house or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, ForbiddenError, NotFoundError
from kalepool.services.keys import Role, create_key


class PoolerStatus(StrEnum):
    """Whether a pooler may act for its farmers."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Pooler:
    """`status` is active or inactive; `max_farmers` limits how many it may register and plant for.

    `open`: farmers may register by themselves. `planting_paused`: by an operator, here or for the whole pool.
    """

    pooler_id: UUID
    name: str
    max_farmers: int
    status: str
    open: bool
    planting_paused: bool
    created_at: datetime
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewPooler:
    """A pooler just made, with its key, which is shown once."""

    pooler_id: UUID
    key: str = field(repr=False)


async def add_pooler(database: Database, name: str, max_farmers: int = 100) -> NewPooler:
    """Makes a pooler and its first key. ConflictError when the name is taken."""
    async with database.transaction() as session:
        return await insert_pooler(session, name, max_farmers)


async def insert_pooler(session: Session, name: str, max_farmers: int) -> NewPooler:
    """As add_pooler, in a transaction that is open."""
    pooler_id = new_id()
    if not await session.execute("insert_pooler", pooler_id=pooler_id, name=name, max_farmers=max_farmers):
        raise ConflictError(f"a pooler named {name!r} exists already")
    key = await create_key(session, Role.POOLER, subject_id=pooler_id, label=name)
    return NewPooler(pooler_id, key.key)


async def active_pooler(database: Database, pooler_id: UUID) -> Pooler:
    """The pooler, marked as seen now. NotFoundError for none of this id, ForbiddenError when it is not active."""
    pooler = await database.fetch_one("touch_pooler", row=Pooler, pooler_id=pooler_id)
    if pooler is None:
        raise NotFoundError(f"no pooler {pooler_id}")
    if pooler.status != PoolerStatus.ACTIVE:
        raise ForbiddenError(f"pooler {pooler_id} is {pooler.status}")
    return pooler
