"""What is asked at the same time, as one request: ledger entries, and what became of transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from stellar_sdk.soroban_rpc import (
    GetLedgerEntriesResponse,
    GetTransactionResponse,
    GetTransactionsResponse,
    GetTransactionStatus,
    Transaction,
)

from kalepool.chain.entries import MAX_KEYS
from kalepool.errors import ChainError

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.002
"""So long a read waits for others to join it. Where requests wait for their turn others join it until then."""

Keys = Callable[[], Sequence[str]]


class _Gathered:
    """Keys of one request. `leave` gives them when it is sent: none can join from then on."""

    def __init__(self, read: Callable[[Keys], Awaitable[GetLedgerEntriesResponse]]) -> None:
        self._keys: dict[str, None] = {}
        self._has_left = False
        self.answer = asyncio.ensure_future(self._ask(read))

    def join(self, keys: Sequence[str]) -> bool:
        """Whether there was room."""
        if self._has_left or len(self._keys.keys() | set(keys)) > MAX_KEYS:
            return False
        self._keys |= dict.fromkeys(keys)
        return True

    def leave(self) -> Sequence[str]:
        self._has_left = True
        return list(self._keys)

    async def _ask(self, read: Callable[[Keys], Awaitable[GetLedgerEntriesResponse]]) -> GetLedgerEntriesResponse:
        await asyncio.sleep(GATHER_SECONDS)
        return await read(self.leave)


class GatheredReads:
    """`read(keys)` gives an answer that has these keys' entries, and maybe others'. It is no older than the call."""

    def __init__(self, read: Callable[[Keys], Awaitable[GetLedgerEntriesResponse]]) -> None:
        self._read = read
        self._last: _Gathered | None = None
        self._open: set[asyncio.Future[GetLedgerEntriesResponse]] = set()

    async def read(self, keys: Sequence[str]) -> GetLedgerEntriesResponse:
        """At most MAX_KEYS keys. Raises as what it was made with."""
        if self._last is None or not self._last.join(keys):
            self._last = _Gathered(self._read)
            self._last.join(keys)
            self._open.add(self._last.answer)
            self._last.answer.add_done_callback(self._open.discard)
        return await asyncio.shield(self._last.answer)  # who is broken off does not take it from the others

    async def close(self) -> None:
        for answer in self._open:
            answer.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


LEAST_TOGETHER = 4
"""So many transactions are looked for in the list of all that the ledgers took; fewer, each by its hash."""

MOST_PAGES = 3
PAGE = 200


class GatheredLookUps:
    """`find(hash, ledger)`: a transaction among all that ledgers from that one on took. None where it is not found
    there: then it has to be asked for by its hash."""

    def __init__(self, read: Callable[[Mapping[str, Any]], Awaitable[GetTransactionsResponse]]) -> None:
        self._read = read
        self._wanted: dict[str, int] = {}
        self._next: asyncio.Task[dict[str, GetTransactionResponse]] | None = None

    async def find(self, transaction_hash: str, ledger: int) -> GetTransactionResponse | None:
        self._wanted[transaction_hash] = ledger
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        return (await asyncio.shield(self._next)).get(transaction_hash)

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    async def _look(self) -> dict[str, GetTransactionResponse]:
        await asyncio.sleep(GATHER_SECONDS)
        wanted, self._wanted, self._next = self._wanted, {}, None
        found: dict[str, GetTransactionResponse] = {}
        if len(wanted) < LEAST_TOGETHER:
            return found
        where: dict[str, Any] = {"startLedger": min(wanted.values())}
        pagination: dict[str, Any] = {"limit": PAGE}
        try:
            for _ in range(MOST_PAGES):
                page = await self._read({**where, "pagination": pagination})
                found |= {each.transaction_hash: _one(page, each) for each in page.transactions}
                if wanted.keys() <= found.keys() or len(page.transactions) < PAGE:
                    break
                where, pagination = {}, {"limit": PAGE, "cursor": page.cursor}
        except ChainError as error:
            log.debug("look_ups_not_gathered", reason=str(error))
        return found


def _one(page: GetTransactionsResponse, found: Transaction) -> GetTransactionResponse:
    """As getTransaction tells of it."""
    return GetTransactionResponse.model_construct(
        status=GetTransactionStatus(found.status),
        latest_ledger=page.latest_ledger,
        ledger=found.ledger,
        create_at=found.created_at,
        envelope_xdr=found.envelope_xdr,
        result_xdr=found.result_xdr,
        result_meta_xdr=found.result_meta_xdr,
        diagnostic_events_xdr=found.diagnostic_events_xdr,
    )
