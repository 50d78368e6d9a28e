"""The books of a run: the farmers' balances when it began, and the closing table when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from kalepool.chain import ChainReader
from kalepool.database import Database
from kalepool.services.farmers import list_farmers
from kalepool.up.report import Movement, RunReport, close
from kalepool.view.moment import BlockSummary, count_under_way, read_blocks

SETTLE_SECONDS = 60.0  # for transactions on their way; each is bound to a few ledgers


class Books:
    """Opened before the coordinator starts, closed after it has ended. `since`: when, by the database's clock."""

    def __init__(
        self,
        database: Database,
        chain: ChainReader,
        pooler_id: UUID,
        since: datetime,
        ledger: int,
        index: int,
        before: dict[str, int],
    ) -> None:
        self._database, self._chain, self._pooler_id = database, chain, pooler_id
        self._ledger, self._index, self._before = ledger, index, before
        self.since = since

    @classmethod
    async def open(cls, database: Database, chain: ChainReader, pooler_id: UUID) -> Books:
        """Read the start, with no transaction of ours on its way."""
        await _settle(database)
        clock = await database.fetch_one("select_now")
        assert clock
        before = await _balances(database, chain, pooler_id)
        farm = await chain.read_farm()
        return cls(database, chain, pooler_id, clock["now"], farm.ledger, farm.index or 0, before)

    async def close(self, indexes: Sequence[int]) -> RunReport:
        """Read the end of these blocks, with no transaction of ours on its way any more."""
        await _settle(self._database)
        after = await _balances(self._database, self._chain, self._pooler_id)
        movements = await self._database.fetch_all(
            "select_movements",
            row=Movement,
            pooler_id=self._pooler_id,
            ledger=self._ledger,
            block_index=self._index,
        )
        return close(await self.blocks(indexes), movements, self._before, after)

    async def blocks(self, indexes: Sequence[int]) -> list[BlockSummary]:
        """These blocks as the database knows them now, oldest first."""
        limit = len(indexes) + 100
        found = await read_blocks(self._database, self._pooler_id, from_index=min(indexes, default=0), limit=limit)
        return sorted((block for block in found if block.block_index in indexes), key=lambda block: block.block_index)


async def _balances(database: Database, chain: ChainReader, pooler_id: UUID) -> dict[str, int]:
    farmers = await list_farmers(database, pooler_id)
    accounts = await chain.read_accounts([farmer["custodial_wallet"] for farmer in farmers])
    return {address: account.kale_stroops or 0 for address, account in accounts.items()}


async def _settle(database: Database) -> None:
    """Wait until every transaction of ours is known to be in or out; what is left then shows as a difference."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                if not await count_under_way(database):
                    return
                await asyncio.sleep(0.1)
