"""The journal as operators read it: every transaction the pool has made, and what the network took for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.errors import NotFoundError


async def submissions_page(
    database: Database, action: str | None, status: str | None, *, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """The newest first; of one action and of one status unless these are None."""
    return await database.fetch_all("select_submissions", action=action, status=status, after=after, limit=limit)


async def read_submission(database: Database, submission_id: UUID) -> dict[str, Any]:
    """A transaction with its envelope and, under `parts`, what it is to do. NotFoundError for none of this id."""
    found = await database.fetch_one("select_submission", submission_id=submission_id)
    if found is None:
        raise NotFoundError(f"no submission {submission_id}")
    parts = await database.fetch_all("select_submission_parts", submission_id=submission_id)
    return {**found, "parts": parts}


async def network_fees(database: Database, since: datetime) -> list[dict[str, Any]]:
    """What the network took since then, by action."""
    return await database.fetch_all("select_network_fees", since=since)
