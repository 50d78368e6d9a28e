"""A transaction envelope as the ledger sees it, and the result it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import muxed_key
from kalepool.devnet.ledger.ed25519 import verify_signature
from kalepool.devnet.ledger.fees import Resources
from kalepool.devnet.settings import BASE_FEE
from kalepool.devnet.wire import ZERO, array, i32, i64, u32


class Code(IntEnum):
    """TransactionResultCode."""

    FEE_BUMP_INNER_SUCCESS = 1
    SUCCESS = 0
    FAILED = -1
    TOO_EARLY = -2
    TOO_LATE = -3
    MISSING_OPERATION = -4
    BAD_SEQ = -5
    BAD_AUTH = -6
    INSUFFICIENT_BALANCE = -7
    NO_ACCOUNT = -8
    INSUFFICIENT_FEE = -9
    BAD_AUTH_EXTRA = -10
    INTERNAL_ERROR = -11
    NOT_SUPPORTED = -12
    FEE_BUMP_INNER_FAILED = -13
    BAD_SPONSORSHIP = -14
    BAD_MIN_SEQ_AGE_OR_GAP = -15
    MALFORMED = -16
    SOROBAN_INVALID = -17


_SOROBAN_OPERATIONS = {
    xdr.OperationType.INVOKE_HOST_FUNCTION,
    xdr.OperationType.EXTEND_FOOTPRINT_TTL,
    xdr.OperationType.RESTORE_FOOTPRINT,
}
Signatures = list[tuple[bytes, bytes]]
"""(hint, signature) pairs."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The packed ledger keys a transaction declares."""

    read_only: tuple[bytes, ...]
    read_write: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SorobanData:
    """What a Soroban transaction declares. `resource_fee` in stroops."""

    footprint: Footprint
    instructions: int
    disk_read_bytes: int
    write_bytes: int
    resource_fee: int

    def resources(self, transaction_size: int) -> Resources:
        keys = self.footprint.read_only + self.footprint.read_write
        classic = sum(key[:4] in (wire.LEDGER_KEY_ACCOUNT, wire.LEDGER_KEY_TRUSTLINE) for key in keys)
        return Resources(
            instructions=self.instructions,
            disk_read_entries=classic,
            write_entries=len(self.footprint.read_write),
            disk_read_bytes=self.disk_read_bytes,
            write_bytes=self.write_bytes,
            transaction_size=transaction_size,
        )


@dataclass(frozen=True, slots=True)
class FeeBump:
    """The wrapping of a fee-bump: who pays how much at most, and the inner transaction's own hash and envelope."""

    source: bytes
    fee: int
    signatures: Signatures
    inner_hash: bytes
    inner_envelope: bytes


@dataclass(slots=True)
class Transaction:
    """A parsed envelope. `hash` is the one it is looked up by: the fee-bump's where it is bumped."""

    envelope: bytes
    hash: bytes
    body: xdr.Transaction
    signatures: Signatures
    fee_bump: FeeBump | None
    source: bytes
    soroban: SorobanData | None
    operation_sources: list[bytes]
    _checked: dict[tuple[bytes, bytes, bytes], bool] = field(default_factory=dict)

    @property
    def sequence(self) -> int:
        return self.body.seq_num.sequence_number.int64

    @property
    def operations(self) -> list[xdr.Operation]:
        return self.body.operations

    @property
    def contents_hash(self) -> bytes:
        """The hash the inner transaction's signers signed."""
        return self.fee_bump.inner_hash if self.fee_bump else self.hash

    @property
    def fee_source(self) -> bytes:
        return self.fee_bump.source if self.fee_bump else self.source

    @property
    def full_fee(self) -> int:
        return self.fee_bump.fee if self.fee_bump else self.body.fee.uint32

    @property
    def resource_fee(self) -> int:
        return self.soroban.resource_fee if self.soroban else 0

    @property
    def inclusion_fee(self) -> int:
        return self.full_fee - self.resource_fee

    @property
    def operation_count(self) -> int:
        """Operations that fees are counted for: a fee-bump is one more."""
        return max(1, len(self.operations)) + (1 if self.fee_bump else 0)

    @property
    def minimum_fee(self) -> int:
        """What it costs at least, and what a refusal of it names as charged."""
        return self.resource_fee + BASE_FEE * self.operation_count

    @property
    def is_soroban(self) -> bool:
        return any(op.body.type in _SOROBAN_OPERATIONS for op in self.operations)

    def is_same_as(self, other: Transaction) -> bool:
        """Whether it is the other one again, signatures included, or what the other one bumps."""
        if self.fee_bump is None and other.fee_bump is not None:
            return self.envelope == other.fee_bump.inner_envelope
        return self.envelope == other.envelope

    def refusal(self, code: Code, fee: int = 0) -> AnyResult:
        """The result of a transaction that is refused before its operations are looked at."""
        return TransactionResult(code, (), fee) if self.fee_bump is None else OuterResult(code, fee)

    def has_signed(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is the key's; each is computed once in the transaction's life."""
        key = (public_key, message, signature)
        if key not in self._checked:
            self._checked[key] = verify_signature(public_key, message, signature)
        return self._checked[key]


def parse(envelope: bytes, network_id: bytes) -> Transaction:
    """Reads a TransactionEnvelope; one of version 0 is made into one of version 1. ValueError where it is none."""
    try:
        parsed = xdr.TransactionEnvelope.from_xdr_bytes(envelope)
    except Exception as error:  # the SDK's decoder raises EOFError, struct.error, ValueError and others of its own
        raise ValueError(f"not a transaction envelope: {error}") from None
    if parsed.fee_bump is not None:
        return _parse_fee_bump(envelope, parsed.fee_bump, network_id)
    if parsed.v0 is not None:
        parsed = _convert(parsed.v0)
        envelope = parsed.to_xdr_bytes()
    assert parsed.v1 is not None
    signatures = _signatures(parsed.v1.signatures)
    contents = envelope[4 : len(envelope) - _signatures_size(signatures)]
    return _transaction(envelope, _hash(network_id, 2, contents), parsed.v1, signatures, None)


def _convert(old: xdr.TransactionV0Envelope) -> xdr.TransactionEnvelope:
    body, bounds = old.tx, old.tx.time_bounds
    kind = xdr.PreconditionType.PRECOND_NONE if bounds is None else xdr.PreconditionType.PRECOND_TIME
    source = xdr.MuxedAccount(xdr.CryptoKeyType.KEY_TYPE_ED25519, ed25519=body.source_account_ed25519)
    converted = xdr.Transaction(
        source_account=source,
        fee=body.fee,
        seq_num=body.seq_num,
        cond=xdr.Preconditions(kind, time_bounds=bounds),
        memo=body.memo,
        operations=body.operations,
        ext=xdr.TransactionExt(0),
    )
    envelope = xdr.TransactionV1Envelope(converted, old.signatures)
    return xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=envelope)


def _parse_fee_bump(envelope: bytes, parsed: xdr.FeeBumpTransactionEnvelope, network_id: bytes) -> Transaction:
    outer = _signatures(parsed.signatures)
    contents = envelope[4 : len(envelope) - _signatures_size(outer)]
    inner_v1 = parsed.tx.inner_tx.v1
    assert inner_v1 is not None
    inner = _signatures(inner_v1.signatures)
    # FeeBumpTransaction: fee source (36 or 44 bytes), fee, the inner envelope's type, the inner envelope, ext.
    start = (36 if parsed.tx.fee_source.ed25519 is not None else 44) + 12
    inner_envelope = contents[start - 4 : -4]
    inner_contents = inner_envelope[4 : len(inner_envelope) - _signatures_size(inner)]
    bump = FeeBump(
        source=muxed_key(parsed.tx.fee_source),
        fee=parsed.tx.fee.int64,
        signatures=outer,
        inner_hash=_hash(network_id, 2, inner_contents),
        inner_envelope=inner_envelope,
    )
    return _transaction(envelope, _hash(network_id, 5, contents), inner_v1, inner, bump)


def _transaction(
    envelope: bytes, digest: bytes, v1: xdr.TransactionV1Envelope, signatures: Signatures, bump: FeeBump | None
) -> Transaction:
    body = v1.tx
    source = muxed_key(body.source_account)
    sources = [source if op.source_account is None else muxed_key(op.source_account) for op in body.operations]
    return Transaction(envelope, digest, body, signatures, bump, source, _soroban_data(body), sources)


def _soroban_data(body: xdr.Transaction) -> SorobanData | None:
    data = body.ext.soroban_data
    if data is None:
        return None
    resources = data.resources
    return SorobanData(
        footprint=Footprint(
            tuple(key.to_xdr_bytes() for key in resources.footprint.read_only),
            tuple(key.to_xdr_bytes() for key in resources.footprint.read_write),
        ),
        instructions=resources.instructions.uint32,
        disk_read_bytes=resources.disk_read_bytes.uint32,
        write_bytes=resources.write_bytes.uint32,
        resource_fee=data.resource_fee.int64,
    )


def _signatures(signatures: list[xdr.DecoratedSignature]) -> Signatures:
    return [(s.hint.signature_hint, s.signature.signature) for s in signatures]


def _signatures_size(signatures: Signatures) -> int:
    return 4 + sum(8 + len(signature) + -len(signature) % 4 for _, signature in signatures)


def _hash(network_id: bytes, envelope_type: int, contents: bytes) -> bytes:
    return sha256(network_id + u32(envelope_type) + contents).digest()


# --- results


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """How a transaction ended. `operations` are packed OperationResults, for SUCCESS and FAILED only."""

    code: Code
    operations: tuple[bytes, ...] = ()
    fee_charged: int = 0

    @property
    def is_success(self) -> bool:
        return self.code is Code.SUCCESS

    def pack(self, transaction: Transaction) -> bytes:
        """TransactionResult; for a fee-bump that of the inner transaction is wrapped."""
        body = i32(self.code) + (array(self.operations) if self.code in (Code.SUCCESS, Code.FAILED) else b"") + ZERO
        if transaction.fee_bump is None:
            return i64(self.fee_charged) + body
        outer = Code.FEE_BUMP_INNER_SUCCESS if self.is_success else Code.FEE_BUMP_INNER_FAILED
        # The inner result carries no fee of its own: the bump pays it all.
        inner = transaction.fee_bump.inner_hash + i64(0) + body
        return i64(self.fee_charged) + i32(outer) + inner + ZERO


@dataclass(frozen=True, slots=True)
class OuterResult:
    """A fee-bump that failed for a reason of its own, before the inner transaction was looked at."""

    code: Code
    fee_charged: int = 0

    @property
    def is_success(self) -> bool:
        return False

    def pack(self, transaction: Transaction) -> bytes:
        return i64(self.fee_charged) + i32(self.code) + ZERO


AnyResult = TransactionResult | OuterResult
