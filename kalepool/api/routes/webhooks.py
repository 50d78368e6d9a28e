"""Where programs of others are told what happens: made, tried, paused and removed, by operators for the whole pool, by
farmers and miners for what is their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, StringConstraints, WithJsonSchema

from kalepool.api.auth import Operator, PaidMiner, SignedIn
from kalepool.api.calls import context, visible_farmer
from kalepool.api.models import Described, Sent, example
from kalepool.api.paging import Page, Paging, next_cursor
from kalepool.api.problems import documented
from kalepool.services import webhooks
from kalepool.services.keys import Role
from kalepool.services.webhooks import MOST_CHARACTERS, DeliveryStatus, EventType, FarmersOwn, Keeper, MinersOwn

router = APIRouter()


WebhookAddress = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MOST_CHARACTERS),
    WithJsonSchema(
        {
            "type": "string",
            "format": "webhook-address",
            "maxLength": MOST_CHARACTERS,
            "description": "An https address on the internet, or one of a server that the operator's settings name.",
            "examples": ["https://receiver.example/kale"],
        }
    ),
]


class WebhookView(Described):
    """An address that is told. `delivered_at`: when something was last taken there; `failures`: since then, in a row;
    `trouble`: why the last was not taken; `retry_at`: until when it is left alone. `paused_at`: since when nothing is
    sent there. `waiting`, `given_up`: deliveries, as long as they are kept."""

    webhook_id: UUID
    url: str
    types: list[EventType]
    created_at: datetime
    delivered_at: datetime | None
    failures: int
    trouble: str | None
    retry_at: datetime | None
    paused_at: datetime | None
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


class FarmerWebhookOrder(WebhookOrder):
    """A farmer's own webhook to be made."""

    types: Annotated[list[FarmersOwn], Field(max_length=len(EventType))] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=[], description="What it is told of; all of these where none is named."
    )


class MinerWebhookOrder(WebhookOrder):
    """A miner's own webhook to be made."""

    types: Annotated[list[MinersOwn], Field(max_length=len(EventType))] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=[], description="What it is told of; all of these where none is named."
    )


class WebhookChange(Sent):
    """What is to become of a webhook."""

    model_config = example(paused=True)

    paused: Annotated[bool, Field(strict=True)] = Field(
        description="Nothing is sent there; what happens meanwhile waits, and is given up after its day."
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


async def of_operators(caller: Operator) -> Keeper:
    """A dependency: operators'."""
    return Keeper(Role.OPERATOR, key_id=caller.key_id)


async def of_miner(caller: PaidMiner) -> Keeper:
    """A dependency: the miner's that calls."""
    return Keeper(Role.MINER, caller.subject_id)


async def of_farmer(request: Request, farmer_id: UUID, caller: SignedIn) -> Keeper:
    """A dependency: those of the farmer, whose payout wallet has signed in. An address may be a secret: a key that only
    reads is not shown it."""
    return Keeper(Role.FARMER, (await visible_farmer(request, caller, farmer_id)).farmer_id)


def offer(
    prefix: str, tag: str, whose: Callable[..., Awaitable[Keeper]], order: type[WebhookOrder], *refusals: int
) -> None:
    """The operations on an audience's webhooks. refusals: statuses that finding out whose they are may end with."""
    kept = Depends(whose)

    def told(*statuses: int) -> dict[int | str, dict[str, object]]:
        return documented(*sorted({401, 403, 422, 429, 503, *refusals, *statuses}))

    @router.get(prefix, summary="All webhooks", tags=[tag], responses=told())
    async def list_webhooks(request: Request, keeper: Keeper = kept) -> WebhookList:
        """In the order of their making, and how each fares."""
        found = await webhooks.all_webhooks(context(request).database, keeper)
        return WebhookList(items=[WebhookView.model_validate(each) for each in found])

    async def add_webhook(request: Request, body: WebhookOrder, keeper: Keeper = kept) -> NewWebhookView:
        """It is told of what happens from now on. 409 `too-many-webhooks`."""
        ctx = context(request)
        new = await webhooks.add(ctx.database, ctx.custody, ctx.settings, keeper, body.url, body.types)
        return NewWebhookView(webhook_id=new.webhook_id, secret=new.secret)

    add_webhook.__annotations__["body"] = order
    made = router.post(prefix, summary="Make a webhook", tags=[tag], status_code=201, responses=told(409, 413))
    made(add_webhook)

    one = f"{prefix}/{{webhook_id}}"

    @router.patch(one, summary="Pause a webhook", tags=[tag], responses=told(404, 413))
    async def change_webhook(
        request: Request, webhook_id: UUID, body: WebhookChange, keeper: Keeper = kept
    ) -> WebhookView:
        """Or resume it: what waits is sent at once then."""
        database = context(request).database
        await webhooks.pause(database, keeper, webhook_id, paused=body.paused)
        return WebhookView.model_validate(await webhooks.read(database, keeper, webhook_id))

    @router.delete(one, summary="Delete a webhook", tags=[tag], status_code=204, responses=told(404))
    async def delete_webhook(request: Request, webhook_id: UUID, keeper: Keeper = kept) -> None:
        """Nothing is sent there any more, also of what waits."""
        await webhooks.remove(context(request).database, keeper, webhook_id)

    @router.post(f"{one}/test", summary="Try a webhook", tags=[tag], status_code=201, responses=told(404, 409))
    async def test_webhook(request: Request, webhook_id: UUID, keeper: Keeper = kept) -> DeliveryView:
        """A delivery of type `test`, sent like all others: its list says what came of it. 409 `webhook-paused`; and
        where a farmer or miner did this less than 10 s ago."""
        return DeliveryView.model_validate(await webhooks.send_test(context(request).database, keeper, webhook_id))

    @router.get(f"{one}/deliveries", summary="A webhook's deliveries", tags=[tag], responses=told(404))
    async def list_deliveries(
        request: Request,
        webhook_id: UUID,
        paging: Paging,
        status: Annotated[DeliveryStatus | None, Query(description="Only these.")] = None,
        keeper: Keeper = kept,
    ) -> Page[DeliveryView]:
        """The newest first."""
        found = await webhooks.deliveries(
            context(request).database, keeper, webhook_id, status, after=paging.after, limit=paging.limit
        )
        items = [DeliveryView.model_validate(each) for each in found]
        return Page(items=items, next=next_cursor([item.event_id for item in items], paging))

    @router.post(
        f"{one}/deliveries/{{event_id}}/again", summary="Send a delivery again", tags=[tag], responses=told(404, 409)
    )
    async def send_again(request: Request, webhook_id: UUID, event_id: UUID, keeper: Keeper = kept) -> DeliveryView:
        """Whatever became of it: at once, and for another day. 409 `webhook-paused`; and where a farmer or miner did
        this less than 10 s ago."""
        found = await webhooks.send_again(context(request).database, keeper, webhook_id, event_id)
        return DeliveryView.model_validate(found)


offer("/operator/webhooks", "operators", of_operators, WebhookOrder)
offer("/miner/webhooks", "miners", of_miner, MinerWebhookOrder, 404, 409)
offer("/farmers/{farmer_id:uuid}/webhooks", "farmers", of_farmer, FarmerWebhookOrder, 404)
