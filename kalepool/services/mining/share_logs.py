"""The share logs of blocks: each written down by its hash once nothing is found in the block any more, and made again,
to the byte, for who asks, as long as its shares are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import structlog

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import NotFoundError
from kalepool.policy.share_log import Closing, HarvestFee, LogHead, LogRecord

log = structlog.get_logger()

PAGE = 5_000
"""Shares that are read at once."""

MOST = 100
"""Blocks whose logs are written in one go."""


async def write_logs(database: Database) -> int:
    """Writes down the logs of all blocks that have none and need one. Returns of how many. Raises DatabaseError."""
    written = 0
    while rows := await database.fetch_all("select_unlogged_blocks", limit=MOST):
        for row in rows:
            await _write(database, row["block_index"])
        written += len(rows)
    return written


async def _write(database: Database, index: int) -> None:
    head = await _head(database, index)
    sha256 = None
    if head["shares"] == head["counted"]:
        digest = hashlib.sha256()
        async with aclosing(_bytes(database, index, head)) as pages:
            async for page in pages:
                digest.update(page)
        sha256 = digest.digest()
    else:
        log.warning("share_log_not_whole", block=index, shares=head["shares"], counted=head["counted"])
    await database.execute("insert_share_log", block_index=index, sha256=sha256, shares=head["shares"])


async def open_log(database: Database, settings: Settings, index: int) -> AsyncIterator[bytes]:
    """The bytes of a block's log, a page at a time. Raises NotFoundError where there is none, or none any more."""
    found = await logs_of(database, index, index)
    if not found:
        raise NotFoundError(f"block {index} has no share log: a block gets it once it is over and three blocks old")
    head = await _head(database, index)
    if found[0].sha256 is None or head["shares"] != found[0].shares:
        raise NotFoundError(
            f"the share log of block {index} is not kept any more: single shares are, for {settings.share_days} days"
        )
    return _bytes(database, index, head)


async def logs_of(database: Database, first: int, last: int) -> list[LogRecord]:
    """What was written down of the logs of these blocks, the oldest first. Raises DatabaseError."""
    return await database.fetch_all("select_share_logs", row=LogRecord, first=first, last=last)


async def _head(database: Database, index: int) -> dict[str, Any]:
    row = await database.fetch_one("select_share_log_head", block_index=index)
    assert row is not None
    return row


async def _bytes(database: Database, index: int, head: dict[str, Any]) -> AsyncGenerator[bytes]:
    yield LogHead(index, head["entropy"], int(head["house_hashes"])).line()
    after: dict[str, Any] = {"farmer_id": None, "nonce": None}
    shares = PAGE
    while shares == PAGE:
        page = await database.fetch_one("select_share_log_lines", block_index=index, limit=PAGE, **after)
        assert page is not None
        shares, after = page["shares"], {"farmer_id": page["farmer_id"], "nonce": page["nonce"]}
        if shares:
            yield page["lines"].encode()


async def read_closing(database: Database, index: int) -> Closing:
    """A closed block, with all that its credits were reckoned from. Raises NotFoundError, DatabaseError."""
    found = await database.fetch_one("select_closing", block_index=index)
    if found is None:
        raise NotFoundError(
            f"block {index} is not closed: that is done once it is over for three blocks, and all of it harvested"
        )
    posted = await database.fetch_all("select_posted_credits", block_index=index)
    return Closing(
        **found,
        kept_stroops=sum(row["amount_stroops"] for row in posted if row["event"] == "kept"),
        credits={row["miner_id"]: row["amount_stroops"] for row in posted if row["event"] == "credited"},
        logs=await logs_of(database, index - found["window_blocks"] + 1, index),
        harvests=await database.fetch_all("select_harvest_fees", row=HarvestFee, block_index=index),
    )


async def last_closings(database: Database, limit: int) -> list[dict[str, Any]]:
    """The blocks that were closed last, the newest first. Raises DatabaseError."""
    return await database.fetch_all("select_last_closings", limit=limit)
