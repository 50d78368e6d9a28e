"""Poolers: who runs a pool of farmers, in-house or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, ForbiddenError, NotFoundError
from kalepool.names import require_name
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


async def add_pooler(database: Database, name: str, max_farmers: int) -> NewPooler:
    """Makes a pooler and its first key. InputError for a wrong name, ConflictError when it is taken."""
    async with database.transaction() as session:
        return await insert_pooler(session, name, max_farmers)


async def insert_pooler(session: Session, name: str, max_farmers: int) -> NewPooler:
    """As add_pooler, in a transaction that is open."""
    require_name(name)
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


async def find_pooler(database: Database, name: str) -> UUID | None:
    """The id of the pooler of that name, if there is one."""
    found = await database.fetch_one("select_pooler_by_name", name=name)
    return found["pooler_id"] if found else None


async def is_open(database: Database, pooler_id: UUID) -> bool:
    """Whether farmers may register with it by themselves."""
    return await database.fetch_one("select_pooler_is_open", pooler_id=pooler_id) is not None


async def open_poolers(database: Database, *, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A page of those that farmers may register with by themselves, with how many farmers each has."""
    return await database.fetch_all("select_open_poolers", after=after, limit=limit)


async def summaries(database: Database, *, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A page of all poolers, each with its farmers by state and what is owed to them."""
    return await database.fetch_all("select_pooler_summary", pooler_id=None, after=after, limit=limit)


async def summary(database: Database, pooler_id: UUID) -> dict[str, Any]:
    """One of `summaries`. NotFoundError for none of this id."""
    found = await database.fetch_one("select_pooler_summary", pooler_id=pooler_id, after=None, limit=1)
    if found is None:
        raise NotFoundError(f"no pooler {pooler_id}")
    return found


async def failures(
    database: Database, pooler_id: UUID, block_index: int | None, *, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """A page of a pooler's plants, works and harvests that failed or were refused, the newest first."""
    return await database.fetch_all(
        "select_failures", pooler_id=pooler_id, block_index=block_index, after=after, limit=limit
    )
