"""The checks a transaction must pass to be queued, and again when it is applied.

Order of checks and result codes follow stellar-core's TransactionFrame and FeeBumpTransactionFrame.
"""

from __future__ import annotations

from dataclasses import dataclass

from stellar_sdk import xdr

from kalepool.devnet.ledger.fees import non_refundable_fee
from kalepool.devnet.ledger.ledger_entries import AccountEntry
from kalepool.devnet.ledger.operation_results import default_result
from kalepool.devnet.ledger.operations import Level, malformed, threshold_level
from kalepool.devnet.ledger.signatures import SignatureChecker
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import (
    AnyResult,
    Code,
    FeeBump,
    OuterResult,
    SorobanData,
    Transaction,
    TransactionResult,
)
from kalepool.devnet.settings import (
    BASE_FEE,
    TX_MAX_DISK_READ_BYTES,
    TX_MAX_DISK_READ_ENTRIES,
    TX_MAX_FOOTPRINT_ENTRIES,
    TX_MAX_INSTRUCTIONS,
    TX_MAX_SIZE_BYTES,
    TX_MAX_WRITE_BYTES,
    TX_MAX_WRITE_ENTRIES,
)
from kalepool.devnet.wire import i32

OP_BAD_AUTH = -1
OP_NO_ACCOUNT = -2


@dataclass(frozen=True, slots=True)
class Conditions:
    """The ledger a transaction is checked for. `late_seconds` is how much sooner its time bound must not run out."""

    sequence: int
    close_time: int
    late_seconds: int = 0


def check(transaction: Transaction, view: StateView, conditions: Conditions, *, applying: bool) -> AnyResult | None:
    """The result a transaction fails with, or None where it is valid.

    `applying`: fees have been taken from the balance already.
    """
    if transaction.fee_bump is not None:
        code = _check_fee_bump(transaction, transaction.fee_bump, view, applying=applying)
        if code is not None:
            return OuterResult(code)
    checker = SignatureChecker(transaction, transaction.contents_hash, transaction.signatures)
    code = _check_source(transaction, view, conditions, checker, applying=applying)
    if code is not None:
        return TransactionResult(code)
    failed = check_operations(transaction, view, checker) or _malformed_operations(transaction)
    if failed is not None:
        return failed
    return None if checker.all_used else TransactionResult(Code.BAD_AUTH_EXTRA)


def _check_source(
    transaction: Transaction, view: StateView, conditions: Conditions, checker: SignatureChecker, *, applying: bool
) -> Code | None:
    """What forbids its source account to send the transaction in that ledger, whatever its operations do."""
    code = _check_before_sequence(transaction) or _check_time(transaction, conditions)
    if code is not None:
        return code
    if transaction.fee_bump is None and transaction.inclusion_fee < BASE_FEE * transaction.operation_count:
        return Code.INSUFFICIENT_FEE
    account = view.account(transaction.source)
    if account is None:
        return Code.NO_ACCOUNT
    if not _is_next(transaction, account):
        return Code.BAD_SEQ
    if _too_early_for_account(transaction, account, conditions):
        return Code.BAD_MIN_SEQ_AGE_OR_GAP
    if not checker.check(account, Level.LOW) or not _extra_signers_signed(transaction, checker):
        return Code.BAD_AUTH
    if transaction.fee_bump is None and account.available_balance < (0 if applying else transaction.full_fee):
        return Code.INSUFFICIENT_BALANCE
    return None


def check_operations(transaction: Transaction, view: StateView, checker: SignatureChecker) -> TransactionResult | None:
    """FAILED where an operation's source does not exist or has not signed."""
    errors: list[int] = []
    for operation, source in zip(transaction.operations, transaction.operation_sources, strict=True):
        account = view.account(source)
        if account is None:
            errors.append(0 if checker.check_master(source) else OP_BAD_AUTH)
        else:
            errors.append(0 if checker.check(account, threshold_level(operation)) else OP_BAD_AUTH)
    if not any(errors):
        return None
    results = zip(errors, transaction.operations, strict=True)
    return TransactionResult(
        Code.FAILED,
        tuple(i32(error) if error else default_result(operation) for error, operation in results),
    )


def _malformed_operations(transaction: Transaction) -> TransactionResult | None:
    for position, operation in enumerate(transaction.operations):
        refused = malformed(operation, transaction.operation_sources[position])
        if refused is not None:
            results = [default_result(other) for other in transaction.operations]
            results[position] = refused
            return TransactionResult(Code.FAILED, tuple(results))
    return None


def _check_fee_bump(transaction: Transaction, bump: FeeBump, view: StateView, *, applying: bool) -> Code | None:
    if transaction.inclusion_fee < BASE_FEE * transaction.operation_count:
        return Code.INSUFFICIENT_FEE
    inner_fee = transaction.body.fee.uint32 - transaction.resource_fee
    inner_minimum = BASE_FEE * max(1, len(transaction.operations))
    if inner_fee >= 0:
        if transaction.inclusion_fee * inner_minimum < inner_fee * BASE_FEE * transaction.operation_count:
            return Code.INSUFFICIENT_FEE
    elif not transaction.is_soroban:
        return Code.FEE_BUMP_INNER_FAILED
    account = view.account(bump.source)
    if account is None:
        return Code.NO_ACCOUNT
    checker = SignatureChecker(transaction, transaction.hash, bump.signatures)
    if not checker.check(account, Level.LOW):
        return Code.BAD_AUTH
    if not checker.all_used:
        return Code.BAD_AUTH_EXTRA
    if account.available_balance < (0 if applying else transaction.full_fee):
        return Code.INSUFFICIENT_BALANCE
    return None


def _check_before_sequence(transaction: Transaction) -> Code | None:
    if not transaction.operations:
        return Code.MISSING_OPERATION
    soroban = transaction.is_soroban
    if soroban and (len(transaction.operations) != 1 or transaction.soroban is None):
        return Code.MALFORMED
    if not soroban:
        return Code.MALFORMED if transaction.soroban is not None else None
    assert transaction.soroban is not None
    return Code.SOROBAN_INVALID if soroban_problem(transaction, transaction.soroban) else None


def soroban_problem(transaction: Transaction, soroban: SorobanData) -> str | None:
    """Why the declared resources are not acceptable, in stellar-core's words; None where they are."""
    footprint = soroban.footprint
    keys = footprint.read_only + footprint.read_write
    resources = soroban.resources(len(transaction.envelope))
    limits = (
        (soroban.instructions, TX_MAX_INSTRUCTIONS, "transaction instructions resources exceed network config limit"),
        (
            soroban.disk_read_bytes,
            TX_MAX_DISK_READ_BYTES,
            "transaction byte-read resources exceed network config limit",
        ),
        (soroban.write_bytes, TX_MAX_WRITE_BYTES, "transaction byte-write resources exceed network config limit"),
        (
            len(keys),
            TX_MAX_FOOTPRINT_ENTRIES,
            "the number of entries in transaction footprint exceeds the network config limit",
        ),
        (
            resources.disk_read_entries,
            TX_MAX_DISK_READ_ENTRIES,
            "transaction entry-disk-read resources exceed network config limit",
        ),
        (
            len(footprint.read_write),
            TX_MAX_WRITE_ENTRIES,
            "transaction entry-write resources exceed network config limit",
        ),
        (len(transaction.envelope), TX_MAX_SIZE_BYTES, "total transaction size exceeds network config limit"),
    )
    for value, limit, message in limits:
        if value > limit:
            return message
    if len(set(keys)) != len(keys):
        return "Found duplicate key in the Soroban footprint; every key has to be unique."
    memo_or_muxed = transaction.body.memo.type is not xdr.MemoType.MEMO_NONE or (
        transaction.body.source_account.med25519 is not None
    )
    if memo_or_muxed:
        return "Soroban transactions are not allowed to use memo or muxed source account"
    if transaction.fee_bump is None and soroban.resource_fee > transaction.full_fee:
        return "transaction `sorobanData.resourceFee` is higher than the full transaction fee"
    if soroban.resource_fee < non_refundable_fee(resources):
        return "transaction `sorobanData.resourceFee` is lower than the actual Soroban resource fee"
    return None


def _check_time(transaction: Transaction, conditions: Conditions) -> Code | None:
    condition = transaction.body.cond
    v2 = condition.v2
    bounds = condition.time_bounds if v2 is None else v2.time_bounds
    if bounds is not None:
        if conditions.close_time < bounds.min_time.time_point.uint64:
            return Code.TOO_EARLY
        latest = bounds.max_time.time_point.uint64
        if latest and latest < conditions.close_time + conditions.late_seconds:
            return Code.TOO_LATE
    if v2 is not None and v2.ledger_bounds is not None:
        if conditions.sequence < v2.ledger_bounds.min_ledger.uint32:
            return Code.TOO_EARLY
        latest = v2.ledger_bounds.max_ledger.uint32
        if latest and latest <= conditions.sequence:
            return Code.TOO_LATE
    return None


def _is_next(transaction: Transaction, account: AccountEntry) -> bool:
    v2 = transaction.body.cond.v2
    if v2 is not None and v2.min_seq_num is not None:
        return v2.min_seq_num.sequence_number.int64 <= account.sequence < transaction.sequence
    return account.sequence + 1 == transaction.sequence


def _too_early_for_account(transaction: Transaction, account: AccountEntry, conditions: Conditions) -> bool:
    v2 = transaction.body.cond.v2
    if v2 is None:
        return False
    age = conditions.close_time - account.sequence_time
    gap = conditions.sequence - (account.sequence_ledger or 0)
    return age < v2.min_seq_age.duration.uint64 or gap < v2.min_seq_ledger_gap.uint32


def _extra_signers_signed(transaction: Transaction, checker: SignatureChecker) -> bool:
    v2 = transaction.body.cond.v2
    return v2 is None or all(checker.check_signers({key.to_xdr_bytes(): 1}, 1) for key in v2.extra_signers)
