"""Addresses at which programs of others are told what happens: kept, tried, paused and removed by whose they are.

Operators' are told of the whole pool: blocks, harvests, lost stakes, payments. A farmer's or a miner's own is told of
what is its own alone. The database notes what happens in the transaction that makes it so (triggers of the schema);
webhook_sending.py makes it into deliveries, whose bodies stay as they are, and sends them: at least once, the oldest
first, signed as https://www.standardwebhooks.com says.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from uuid import UUID

from kalepool.config import Settings
from kalepool.custody import Binding, Custody
from kalepool.database import Database, Session, new_id
from kalepool.errors import ConflictError, InputError, NotFoundError
from kalepool.marking import mark
from kalepool.services import operators
from kalepool.services.keys import Role
from kalepool.services.outgoing import can_be_asked

MOST_WEBHOOKS = 20
"""Of operators."""

MOST_OWN_AN_HOUR = 10
"""A farmer or a miner makes no more, however many it removes: one that is made anew is tried at once."""

BY_HAND_SECONDS = 10.0
"""Between two deliveries that a farmer or miner has sent to a webhook by hand: tests, and those sent again."""

HTTPS_PORT, FIRST_FREE_PORT = 443, 1024
"""A farmer's or a miner's own goes to the first, or to this one and above: those in between are other services'."""

MOST_CHARACTERS = 500

SECRET_BYTES = 32

API_VERSION = "v1"


class EventType(StrEnum):
    """What can be told of."""

    BLOCK_OPENED = "block.opened"
    BLOCK_CLOSED = "block.closed"
    PLANTING = "planting"
    HARVEST = "harvest"
    STAKE_LOST = "stake.lost"
    PAYOUT = "payout"
    PAYOUT_REFUSED = "payout.refused"
    WITHDRAWAL = "withdrawal"
    WITHDRAWAL_REFUSED = "withdrawal.refused"
    FARMER_LEFT = "farmer.left"
    KEY_ENDED = "key.ended"


FarmersOwn = Literal[
    EventType.PLANTING,
    EventType.HARVEST,
    EventType.STAKE_LOST,
    EventType.WITHDRAWAL,
    EventType.WITHDRAWAL_REFUSED,
    EventType.FARMER_LEFT,
    EventType.KEY_ENDED,
]
MinersOwn = Literal[EventType.PAYOUT, EventType.PAYOUT_REFUSED, EventType.KEY_ENDED]

OWN_TYPES: dict[Role, tuple[EventType, ...]] = {
    Role.OPERATOR: tuple(EventType),
    Role.FARMER: get_args(FarmersOwn),
    Role.MINER: get_args(MinersOwn),
}
"""Whose webhook is told of what."""

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


class WebhookPausedError(ConflictError):
    """Nothing is sent there as long as it is paused."""

    code = "webhook-paused"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Whose webhooks are meant: operators' (subject_id is None), or those of one farmer or miner. key_id: whose key
    asks, for what operators do is written down."""

    role: Role
    subject_id: UUID | None = None
    key_id: UUID | None = None

    @property
    def types(self) -> tuple[EventType, ...]:
        """What its webhooks may be told of."""
        return OWN_TYPES[self.role]

    def most(self, settings: Settings) -> int:
        """How many it may have."""
        return MOST_WEBHOOKS if self.subject_id is None else settings.own_webhooks

    async def record(self, session: Session, action: str, webhook_id: UUID, **detail: Any) -> None:
        """Notes for good what an operator did; what anybody else did to its own is no operator's action."""
        if self.subject_id is None and self.key_id is not None:
            await operators.record(session, self.key_id, action, webhook_id, **detail)


OPERATORS = Keeper(Role.OPERATOR)
"""To look at theirs."""


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
    paused_at: datetime | None
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


# ----------------------------------------------------------------------------------------------------------------------
# Pure


def inner_origins(settings: Settings, *, is_own: bool) -> list[str]:
    """Servers of inner networks that operators' webhooks, or farmers' and miners' own, may go to: scheme and host."""
    named = settings.own_webhook_origins if is_own else settings.webhook_origins
    return [each.strip().rstrip("/").lower() for each in named.split(",") if each.strip()]


def checked(text: str, inner: Sequence[str], *, is_own: bool = False) -> str:
    """The address, if webhooks may go there. Raises InputError, which does not show it."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        origin, host, port = f"{parts.scheme}://{parts.netloc}".lower(), parts.hostname or "", parts.port
    except ValueError:
        raise InputError(mark("this is no address: write it as https://host/path")) from None
    if len(text) > MOST_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise InputError(
            mark("an address has at most %(most)s characters, of ASCII, without blanks"), most=MOST_CHARACTERS
        )
    if not host or port == 0 or "@" in parts.netloc or parts.fragment or not can_be_asked(text):
        raise InputError(
            mark("this is no address for a webhook: write it as https://host/path, without user, password or #")
        )
    if origin in inner:
        return text
    if is_own and (parts.scheme != "https" or (port or HTTPS_PORT) not in (HTTPS_PORT, *range(FIRST_FREE_PORT, 65536))):
        raise InputError(
            mark("a webhook is an https address on the internet, at port 443 or at one from %(first)s on"),
            first=FIRST_FREE_PORT,
        )
    if parts.scheme != "https":
        raise InputError(
            mark("a webhook is an https address: or let %(setting)s name its server, where it is an inner one"),
            setting="KALEPOOL_WEBHOOK_ORIGINS",
        )
    return text


def wanted_types(keeper: Keeper, types: Sequence[str]) -> list[EventType]:
    """What it is to be told of: all that it may be, where none is named. Raises InputError."""
    for each in types:
        if each not in keeper.types:
            raise InputError(
                mark("a webhook of yours is not told of %(type)s; it may be told of: %(types)s"),
                type=each[:40],
                types=", ".join(keeper.types),
            )
    return [each for each in keeper.types if not types or each in types]


def body_of(event_id: UUID, type: str, at: datetime, data: Mapping[str, Any]) -> str:
    """What is sent, each time the same."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {"id": str(event_id), "type": type, "timestamp": moment, "api_version": API_VERSION, "data": data}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


# ----------------------------------------------------------------------------------------------------------------------
# What those do whose they are


async def add(
    database: Database, custody: Custody, settings: Settings, keeper: Keeper, text: str, types: Sequence[str]
) -> NewWebhook:
    """A webhook for these types, all where none is named. Raises InputError, TooManyWebhooksError."""
    is_own = keeper.subject_id is not None
    url = checked(text, inner_origins(settings, is_own=is_own), is_own=is_own)
    webhook_id, secret = new_id(), secrets.token_bytes(SECRET_BYTES)
    wanted = [str(each) for each in wanted_types(keeper, types)]
    async with database.transaction() as tx:
        await tx.execute("lock_webhooks")
        await _require_room(tx, settings, keeper)
        await tx.execute(
            "insert_webhook",
            webhook_id=webhook_id,
            role=keeper.role if is_own else None,
            subject_id=keeper.subject_id,
            url=url,
            types=wanted,
            secret_sealed=custody.seal_secret(Binding.of_webhook(webhook_id, url, keeper.subject_id), secret),
        )
        await keeper.record(tx, "add-webhook", webhook_id, host=urlsplit(url).netloc, types=wanted)
    return NewWebhook(webhook_id, f"whsec_{base64.b64encode(secret).decode()}")


async def _require_room(session: Session, settings: Settings, keeper: Keeper) -> None:
    found = await session.fetch_one("count_webhooks", subject_id=keeper.subject_id)
    assert found is not None
    most = keeper.most(settings)
    if found["webhooks"] >= most:
        raise TooManyWebhooksError(
            mark("there are %(count)s webhooks, and may be %(most)s: end one first"),
            count=found["webhooks"],
            most=most,
        )
    if keeper.subject_id is not None and found["lately"] >= MOST_OWN_AN_HOUR:
        raise TooManyWebhooksError(
            mark("%(count)s webhooks were made within an hour, the most there can be: try again later"),
            count=found["lately"],
        )


async def remove(database: Database, keeper: Keeper, webhook_id: UUID) -> None:
    """Nothing is sent there any more, also of what waits. Raises NotFoundError."""
    async with database.transaction() as tx:
        if not await tx.execute("remove_webhook", webhook_id=webhook_id, subject_id=keeper.subject_id):
            raise NotFoundError(f"no webhook {webhook_id}")
        await keeper.record(tx, "delete-webhook", webhook_id)


async def pause(database: Database, keeper: Keeper, webhook_id: UUID, *, paused: bool) -> None:
    """Nothing is sent there until it is resumed; what happens meanwhile waits, for its day. Raises NotFoundError."""
    async with database.transaction() as tx:
        asked = {"webhook_id": webhook_id, "subject_id": keeper.subject_id, "paused": paused}
        if not await tx.execute("pause_webhook", **asked):
            raise NotFoundError(f"no webhook {webhook_id}")
        await keeper.record(tx, "pause-webhook" if paused else "resume-webhook", webhook_id)


async def all_webhooks(database: Database, keeper: Keeper) -> list[WebhookState]:
    """In the order of their making. Raises DatabaseError."""
    return await database.fetch_all("select_webhooks", row=WebhookState, webhook_id=None, subject_id=keeper.subject_id)


async def read(database: Database | Session, keeper: Keeper, webhook_id: UUID) -> WebhookState:
    """Raises NotFoundError."""
    found = await database.fetch_one(
        "select_webhooks", row=WebhookState, webhook_id=webhook_id, subject_id=keeper.subject_id
    )
    if found is None:
        raise NotFoundError(f"no webhook {webhook_id}")
    return found


async def deliveries(
    database: Database,
    keeper: Keeper,
    webhook_id: UUID,
    status: DeliveryStatus | None,
    *,
    after: UUID | None,
    limit: int,
) -> list[Delivery]:
    """A page of what was, or is to be, sent there, the newest first. Raises NotFoundError."""
    await read(database, keeper, webhook_id)
    return await database.fetch_all(
        "select_webhook_deliveries", row=Delivery, webhook_id=webhook_id, status=status, after=after, limit=limit
    )


async def read_delivery(database: Database, keeper: Keeper, webhook_id: UUID, event_id: UUID) -> Delivery:
    """Raises NotFoundError."""
    await read(database, keeper, webhook_id)
    found = await database.fetch_one("select_webhook_delivery", row=Delivery, webhook_id=webhook_id, event_id=event_id)
    if found is None:
        raise NotFoundError(f"no delivery of event {event_id} to webhook {webhook_id}")
    return found


async def send_test(database: Database, keeper: Keeper, webhook_id: UUID) -> Delivery:
    """Something to try it with, which goes the way of everything else. Raises NotFoundError, ConflictError."""
    event_id = new_id()
    body = body_of(event_id, TEST, datetime.now(UTC), {"webhook_id": str(webhook_id)})
    async with database.transaction() as tx:
        await _require_turn_by_hand(tx, keeper, webhook_id)
        await tx.execute("insert_webhook_test", webhook_id=webhook_id, event_id=event_id, body=body)
        await keeper.record(tx, "test-webhook", webhook_id)
    return await read_delivery(database, keeper, webhook_id, event_id)


async def send_again(database: Database, keeper: Keeper, webhook_id: UUID, event_id: UUID) -> Delivery:
    """Whatever became of it, it waits again, for another day. Raises NotFoundError, ConflictError."""
    await read_delivery(database, keeper, webhook_id, event_id)
    async with database.transaction() as tx:
        await _require_turn_by_hand(tx, keeper, webhook_id)
        await tx.execute("send_webhook_delivery_again", webhook_id=webhook_id, event_id=event_id)
        await keeper.record(tx, "resend-webhook", webhook_id, event_id=str(event_id))
    return await read_delivery(database, keeper, webhook_id, event_id)


async def _require_turn_by_hand(session: Session, keeper: Keeper, webhook_id: UUID) -> None:
    """Takes it. Raises NotFoundError, WebhookPausedError, ConflictError where an own one had its turn just now."""
    if (await read(session, keeper, webhook_id)).paused_at is not None:
        raise WebhookPausedError(mark("this webhook is paused: resume it first"))
    seconds = 0.0 if keeper.subject_id is None else BY_HAND_SECONDS
    if not await session.execute("take_webhook_turn_by_hand", webhook_id=webhook_id, seconds=seconds):
        raise ConflictError(
            mark("something was sent there by hand less than %(seconds)s s ago: try again later"),
            seconds=f"{seconds:g}",
        )


async def read_ended_key(database: Database, key_id: UUID) -> dict[str, Any]:
    """A key that has ended, without the secret. Raises NotFoundError."""
    found = await database.fetch_one("select_ended_key", key_id=key_id)
    if found is None:
        raise NotFoundError(f"no key {key_id} that has ended")
    return found


async def count(database: Database) -> tuple[int, int]:
    """Deliveries at operators' webhooks: (waiting, given up). Raises DatabaseError."""
    found = await database.fetch_one("count_webhook_deliveries")
    assert found is not None
    return found["waiting"], found["given_up"]
