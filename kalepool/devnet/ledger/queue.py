"""The pending transactions: one per source account, until a ledger takes them or they grow too old.

Rules and answers of stellar-core's TransactionQueue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import structlog

from kalepool.devnet import wire
from kalepool.devnet.ledger.checks import Conditions, check, has_valid_fees
from kalepool.devnet.ledger.soroban_limits import SorobanProblem, resources_problem, soroban_problem
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import AnyResult, Code, Transaction
from kalepool.devnet.settings import (
    BASE_FEE,
    LEDGER_MAX_INSTRUCTIONS,
    LEDGER_MAX_TRANSACTION_BYTES,
    LEDGER_MAX_WRITE_BYTES,
    LEDGER_MAX_WRITE_ENTRIES,
)

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
        if not has_valid_fees(transaction):
            return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.MALFORMED))
        if any(transaction.envelope in banned for banned in self._banned):
            return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
        if min(transaction.full_fee, transaction.inclusion_fee) < 0:
            return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.MALFORMED))
        waiting = self._pending.get(transaction.source)
        if waiting is not None:
            answer = _against(transaction, waiting.transaction)
            if answer is not None:
                return answer
        evicted = None if waiting is not None else self._cheapest_in_a_full_lane(transaction)
        if evicted is not None and _bid(transaction) <= _bid(evicted):
            self._banned[0].add(transaction.envelope)
            needed = int(_bid(evicted) * transaction.operation_count) + 1 + transaction.resource_fee
            return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.INSUFFICIENT_FEE, needed))
        failed = check(transaction, view, conditions)
        if failed is not None:
            return QueueAnswer(SendStatus.ERROR, failed, _diagnostics(transaction, failed))
        if not self._can_pay(transaction, waiting, view):
            return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.INSUFFICIENT_BALANCE))
        if evicted is not None:
            del self._pending[evicted.source]
            self._banned[0].add(evicted.envelope)
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

    def _cheapest_in_a_full_lane(self, transaction: Transaction) -> Transaction | None:
        """What must give way where as many of its kind wait as may; None where there is room."""
        lane = [p.transaction for p in self._pending.values() if p.transaction.is_soroban == transaction.is_soroban]
        used = sum(1 if t.is_soroban else t.operation_count for t in lane)
        return None if used < self.capacity * QUEUE_LEDGERS else min(lane, key=_bid)

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
            self._banned[0].add(transaction.envelope)
        for transaction in invalid:
            self._pending.pop(transaction.source, None)
            self._banned[0].add(transaction.envelope)
        for source, pending in list(self._pending.items()):
            pending.age += 1
            if pending.age >= PENDING_LEDGERS:
                del self._pending[source]
                self._banned[0].add(pending.transaction.envelope)


def _is_valid(transaction: Transaction, view: StateView, conditions: Conditions) -> bool:
    """Whether the next ledger may take it. One that cannot even be checked is dropped: it must not stop the others."""
    try:
        return check(transaction, view, conditions) is None
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
    if transaction.is_same_as(waiting):
        return QueueAnswer(SendStatus.DUPLICATE)
    if transaction.is_soroban != waiting.is_soroban:
        return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
    if transaction.sequence < waiting.sequence:
        return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.BAD_SEQ))
    problem = None if transaction.soroban is None else resources_problem(transaction, transaction.soroban)
    if problem is not None:
        return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.SOROBAN_INVALID), (_event(problem),))
    if transaction.fee_bump is None or transaction.sequence != waiting.sequence:
        return QueueAnswer(SendStatus.TRY_AGAIN_LATER)
    needed = REPLACE_FEE_FACTOR * waiting.inclusion_fee * transaction.operation_count
    if transaction.inclusion_fee * waiting.operation_count < needed:
        fee = -(-needed // waiting.operation_count) + transaction.resource_fee
        return QueueAnswer(SendStatus.ERROR, transaction.refusal(Code.INSUFFICIENT_FEE, fee))
    return None


def _diagnostics(transaction: Transaction, failed: AnyResult) -> tuple[bytes, ...]:
    """The event that explains why a Soroban transaction's declared resources were refused."""
    if failed.code is not Code.SOROBAN_INVALID or transaction.soroban is None:
        return ()
    problem = soroban_problem(transaction, transaction.soroban)
    return () if problem is None else (_event(problem),)


def _event(problem: SorobanProblem) -> bytes:
    topics = (wire.sc_symbol("error"), wire.sc_error(*problem.error))
    text = wire.sc_string(problem.message)
    data = wire.sc_vec([text, *map(wire.sc_u64, problem.numbers)]) if problem.numbers else text
    return wire.diagnostic_event(False, wire.contract_event(None, wire.EventKind.DIAGNOSTIC, topics, data))
