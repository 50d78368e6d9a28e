"""What webhooks are sent: for each type of event the view that the API shows, with whose it is; to a farmer or a miner
what it is shown itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from kalepool.api.models import Described
from kalepool.api.routes.earnings import PayoutView
from kalepool.api.routes.pooler import CompensationView, PoolerBlock
from kalepool.api.routes.self_service import FarmerBlock, LeavingView, WithdrawalView
from kalepool.services.keys import Role
from kalepool.services.webhooks import EventType


class BlockNews(PoolerBlock):
    """GET /poolers/{pooler_id}/blocks shows it."""

    pooler_id: UUID


class HarvestNews(FarmerBlock):
    """GET /farmers/{farmer_id}/blocks shows it."""

    farmer_id: UUID


class PayoutNews(PayoutView):
    """GET /miner/payouts shows it."""

    miner_id: UUID


class DepartureNews(LeavingView):
    """GET /farmers/{farmer_id}/leave shows it."""

    farmer_id: UUID


class EndedKeyNews(Described):
    """A key that was ended; GET /keys showed it before."""

    key_id: UUID
    role: Role
    subject_id: UUID
    label: str
    created_at: datetime
    ended_at: datetime


VIEWS: dict[EventType, type[BaseModel]] = {
    EventType.BLOCK_OPENED: BlockNews,
    EventType.BLOCK_CLOSED: BlockNews,
    EventType.PLANTING: HarvestNews,
    EventType.HARVEST: HarvestNews,
    EventType.STAKE_LOST: CompensationView,
    EventType.PAYOUT: PayoutNews,
    EventType.PAYOUT_REFUSED: PayoutNews,
    EventType.WITHDRAWAL: WithdrawalView,
    EventType.WITHDRAWAL_REFUSED: WithdrawalView,
    EventType.FARMER_LEFT: DepartureNews,
    EventType.KEY_ENDED: EndedKeyNews,
}

OWN_VIEWS = VIEWS | {EventType.STAKE_LOST: HarvestNews}
"""A compensation has words for operators."""


def shaped(kind: EventType, record: Mapping[str, Any], is_own: bool) -> dict[str, Any]:
    """The record as JSON has it, for operators or for whose it is. Raises ValueError for one that the API could not
    show."""
    return (OWN_VIEWS if is_own else VIEWS)[kind].model_validate(record).model_dump(mode="json")
