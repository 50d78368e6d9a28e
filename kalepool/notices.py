"""What the pool's processes tell each other through PostgreSQL's LISTEN and NOTIFY: the channels, and what travels on each.

A notice only says that something happened; the tables say what is. Whoever connects anew looks at them. Anybody who may
use the database may send anything, so what does not read as its channel's notice is named in the log and dropped.
"""  # noqa: E501

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self, TypeVar
from uuid import UUID

import structlog

from kalepool.database import Database, Session
from kalepool.policy.shares import parse_nonce
from kalepool.protocol.model import U32_MAX

MOST_ZEROS = 64
"""Digits of a hash."""

log = structlog.get_logger()


class Channel(StrEnum):
    """A trigger of the schema tells of blocks and keys, the services of farmers, whoever stores shares of those, each
    API process the others of what it counts."""

    BLOCKS = "blocks"
    FARMERS = "farmers"
    SHARES = "shares"
    API_KEYS = "api_keys"
    SIBLINGS = "siblings"


class MalformedNoticeError(ValueError):
    """This text is no notice of its channel. Nobody but `hear` gets to see it."""


@dataclass(frozen=True, slots=True)
class AnyNotice(ABC):
    """What one channel carries: one class for each."""

    CHANNEL: ClassVar[Channel]

    @abstractmethod
    def to_text(self) -> str:
        """As it travels, in at most 8,000 bytes. Never empty: that means that something may have been missed."""

    @classmethod
    @abstractmethod
    def from_text(cls, text: str) -> Self:
        """Raises MalformedNoticeError, whatever the text is."""


@dataclass(frozen=True, slots=True)
class BlockNotice(AnyNotice):
    """A block opened or closed, or a stake of it was planted or could not be: jobs change."""

    CHANNEL = Channel.BLOCKS
    block_index: int

    def to_text(self) -> str:
        return str(self.block_index)

    @classmethod
    def from_text(cls, text: str) -> Self:
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(U32_MAX))):
            raise MalformedNoticeError("no block's index")
        return cls(_number(int(text), U32_MAX))


@dataclass(frozen=True, slots=True)
class FarmerNotice(AnyNotice):
    """A farmer became active, leaves or has left."""

    CHANNEL = Channel.FARMERS
    farmer_id: UUID

    def to_text(self) -> str:
        return str(self.farmer_id)

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(_id(text))


@dataclass(frozen=True, slots=True)
class ShareNotice(AnyNotice):
    """A share with more zeros than all before of its farmer in its block, hashed again by who stored it."""

    CHANNEL = Channel.SHARES
    block_index: int
    pooler_id: UUID
    farmer_id: UUID
    nonce: int
    zeros: int
    searcher: int

    def to_text(self) -> str:
        return json.dumps(
            {
                "block_index": self.block_index,
                "pooler_id": str(self.pooler_id),
                "farmer_id": str(self.farmer_id),
                "nonce": str(self.nonce),
                "zeros": self.zeros,
                "searcher": self.searcher,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedNoticeError("no JSON") from None
        if not isinstance(given, dict):
            raise MalformedNoticeError("no JSON object")
        nonce = given.get("nonce")
        nonce = parse_nonce(nonce) if isinstance(nonce, str) else None
        if nonce is None:
            raise MalformedNoticeError("no nonce")
        return cls(
            block_index=_number(given.get("block_index"), U32_MAX),
            pooler_id=_id(given.get("pooler_id")),
            farmer_id=_id(given.get("farmer_id")),
            nonce=nonce,
            zeros=_number(given.get("zeros"), MOST_ZEROS),
            searcher=_number(given.get("searcher"), 2**63 - 1),
        )


@dataclass(frozen=True, slots=True)
class KeyNotice(AnyNotice):
    """An API key was changed or revoked: who remembers it must forget it."""

    CHANNEL = Channel.API_KEYS
    key_id: UUID

    def to_text(self) -> str:
        return str(self.key_id)

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(_id(text))


@dataclass(frozen=True, slots=True)
class SiblingNotice(AnyNotice):
    """What one API process tells the others: JSON, and a code that says that it is one. See services/siblings.py."""

    CHANNEL = Channel.SIBLINGS
    code: str
    body: str

    def to_text(self) -> str:
        return f"{self.code} {self.body}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        code, _, body = text.partition(" ")
        if not (code.isascii() and len(code) == 32 and body):
            raise MalformedNoticeError("no code and body")
        return cls(code, body)


Kind = TypeVar("Kind", bound=AnyNotice)


async def tell(session: Database | Session, notice: AnyNotice) -> None:
    """Tells all who hear this kind; within a transaction, once it is committed."""
    await session.notify(notice.CHANNEL, notice.to_text())


async def hear(database: Database, kind: type[Kind]) -> AsyncIterator[Kind | None]:
    """The notices of a kind as they come, for ever.

    None first, after every new connection, and where somebody sent nothing: something may have been missed, look at the
    tables.
    """
    async for text in database.listen(kind.CHANNEL):
        if not text:
            yield None
            continue
        try:
            notice = kind.from_text(text)
        except MalformedNoticeError as error:
            log.warning("notice_malformed", channel=str(kind.CHANNEL), text=text[:200], reason=str(error))
            continue
        yield notice


def _number(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise MalformedNoticeError(f"no number from 0 to {most}")
    return value


def _id(value: object) -> UUID:
    """As PostgreSQL and str() write them, in no other form."""
    try:
        if isinstance(value, str) and len(value) == 36:
            return UUID(value)
    except ValueError:
        pass
    raise MalformedNoticeError("no id")
