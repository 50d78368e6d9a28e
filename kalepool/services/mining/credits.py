"""What miners' shares are worth: a block's totals, and each miner's part of its fee.

Nothing here pays anybody: closing.py posts them, payouts.py pays. A block's terms are fixed when it is first seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.credits import HOUSE, shared_of, split, window_sums

MOST_KEPT = 128
"""Settled blocks that are kept: more than the longest page asks for."""


@dataclass(frozen=True, slots=True)
class BlockTotals:
    """A block's published totals, and what follows from them. The pool's own workers are the miner HOUSE.

    shares and credited_hashes: what each miner brought in this block, SOLO's left out. window_hashes: each miner's
    hashes of the PPLNS window that ends with it, which is of window_blocks blocks. fee_stroops: what is shared out.
    credits: each miner's part of it. final: no reward of this block is to be harvested any more. settled: and it is so
    long ago that nothing at all changes.
    """

    block_index: int
    shares: Mapping[str, int]
    credited_hashes: Mapping[str, int]
    window_hashes: Mapping[str, int]
    fee_stroops: int
    credits: Mapping[str, int]
    final: bool
    settled: bool
    window_blocks: int


@dataclass(frozen=True, slots=True)
class CreditTerms:
    """What a block's credits are reckoned with: the pool's part of rewards, the part of that which is shared out by
    hashes, the window; and the part of rewards for works that SOLO found."""

    platform_fee: Decimal
    miner_fee_part: Decimal
    pplns_blocks: int
    solo_fee: Decimal

    @classmethod
    def of(cls, settings: Settings) -> CreditTerms:
        return cls(
            platform_fee=Decimal(str(settings.platform_fee)),
            miner_fee_part=Decimal(str(settings.miner_fee_part)),
            pplns_blocks=settings.pplns_blocks,
            solo_fee=Decimal(str(settings.solo_fee)),
        )


async def fix_terms(database: Database, settings: Settings) -> int:
    """Fixes the terms of blocks that were not seen before. Returns of how many."""
    return await database.execute("fix_block_terms", **asdict(CreditTerms.of(settings)))


class Credits:
    """Reads what blocks are worth to miners. Those that cannot change any more are kept, the last ones asked for."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._kept: dict[int, BlockTotals] = {}
        self._reading = asyncio.Lock()  # one at a time: who waits may find it all kept

    async def read(self, indexes: Sequence[int], *, everything: bool = False) -> list[BlockTotals]:
        """Totals and credits of those blocks in whose window anything was hashed, the newest first. `everything`: of
        the others, too, in which nobody is credited. Raises DatabaseError.
        """
        async with self._reading:
            found = {index: self._kept[index] for index in indexes if index in self._kept}
            missing = [index for index in indexes if index not in found]
            if missing:
                found |= await self._read(missing)
                for block in found.values():
                    self._keep(block)
        return [found[index] for index in sorted(found, reverse=True) if everything or found[index].window_hashes]

    async def _read(self, indexes: Sequence[int]) -> dict[int, BlockTotals]:
        database, first, last = self._database, min(indexes), max(indexes)
        known = {
            row.pop("block_index"): CreditTerms(**row)
            for row in await database.fetch_all("select_block_terms", first=first, last=last)
        }
        terms = {index: known.get(index, CreditTerms.of(self._settings)) for index in indexes}
        widest = max(each.pplns_blocks for each in terms.values())
        brought = await database.fetch_all("select_credited_hashes", first=first - widest + 1, last=last)
        fee = CreditTerms.of(self._settings).platform_fee
        rewards = await database.fetch_all("select_block_rewards", first=first, last=last, platform_fee=fee)
        # Off the event loop: a hundred blocks of hundreds of miners take a good part of a second.
        return await asyncio.to_thread(_reckon, terms, brought, {row["block_index"]: row for row in rewards})

    def _keep(self, block: BlockTotals) -> None:
        if not block.settled:
            return
        self._kept.pop(block.block_index, None)
        self._kept[block.block_index] = block
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]


def _reckon(
    terms: Mapping[int, CreditTerms],
    brought: Sequence[Mapping[str, Any]],
    rewards: Mapping[int, Mapping[str, Any]],
) -> dict[int, BlockTotals]:
    """The blocks that have terms. brought: rows (block_index, house_hashes, and the miners' totals as text)."""
    shares: dict[int, dict[str, int]] = {}
    hashes: dict[int, dict[str, int]] = {}
    for row in brought:
        index = row["block_index"]
        counts = [line.split(" ") for line in row["miners"].split("\n")] if row["miners"] else []
        shares[index] = {miner: int(count) for miner, count, _ in counts}
        hashes[index] = {miner: int(credited) for miner, _, credited in counts}
        if row["house_hashes"]:
            hashes[index][HOUSE] = row["house_hashes"]
    blocks: dict[int, BlockTotals] = {}
    for index, window in window_sums(hashes, {index: each.pplns_blocks for index, each in terms.items()}):
        reward = rewards.get(index)
        part = Fraction(terms[index].miner_fee_part)
        fee = shared_of(int(reward["fees_stroops"]), int(reward["solo_fees_stroops"]), part) if reward else 0
        blocks[index] = BlockTotals(
            block_index=index,
            shares=shares.get(index, {}),
            credited_hashes=hashes.get(index, {}),
            window_hashes=window,
            fee_stroops=fee,
            credits=split(window, fee),
            final=bool(reward and reward["final"]),
            settled=bool(reward and reward["final"] and reward["old"]),
            window_blocks=terms[index].pplns_blocks,
        )
    return blocks


async def credited_blocks(database: Database, before: int, limit: int) -> list[int]:
    """The newest blocks before `before` that the pool had part in, newest first."""
    rows = await database.fetch_all("select_credited_blocks", before=before, limit=limit)
    return [row["block_index"] for row in rows]
