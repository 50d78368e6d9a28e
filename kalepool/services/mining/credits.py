"""What miners' shares are worth: a block's totals, and each miner's part of its fee.

Bookkeeping: nothing here pays anybody. A block's fee and window are fixed when it is first seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from kalepool.config import Settings
from kalepool.database import Database
from kalepool.policy.credits import pplns_parts, split


@dataclass(frozen=True, slots=True)
class BlockTotals:
    """A block's published totals, and what follows from them.

    shares and credited_hashes: what each miner brought in this block. window_hashes: each miner's hashes of the
    PPLNS window that ends with it, which is of window_blocks blocks. fee_stroops: what is shared out. credits: each
    miner's part of it. final: no reward of this block is to be harvested any more.
    """

    block_index: int
    shares: Mapping[str, int]
    credited_hashes: Mapping[str, int]
    window_hashes: Mapping[str, int]
    fee_stroops: int
    credits: Mapping[str, int]
    final: bool
    window_blocks: int


@dataclass(frozen=True, slots=True)
class CreditTerms:
    """What a block's credits are reckoned with: the pool's part of rewards, the miners' part of that, the window."""

    platform_fee: Decimal
    miner_fee_part: Decimal
    pplns_blocks: int

    @classmethod
    def of(cls, settings: Settings) -> CreditTerms:
        return cls(Decimal(str(settings.platform_fee)), Decimal(str(settings.miner_fee_part)), settings.pplns_blocks)

    def fee_of(self, rewarded_stroops: int) -> int:
        """What external miners get of a block's rewards: their part of the platform fee, rounded down. Exact."""
        numerator, denominator = (Decimal(self.platform_fee) * Decimal(self.miner_fee_part)).as_integer_ratio()
        return rewarded_stroops * numerator // denominator


async def fix_terms(database: Database, settings: Settings) -> int:
    """Fixes the terms of blocks that were not seen before. Returns of how many."""
    return await database.execute("fix_block_terms", **asdict(CreditTerms.of(settings)))


async def read_block_totals(database: Database, settings: Settings, indexes: Sequence[int]) -> list[BlockTotals]:
    """Totals and credits of those blocks in whose window anything was brought, newest first."""
    if not indexes:
        return []
    first, last = min(indexes), max(indexes)
    known = {
        row.pop("block_index"): CreditTerms(**row)
        for row in await database.fetch_all("select_block_terms", first=first, last=last)
    }
    terms = {index: known.get(index, CreditTerms.of(settings)) for index in indexes}
    widest = max(each.pplns_blocks for each in terms.values())
    rows = await database.fetch_all("select_credited_hashes", first=first - widest + 1, last=last)
    rewards = {
        row["block_index"]: row for row in await database.fetch_all("select_block_rewards", first=first, last=last)
    }
    blocks: list[BlockTotals] = []
    for index in sorted(indexes, reverse=True):
        holds = terms[index]
        window = [row for row in rows if index - holds.pplns_blocks < row["block_index"] <= index]
        own = [row for row in window if row["block_index"] == index]
        if not window:
            continue
        total = sum(row["credited_hashes"] for row in window)
        parts = pplns_parts(((str(row["miner_id"]), row["credited_hashes"]) for row in window), total)
        reward = rewards.get(index)
        fee = holds.fee_of(reward["rewarded_stroops"]) if reward else 0
        blocks.append(
            BlockTotals(
                block_index=index,
                shares={str(row["miner_id"]): row["shares"] for row in own},
                credited_hashes={str(row["miner_id"]): row["credited_hashes"] for row in own},
                window_hashes=parts,
                fee_stroops=fee,
                credits=split(parts, fee),
                final=bool(reward and reward["final"]),
                window_blocks=holds.pplns_blocks,
            )
        )
    return blocks


async def credited_blocks(database: Database, before: int, limit: int) -> list[int]:
    """The newest blocks before `before` that the pool had part in, newest first."""
    rows = await database.fetch_all("select_credited_blocks", before=before, limit=limit)
    return [row["block_index"] for row in rows]
