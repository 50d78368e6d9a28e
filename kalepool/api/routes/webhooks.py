"""Where programs of others are told what happens: made, tried and removed by operators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints, WithJsonSchema

from kalepool.api.auth import Operator
from kalepool.api.calls import context
from kalepool.api.models import Described, Sent
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.services import webhooks
from kalepool.services.webhooks import MOST_CHARACTERS, DeliveryStatus, EventType

router = APIRouter(prefix="/operator/webhooks", tags=["operators"])


WebhookAddress = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MOST_CHARACTERS),
    WithJsonSchema(
        {
            "type": "string",
            "format": "webhook-address",
            "maxLength": MOST_CHARACTERS,
            "description": "An https address on the internet, or one of a server that KALEPOOL_WEBHOOK_ORIGINS names.",
            "examples": ["https://receiver.example/kale"],
        }
    ),
]


class WebhookView(Described):
    """An address that is told. `delivered_at`: when something was last taken there; `failures`: since then, in a row;
    `trouble`: why the last was not taken; `retry_at`: until when it is left alone. `waiting`, `given_up`: deliveries,
    as long as they are kept."""

    webhook_id: UUID
    url: str
    types: list[EventType]
    created_at: datetime
    delivered_at: datetime | None
    failures: int
    trouble: str | None
    retry_at: datetime | None
    waiting: int
    given_up: int


class WebhookList(Described):
    """All of them."""

    items: list[WebhookView]


class WebhookOrder(Sent):
    """A webhook to be made."""

    url: WebhookAddress
    types: Annotated[list[EventType], Field(max_length=len(EventType))] = Field(
        default=[], description="What it is told of; everything where none is named."
    )


class NewWebhookView(Described):
    """A webhook just made."""

    webhook_id: UUID
    secret: str = Field(description="What deliveries are signed with, as Standard Webhooks write it. Shown this once.")


class DeliveryView(Described):
    """An event for one webhook; `event_id` goes with it as `webhook-id`. `trouble`: why the last try was not taken.
    `due_at`: when it is tried next. Waiting for a day, it is given up."""

    event_id: UUID
    type: str
    status: DeliveryStatus
    attempts: int
    trouble: str | None
    created_at: datetime
    due_at: datetime | None
    closed_at: datetime | None


@router.get("", summary="All webhooks", responses=documented(401, 403, 422, 429, 503))
async def list_webhooks(request: Request, caller: Operator) -> WebhookList:
    """In the order of their making, and how each fares."""
    found = await webhooks.all_webhooks(context(request).database)
    return WebhookList(items=[WebhookView.model_validate(each) for each in found])


@router.post("", summary="Make a webhook", status_code=201, responses=documented(401, 403, 409, 413, 422, 429, 503))
async def add_webhook(request: Request, caller: Operator, body: WebhookOrder) -> NewWebhookView:
    """It is told of what happens from now on. 409 `too-many-webhooks`."""
    ctx = context(request)
    new = await webhooks.add(ctx.database, ctx.custody, ctx.settings, caller.key_id, body.url, body.types)
    return NewWebhookView(webhook_id=new.webhook_id, secret=new.secret)


@router.delete(
    "/{webhook_id}", summary="Delete a webhook", status_code=204, responses=documented(401, 403, 404, 422, 429, 503)
)
async def delete_webhook(request: Request, caller: Operator, webhook_id: UUID) -> None:
    """Nothing is sent there any more, also of what waits."""
    await webhooks.remove(context(request).database, caller.key_id, webhook_id)


@router.post(
    "/{webhook_id}/test",
    summary="Try a webhook",
    status_code=201,
    responses=documented(401, 403, 404, 422, 429, 503),
)
async def test_webhook(request: Request, caller: Operator, webhook_id: UUID) -> DeliveryView:
    """A delivery of type `test`, sent like all others: its list says what came of it."""
    return DeliveryView.model_validate(await webhooks.send_test(context(request).database, caller.key_id, webhook_id))


@router.get(
    "/{webhook_id}/deliveries", summary="A webhook's deliveries", responses=documented(401, 403, 404, 422, 429, 503)
)
async def list_deliveries(
    request: Request,
    caller: Operator,
    webhook_id: UUID,
    paging: Paging,
    status: Annotated[DeliveryStatus | None, Query(description="Only these.")] = None,
) -> Page[DeliveryView]:
    """The newest first."""
    found = await webhooks.deliveries(
        context(request).database, webhook_id, status, after=paging.after, limit=paging.limit
    )
    items = [DeliveryView.model_validate(each) for each in found]
    return Page(items=items, next=next_cursor([item.event_id for item in items], paging))


@router.post(
    "/{webhook_id}/deliveries/{event_id}/again",
    summary="Send a delivery again",
    responses=documented(401, 403, 404, 422, 429, 503),
)
async def send_again(request: Request, caller: Operator, webhook_id: UUID, event_id: UUID) -> DeliveryView:
    """Whatever became of it: at once, and for another day."""
    found = await webhooks.send_again(context(request).database, caller.key_id, webhook_id, event_id)
    return DeliveryView.model_validate(found)
