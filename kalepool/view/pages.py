"""What the page shows of one block, one farmer or one miner, and what happened lately."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kalepool.database import Database
from kalepool.policy.planting import PlantingPlan
from kalepool.protocol.model import U32_MAX
from kalepool.services.books import ledgers, results
from kalepool.services.books.ledgers import BookSummary
from kalepool.services.books.results import BlockResult
from kalepool.services.books.treasury import TreasuryRow, read_treasury
from kalepool.services.mining import share_logs
from kalepool.view.mining import hashes_per_second
from kalepool.view.moment import BlockSummary, FarmerProgress, read_blocks
from kalepool.view.words import mark

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BlockDetails:
    """chain: the block's bounds and totals as last read; None where that was never done. summary: None as well.
    result: what it cost and brought; None where nothing was sent in it. plan: what was meant for it; None without one.
    newest_index: of the newest block in our records."""

    chain: Row | None
    farmers: Sequence[FarmerProgress]
    summary: BlockSummary | None
    result: BlockResult | None
    plan: PlantingPlan | None
    newest_index: int


@dataclass(frozen=True, slots=True)
class FarmerHistory:
    """A farmer with its newest blocks and what happened to it, newest first."""

    farmer: Row
    blocks: Sequence[Row]
    events: Sequence[Row]


@dataclass(frozen=True, slots=True)
class MinerHistory:
    """A miner with its present hashrate and its newest blocks, newest first."""

    miner: Row
    hashes_per_second: float
    blocks: Sequence[Row]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of ours. `what`: block, farmer or miner."""

    what: str
    name: str
    path: str


MOST_SOUGHT = 100
"""Letters of a name or a wallet that is sought."""


SHORT_WALLET = re.compile(r"([GC][A-Z2-7]{3,})(?:…|\.{2,3})([A-Z2-7]{4,})", re.ASCII)
"""A wallet as pages show it, or as it is typed from there."""


async def find_pages(database: Database, words: str) -> list[FoundPage]:
    """The pages of what is called just so: a block's index, a farmer's custodial wallet (its short form too) or id, a
    miner's name or id, whatever the case of letters. Payout wallets are not found: the page shows none. Raises
    DatabaseError."""
    if len(words) > MOST_SOUGHT or not words.isprintable():
        return []
    short = SHORT_WALLET.fullmatch(words.upper())
    first, last = short.groups() if short else (None, None)
    rows = await database.fetch_all("select_pages_called", called=words, index=_index(words), first=first, last=last)
    return [FoundPage(row["what"], row["name"], f"/{row['what']}/{row['id']}") for row in rows]


def _index(words: str) -> int | None:
    digits = words.removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdecimal() and int(digits) <= U32_MAX else None


@dataclass(frozen=True, slots=True)
class KindSum:
    """Accounts of one kind together; its name in the books, and in words. difference_stroops: what they have on the
    chain beyond their books; `checked`: that was looked at."""

    kind: str
    name: str
    accounts: int
    stroops: int
    difference_stroops: int
    checked: bool


@dataclass(frozen=True, slots=True)
class PublicBooks:
    """The books in sums: where the KALE is, and whose; the blocks that were closed last, and the last payments to
    miners."""

    books: BookSummary
    on_chain: Sequence[KindSum]
    whose: Sequence[KindSum]
    closings: Sequence[Row]
    payouts: Sequence[Row]
    treasury: TreasuryRow


ON_CHAIN = {
    "wallet": mark("Farmers' wallets"),
    "pail": mark("Planted, at stake"),
    "treasury": mark("Treasury"),
    "claimable": mark("Claimable balances"),
}
WHOSE = {
    "farmer": mark("Farmers"),
    "miner": mark("Miners, due"),
    "paying": mark("Miners, on its way"),
    "fee-due": mark("Fees of blocks not closed yet"),
    "operator": mark("The pool's operator"),
    "outside": mark("The rest of the world"),
    "unexplained": mark("Not explained"),
}


async def read_books(database: Database, limit: int) -> PublicBooks:
    """Raises DatabaseError."""
    books = await ledgers.summary(database)
    rows = await database.fetch_all("select_page_checks")
    off = {row["kind"]: row["difference_stroops"] for row in rows}

    def sums(names: Mapping[str, str], sign: int) -> list[KindSum]:
        return [
            KindSum(kind, name, books.accounts[kind], sign * books.balances[kind], off.get(kind, 0), kind in off)
            for kind, name in names.items()
            if kind in books.balances
        ]

    return PublicBooks(
        books=books,
        on_chain=sums(ON_CHAIN, 1),
        whose=sums(WHOSE, -1),
        closings=await share_logs.last_closings(database, limit),
        payouts=await read_payouts(database, limit),
        treasury=await read_treasury(database),
    )


async def read_payouts(database: Database, limit: int) -> Sequence[Row]:
    """The last payments to miners, newest first. Raises DatabaseError."""
    return await database.fetch_all("select_page_payouts", limit=limit)


async def read_events(database: Database, farmer_id: UUID | None, limit: int) -> Sequence[Row]:
    """What happened lately, to one farmer or to all (None), newest first. Raises DatabaseError."""
    return await database.fetch_all("select_page_events", farmer_id=farmer_id, limit=limit)


async def read_block(database: Database, index: int) -> BlockDetails | None:
    """None for a block that is not in our records. Raises DatabaseError."""
    chain = await database.fetch_one("select_page_block", block_index=index)
    farmers = await database.fetch_all(
        "select_farmers_in_block", row=FarmerProgress, pooler_id=None, block_index=index, everybody=False
    )
    summary = await read_blocks(database, None, from_index=index, to_index=index)
    if chain is None and not farmers and not summary:
        return None
    plans = await database.fetch_all("select_block_plans", row=PlantingPlan, pooler_id=None, block_index=index)
    newest = await database.fetch_one("select_newest_index")
    assert newest is not None
    return BlockDetails(
        chain,
        farmers,
        next(iter(summary), None),
        await results.of_block(database, index),
        next((plan for plan in plans if plan.index == index), None),
        max(index, newest["block_index"]),
    )


async def read_farmer(database: Database, farmer_id: UUID, limit: int) -> FarmerHistory | None:
    """None where there is no such farmer. Raises DatabaseError."""
    farmer = await database.fetch_one("select_page_farmer", farmer_id=farmer_id)
    if farmer is None:
        return None
    blocks = await database.fetch_all("select_page_farmer_blocks", farmer_id=farmer_id, limit=limit)
    return FarmerHistory(farmer, blocks, await read_events(database, farmer_id, limit))


async def read_miner(database: Database, miner_id: UUID, limit: int) -> MinerHistory | None:
    """None where there is no such miner. Raises DatabaseError."""
    miner = await database.fetch_one("select_page_miner", miner_id=miner_id)
    if miner is None:
        return None
    return MinerHistory(
        miner,
        await hashes_per_second(database, miner_id),
        await database.fetch_all("select_page_miner_blocks", miner_id=miner_id, limit=limit),
    )
