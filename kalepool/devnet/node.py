"""The running devnet: ledger, store and the clock that closes ledgers."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from kalepool.devnet.faults import FaultKind, Faults
from kalepool.devnet.genesis import contracts, genesis
from kalepool.devnet.ledger.closing import Closed, DevnetLedger
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.ledger.meta import Header, ledger_close_meta
from kalepool.devnet.ledger.queue import QueueAnswer, SendStatus
from kalepool.devnet.ledger.soroban_calls import LedgerInfo
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.store import LedgerRow, Store, TransactionRow
from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.settings import LEDGER_CAPACITY, MIN_TEMPORARY_TTL
from kalepool.devnet.soroban.config_settings import config_settings, ledger_timing
from kalepool.devnet.soroban.invoke import apply
from kalepool.networks import DEVNET

log = structlog.get_logger()

_MANUAL_SECONDS = 1


@dataclass(frozen=True, slots=True)
class ToldChain:
    """The chain as an RPC server tells it: the state after one ledger, and a history from `oldest` on."""

    header: Header
    entries: Mapping[bytes, LedgerEntry]
    oldest: LedgerRow
    latest: LedgerRow
    info: LedgerInfo

    @property
    def range(self) -> tuple[LedgerRow, LedgerRow]:
        return self.oldest, self.latest

    @property
    def view(self) -> StateView:
        return StateView(self.entries)


class Node:
    """A devnet of one node. `ledger_seconds` 0: ledgers are closed by hand, and time passes only then."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        ledger_seconds: float,
        block_seconds: int,
        capacity: int = LEDGER_CAPACITY,
        temporary_ttl: int = MIN_TEMPORARY_TTL,
    ) -> None:
        self._config_settings = config_settings(temporary_ttl)
        self.ledger_seconds = ledger_seconds
        self.block_seconds = block_seconds
        self.faults = Faults()
        self.friendbot_url = ""
        self.store = Store(folder)
        settings = {"format": "1", "passphrase": DEVNET.passphrase}
        loaded = self.store.load(settings)
        if loaded is None:
            first = genesis(int(time.time()), capacity)
            self.store.create(first.header, first.entries, settings)
            loaded = first.header, first.entries
        header, entries = loaded
        self.contracts = contracts(block_seconds)
        apply_soroban = partial(apply, contracts=self.contracts)
        self.ledger = DevnetLedger(
            DEVNET.passphrase,
            apply_soroban,
            entries,
            header,
            capacity=capacity,
            keep=self.store.keep,
            temporary_ttl=temporary_ttl,
        )
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._closed = asyncio.Event()
        self._latest_meta: str | None = None
        self._latest: Closed | None = None
        self._lagging: ToldChain | None = None
        self._forgotten: LedgerRow | None = None

    @property
    def config_settings(self) -> Mapping[bytes, LedgerEntry]:
        """The network's settings, by packed ledger key. Ledgers that are closed by hand have no timing."""
        return self._config_settings if self.is_manual else self._config_settings | ledger_timing(self.ledger_seconds)

    @property
    def is_manual(self) -> bool:
        return self.ledger_seconds == 0

    def close(self) -> None:
        self.store.close()

    # --- transactions

    def submit(self, transaction: Transaction) -> QueueAnswer:
        """Queues a transaction, unless a fault says otherwise."""
        if self.faults.take(FaultKind.TRY_AGAIN_LATER):
            return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
        if self.faults.take(FaultKind.LOSE):
            return QueueAnswer(SendStatus.PENDING)
        return self.queue(transaction)

    def queue(self, transaction: Transaction) -> QueueAnswer:
        """The same past all faults: they are for clients."""
        late = 0
        if not self.is_manual:
            # stellar-core: twice the expected close time, and what the last ledger is late.
            late = int(2 * self.ledger_seconds + max(0.0, time.time() - self.ledger.header.close_time))
        return self.ledger.submit(transaction, late)

    async def wait_applied(self, digest: bytes) -> bool:
        """Waits until a queued transaction was applied, and says whether it succeeded; False also if it was dropped."""
        future = self._waiting.setdefault(digest, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    # --- what is told

    def told(self) -> ToldChain:
        """The chain as it is told now: as it is, unless a fault says otherwise."""
        if not self.faults.is_active(FaultKind.LAG):
            self._lagging = None
        if not self.faults.is_active(FaultKind.FORGET):
            self._forgotten = None
        elif self._forgotten is None:
            self._forgotten = self.store.range[1]
        if self._lagging is not None:
            return self._lagging
        oldest, latest = self.store.range
        ledger = self.ledger
        told = ToldChain(ledger.header, ledger.entries, self._forgotten or oldest, latest, ledger.info)
        if self.faults.is_active(FaultKind.LAG):
            told = self._lagging = replace(told, entries=dict(ledger.entries))
        return told

    def told_transaction(self, digest: bytes, method: str) -> TransactionRow | None:
        """An applied transaction, as far as the server knows of it."""
        row, told = self.store.transaction(digest), self.told()
        if row is None or self.faults.is_active(FaultKind.LIE, method):
            return None
        return row if told.oldest.sequence <= row.ledger.sequence <= told.latest.sequence else None

    # --- ledgers

    async def run(self) -> None:
        """Closes ledgers on the clock, for ever."""
        if self.is_manual:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self.ledger_seconds
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + self.ledger_seconds, loop.time())
            if not self.faults.is_active(FaultKind.STUCK):
                self.close_ledger()

    def close_ledger(self, seconds: int | None = None) -> Closed:
        """Closes the next ledger now. By hand it is `seconds` (1) after the last one, else at the clock's time."""
        started = time.perf_counter()
        self.told()  # a fault that has begun since the last ledger holds on to that one
        last = self.ledger.header.close_time
        if self.is_manual or seconds is not None:
            close_time = last + (_MANUAL_SECONDS if seconds is None else seconds)
        else:
            close_time = max(int(time.time()), last + (1 if self.ledger_seconds >= 1 else 0))
        closed = self.ledger.close(close_time)
        self._latest, self._latest_meta = closed, None
        applied = {record.hash: record.success for record in closed.transactions}
        for digest in list(self._waiting):
            if digest in applied or not self.ledger.queue.holds(digest):
                self._waiting.pop(digest).set_result(applied.get(digest, False))
        self._closed.set()
        self._closed = asyncio.Event()
        if closed.transactions:
            failed = sum(not record.success for record in closed.transactions)
            log.debug(
                "ledger_closed",
                sequence=closed.header.sequence,
                transactions=len(closed.transactions),
                failed=failed,
                seconds=round(time.perf_counter() - started, 4),
            )
        return closed

    async def wait_ledger(self) -> None:
        """Waits for the next ledger to close."""
        await self._closed.wait()

    def told_close_meta(self) -> str:
        """The LedgerCloseMeta in base64 of the last ledger that is told, made when first asked for."""
        header = self.told().header
        if header is not self.ledger.header:
            return b64encode(self.store.close_meta(header)).decode()
        if self._latest_meta is None:
            if self._latest is not None:
                packed = ledger_close_meta(self._latest.header, self._latest.transactions, self._latest.evicted)
            else:
                packed = self.store.close_meta(header)
            self._latest_meta = b64encode(packed).decode()
        return self._latest_meta
