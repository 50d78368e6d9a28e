"""Events as getEvents orders and names them.

An event's id is the TOID of where it happened, and a position: fees before all transactions have transaction 0, refunds
after them the highest number there is (stellar-rpc, db/event.go; TOID: SEP-35).
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import structlog

from kalepool.devnet.ledger.closing import Closed
from kalepool.devnet.ledger.meta import AFTER_ALL, BEFORE_ALL, TransactionRecord
from kalepool.devnet.wire import EventKind

TRANSACTION_MASK = (1 << 20) - 1
OPERATION_MASK = (1 << 12) - 1
MAX_POSITION = 2**32 - 1

log = structlog.get_logger()

_KINDS = tuple(EventKind)


def toid(ledger: int, transaction: int, operation: int) -> int:
    """The total order id of an operation (SEP-35)."""
    return ledger << 32 | transaction << 12 | operation


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is kept: topics a JSON list of base64 ScVals, value a base64 ScVal."""

    ledger: int
    toid: int
    position: int
    contract: bytes | None
    type: str
    transaction_hash: bytes
    success: int
    topics: str
    value: str
    close_time: int = 0

    @property
    def id(self) -> str:
        return f"{self.toid:019d}-{self.position:010d}"


def event_rows(closed: Closed) -> list[tuple[Any, ...]]:
    """Every transaction and operation event of a ledger, as database rows."""
    ledger = closed.header.sequence
    rows: list[tuple[Any, ...]] = []
    before = after = 0
    for number, record in enumerate(closed.transactions, 1):
        for event in record.transaction_events:
            stage = int.from_bytes(event[:4], "big")
            if stage == BEFORE_ALL:
                place, position, before = toid(ledger, 0, 0), before, before + 1
            elif stage == AFTER_ALL:
                place, position, after = toid(ledger, TRANSACTION_MASK, 0), after, after + 1
            else:
                place, position = toid(ledger, number, OPERATION_MASK), 0
            rows += _row((ledger, place, position), event[4:], record)
        for operation, events in enumerate(record.operation_events):
            for position, event in enumerate(events):
                place = toid(ledger, number, operation)
                rows += _row((ledger, place, position), event, record)
    return rows


def _row(where: tuple[int, int, int], event: bytes, record: TransactionRecord) -> list[tuple[Any, ...]]:
    """The event's row; none where the event cannot be read: the ledger is kept without it."""
    try:
        return [(*where, *_parts(event, record.hash, record.success))]
    except Exception:
        log.exception("event_unreadable", hash=record.hash.hex())
        return []


def _parts(event: bytes, transaction_hash: bytes, success: bool) -> tuple[Any, ...]:
    # ContractEvent: ext, optional contract id, type, body version, topics, data.
    has_contract = event[4:8] == b"\0\0\0\1"
    contract = event[8:40] if has_contract else None
    at = 40 if has_contract else 8
    kind = _KINDS[int.from_bytes(event[at : at + 4], "big")]
    count = int.from_bytes(event[at + 8 : at + 12], "big")
    at += 12
    topics = []
    for _ in range(count):
        size = scval_size(event, at)
        topics.append(b64encode(event[at : at + size]).decode())
        at += size
    return contract, kind, transaction_hash, success, json.dumps(topics), b64encode(event[at:]).decode()


_FIXED_SIZES = {0: 4, 1: 0, 2: 8, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8, 9: 16, 10: 16, 11: 32, 12: 32, 20: 0, 21: 8}
_ADDRESS_SIZES = (40, 36, 44, 40, 36)  # account, contract, muxed account, claimable balance, liquidity pool


def scval_size(data: bytes, at: int) -> int:
    """Bytes of the packed ScVal that starts at an offset; of the kinds that occur in events."""
    kind = int.from_bytes(data[at : at + 4], "big")
    if kind in _FIXED_SIZES:
        return 4 + _FIXED_SIZES[kind]
    if kind in (13, 14, 15):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        return 8 + size + -size % 4
    if kind == 18:
        return 4 + _ADDRESS_SIZES[int.from_bytes(data[at + 4 : at + 8], "big")]
    if kind not in (16, 17):
        raise ValueError(f"an event cannot hold an ScVal of type {kind}")
    count = int.from_bytes(data[at + 8 : at + 12], "big") * (1 if kind == 16 else 2)
    size = 12
    for _ in range(count):
        size += scval_size(data, at + size)
    return size
