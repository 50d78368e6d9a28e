"""Webhooks of a farm under test: made, and sent to at once instead of second by second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kalepool.api.webhook_shapes import shaped
from kalepool.services import webhooks
from kalepool.services.webhook_sending import Webhooks
from kalepool.services.webhooks import EventType, Keeper, NewWebhook
from tests.support.receiver import Receiver


async def add(farm, keeper: Keeper, receiver: Receiver, *types: EventType) -> NewWebhook:
    ctx = farm.ctx
    return await webhooks.add(ctx.database, ctx.custody, ctx.settings, keeper, receiver.url, types)


@asynccontextmanager
async def sending(farm) -> AsyncIterator[Webhooks]:
    hooks = Webhooks(farm.ctx, shaped)
    try:
        yield hooks
    finally:
        await hooks.end()


async def send(hooks: Webhooks) -> None:
    """All that is due now."""
    await hooks.send_due()
    await asyncio.gather(*hooks._sending.values())
