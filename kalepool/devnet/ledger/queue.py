"""The pending transactions: one per source account, until a ledger takes them or they grow too old.

Rules and answers of stellar-core's TransactionQueue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import structlog

from kalepool.devnet import wire
from kalepool.devnet.ledger.checks import Conditions, check, soroban_problem
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import AnyResult, Code, OuterResult, Transaction, TransactionResult
from kalepool.devnet.settings import (
    BASE_FEE,
    LEDGER_MAX_INSTRUCTIONS,
    LEDGER_MAX_TRANSACTION_BYTES,
    LEDGER_MAX_WRITE_BYTES,
    LEDGER_MAX_WRITE_ENTRIES,
)
from kalepool.devnet.wire import BUDGET_EXCEEDED

log = structlog.get_logger()

PENDING_LEDGERS = 4
BANNED_LEDGERS = 10
QUEUE_LEDGERS = 4
"""How many ledgers' worth of transactions may wait."""
REPLACE_FEE_FACTOR = 10


class SendStatus(StrEnum):
    """What the network says to a transaction that was sent to it."""

    PENDING = "PENDING"
    DUPLICATE = "DUPLICATE"
    TRY_AGAIN_LATER = "TRY_AGAIN_LATER"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class QueueAnswer:
    """The status; with ERROR the result the transaction would have, and diagnostic events (packed)."""

    status: SendStatus
    result: AnyResult | None = None
    diagnostics: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Pending:
    transaction: Transaction
    age: int = 0


class Queue:
    """`capacity` is the most classic operations, and the most Soroban transactions, that a ledger takes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._pending: dict[bytes, _Pending] = {}
        self._banned: deque[set[bytes]] = deque([set() for _ in range(BANNED_LEDGERS)], maxlen=BANNED_LEDGERS)

    def __len__(self) -> int:
        return len(self._pending)

    def holds(self, digest: bytes) -> bool:
        """Whether a transaction is waiting, by hash."""
        return any(pending.transaction.hash == digest for pending in self._pending.values())

    def add(self, transaction: Transaction, view: StateView, conditions: Conditions) -> QueueAnswer:
        """Takes the transaction in, or says why not. `view` is the state of the last closed ledger."""
        if any(transaction.hash in banned for banned in self._banned):
            return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
        if min(transaction.full_fee, transaction.resource_fee, transaction.inclusion_fee) < 0:
            return QueueAnswer(SendStatus.ERROR, _failure(transaction, Code.MALFORMED))
        waiting = self._pending.get(transaction.source)
        if waiting is not None:
            answer = _against(transaction, waiting.transaction)
            if answer is not None:
                return answer
        failed = check(transaction, view, conditions, applying=False)
        if failed is not None:
            return QueueAnswer(SendStatus.ERROR, failed, _diagnostics(transaction, failed))
        if not self._can_pay(transaction, waiting, view):
            return QueueAnswer(SendStatus.ERROR, _failure(transaction, Code.INSUFFICIENT_BALANCE))
        if waiting is None:
            answer = self._make_room(transaction)
            if answer is not None:
                return answer
        self._pending[transaction.source] = _Pending(transaction)
        return QueueAnswer(SendStatus.PENDING)

    def _can_pay(self, transaction: Transaction, waiting: _Pending | None, view: StateView) -> bool:
        """Whether the fee source can pay for all that waits on its account."""
        fees = transaction.full_fee
        for pending in self._pending.values():
            if pending is not waiting and pending.transaction.fee_source == transaction.fee_source:
                fees += pending.transaction.full_fee
        payer = view.account(transaction.fee_source)
        return payer is not None and payer.available_balance >= fees

    def _make_room(self, transaction: Transaction) -> QueueAnswer | None:
        lane = [p.transaction for p in self._pending.values() if p.transaction.is_soroban == transaction.is_soroban]
        used = sum(1 if t.is_soroban else t.operation_count for t in lane)
        if used < self.capacity * QUEUE_LEDGERS:
            return None
        cheapest = min(lane, key=_bid)
        if _bid(transaction) <= _bid(cheapest):
            self._banned[0].add(transaction.hash)
            needed = int(_bid(cheapest) * transaction.operation_count) + 1
            return QueueAnswer(SendStatus.ERROR, _failure(transaction, Code.INSUFFICIENT_FEE, needed))
        del self._pending[cheapest.source]
        self._banned[0].add(cheapest.hash)
        return None

    def select(
        self, view: StateView, conditions: Conditions
    ) -> tuple[list[tuple[Transaction, int]], list[Transaction]]:
        """What the next ledger takes, each with its base fee per operation in stroops; and what has become invalid.

        Highest bid first. Where not everybody fits, all of a kind pay the lowest bid that did.
        """
        valid, invalid = [], []
        for pending in self._pending.values():
            (valid if _is_valid(pending.transaction, view, conditions) else invalid).append(pending.transaction)
        chosen: list[tuple[Transaction, int]] = []
        for soroban in (False, True):
            lane = sorted((t for t in valid if t.is_soroban == soroban), key=lambda t: (-_bid(t), t.hash))
            taken = _fit(lane, self.capacity)
            base_fee = BASE_FEE if len(taken) == len(lane) or not taken else int(min(map(_bid, taken)))
            chosen += [(transaction, base_fee) for transaction in taken]
        return chosen, invalid

    def close(self, applied: list[Transaction], invalid: list[Transaction]) -> None:
        """Forgets what the ledger applied or found invalid, and what has waited too long."""
        self._banned.appendleft(set())
        for transaction in applied:
            waiting = self._pending.get(transaction.source)
            if waiting is not None and waiting.transaction.sequence <= transaction.sequence:
                del self._pending[transaction.source]
            self._banned[0].add(transaction.hash)
        for transaction in invalid:
            self._pending.pop(transaction.source, None)
            self._banned[0].add(transaction.hash)
        for source, pending in list(self._pending.items()):
            pending.age += 1
            if pending.age >= PENDING_LEDGERS:
                del self._pending[source]
                self._banned[0].add(pending.transaction.hash)


def _is_valid(transaction: Transaction, view: StateView, conditions: Conditions) -> bool:
    """Whether the next ledger may take it. One that cannot even be checked is dropped: it must not stop the others."""
    try:
        return check(transaction, view, conditions, applying=False) is None
    except Exception:
        log.exception("transaction_raised", hash=transaction.hash.hex())
        return False


def _bid(transaction: Transaction) -> float:
    """Stroops per operation offered for inclusion."""
    return transaction.inclusion_fee / transaction.operation_count


def _fit(lane: list[Transaction], capacity: int) -> list[Transaction]:
    taken: list[Transaction] = []
    limits = [capacity, LEDGER_MAX_INSTRUCTIONS, LEDGER_MAX_WRITE_ENTRIES]
    limits += [LEDGER_MAX_WRITE_BYTES, LEDGER_MAX_TRANSACTION_BYTES]
    used = [0] * len(limits)
    for transaction in lane:
        soroban = transaction.soroban
        if soroban is None:
            needs = [transaction.operation_count, 0, 0, 0, 0]
        else:
            writes = len(soroban.footprint.read_write)
            needs = [1, soroban.instructions, writes, soroban.write_bytes, len(transaction.envelope)]
        total = [a + b for a, b in zip(used, needs, strict=True)]
        if all(a <= b for a, b in zip(total, limits, strict=True)):
            taken.append(transaction)
            used = total
    return taken


def _against(transaction: Transaction, waiting: Transaction) -> QueueAnswer | None:
    """The answer to a transaction whose source has another one waiting; None where it may replace that."""
    if transaction.hash == waiting.hash:
        return QueueAnswer(SendStatus.DUPLICATE)
    if transaction.sequence < waiting.sequence:
        return QueueAnswer(SendStatus.ERROR, _failure(transaction, Code.BAD_SEQ))
    if transaction.fee_bump is None or transaction.sequence != waiting.sequence:
        return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
    needed = REPLACE_FEE_FACTOR * _bid(waiting) * transaction.operation_count
    if transaction.inclusion_fee < needed:
        return QueueAnswer(SendStatus.ERROR, _failure(transaction, Code.INSUFFICIENT_FEE, int(needed)))
    return None


def _failure(transaction: Transaction, code: Code, fee: int = 0) -> AnyResult:
    return TransactionResult(code, (), fee) if transaction.fee_bump is None else OuterResult(code, fee)


def _diagnostics(transaction: Transaction, failed: AnyResult) -> tuple[bytes, ...]:
    """The event that explains why a Soroban transaction's declared resources were refused."""
    if failed.code is not Code.SOROBAN_INVALID or transaction.soroban is None:
        return ()
    message = soroban_problem(transaction, transaction.soroban) or ""
    topics = (wire.sc_symbol("error"), wire.sc_error(*BUDGET_EXCEEDED))
    event = wire.contract_event(None, wire.EventKind.DIAGNOSTIC, topics, wire.sc_vec([wire.sc_string(message)]))
    return (wire.diagnostic_event(False, event),)
