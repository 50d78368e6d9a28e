"""Entries of the books: written with what they are about, in the same database transaction, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from uuid import UUID

from kalepool.database import Database, Session
from kalepool.policy import bookkeeping
from kalepool.policy.bookkeeping import Place, Transfer
from kalepool.policy.credits import harvest_rate


async def post(session: Session, transfers: Iterable[Transfer]) -> int:
    """Writes them in their order; what was posted before, by its cause, and what is 0 is left out. Returns how many.

    The books are held by this database transaction until it ends: post last.
    """
    wanted = [each for each in transfers if each.amount_stroops]
    if not wanted:
        return 0
    row = await session.fetch_one(
        "post_transfers",
        causes=[each.cause for each in wanted],
        events=[each.event.value for each in wanted],
        debits=[each.debit for each in wanted],
        credits=[each.credit for each in wanted],
        amounts=[each.amount_stroops for each in wanted],
        blocks=[each.block_index for each in wanted],
        ledgers=[each.ledger for each in wanted],
        hashes=[each.transaction_hash for each in wanted],
        notes=[each.note for each in wanted],
    )
    assert row is not None
    return row["written"]


async def fee_rates(session: Session | Database, farmer_ids: Sequence[UUID]) -> dict[UUID, Fraction]:
    """The pool's part of rewards, by each farmer's terms."""
    rows = await session.fetch_all("select_fee_rates", farmer_ids=list(farmer_ids))
    return {row["farmer_id"]: Fraction(row["fee_rate"]) for row in rows}


@dataclass(frozen=True, slots=True)
class HarvestTerms:
    """What is taken of a harvest's reward; solo: a rig of the farmer's own found the work."""

    rate: Fraction
    solo: bool

    def fee_of(self, reward_stroops: int) -> int:
        return bookkeeping.fee_of(reward_stroops, self.rate)


async def harvest_terms(
    session: Session | Database, pails: Iterable[tuple[int, UUID]]
) -> dict[tuple[int, UUID], HarvestTerms]:
    """The terms of each harvest, by block and farmer."""
    keys = list(pails)
    rows = await session.fetch_all(
        "select_harvest_terms", block_indexes=[index for index, _ in keys], farmer_ids=[farmer for _, farmer in keys]
    )
    found: dict[tuple[int, UUID], HarvestTerms] = {}
    for row in rows:
        solo_fee = Fraction(row["solo_fee"]) if row["solo_fee"] is not None else None
        rate = harvest_rate(Fraction(row["fee_rate"]), solo_fee)
        found[row["block_index"], row["farmer_id"]] = HarvestTerms(rate, solo_fee is not None)
    return found


async def owed(session: Session | Database, farmer_ids: Sequence[UUID]) -> dict[UUID, int]:
    """What each farmer owes of the pool's part: its wallet and pails less what is its own."""
    rows = await session.fetch_all("select_fees_owed", farmer_ids=list(farmer_ids))
    return {row["farmer_id"]: max(row["owed_stroops"], 0) for row in rows}


async def owed_by(session: Session | Database, farmer_id: UUID) -> int:
    """What one owes."""
    return (await owed(session, [farmer_id])).get(farmer_id, 0)


async def balances(session: Session | Database, accounts: Sequence[str]) -> dict[str, int]:
    """What each account has; 0 for one without entries."""
    rows = await session.fetch_all("select_balances", accounts=list(accounts))
    return dict.fromkeys(accounts, 0) | {row["account"]: row["balance_stroops"] for row in rows}


async def is_treasury(session: Session, address: str | None) -> bool:
    rows = await session.fetch_all("select_own_purposes", addresses=[address or ""])
    return any(row["purpose"] == bookkeeping.TREASURY for row in rows)


async def arrivals(session: Session, payments: Mapping[str, tuple[str, int]], at: Place) -> list[Transfer]:
    """What payments, by what names them (destination, stroops of KALE), bring to wallets of the pool's own."""
    addresses = list({destination for destination, _ in payments.values()})
    if not addresses:
        return []
    rows = await session.fetch_all("select_wallet_owners", wallets=addresses)
    farmers: dict[str, Any] = {row["wallet"]: row["farmer_id"] for row in rows}
    own = await session.fetch_all("select_own_purposes", addresses=addresses)
    treasuries = {row["address"] for row in own if row["purpose"] == bookkeeping.TREASURY}
    found: list[Transfer] = []
    for part, (destination, amount) in payments.items():
        if destination in farmers:
            found += bookkeeping.received(part, farmers[destination], amount, at)
        elif destination in treasuries:
            found += bookkeeping.treasury_received(part, amount, at)
    return found
