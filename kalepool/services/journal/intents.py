"""What a transaction is to do, for whom, and one whose outcome is not known yet. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from kalepool.actions import ActionName
from kalepool.chain import Prepared


@dataclass(frozen=True, slots=True)
class Item:
    """What a transaction does for one farmer in one block.

    `amount_stroops`: the stake of a plant or harvest, what is paid by a payment, in `asset`. `forecast_stroops`: the
    reward a harvest is expected to bring. `withdrawal_id`, `payout_id`: what a payment pays; `miner_id`: whom.
    `native_stroops`: XLM that a closed account held, or that the pool passes on of that. `action`: what this part does,
    where that is another than the transaction's. `until`: a payout that is put down to be claimed before then.
    `balance_id`: a claimable balance that is taken back.
    """

    block_index: int | None = None
    farmer_id: UUID | None = None
    amount_stroops: int | None = None
    destination: str | None = None
    nonce: int | None = None
    hash: bytes | None = None
    zeros: int | None = None
    forecast_stroops: int | None = None
    withdrawal_id: UUID | None = None
    native_stroops: int | None = None
    asset: str | None = None
    action: str | None = None
    payout_id: UUID | None = None
    miner_id: UUID | None = None
    until: datetime | None = None
    balance_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """What one transaction is to do: a claim on every item's (action, block, farmer) while it is open.

    `to_ourselves`: what it pays goes to an account of the pool's own.
    """

    action: ActionName
    pooler_id: UUID | None
    items: Sequence[Item]
    to_ourselves: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """A submission whose outcome is not known yet."""

    submission_id: UUID
    action: ActionName
    pooler_id: UUID | None
    source_account: str
    sequence: int
    transaction_hash: bytes
    envelope_xdr: str = field(repr=False)
    valid_until: datetime
    created_at: datetime

    def prepared(self) -> Prepared:
        """The transaction as it can be sent again. It is the same one: it applies once, however often it is sent."""
        return Prepared(
            action=self.action,
            source=self.source_account,
            transaction_hash=self.transaction_hash.hex(),
            inner_hash=None,
            envelope_xdr=self.envelope_xdr,
            sequence=self.sequence,
            valid_until=self.valid_until,
            ledger=0,
            fee_bid_stroops=0,
        )
