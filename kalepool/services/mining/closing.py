"""Closes blocks: once a block is final and three blocks old its fees are posted to those who earned them, for good."""

from __future__ import annotations

import structlog

from kalepool.database import Database
from kalepool.policy import bookkeeping
from kalepool.policy.credits import HOUSE
from kalepool.policy.share_log import window_hash
from kalepool.services import postings
from kalepool.services.mining import share_logs
from kalepool.services.mining.credits import BlockTotals, Credits

log = structlog.get_logger()

MOST = 100
"""Blocks that are looked at in one go."""


async def close_blocks(database: Database, credits: Credits) -> int:
    """Closes every block that can be. Returns how many that were. Raises DatabaseError."""
    await share_logs.write_logs(database)
    rows = await database.fetch_all("select_unclosed_blocks", limit=MOST)
    indexes = [row["block_index"] for row in rows]
    totals = {block.block_index: block for block in await credits.read(indexes, everything=True)} if indexes else {}
    closed = 0
    for index in indexes:
        block = totals.get(index)
        if block is not None and block.settled:
            closed += await _close(database, index, block)
    if closed:
        log.info("blocks_closed", blocks=closed)
    return closed


async def _close(database: Database, index: int, block: BlockTotals) -> bool:
    window = window_hash(await share_logs.logs_of(database, index - block.window_blocks + 1, index))
    async with database.transaction() as session:
        row = await session.fetch_one("select_posted_fees", block_index=index)
        assert row is not None
        fees = row["fees_stroops"]
        inserted = await session.execute(
            "insert_block_closing",
            block_index=index,
            fees_stroops=fees,
            shared_stroops=block.fee_stroops,
            window_blocks=block.window_blocks,
            window_hash=bytes.fromhex(window),
        )
        if inserted:
            await postings.post(session, bookkeeping.closed(index, fees, block.credits, HOUSE, f"share logs {window}"))
    return bool(inserted)
