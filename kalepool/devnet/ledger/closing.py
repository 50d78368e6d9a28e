"""The chain: its state, and the closing of ledgers.

A ledger is closed in stellar-core's order: expired entries go, all fees are taken, then the transactions are applied
(classic ones first), then Soroban refunds are paid back. Nothing is visible before it is kept by the store.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

import structlog

from kalepool.devnet import wire
from kalepool.devnet.ledger import meta, operations
from kalepool.devnet.ledger.checks import Conditions, check_applying
from kalepool.devnet.ledger.classic.operation_context import OperationContext
from kalepool.devnet.ledger.fees import non_refundable_fee
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.ledger.meta import Header, OperationMeta, SorobanMeta, TransactionRecord
from kalepool.devnet.ledger.operation_results import is_success
from kalepool.devnet.ledger.queue import Queue, QueueAnswer
from kalepool.devnet.ledger.signatures import one_time_signer
from kalepool.devnet.ledger.soroban_calls import ApplySoroban, LedgerInfo
from kalepool.devnet.ledger.state_view import StateView, pack_changes
from kalepool.devnet.ledger.transactions import AnyResult, Code, Transaction, TransactionResult, parse
from kalepool.devnet.settings import MIN_TEMPORARY_TTL, PROTOCOL_VERSION
from kalepool.devnet.wire import EventKind, array, sc_addr, sc_i128, sc_symbol

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed ledger: its header, what it applied, and what it changed (None: removed)."""

    header: Header
    transactions: list[TransactionRecord]
    changes: dict[bytes, LedgerEntry | None]
    evicted: list[bytes]


@dataclass(slots=True)
class _Running:
    """A transaction on its way through a closing ledger."""

    transaction: Transaction
    fee_charged: int
    fee_changes: bytes
    events: list[bytes]  # packed TransactionEvents
    result: AnyResult
    changes_before: bytes = meta.NO_CHANGES
    operations: list[OperationMeta] | None = None
    soroban: SorobanMeta | None = None
    diagnostics: list[bytes] | None = None
    refund: int = 0
    post_fee_changes: bytes = meta.NO_CHANGES


class _Raised(Exception):
    """What came of a transaction outside its own application: no ledger can hold it."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction.hash.hex())
        self.transaction = transaction


@contextmanager
def _blaming(transaction: Transaction) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Raised(transaction) from error


class DevnetLedger:
    """The last closed ledger, the state after it, and the queue for the next.

    `keep` is called with every ledger before it counts as closed; when it raises, the ledger was not closed.
    """

    def __init__(
        self,
        passphrase: str,
        apply_soroban: ApplySoroban,
        entries: dict[bytes, LedgerEntry],
        header: Header,
        *,
        capacity: int,
        keep: Callable[[Closed], None],
        temporary_ttl: int = MIN_TEMPORARY_TTL,
    ) -> None:
        self.passphrase = passphrase
        self._temporary_ttl = temporary_ttl
        self.network_id = sha256(passphrase.encode()).digest()
        self._run_soroban = apply_soroban
        self.entries = entries
        self.header = header
        self.queue = Queue(capacity)
        self._keep = keep
        self._native = asset_contract_id(self.network_id, wire.ASSET_NATIVE)
        self._asset_contracts: dict[bytes, bytes] = {wire.ASSET_NATIVE: self._native}
        self._expiries: list[tuple[int, bytes]] = []  # a heap of (last ledger, key) of the temporary entries
        for key, entry in entries.items():
            self._note_expiry(key, entry)

    @property
    def view(self) -> StateView:
        """A fresh view of the state after the last closed ledger."""
        return StateView(self.entries)

    @property
    def info(self) -> LedgerInfo:
        """The last closed ledger, as simulations see it."""
        return LedgerInfo(self.header.sequence, self.header.close_time, self.network_id, self._temporary_ttl)

    def parse(self, envelope: bytes) -> Transaction:
        """ValueError where the bytes are not an envelope this network accepts."""
        return parse(envelope, self.network_id)

    def submit(self, transaction: Transaction, late_seconds: int = 0) -> QueueAnswer:
        """Queues a transaction. `late_seconds`: how much before its time bound it is refused as too late."""
        conditions = Conditions(self.header.sequence + 1, self.header.close_time, late_seconds)
        return self.queue.add(transaction, self.view, conditions)

    def close(self, close_time: int) -> Closed:
        """Closes the next ledger at a unix time, not before the last one's."""
        sequence = self.header.sequence + 1
        conditions = Conditions(sequence, close_time)
        state = self.view
        evicted = self._evict(state, sequence)
        chosen, invalid = self.queue.select(state, conditions)
        order = _apply_order(chosen, self.header.hash)
        info = LedgerInfo(sequence, close_time, self.network_id, self._temporary_ttl)

        while True:  # each round but the last leaves one transaction out
            attempt = StateView(state)
            try:
                records, fees = self._run(attempt, order, conditions, info)
                break
            except _Raised as raised:
                log.exception("transaction_left_out", hash=raised.transaction.hash.hex())
                invalid.append(raised.transaction)
                order = [item for item in order if item[0] is not raised.transaction]
        attempt.merge()
        fee_pool = self.header.fee_pool + fees
        closed = Closed(self._next_header(close_time, records, state, fee_pool), records, state.changes, evicted)
        try:
            self._keep(closed)
        except BaseException:
            for key in evicted:
                self._note_expiry(key, self.entries[key])
            raise
        self._publish(closed)
        self.queue.close([transaction for transaction, _ in order], invalid)
        return closed

    def _publish(self, closed: Closed) -> None:
        for key, entry in closed.changes.items():
            before = self.entries.pop(key, None)
            if entry is not None:
                self.entries[key] = entry
                if before is None or before.live_until != entry.live_until:
                    self._note_expiry(key, entry)
        self.header = closed.header

    def _next_header(
        self, close_time: int, records: list[TransactionRecord], state: StateView, fee_pool: int
    ) -> Header:
        previous = self.header
        digest = sha256(previous.state_hash)
        for key, entry in sorted(state.changes.items()):
            digest.update(key + (b"" if entry is None else entry.pack()))
        envelopes = [[r.envelope for r in records if r.soroban == soroban] for soroban in (False, True)]
        return Header(
            sequence=previous.sequence + 1,
            close_time=close_time,
            version=PROTOCOL_VERSION,
            previous_hash=previous.hash,
            transaction_set_hash=sha256(meta.transaction_set(previous.hash, *envelopes)).digest(),
            result_hash=sha256(array([r.hash + r.result for r in records])).digest(),
            state_hash=digest.digest(),
            fee_pool=fee_pool,
            total_coins=previous.total_coins,
            max_transactions=previous.max_transactions,
        )

    # --- time to live

    def _note_expiry(self, key: bytes, entry: LedgerEntry) -> None:
        if entry.live_until is not None and entry.is_temporary:
            heapq.heappush(self._expiries, (entry.live_until, key))

    def _evict(self, state: StateView, sequence: int) -> list[bytes]:
        """Removes temporary entries that were last alive before this ledger. Persistent ones stay for good."""
        evicted = []
        while self._expiries and self._expiries[0][0] < sequence:
            _, key = heapq.heappop(self._expiries)
            entry = state.get(key)
            if entry is not None and entry.has_expired(sequence):
                state.remove(key)
                evicted.append(key)
        return evicted

    # --- transactions

    def _run(
        self, state: StateView, order: list[tuple[Transaction, int]], conditions: Conditions, info: LedgerInfo
    ) -> tuple[list[TransactionRecord], int]:
        """Applies (transaction, base fee) pairs. Gives their records and the fees, in stroops. Raises _Raised."""
        sequence = conditions.sequence
        running = []
        for transaction, base_fee in order:
            with _blaming(transaction):
                running.append(self._take_fee(state, transaction, base_fee, sequence))
        for item in running:
            self._apply_guarded(state, item, conditions, info)
        records = []
        for item in running:
            with _blaming(item.transaction):
                self._refund(state, item, sequence)
                records.append(_record(item))
        return records, sum(item.fee_charged for item in running)

    def _take_fee(self, state: StateView, transaction: Transaction, base_fee: int, sequence: int) -> _Running:
        inclusion = min(transaction.inclusion_fee, base_fee * transaction.operation_count)
        view = StateView(state)
        payer = view.account(transaction.fee_source)
        assert payer is not None  # checked when the transaction was selected
        fee = min(payer.balance, inclusion + transaction.resource_fee)
        view.put(LedgerEntry(replace(payer, balance=payer.balance - fee), sequence))
        changes = pack_changes(view)
        view.merge()
        event = self._fee_event(transaction, fee, meta.BEFORE_ALL)
        return _Running(transaction, fee, changes, [event], TransactionResult(Code.SUCCESS))

    def _fee_event(self, transaction: Transaction, fee: int, stage: int) -> bytes:
        topics = [sc_symbol("fee"), sc_addr(wire.account_strkey(transaction.fee_source))]
        return wire.transaction_event(
            stage, wire.contract_event(self._native, EventKind.CONTRACT, topics, sc_i128(fee))
        )

    def _apply_guarded(self, state: StateView, item: _Running, conditions: Conditions, info: LedgerInfo) -> None:
        """Applies a transaction. What it raises ends only itself, with txINTERNAL_ERROR.

        Its changes are lost: they are merged last. Its fee stays taken.
        """
        try:
            self._apply(state, item, conditions, info)
        except Exception:
            log.exception("transaction_raised", hash=item.transaction.hash.hex())
            item.result = TransactionResult(Code.INTERNAL_ERROR)
            item.operations = item.soroban = item.diagnostics = None

    def _apply(self, state: StateView, item: _Running, conditions: Conditions, info: LedgerInfo) -> None:
        transaction = item.transaction
        if transaction.soroban is not None:  # all of it, until a call uses some
            item.refund = transaction.resource_fee - _fixed_fee(transaction)
        before = StateView(state)
        if transaction.fee_bump is not None:
            _drop_signer(before, transaction.fee_source, one_time_signer(transaction.hash), conditions.sequence)
        refused, uses_sequence = check_applying(transaction, before, conditions)
        if uses_sequence:
            account = before.account(transaction.source)
            assert account is not None
            used = replace(
                account,
                sequence=transaction.sequence,
                sequence_ledger=conditions.sequence,
                sequence_time=conditions.close_time,
            )
            before.put(LedgerEntry(used, conditions.sequence))
        for source in {transaction.source, *transaction.operation_sources}:
            _drop_signer(before, source, one_time_signer(transaction.contents_hash), conditions.sequence)
        item.changes_before = pack_changes(before)
        before.merge()
        if refused is not None:
            item.result = refused
        elif transaction.is_soroban:
            self._apply_soroban(state, item, info)
        else:
            self._apply_classic(state, item, conditions)

    def _apply_classic(self, state: StateView, item: _Running, conditions: Conditions) -> None:
        transaction = item.transaction
        work = StateView(state)
        results, metas = [], []
        sponsorships: dict[bytes, bytes] = {}
        for index, operation in enumerate(transaction.operations):
            view = StateView(work)
            context = OperationContext(
                view,
                transaction,
                index,
                conditions.sequence,
                conditions.close_time,
                self.asset_contract,
                sponsorships=sponsorships,
            )
            result = operations.apply(operation, context)
            results.append(result)
            if is_success(result):
                metas.append(OperationMeta(pack_changes(view), context.events))
                view.merge()
        if all(map(is_success, results)) and sponsorships:
            item.result = TransactionResult(Code.BAD_SPONSORSHIP)
        elif all(map(is_success, results)):
            work.merge()
            item.result, item.operations = TransactionResult(Code.SUCCESS, tuple(results)), metas
        else:
            item.result = TransactionResult(Code.FAILED, tuple(results))

    def _apply_soroban(self, state: StateView, item: _Running, info: LedgerInfo) -> None:
        transaction = item.transaction
        assert transaction.soroban is not None
        view = StateView(state)
        malformed = operations.malformed(transaction, 0)
        if malformed is not None:
            item.result = TransactionResult(Code.FAILED, (malformed,))
            return
        applied = self._run_soroban(transaction, view, info)
        item.refund -= applied.refundable_fee
        item.diagnostics = applied.diagnostics
        if is_success(applied.result):
            item.operations = [OperationMeta(pack_changes(view), applied.events)]
            fees = _fixed_fee(transaction), applied.refundable_fee, applied.rent_fee
            item.soroban = SorobanMeta(applied.return_value, *fees)
            item.result = TransactionResult(Code.SUCCESS, (applied.result,))
            view.merge()
        else:
            item.result = TransactionResult(Code.FAILED, (applied.result,))

    def _refund(self, state: StateView, item: _Running, sequence: int) -> None:
        transaction = item.transaction
        if not transaction.is_soroban:
            return
        payer = state.account(transaction.fee_source)
        if payer is None:  # merged away in this very ledger
            item.refund = 0
        if payer is not None and item.refund > 0:
            view = StateView(state)
            view.put(LedgerEntry(replace(payer, balance=payer.balance + item.refund), sequence))
            item.post_fee_changes = pack_changes(view)
            view.merge()
            item.fee_charged -= item.refund
        if item.refund:
            item.events.append(self._fee_event(transaction, -item.refund, meta.AFTER_ALL))

    def asset_contract(self, asset: bytes) -> bytes:
        """The raw hash of an asset's contract on this network."""
        if asset not in self._asset_contracts:
            self._asset_contracts[asset] = asset_contract_id(self.network_id, asset)
        return self._asset_contracts[asset]


def asset_contract_id(network_id: bytes, asset: bytes) -> bytes:
    """The contract id of a packed Asset: the hash of its HashIDPreimage (ENVELOPE_TYPE_CONTRACT_ID, from asset)."""
    return sha256(wire.u32(8) + network_id + wire.ONE + asset).digest()


def _apply_order(chosen: list[tuple[Transaction, int]], salt: bytes) -> list[tuple[Transaction, int]]:
    """Classic before Soroban, each in an order nobody can choose."""
    return sorted(chosen, key=lambda item: (item[0].is_soroban, sha256(salt + item[0].hash).digest()))


def _fixed_fee(transaction: Transaction) -> int:
    """Stroops a Soroban transaction pays for what it declares, used or not."""
    assert transaction.soroban is not None
    return non_refundable_fee(transaction.soroban.resources(len(transaction.envelope)))


def _drop_signer(view: StateView, key: bytes, signer: bytes, sequence: int) -> None:
    """Removes a pre-authorised transaction from an account's signers: it holds once, whatever came of it."""
    account = view.account(key)
    if account is not None and any(known == signer for known, _ in account.signers):
        signers = tuple(item for item in account.signers if item[0] != signer)
        view.put(LedgerEntry(replace(account, signers=signers, subentries=account.subentries - 1), sequence))


def _record(item: _Running) -> TransactionRecord:
    transaction = item.transaction
    result = replace(item.result, fee_charged=item.fee_charged)
    diagnostics = item.diagnostics or []
    done = item.operations or []
    counted = None
    if not transaction.is_soroban:
        counted = item.fee_charged // max(1, len(transaction.operations))
    elif item.soroban is not None:
        counted = item.fee_charged - item.soroban.non_refundable_fee - item.soroban.refundable_fee
    return TransactionRecord(
        hash=transaction.hash,
        inner_hash=transaction.fee_bump.inner_hash if transaction.fee_bump else None,
        success=item.result.is_success,
        soroban=transaction.is_soroban,
        envelope=transaction.envelope,
        result=result.pack(transaction),
        meta=meta.transaction_meta(item.changes_before, done, item.soroban, item.events, diagnostics),
        fee_changes=item.fee_changes,
        post_fee_changes=item.post_fee_changes,
        transaction_events=item.events,
        operation_events=[operation.events for operation in done],
        diagnostics=diagnostics,
        inclusion_fee=counted,
    )
