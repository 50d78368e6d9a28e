"""Sends to webhooks what has happened: makes it into deliveries, and sends each until it is taken or given up.

Each webhook has a task of its own: one that is dead holds up nobody. Farmers' and miners' own, whom nobody has vetted,
share so many places and take turns there; operators' never wait for them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog

from kalepool.custody import Binding
from kalepool.database import new_id
from kalepool.errors import CustodyError, InputError, NotFoundError
from kalepool.policy.delivering import PATIENCE_SECONDS, after_failure
from kalepool.services import leaving, operators, withdrawals
from kalepool.services.blocks import blocks_of_farmer, blocks_of_pooler
from kalepool.services.context import Context
from kalepool.services.mining import payout_records
from kalepool.services.outgoing import Door, Posted
from kalepool.services.webhooks import (
    MOST_WEBHOOKS,
    EventType,
    PoolEvent,
    body_of,
    checked,
    inner_origins,
    read_ended_key,
)
from kalepool.tasks import end_tasks

LOOK_SECONDS = 1.0
"""Between two looks for what has happened, and for whose turn it is."""

GIVE_UP_SECONDS = 30.0

LEASE_SECONDS = 30.0
"""For so long a webhook is nobody else's while something is sent there: longer than that may take."""

AT_ONCE = 200
"""Events that are made into deliveries in one look."""

BATCH = 1000

OWN_AT_ONCE = 32
"""Farmers' and miners' own webhooks that something is sent to side by side."""

OWN_TURN_SECONDS = 10.0
"""An own webhook that has more to be sent by then waits for its next turn: those that have waited longer come first."""

BROKEN_SECONDS = 3600.0
"""For so long a webhook is left alone that breaks us: it would come first in every look, and hold the others up."""

DEAD_DAYS, DEAD_FAILURES = 7, 30
"""An own webhook that took nothing for so long, and failed so often in a row, is paused: that is a day of tries."""

NO_MORE = "this pool sends nothing there any more"
CHANGED = "its row in the database was changed: delete it and make another"

log = structlog.get_logger()

Shape = Callable[[EventType, Mapping[str, Any], bool], dict[str, Any]]
"""What the API shows of the record behind an event, as JSON has it; to operators, or (True) to whose it is."""


def signed(secret: bytes, event_id: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery that leaves at a Unix time: HMAC-SHA256 over id, time and body. Pure."""
    digest = hmac.digest(secret, f"{event_id}.{at}.".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "User-Agent": "kalepool",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Webhooks:
    """Of the process that leads. `look`, `send_due` and `give_up` are called again and again; `end` at the end."""

    def __init__(self, ctx: Context, shape: Shape) -> None:
        self._ctx = ctx
        self._shape = shape
        self._sending: dict[UUID, asyncio.Task[None]] = {}
        self._own: set[UUID] = set()  # of these, farmers' and miners'

    async def look(self) -> int:
        """Makes what has happened into deliveries. Returns how many. Raises DatabaseError."""
        database, made = self._ctx.database, 0
        for event in await database.fetch_all("select_webhook_events", row=PoolEvent, limit=AT_ONCE):
            event_id = new_id()
            try:
                body, own_body = await self._bodies(event_id, event)
            except (NotFoundError, ValueError) as error:  # else it would hold up all that follow
                log.error("webhook_event_lost", type=event.type, owner=str(event.owner_id), reason=str(error))
                await database.execute("delete_webhook_event", number=event.number)
                continue
            made += await database.execute(
                "insert_webhook_deliveries",
                number=event.number,
                event_id=event_id,
                type=event.type,
                owner_id=event.owner_id,
                body=body,
                own_body=own_body,
            )
        return made

    async def _bodies(self, event_id: UUID, event: PoolEvent) -> tuple[str, str]:
        """For operators; and for whose it is, who may be shown less. Raises NotFoundError, and ValueError for what the
        API could not show."""
        kind = EventType(event.type)
        record = await self._record(kind, event)
        own = record
        if kind is EventType.STAKE_LOST:  # what operators are shown of it is theirs
            own = await self._block(event, is_pooler=False)
        return (
            body_of(event_id, kind, event.happened_at, self._shape(kind, record, False)),
            body_of(event_id, kind, event.happened_at, self._shape(kind, own, True)),
        )

    async def _block(self, event: PoolEvent, *, is_pooler: bool) -> dict[str, Any]:
        """A pooler's or a farmer's block. Raises NotFoundError."""
        database, owner, index = self._ctx.database, event.owner_id, event.block_index
        assert index is not None
        if is_pooler:
            rows = await blocks_of_pooler(database, owner, before=index + 1, limit=1)
        else:
            rows = await blocks_of_farmer(database, owner, before=index + 1, oldest=index, limit=1)
        if not rows or rows[0]["block_index"] != index:
            raise NotFoundError(f"no block {index} of {owner}")
        return rows[0] | {"pooler_id" if is_pooler else "farmer_id": owner}

    async def _record(self, kind: EventType, event: PoolEvent) -> dict[str, Any]:
        """What the database has of it by now, with whose it is. Raises NotFoundError."""
        owner, subject = event.owner_id, event.subject_id
        if subject is None:
            return await self._block(event, is_pooler=kind in (EventType.BLOCK_OPENED, EventType.BLOCK_CLOSED))
        match kind:
            case EventType.STAKE_LOST:
                found = await operators.read_compensation(self._ctx.database, subject)
            case EventType.PAYOUT | EventType.PAYOUT_REFUSED:
                found = await payout_records.read(self._ctx.database, owner, subject)
            case EventType.FARMER_LEFT:
                return asdict(await leaving.read(self._ctx, owner)) | {"farmer_id": owner}
            case EventType.KEY_ENDED:
                return await read_ended_key(self._ctx.database, subject)
            case _:
                found = await withdrawals.read(self._ctx, owner, subject)
        return asdict(found)

    async def send_due(self) -> int:
        """Has a task send to each webhook whose turn it is, unless one does. Returns how many do now. Raises
        DatabaseError."""
        self._sending = {each: task for each, task in self._sending.items() if not task.done()}
        self._own &= self._sending.keys()
        most = MOST_WEBHOOKS + OWN_AT_ONCE
        for row in await self._ctx.database.fetch_all("select_webhook_turns", limit=most):
            webhook_id, is_own = row["webhook_id"], row["is_own"]
            if webhook_id in self._sending or (is_own and len(self._own) >= OWN_AT_ONCE):
                continue
            self._sending[webhook_id] = asyncio.create_task(self._send_all(webhook_id, row["url"], is_own=is_own))
            if is_own:
                self._own.add(webhook_id)
        return len(self._sending)

    async def end(self) -> None:
        """Breaks off what is being sent: it is sent again."""
        await end_tasks(self._sending.values())

    async def _send_all(self, webhook_id: UUID, url: str, *, is_own: bool) -> None:
        """One delivery after another, until none is due, the webhook is left alone, or an own one's turn is over."""
        until = time.monotonic() + OWN_TURN_SECONDS if is_own else math.inf
        inner = inner_origins(self._ctx.settings, is_own=is_own)
        try:
            async with Door.open(url, inner_origins=inner, is_own=is_own) as door:
                while await self._send_next(webhook_id, url, door):
                    if time.monotonic() >= until:
                        break
        except Exception:
            log.exception("webhook_broken", webhook=str(webhook_id))
            await self._ctx.database.execute("leave_webhook_alone", webhook_id=webhook_id, seconds=BROKEN_SECONDS)

    def _require_allowed(self, url: str, *, is_own: bool) -> None:
        """Raises InputError where the operator has changed its mind since the webhook was made."""
        settings = self._ctx.settings
        if is_own and not settings.own_webhooks:
            raise InputError("farmers and miners have no webhooks at this pool")
        checked(url, inner_origins(settings, is_own=is_own), is_own=is_own)

    async def _send_next(self, webhook_id: UUID, url: str, door: Door) -> bool:
        database = self._ctx.database
        turn = await database.fetch_one("take_webhook_turn", webhook_id=webhook_id, seconds=LEASE_SECONDS)
        if turn is None or turn["url"] != url:
            return False
        event_id, body, owner = turn["event_id"], turn["body"].encode(), turn["subject_id"]
        try:
            self._require_allowed(url, is_own=owner is not None)
            secret = self._ctx.custody.open_secret(Binding.of_webhook(webhook_id, url, owner), turn["secret_sealed"])
        except InputError:
            posted = Posted(is_taken=False, reason=NO_MORE)
        except CustodyError:
            log.error("webhook_seal_broken", webhook=str(webhook_id))
            posted = Posted(is_taken=False, reason=CHANGED)
        else:
            posted = await door.post(body, signed(secret, event_id, int(time.time()), body))
        if posted.is_taken:
            await database.execute("note_webhook_delivered", webhook_id=webhook_id, event_id=event_id)
            return True
        attempts, asked = turn["attempts"] + 1, posted.wait_seconds
        step = after_failure(posted.status, attempts=attempts, failures=turn["failures"], asked_seconds=asked)
        log.info(
            "webhook_not_taken",
            webhook=str(webhook_id),
            event_id=str(event_id),
            reason=posted.reason,
            attempts=attempts,
            wait_seconds=step.delivery_seconds,
        )
        await database.execute(
            "note_webhook_failure",
            webhook_id=webhook_id,
            event_id=event_id,
            trouble=posted.reason,
            failures=step.failures,
            delivery_seconds=step.delivery_seconds,
            webhook_seconds=step.webhook_seconds,
        )
        return not step.webhook_seconds

    async def give_up(self) -> int:
        """What was tried for a day; and own webhooks that are dead are paused. Returns how many deliveries. Raises
        DatabaseError."""
        given_up = 0
        while (
            batch := await self._ctx.database.execute(
                "give_webhook_deliveries_up", seconds=PATIENCE_SECONDS, batch=BATCH
            )
        ) == BATCH:
            given_up += batch
        if given_up := given_up + batch:
            log.warning("webhook_deliveries_given_up", deliveries=given_up)
        dead = {"days": DEAD_DAYS, "failures": DEAD_FAILURES}
        if paused := await self._ctx.database.execute("pause_dead_own_webhooks", **dead):
            log.info("own_webhooks_paused", webhooks=paused, days=DEAD_DAYS)
        return given_up
