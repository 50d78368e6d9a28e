"""What a closed ledger tells about itself: transaction meta V4, the ledger header and LedgerCloseMeta V2, as XDR."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from kalepool.devnet.settings import BASE_FEE, BASE_RESERVE
from kalepool.devnet.wire import HASH_ZERO, ONE, ZERO, array, i64, optional, u32, u64

NO_CHANGES = ZERO

BEFORE_ALL, AFTER_TRANSACTION, AFTER_ALL = 0, 1, 2
"""TransactionEventStage."""


@dataclass(frozen=True, slots=True)
class SorobanMeta:
    """The Soroban part of a successful transaction's meta. Fees in stroops."""

    return_value: bytes | None
    non_refundable_fee: int
    refundable_fee: int
    rent_fee: int

    def pack(self) -> bytes:
        ext = ONE + ZERO + i64(self.non_refundable_fee) + i64(self.refundable_fee) + i64(self.rent_fee)
        return ext + optional(self.return_value)


@dataclass(frozen=True, slots=True)
class OperationMeta:
    """One operation's packed LedgerEntryChanges and ContractEvents."""

    changes: bytes
    events: list[bytes]

    def pack(self) -> bytes:
        return ZERO + self.changes + array(self.events)


def transaction_meta(
    changes_before: bytes,
    operations: list[OperationMeta],
    soroban: SorobanMeta | None,
    events: list[bytes],
    diagnostics: list[bytes],
) -> bytes:
    """TransactionMeta V4. `changes_before` is packed LedgerEntryChanges, `events` are packed TransactionEvents."""
    return b"".join(
        (
            u32(4),
            ZERO,
            changes_before,
            array([operation.pack() for operation in operations]),
            NO_CHANGES,
            optional(soroban.pack() if soroban is not None else None),
            array(events),
            array(diagnostics),
        )
    )


@dataclass(frozen=True, slots=True)
class Header:
    """The parts of a LedgerHeader that change. Hashes are 32 bytes, amounts stroops."""

    sequence: int
    close_time: int
    version: int
    previous_hash: bytes
    transaction_set_hash: bytes
    result_hash: bytes
    state_hash: bytes
    fee_pool: int
    total_coins: int
    max_transactions: int

    def pack(self) -> bytes:
        """LedgerHeader."""
        return b"".join(
            (
                u32(self.version),
                self.previous_hash,
                self.transaction_set_hash,
                u64(self.close_time),
                ZERO,  # no upgrades
                ZERO,  # STELLAR_VALUE_BASIC
                self.result_hash,
                self.state_hash,
                u32(self.sequence),
                i64(self.total_coins),
                i64(self.fee_pool),
                ZERO,
                u64(0),
                u32(BASE_FEE),
                u32(BASE_RESERVE),
                u32(self.max_transactions),
                HASH_ZERO * 4,
                ZERO,
            )
        )

    @property
    def hash(self) -> bytes:
        return sha256(self.pack()).digest()

    def pack_history(self) -> bytes:
        """LedgerHeaderHistoryEntry."""
        return self.hash + self.pack() + ZERO


def transaction_set(previous_hash: bytes, classic: list[bytes], soroban: list[bytes]) -> bytes:
    """GeneralizedTransactionSet of packed envelopes: a classic phase, and a Soroban one of one stage and cluster.

    They are in the order of their hashes, which is not the one they are applied in.
    """
    classic, soroban = (sorted(envelopes, key=_envelope_hash) for envelopes in (classic, soroban))
    no_discount = ZERO
    component = ZERO + no_discount + array(classic)
    classic_phase = ZERO + array([component] if classic else [])
    stages = array([array([array(soroban)])] if soroban else [])
    soroban_phase = ONE + no_discount + stages
    return ONE + previous_hash + array([classic_phase, soroban_phase])


def _envelope_hash(envelope: bytes) -> bytes:
    return sha256(envelope).digest()


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """An applied transaction, as it is kept. All bytes are packed XDR; `hash` is the one it is looked up by."""

    hash: bytes
    inner_hash: bytes | None
    success: bool
    soroban: bool
    envelope: bytes
    result: bytes
    meta: bytes
    fee_changes: bytes
    post_fee_changes: bytes
    transaction_events: list[bytes]  # TransactionEvent
    operation_events: list[list[bytes]]  # ContractEvent, by operation
    diagnostics: list[bytes]
    inclusion_fee: int | None  # stroops per operation that it paid for inclusion; None: not counted in statistics

    def pack_processing(self) -> bytes:
        """TransactionResultMetaV1."""
        return ZERO + self.hash + self.result + self.fee_changes + self.meta + self.post_fee_changes


def ledger_close_meta(header: Header, transactions: list[TransactionRecord], evicted: list[bytes]) -> bytes:
    """LedgerCloseMeta V2. `evicted` are the packed keys of the entries whose life ended."""
    return b"".join(
        (
            u32(2),
            ZERO,
            header.pack_history(),
            transaction_set(
                header.previous_hash,
                [t.envelope for t in transactions if not t.soroban],
                [t.envelope for t in transactions if t.soroban],
            ),
            array([t.pack_processing() for t in transactions]),
            ZERO,
            ZERO,
            u64(0),
            array(evicted),
        )
    )
