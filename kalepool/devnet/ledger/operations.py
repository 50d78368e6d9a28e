"""The classic operations by type: what each must be like, what it does, and what it is signed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.classic import account_settings, claimable_balances, payments, sponsorships, trust
from kalepool.devnet.ledger.classic.operation_context import NOT_SUPPORTED, Ended, OperationContext, Outcome, Outer
from kalepool.devnet.ledger.operation_results import outcome
from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.settings import MAX_ENTRY_TTL
from kalepool.devnet.wire import i32

Type = xdr.OperationType


class Level(IntEnum):
    """Which of an account's thresholds an operation's signatures must reach."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class OperationKind:
    """`check` judges an operation without the ledger, `apply` runs it; both take the arm of the body named `arm`."""

    arm: str
    check: Callable[[Any, bytes], Outcome]
    apply: Callable[[OperationContext, Any], Outcome]
    level: Level = Level.MEDIUM


_KINDS = {
    Type.CREATE_ACCOUNT: OperationKind("create_account_op", payments.check_create_account, payments.create_account),
    Type.PAYMENT: OperationKind("payment_op", payments.check_payment, payments.pay),
    Type.ACCOUNT_MERGE: OperationKind("destination", payments.check_merge, payments.merge, Level.HIGH),
    Type.SET_OPTIONS: OperationKind("set_options_op", account_settings.check_options, account_settings.set_options),
    Type.MANAGE_DATA: OperationKind("manage_data_op", account_settings.check_data, account_settings.manage_data),
    Type.BUMP_SEQUENCE: OperationKind(
        "bump_sequence_op", account_settings.check_bump, account_settings.bump_sequence, Level.LOW
    ),
    Type.CHANGE_TRUST: OperationKind("change_trust_op", trust.check_change, trust.change_trust),
    Type.ALLOW_TRUST: OperationKind("allow_trust_op", trust.check_allow, trust.allow_trust, Level.LOW),
    Type.SET_TRUST_LINE_FLAGS: OperationKind(
        "set_trust_line_flags_op", trust.check_flags, trust.set_trust_line_flags, Level.LOW
    ),
    Type.CLAWBACK: OperationKind("clawback_op", trust.check_clawback, trust.claw_back),
    Type.CREATE_CLAIMABLE_BALANCE: OperationKind(
        "create_claimable_balance_op", claimable_balances.check_create, claimable_balances.create_balance
    ),
    Type.CLAIM_CLAIMABLE_BALANCE: OperationKind(
        "claim_claimable_balance_op", claimable_balances.check_claim, claimable_balances.claim_balance, Level.LOW
    ),
    Type.CLAWBACK_CLAIMABLE_BALANCE: OperationKind(
        "clawback_claimable_balance_op",
        claimable_balances.check_clawback_balance,
        claimable_balances.claw_back_balance,
    ),
    Type.BEGIN_SPONSORING_FUTURE_RESERVES: OperationKind(
        "begin_sponsoring_future_reserves_op", sponsorships.check_begin, sponsorships.begin_sponsoring
    ),
    Type.END_SPONSORING_FUTURE_RESERVES: OperationKind(
        "type",  # there is no more to its body
        sponsorships.check_end,
        sponsorships.end_sponsoring,
    ),
}
"""All others but Soroban's are not supported: offers, path payments, sponsorships revoked, liquidity pools, inflation.
"""

_SOROBAN_LEVELS = {
    Type.INVOKE_HOST_FUNCTION: Level.MEDIUM,
    Type.EXTEND_FOOTPRINT_TTL: Level.LOW,
    Type.RESTORE_FOOTPRINT: Level.LOW,
}


def is_supported(operation: xdr.Operation) -> bool:
    return operation.body.type in _KINDS or operation.body.type in _SOROBAN_LEVELS


def threshold_level(operation: xdr.Operation) -> Level:
    """The threshold that the source's signatures must reach for it."""
    body = operation.body
    if body.set_options_op is not None:
        op = body.set_options_op
        weights = (op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold, op.signer)
        return Level.HIGH if any(item is not None for item in weights) else Level.MEDIUM
    kind = _KINDS.get(body.type)
    return _SOROBAN_LEVELS.get(body.type, Level.MEDIUM) if kind is None else kind.level


def malformed(transaction: Transaction, index: int) -> bytes | None:
    """The result of an operation that can be refused without looking at the ledger; None where it cannot."""
    operation, source = transaction.operations[index], transaction.operation_sources[index]
    if operation.body.type in _SOROBAN_LEVELS:
        return _malformed_footprint(operation, transaction)
    kind = _KINDS.get(operation.body.type)
    if kind is None:
        return _pack(operation, NOT_SUPPORTED)
    ended = kind.check(getattr(operation.body, kind.arm), source)
    return _pack(operation, ended) if ended else None


def _malformed_footprint(operation: xdr.Operation, transaction: Transaction) -> bytes | None:
    """The result of an operation on lifetimes whose footprint has keys that it cannot mean."""
    assert transaction.soroban is not None
    read_only, read_write = transaction.soroban.footprint.read_only, transaction.soroban.footprint.read_write
    extend = operation.body.extend_footprint_ttl_op
    if extend is not None:
        contracts = all(key[:4] in _WITH_LIFETIME for key in read_only)
        if read_write or not contracts or extend.extend_to.uint32 > MAX_ENTRY_TTL - 1:
            return outcome(operation.body.type, xdr.ExtendFootprintTTLResultCode.EXTEND_FOOTPRINT_TTL_MALFORMED)
    elif operation.body.restore_footprint_op is not None and (read_only or not all(map(_is_persistent, read_write))):
        return outcome(operation.body.type, xdr.RestoreFootprintResultCode.RESTORE_FOOTPRINT_MALFORMED)
    return None


_WITH_LIFETIME = (wire.LEDGER_KEY_CONTRACT_DATA, wire.LEDGER_KEY_CONTRACT_CODE)


def _is_persistent(key: bytes) -> bool:
    return key[:4] == wire.LEDGER_KEY_CONTRACT_CODE or (
        key[:4] == wire.LEDGER_KEY_CONTRACT_DATA and key[-4:] == wire.u32(wire.PERSISTENT)
    )


def apply(operation: xdr.Operation, context: OperationContext) -> bytes:
    """Runs a classic operation and returns its packed OperationResult."""
    if context.view.account(context.source) is None:
        return i32(Outer.opNO_ACCOUNT)
    refused = malformed(context.transaction, context.index)
    if refused is not None:
        return refused
    kind = _KINDS[operation.body.type]
    return _pack(operation, kind.apply(context, getattr(operation.body, kind.arm)))


def _pack(operation: xdr.Operation, ended: Outcome) -> bytes:
    if not isinstance(ended, Ended):
        ended = Ended(ended)
    if ended.outer != Outer.opINNER:
        return i32(ended.outer)
    return outcome(operation.body.type, ended.code, ended.payload)
