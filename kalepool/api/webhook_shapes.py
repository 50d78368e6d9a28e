"""What webhooks are sent: for each type of event the view that the API shows, with whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from kalepool.api.routes.earnings import PayoutView
from kalepool.api.routes.pooler import CompensationView, PoolerBlock
from kalepool.api.routes.self_service import FarmerBlock, WithdrawalView
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


VIEWS: dict[EventType, type[BaseModel]] = {
    EventType.BLOCK_OPENED: BlockNews,
    EventType.BLOCK_CLOSED: BlockNews,
    EventType.HARVEST: HarvestNews,
    EventType.STAKE_LOST: CompensationView,
    EventType.PAYOUT: PayoutNews,
    EventType.WITHDRAWAL: WithdrawalView,
}


def shaped(kind: EventType, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON has it. Raises ValueError for one that the API could not show."""
    return VIEWS[kind].model_validate(record).model_dump(mode="json")
