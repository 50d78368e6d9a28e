"""Tells programs of others what happens: blocks, harvests, lost stakes, payments; at addresses that operators name.

The database notes what happens in the transaction that makes it so (triggers of the schema). From there it is made
into a delivery for each webhook, whose body stays as it is, and sent until it is taken or given up: at least once, the
oldest first, signed as https://www.standardwebhooks.com says. Each webhook has a task of its own: one that is dead
holds up nobody.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from kalepool.config import Settings
from kalepool.custody import Binding, Custody
from kalepool.database import Database, new_id
from kalepool.errors import ConflictError, CustodyError, InputError, NotFoundError
from kalepool.policy.delivering import PATIENCE_SECONDS, after_failure
from kalepool.services import operators, withdrawals
from kalepool.services.blocks import blocks_of_farmer, blocks_of_pooler
from kalepool.services.context import Context
from kalepool.services.mining import payout_records
from kalepool.services.outgoing import Door, Posted
from kalepool.tasks import end_tasks

LOOK_SECONDS = 1.0
"""Between two looks for what has happened, and for whose turn it is."""

GIVE_UP_SECONDS = 30.0

LEASE_SECONDS = 30.0
"""For so long a webhook is nobody else's while something is sent there: longer than that may take."""

AT_ONCE = 200
"""Events that are made into deliveries in one look."""

BATCH = 1000

MOST_WEBHOOKS = 20

MOST_CHARACTERS = 500

SECRET_BYTES = 32

API_VERSION = "v1"

log = structlog.get_logger()


class EventType(StrEnum):
    """What can be told of."""

    BLOCK_OPENED = "block.opened"
    BLOCK_CLOSED = "block.closed"
    HARVEST = "harvest"
    STAKE_LOST = "stake.lost"
    PAYOUT = "payout"
    WITHDRAWAL = "withdrawal"


TEST = "test"
"""The type of what is sent to try a webhook."""


class DeliveryStatus(StrEnum):
    """waiting: to be sent, or sent again; given_up: it was tried for a day."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class TooManyWebhooksError(ConflictError):
    """There are as many as there may be."""

    code = "too-many-webhooks"


@dataclass(frozen=True, slots=True)
class WebhookState:
    """Where somebody is told. failures in a row, `trouble`: why the last one was not taken, `retry_at`: until when it
    is left alone. waiting, given_up: how many deliveries."""

    webhook_id: UUID
    url: str
    types: list[str]
    created_at: datetime
    delivered_at: datetime | None
    failures: int
    trouble: str | None
    retry_at: datetime | None
    waiting: int
    given_up: int


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook just made. `secret`: what its deliveries are signed with, shown once."""

    webhook_id: UUID
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook. `due_at`: when it is tried next."""

    event_id: UUID
    type: str
    status: DeliveryStatus
    attempts: int
    trouble: str | None
    created_at: datetime
    due_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """Something that has happened, as the database noted it."""

    number: int
    type: EventType
    block_index: int | None
    owner_id: UUID
    subject_id: UUID | None
    happened_at: datetime


Shape = Callable[[EventType, Mapping[str, Any]], dict[str, Any]]
"""What the API shows of the record behind an event, as JSON has it."""


# ----------------------------------------------------------------------------------------------------------------------
# Pure


def origins(settings: Settings) -> list[str]:
    """Servers of inner networks that webhooks may go to: scheme and host."""
    return [each.strip().rstrip("/").lower() for each in settings.webhook_origins.split(",") if each.strip()]


def checked(text: str, inner: Sequence[str]) -> str:
    """The address, if webhooks may go there. Raises InputError, which does not show it."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        origin, host, port = f"{parts.scheme}://{parts.netloc}".lower(), parts.hostname or "", parts.port
    except ValueError:
        raise InputError("this is no address: write it as https://host/path") from None
    if len(text) > MOST_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise InputError(f"an address has at most {MOST_CHARACTERS} characters, of ASCII, without blanks")
    if not host or port == 0 or "@" in parts.netloc or parts.fragment:
        raise InputError("this is no address for a webhook: write it as https://host/path, without user, password or #")
    if origin not in inner and parts.scheme != "https":
        raise InputError(
            "a webhook is an https address: or let KALEPOOL_WEBHOOK_ORIGINS name its server, where it is an inner one"
        )
    return text


def body_of(event_id: UUID, type: str, at: datetime, data: Mapping[str, Any]) -> str:
    """What is sent, each time the same."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"id": str(event_id), "type": type, "timestamp": moment, "api_version": API_VERSION, "data": data}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def signed(secret: bytes, event_id: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery that leaves at a Unix time: HMAC-SHA256 over id, time and body."""
    digest = hmac.digest(secret, f"{event_id}.{at}.".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "User-Agent": "kalepool",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


# ----------------------------------------------------------------------------------------------------------------------
# What operators do


async def add(
    database: Database, custody: Custody, settings: Settings, key_id: UUID, text: str, types: Sequence[EventType]
) -> NewWebhook:
    """A webhook for these types, all where none is named. Raises InputError, TooManyWebhooksError."""
    url = checked(text, origins(settings))
    webhook_id, secret = new_id(), secrets.token_bytes(SECRET_BYTES)
    wanted = [str(each) for each in EventType if not types or each in types]
    async with database.transaction() as tx:
        await tx.execute("lock_webhooks")
        found = await tx.fetch_one("count_webhooks")
        if found is not None and found["webhooks"] >= MOST_WEBHOOKS:
            raise TooManyWebhooksError(f"there are {MOST_WEBHOOKS} webhooks, the most there can be: delete one first")
        await tx.execute(
            "insert_webhook",
            webhook_id=webhook_id,
            url=url,
            types=wanted,
            secret_sealed=custody.seal_secret(Binding.of_webhook(webhook_id, url), secret),
        )
        await operators.record(tx, key_id, "add-webhook", webhook_id, host=urlsplit(url).netloc, types=wanted)
    return NewWebhook(webhook_id, f"whsec_{base64.b64encode(secret).decode()}")


async def remove(database: Database, key_id: UUID, webhook_id: UUID) -> None:
    """Nothing is sent there any more, also of what waits. Raises NotFoundError."""
    async with database.transaction() as tx:
        if not await tx.execute("remove_webhook", webhook_id=webhook_id):
            raise NotFoundError(f"no webhook {webhook_id}")
        await operators.record(tx, key_id, "delete-webhook", webhook_id)


async def all_webhooks(database: Database) -> list[WebhookState]:
    """In the order of their making. Raises DatabaseError."""
    return await database.fetch_all("select_webhooks", row=WebhookState, webhook_id=None)


async def read(database: Database, webhook_id: UUID) -> WebhookState:
    """Raises NotFoundError."""
    found = await database.fetch_one("select_webhooks", row=WebhookState, webhook_id=webhook_id)
    if found is None:
        raise NotFoundError(f"no webhook {webhook_id}")
    return found


async def deliveries(
    database: Database, webhook_id: UUID, status: DeliveryStatus | None, *, after: UUID | None, limit: int
) -> list[Delivery]:
    """A page of what was, or is to be, sent there, the newest first. Raises NotFoundError."""
    await read(database, webhook_id)
    return await database.fetch_all(
        "select_webhook_deliveries", row=Delivery, webhook_id=webhook_id, status=status, after=after, limit=limit
    )


async def read_delivery(database: Database, webhook_id: UUID, event_id: UUID) -> Delivery:
    """Raises NotFoundError."""
    await read(database, webhook_id)
    found = await database.fetch_one("select_webhook_delivery", row=Delivery, webhook_id=webhook_id, event_id=event_id)
    if found is None:
        raise NotFoundError(f"no delivery of event {event_id} to webhook {webhook_id}")
    return found


async def send_test(database: Database, key_id: UUID, webhook_id: UUID) -> Delivery:
    """Something to try it with, which goes the way of everything else. Raises NotFoundError."""
    event_id = new_id()
    body = body_of(event_id, TEST, datetime.now(UTC), {"webhook_id": str(webhook_id)})
    async with database.transaction() as tx:
        if not await tx.execute("insert_webhook_test", webhook_id=webhook_id, event_id=event_id, body=body):
            raise NotFoundError(f"no webhook {webhook_id}")
        await operators.record(tx, key_id, "test-webhook", webhook_id)
    return await read_delivery(database, webhook_id, event_id)


async def send_again(database: Database, key_id: UUID, webhook_id: UUID, event_id: UUID) -> Delivery:
    """Whatever became of it, it waits again, for another day. Raises NotFoundError."""
    await read_delivery(database, webhook_id, event_id)
    async with database.transaction() as tx:
        await tx.execute("send_webhook_delivery_again", webhook_id=webhook_id, event_id=event_id)
        await operators.record(tx, key_id, "resend-webhook", webhook_id, event_id=str(event_id))
    return await read_delivery(database, webhook_id, event_id)


async def count(database: Database) -> tuple[int, int]:
    """Deliveries at all webhooks: (waiting, given up). Raises DatabaseError."""
    found = await database.fetch_one("count_webhook_deliveries")
    assert found is not None
    return found["waiting"], found["given_up"]


# ----------------------------------------------------------------------------------------------------------------------
# Do


class Webhooks:
    """Of the process that leads. `look`, `send_due` and `give_up` are called again and again; `end` at the end."""

    def __init__(self, ctx: Context, shape: Shape) -> None:
        self._ctx = ctx
        self._shape = shape
        self._sending: dict[UUID, asyncio.Task[None]] = {}

    async def look(self) -> int:
        """Makes what has happened into deliveries. Returns how many. Raises DatabaseError."""
        database, made = self._ctx.database, 0
        for event in await database.fetch_all("select_webhook_events", row=PoolEvent, limit=AT_ONCE):
            event_id = new_id()
            try:
                body = await self._body(event_id, event)
            except (NotFoundError, ValueError) as error:  # else it would hold up all that follow
                log.error("webhook_event_lost", type=event.type, owner=str(event.owner_id), reason=str(error))
                await database.execute("delete_webhook_event", number=event.number)
                continue
            made += await database.execute(
                "insert_webhook_deliveries", number=event.number, event_id=event_id, type=event.type, body=body
            )
        return made

    async def _body(self, event_id: UUID, event: PoolEvent) -> str:
        """Raises NotFoundError, and ValueError for what the API could not show."""
        kind = EventType(event.type)
        return body_of(event_id, kind, event.happened_at, self._shape(kind, await self._record(kind, event)))

    async def _record(self, kind: EventType, event: PoolEvent) -> dict[str, Any]:
        """What the database has of it by now, with whose it is. Raises NotFoundError."""
        database, owner, index, subject = self._ctx.database, event.owner_id, event.block_index, event.subject_id
        if index is not None and subject is None:
            if kind is EventType.HARVEST:
                rows = await blocks_of_farmer(database, owner, before=index + 1, oldest=index, limit=1)
                name = "farmer_id"
            else:
                rows = await blocks_of_pooler(database, owner, before=index + 1, limit=1)
                name = "pooler_id"
            if not rows or rows[0]["block_index"] != index:
                raise NotFoundError(f"no block {index} of {owner}")
            return rows[0] | {name: owner}
        assert subject is not None
        match kind:
            case EventType.STAKE_LOST:
                found = await operators.read_compensation(database, subject)
            case EventType.PAYOUT:
                found = await payout_records.read(database, owner, subject)
            case _:
                found = await withdrawals.read(self._ctx, owner, subject)
        return asdict(found)

    async def send_due(self) -> int:
        """Has a task send to each webhook whose turn it is, unless one does. Returns how many do now. Raises
        DatabaseError."""
        self._sending = {each: task for each, task in self._sending.items() if not task.done()}
        for row in await self._ctx.database.fetch_all("select_webhook_turns"):
            if row["webhook_id"] not in self._sending:
                task = asyncio.create_task(self._send_all(row["webhook_id"], row["url"]))
                self._sending[row["webhook_id"]] = task
        return len(self._sending)

    async def end(self) -> None:
        """Breaks off what is being sent: it is sent again."""
        await end_tasks(self._sending.values())

    async def _send_all(self, webhook_id: UUID, url: str) -> None:
        """One delivery after another, until none is due or the webhook is left alone."""
        try:
            async with Door.open(url, inner_origins=origins(self._ctx.settings)) as door:
                while await self._send_next(webhook_id, url, door):
                    pass
        except Exception:
            log.exception("webhook_broken", webhook=str(webhook_id))

    async def _send_next(self, webhook_id: UUID, url: str, door: Door) -> bool:
        database = self._ctx.database
        turn = await database.fetch_one("take_webhook_turn", webhook_id=webhook_id, seconds=LEASE_SECONDS)
        if turn is None or turn["url"] != url:
            return False
        event_id, body = turn["event_id"], turn["body"].encode()
        try:
            checked(url, origins(self._ctx.settings))  # the operator may have changed its mind
            secret = self._ctx.custody.open_secret(Binding.of_webhook(webhook_id, url), turn["secret_sealed"])
        except InputError:
            posted = Posted(is_taken=False, reason="this pool sends nothing there any more")
        except CustodyError:
            log.error("webhook_seal_broken", webhook=str(webhook_id))
            posted = Posted(is_taken=False, reason="its row in the database was changed: delete it and make another")
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
        """What was tried for a day. Returns how many. Raises DatabaseError."""
        given_up = 0
        while (
            batch := await self._ctx.database.execute(
                "give_webhook_deliveries_up", seconds=PATIENCE_SECONDS, batch=BATCH
            )
        ) == BATCH:
            given_up += batch
        if given_up := given_up + batch:
            log.warning("webhook_deliveries_given_up", deliveries=given_up)
        return given_up
