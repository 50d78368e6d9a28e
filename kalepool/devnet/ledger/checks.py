"""The checks a transaction must pass to be queued, and again when it is applied.

Order of checks and result codes follow stellar-core's TransactionFrame and FeeBumpTransactionFrame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stellar_sdk import xdr

from kalepool.devnet.ledger.ledger_entries import AccountEntry
from kalepool.devnet.ledger.operation_results import default_result
from kalepool.devnet.ledger.operations import Level, is_supported, malformed, threshold_level
from kalepool.devnet.ledger.signatures import SignatureChecker
from kalepool.devnet.ledger.soroban_limits import soroban_problem
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import (
    AnyResult,
    Code,
    FeeBump,
    OuterResult,
    Transaction,
    TransactionResult,
)
from kalepool.devnet.settings import BASE_FEE
from kalepool.devnet.wire import i32

_Outer = xdr.OperationResultCode
_I64_MAX = 2**63 - 1
_MAX_RESOURCE_FEE = 2**50


@dataclass(frozen=True, slots=True)
class Conditions:
    """The ledger a transaction is checked for. `late_seconds` is how much sooner its time bound must not run out."""

    sequence: int
    close_time: int
    late_seconds: int = 0


class LedgerVerdict(NamedTuple):
    """What a ledger says to a transaction before its operations run; `result` None where they may.

    `uses_sequence`: whether its sequence number is used up all the same.
    """

    result: TransactionResult | None
    uses_sequence: bool = True


def has_valid_fees(transaction: Transaction) -> bool:
    """Whether the fees in it can be reckoned with at all."""
    if transaction.fee_bump is not None and transaction.full_fee < 0:
        return False
    if not transaction.is_soroban:
        return True
    return transaction.soroban is not None and 0 <= transaction.resource_fee <= _MAX_RESOURCE_FEE


def check(transaction: Transaction, view: StateView, conditions: Conditions) -> AnyResult | None:
    """The result a transaction is refused with by the queue and by whoever makes a ledger; None where it is valid."""
    if not has_valid_fees(transaction):
        return transaction.refusal(Code.MALFORMED)
    fee = transaction.minimum_fee
    if transaction.fee_bump is not None:
        refused = _check_fee_bump(transaction, transaction.fee_bump, view, fee)
        if refused is not None:
            return refused
    checker = SignatureChecker(transaction, transaction.contents_hash, transaction.signatures)
    verdict = _check_source(transaction, view, conditions, checker, applying=False)
    if verdict.result is not None:
        return TransactionResult(verdict.result.code, (), fee)
    for index in range(len(transaction.operations)):
        problem = _operation_problem(transaction, index, view, checker)
        if problem is not None:  # the first one decides: others are not looked at
            return TransactionResult(Code.FAILED, _results(transaction, {index: problem}), fee)
    return None if checker.all_used else TransactionResult(Code.BAD_AUTH_EXTRA, (), fee)


def check_applying(transaction: Transaction, view: StateView, conditions: Conditions) -> LedgerVerdict:
    """What the ledger that takes a transaction says to it. Fees have been taken, by a fee-bump's own rules too.

    All signatures are checked here, before the first operation changes who may sign.
    """
    checker = SignatureChecker(transaction, transaction.contents_hash, transaction.signatures)
    verdict = _check_source(transaction, view, conditions, checker, applying=True)
    if verdict.result is not None:
        return verdict
    problems: dict[int, bytes] = {}
    for index in range(len(transaction.operations)):
        problem = _signature_problem(transaction, index, view, checker)
        if problem is not None:
            problems[index] = problem
    if problems:
        return LedgerVerdict(TransactionResult(Code.FAILED, _results(transaction, problems)))
    if not checker.all_used:
        return LedgerVerdict(TransactionResult(Code.BAD_AUTH_EXTRA))
    return LedgerVerdict(None)


def _results(transaction: Transaction, problems: dict[int, bytes]) -> tuple[bytes, ...]:
    """Results of all operations, of which those without a problem were not looked at."""
    return tuple(problems.get(n) or default_result(item) for n, item in enumerate(transaction.operations))


def _operation_problem(
    transaction: Transaction, index: int, view: StateView, checker: SignatureChecker
) -> bytes | None:
    if not is_supported(transaction.operations[index]):
        return i32(_Outer.opNOT_SUPPORTED)
    return _signature_problem(transaction, index, view, checker) or malformed(transaction, index)


def _signature_problem(
    transaction: Transaction, index: int, view: StateView, checker: SignatureChecker
) -> bytes | None:
    operation, source = transaction.operations[index], transaction.operation_sources[index]
    account = view.account(source)
    if account is None and operation.source_account is None:
        return i32(_Outer.opNO_ACCOUNT)
    if account is None:
        signed = checker.check_master(source)
    else:
        signed = checker.check(account, threshold_level(operation))
    return None if signed else i32(_Outer.opBAD_AUTH)


def _check_source(
    transaction: Transaction, view: StateView, conditions: Conditions, checker: SignatureChecker, *, applying: bool
) -> LedgerVerdict:
    """What forbids its source account to send the transaction in that ledger, whatever its operations do."""
    code = _check_before_sequence(transaction) or _check_time(transaction, conditions)
    if code is not None:
        return LedgerVerdict(TransactionResult(code), False)
    charged = transaction.fee_bump is None
    if charged and transaction.inclusion_fee < BASE_FEE * transaction.operation_count:
        return LedgerVerdict(TransactionResult(Code.INSUFFICIENT_FEE), False)
    account = view.account(transaction.source)
    if account is None:
        return LedgerVerdict(TransactionResult(Code.NO_ACCOUNT), False)
    if not _is_next(transaction, account, conditions.sequence - (0 if applying else 1)):
        return LedgerVerdict(TransactionResult(Code.BAD_SEQ), False)
    if _too_early_for_account(transaction, account, conditions):
        return LedgerVerdict(TransactionResult(Code.BAD_MIN_SEQ_AGE_OR_GAP))
    if not checker.check(account, Level.LOW) or not _extra_signers_signed(transaction, checker):
        return LedgerVerdict(TransactionResult(Code.BAD_AUTH))
    if charged and account.available_balance < (0 if applying else transaction.full_fee):
        return LedgerVerdict(TransactionResult(Code.INSUFFICIENT_BALANCE))
    return LedgerVerdict(None)


def _check_fee_bump(transaction: Transaction, bump: FeeBump, view: StateView, fee: int) -> AnyResult | None:
    minimum = BASE_FEE * transaction.operation_count
    if transaction.inclusion_fee < minimum:
        return OuterResult(Code.INSUFFICIENT_FEE, fee)
    inner_fee = transaction.body.fee.uint32 - transaction.resource_fee
    inner_minimum = BASE_FEE * max(1, len(transaction.operations))
    if inner_fee >= 0:
        if transaction.inclusion_fee * inner_minimum < inner_fee * minimum:
            return OuterResult(Code.INSUFFICIENT_FEE, min(_I64_MAX, -(-inner_fee * minimum // inner_minimum)))
    elif not transaction.is_soroban:
        return OuterResult(Code.FEE_BUMP_INNER_FAILED, fee)
    account = view.account(bump.source)
    if account is None:
        return OuterResult(Code.NO_ACCOUNT, fee)
    checker = SignatureChecker(transaction, transaction.hash, bump.signatures)
    if not checker.check(account, Level.LOW):
        return OuterResult(Code.BAD_AUTH, fee)
    if account.available_balance < transaction.full_fee:
        return OuterResult(Code.INSUFFICIENT_BALANCE, fee)
    return None if checker.all_used else OuterResult(Code.BAD_AUTH_EXTRA, fee)


def _check_before_sequence(transaction: Transaction) -> Code | None:
    if _extra_signers_malformed(transaction):
        return Code.MALFORMED
    if not transaction.operations:
        return Code.MISSING_OPERATION
    soroban = transaction.is_soroban
    if soroban and (len(transaction.operations) != 1 or transaction.soroban is None):
        return Code.MALFORMED
    if not soroban:
        return Code.MALFORMED if transaction.soroban is not None else None
    assert transaction.soroban is not None
    return Code.SOROBAN_INVALID if soroban_problem(transaction, transaction.soroban) else None


def _extra_signers(transaction: Transaction) -> list[xdr.SignerKey]:
    v2 = transaction.body.cond.v2
    return [] if v2 is None else v2.extra_signers


def _extra_signers_malformed(transaction: Transaction) -> bool:
    """Whether two extra signers are the same one, or one signs nothing."""
    signers = _extra_signers(transaction)
    payloads = [key.ed25519_signed_payload for key in signers]
    empty = any(payload is not None and not payload.payload for payload in payloads)
    return empty or len({key.to_xdr_bytes() for key in signers}) != len(signers)


def _extra_signers_signed(transaction: Transaction, checker: SignatureChecker) -> bool:
    signers = _extra_signers(transaction)
    return not signers or checker.check_signers({key.to_xdr_bytes(): 1 for key in signers}, len(signers))


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


def _is_next(transaction: Transaction, account: AccountEntry, ledger: int) -> bool:
    """Whether its sequence number may follow the account's. No one may be the first number of a ledger's accounts."""
    if transaction.sequence == ledger << 32:
        return False
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
