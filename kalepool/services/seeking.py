"""Farmers and miners as operators seek them: by a part of a name, a wallet or an id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.services.mining.miners import Miner


async def farmers_sought(
    database: Database, words: str, status: str | None, *, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """A page, in the order of their registration: with these words in name, wallets or id, whatever their case; and in
    one state unless that is None."""
    return await database.fetch_all("select_farmers_sought", words=words, status=status, after=after, limit=limit)


async def miners_sought(
    database: Database, words: str, *, banned: bool = False, after: UUID | None, limit: int
) -> list[Miner]:
    """A page, in the order of their registration: with these words in name, wallet or id; `banned`: only who is now."""
    return await database.fetch_all(
        "select_miners_sought", row=Miner, words=words, banned=banned, after=after, limit=limit
    )


async def actions_with_who(database: Database, *, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A page of what operators did, the newest first, each with the label and the wallet of the key that did it."""
    return await database.fetch_all("select_operator_actions_with_who", after=after, limit=limit)


async def count_suspected(database: Database) -> int:
    """Miners that seem to hold back what they find, and are not banned."""
    row = await database.fetch_one("count_suspected_miners")
    assert row is not None
    return row["miners"]
