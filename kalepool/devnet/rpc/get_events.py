from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stellar_sdk import StrKey, xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.event_rows import MAX_POSITION, OPERATION_MASK, TRANSACTION_MASK, EventRow, toid
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params, format_problem, take, take_u32
from kalepool.devnet.rpc.rpc_errors import INVALID_PARAMS, INVALID_REQUEST, RpcError
from kalepool.devnet.rpc.xdr_json import as_json
from kalepool.devnet.wire import EventKind

SCAN_LEDGERS = 10_000
DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
_MAX_FILTERS = 5
_MAX_PER_FILTER = 5
_MAX_SEGMENTS = 4
_ANY, _REST = "*", "**"


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: types, raw contract hashes and topic patterns (base64 ScVals, * or **); an empty part allows all."""

    types: frozenset[str]
    contracts: frozenset[bytes]
    topics: tuple[tuple[str, ...], ...]

    def matches(self, event: EventRow) -> bool:
        return (
            (not self.types or event.type in self.types)
            and (not self.contracts or event.contract in self.contracts)
            and (not self.topics or any(_matches(topic, json.loads(event.topics)) for topic in self.topics))
        )


def get_events(node: Node, params: Params) -> dict[str, Any]:
    """Events from a ledger or behind a cursor on, of at most 10,000 ledgers, that one of the filters allows."""
    problem = format_problem(wanted := take(params, "xdrFormat", str))
    if problem:
        raise RpcError(INVALID_PARAMS, problem)
    pagination = take(params, "pagination", dict)
    cursor, limit = take(pagination, "cursor", str), take_u32(pagination, "limit")
    start_ledger, end_ledger = take_u32(params, "startLedger"), take_u32(params, "endLedger")
    if cursor and (start_ledger or end_ledger):
        raise RpcError(INVALID_PARAMS, "ledger ranges and cursor cannot both be set")
    if not cursor and not start_ledger:
        raise RpcError(INVALID_PARAMS, "startLedger must be positive")
    if limit > MAX_LIMIT:
        raise RpcError(INVALID_PARAMS, f"limit must not exceed {MAX_LIMIT}")
    filters = _read_filters(take(params, "filters", list))
    limit = limit or DEFAULT_LIMIT

    oldest, latest = node.told().range
    start = (toid(start_ledger, 0, 0), 0)
    if cursor:
        place, position = _read_cursor(cursor)
        start, start_ledger = (place, position + 1), place >> 32
    end = min(start_ledger + SCAN_LEDGERS, latest.sequence + 1)
    end = min(end, end_ledger) if end_ledger else end
    if not oldest.sequence <= start_ledger <= latest.sequence:
        raise RpcError(
            INVALID_REQUEST,
            f"startLedger must be within the ledger range: {oldest.sequence} - {latest.sequence}",
        )
    contracts = None
    if filters and all(item.contracts for item in filters):
        contracts = {contract for item in filters for contract in item.contracts}
    found = []
    for event in node.store.events(start, end, contracts):
        if not filters or any(item.matches(event) for item in filters):
            found.append(_info(event, as_json_wanted=wanted == "json"))
            if len(found) == limit:
                break
    last = f"{toid(end - 1, TRANSACTION_MASK, OPERATION_MASK):019d}-{MAX_POSITION:010d}"
    return {
        "events": found,
        "cursor": found[-1]["id"] if len(found) == limit else last,
        "latestLedger": latest.sequence,
        "oldestLedger": oldest.sequence,
        "latestLedgerCloseTime": str(latest.close_time),
        "oldestLedgerCloseTime": str(oldest.close_time),
    }


def _info(event: EventRow, *, as_json_wanted: bool) -> dict[str, Any]:
    closed_at = datetime.fromtimestamp(event.close_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    values: dict[str, Any] = {"topic": json.loads(event.topics), "value": event.value}
    if as_json_wanted:
        values = as_json(values, {"topic": ("topicJson", xdr.SCVal), "value": ("valueJson", xdr.SCVal)})
    return {
        "type": event.type,
        "ledger": event.ledger,
        "ledgerClosedAt": closed_at,
        "contractId": "" if event.contract is None else wire.contract_strkey(event.contract),
        "id": event.id,
        "operationIndex": event.toid & OPERATION_MASK,
        "transactionIndex": event.toid >> 12 & TRANSACTION_MASK,
        "txHash": event.transaction_hash.hex(),
        "inSuccessfulContractCall": bool(event.success),
        **values,
    }


def _read_cursor(text: str) -> tuple[int, int]:
    place, dash, position = text.partition("-")
    if not dash or not place.isdigit() or not position.isdigit() or int(place) >= 2**63:
        raise RpcError(INVALID_PARAMS, f"invalid event id {text}")
    return int(place), int(position)


def _read_filters(raw: list[Any]) -> list[Filter]:
    if len(raw) > _MAX_FILTERS:
        raise RpcError(INVALID_PARAMS, "maximum 5 filters per request")
    filters = []
    for number, item in enumerate(raw, 1):
        try:
            filters.append(_read_filter(item if isinstance(item, dict) else {}))
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, f"filter {number} invalid: {error}") from None
    return filters


def _read_filter(raw: dict[str, Any]) -> Filter:
    types = [kind for kind in take(raw, "type", str).split(",") if kind]
    if any(kind not in (EventKind.SYSTEM, EventKind.CONTRACT) for kind in types):
        raise ValueError("filter type invalid: if set, type must be either 'system' or 'contract'")
    ids, topics = take(raw, "contractIds", list), take(raw, "topics", list)
    if len(ids) > _MAX_PER_FILTER:
        raise ValueError("maximum 5 contract IDs per filter")
    if len(topics) > _MAX_PER_FILTER:
        raise ValueError("maximum 5 topics per filter")
    for number, contract in enumerate(ids, 1):
        if not isinstance(contract, str) or not StrKey.is_valid_contract(contract):
            raise ValueError(f"contract ID {number} invalid")
    patterns = tuple(_read_topic(topic, number) for number, topic in enumerate(topics, 1))
    return Filter(frozenset(types), frozenset(map(wire.contract_hash, ids)), patterns)


def _read_topic(topic: Any, number: int) -> tuple[str, ...]:
    if not isinstance(topic, list) or not topic:
        raise ValueError(f"topic {number} invalid: topic must have at least 1 segment")
    fixed = topic[:-1] if topic[-1] == _REST else topic
    if _REST in fixed:
        segment = fixed.index(_REST) + 1
        raise ValueError(
            f"topic {number} invalid: segment {segment} invalid: wildcard '**' is only allowed as the last segment"
        )
    if len(fixed) > _MAX_SEGMENTS:
        raise ValueError(f"topic {number} invalid: topic cannot have more than {_MAX_SEGMENTS} segments")
    return tuple(_read_segment(segment, number) for segment in topic)


def _read_segment(segment: Any, number: int) -> str:
    if segment in (_ANY, _REST):
        return segment
    try:
        return b64encode(xdr.SCVal.from_xdr_bytes(b64decode(segment, validate=True)).to_xdr_bytes()).decode()
    except Exception:
        raise ValueError(f"topic {number} invalid: segment {segment!r} is not an ScVal in base64") from None


def _matches(pattern: tuple[str, ...], topics: list[str]) -> bool:
    if pattern[-1] == _REST:
        pattern = pattern[:-1]
        if len(topics) < len(pattern):
            return False
    elif len(topics) != len(pattern):
        return False
    return all(wanted in (_ANY, topic) for wanted, topic in zip(pattern, topics, strict=False))
