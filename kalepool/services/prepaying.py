"""Farmers that plant themselves pay the treasury ahead: what comes there from such a wallet is noted as prepaid."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from kalepool.database import Session
from kalepool.notices import FarmerNotice, tell
from kalepool.policy.bookkeeping import KaleMovement

log = structlog.get_logger()


async def note_prepaid(session: Session, movements: Iterable[KaleMovement]) -> int:
    """Of what moved at the treasury: what such wallets brought, each transfer once. Returns in stroops how much."""
    prepaid = 0
    for each in movements:
        if each.sender is None or each.stroops <= 0:
            continue
        row = await session.fetch_one(
            "note_prepayment",
            event_id=each.event_id,
            wallet=each.sender,
            amount_stroops=each.stroops,
            ledger=each.ledger,
            transaction_hash=each.transaction_hash,
        )
        if row is not None:
            prepaid += each.stroops
            await tell(session, FarmerNotice(row["farmer_id"]))
            log.info("prepaid", farmer=str(row["farmer_id"]), stroops=each.stroops, ledger=each.ledger)
    return prepaid
