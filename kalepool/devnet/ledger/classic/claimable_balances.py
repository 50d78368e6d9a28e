"""Claimable balances: made, claimed, and clawed back by the asset's issuer.

CreateClaimableBalanceOpFrame.cpp, ClaimClaimableBalanceOpFrame.cpp, ClawbackClaimableBalanceOpFrame.cpp.
Whoever makes one, or its sponsor, pays a reserve for each claimant until it is gone.
"""

from __future__ import annotations

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import account_key
from kalepool.devnet.ledger.classic.movements import I64_MAX, Obstacle, change_balance
from kalepool.devnet.ledger.classic.operation_context import Ended, OperationContext, Outcome
from kalepool.devnet.ledger.classic.sac_events import (
    balance_party,
    emit_clawback,
    emit_movement,
    source_party,
)
from kalepool.devnet.ledger.classic.validity import is_asset_valid, issuer_of
from kalepool.devnet.ledger.ledger_entries import (
    AUTH_CLAWBACK_FLAG,
    LINE_CLAWBACK_FLAG,
    ClaimableBalance,
    LedgerEntry,
)
from kalepool.devnet.wire import ZERO

Create = xdr.CreateClaimableBalanceResultCode
Claim = xdr.ClaimClaimableBalanceResultCode
Claw = xdr.ClawbackClaimableBalanceResultCode
Kind = xdr.ClaimPredicateType

_MAX_DEPTH = 4

_CREATE_CODES = {
    Obstacle.NO_LINE: Create.CREATE_CLAIMABLE_BALANCE_NO_TRUST,
    Obstacle.NOT_AUTHORIZED: Create.CREATE_CLAIMABLE_BALANCE_NOT_AUTHORIZED,
    Obstacle.LIMIT: Create.CREATE_CLAIMABLE_BALANCE_UNDERFUNDED,
}
_CLAIM_CODES = {
    Obstacle.NO_LINE: Claim.CLAIM_CLAIMABLE_BALANCE_NO_TRUST,
    Obstacle.NOT_AUTHORIZED: Claim.CLAIM_CLAIMABLE_BALANCE_NOT_AUTHORIZED,
    Obstacle.LIMIT: Claim.CLAIM_CLAIMABLE_BALANCE_LINE_FULL,
}


def _claimants(op: xdr.CreateClaimableBalanceOp) -> list[xdr.ClaimantV0]:
    return [claimant.v0 for claimant in op.claimants if claimant.v0 is not None]


def check_create(op: xdr.CreateClaimableBalanceOp, source: bytes) -> int:
    claimants = _claimants(op)
    valid = (
        is_asset_valid(op.asset)
        and op.amount.int64 > 0
        and claimants
        and len({account_key(claimant.destination) for claimant in claimants}) == len(claimants)
        and all(_is_predicate_valid(claimant.predicate, 1) for claimant in claimants)
    )
    return 0 if valid else Create.CREATE_CLAIMABLE_BALANCE_MALFORMED


def _is_predicate_valid(predicate: xdr.ClaimPredicate, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        return False
    time = predicate.abs_before or predicate.rel_before
    if time is not None:
        return time.int64 >= 0
    if predicate.type is Kind.CLAIM_PREDICATE_NOT:
        return predicate.not_predicate is not None and _is_predicate_valid(predicate.not_predicate, depth + 1)
    if predicate.type is Kind.CLAIM_PREDICATE_UNCONDITIONAL:
        return True
    parts = predicate.and_predicates or predicate.or_predicates or []
    return len(parts) == 2 and all(_is_predicate_valid(part, depth + 1) for part in parts)


def create_balance(context: OperationContext, op: xdr.CreateClaimableBalanceOp) -> Outcome:
    amount, claimants = op.amount.int64, _claimants(op)
    obstacle = change_balance(context, context.source, op.asset, -amount)
    if obstacle is not None:
        return _CREATE_CODES[obstacle]
    payer = context.sponsor or context.source
    if not context.charge(payer, len(claimants)):
        return Create.CREATE_CLAIMABLE_BALANCE_LOW_RESERVE
    balance = ClaimableBalance(
        context.operation_id(),
        tuple((account_key(each.destination), _absolute(each.predicate, context.close_time)) for each in claimants),
        op.asset.to_xdr_bytes(),
        amount,
        _may_be_clawed_back(context, op.asset),
    )
    context.put(balance, sponsor=payer)
    emit_movement(context, op.asset, source_party(context), balance_party(balance.balance_id), amount)
    return Ended(0, ZERO + balance.balance_id)


def _may_be_clawed_back(context: OperationContext, asset: xdr.Asset) -> bool:
    if issuer_of(asset) == context.source:
        return bool(context.source_account().flags & AUTH_CLAWBACK_FLAG)
    line = context.view.trustline(context.source, asset.to_xdr_bytes())
    return line is not None and bool(line.flags & LINE_CLAWBACK_FLAG)


def _absolute(predicate: xdr.ClaimPredicate, close_time: int) -> bytes:
    """The packed predicate with times after this ledger made into unix times."""
    kind = wire.u32(predicate.type.value)
    if predicate.rel_before is not None:
        before = min(I64_MAX, close_time + predicate.rel_before.int64)
        return wire.u32(Kind.CLAIM_PREDICATE_BEFORE_ABSOLUTE_TIME.value) + wire.i64(before)
    if predicate.not_predicate is not None:
        return kind + wire.ONE + _absolute(predicate.not_predicate, close_time)
    parts = predicate.and_predicates or predicate.or_predicates
    if parts:
        return kind + wire.array([_absolute(part, close_time) for part in parts])
    return predicate.to_xdr_bytes()


def check_claim(op: xdr.ClaimClaimableBalanceOp, source: bytes) -> int:
    return 0


def claim_balance(context: OperationContext, op: xdr.ClaimClaimableBalanceOp) -> int:
    found = _find(context, op.balance_id)
    if found is None:
        return Claim.CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST
    entry, balance = found
    predicate = dict(balance.claimants).get(context.source)
    if predicate is None or not _holds(xdr.ClaimPredicate.from_xdr_bytes(predicate), context.close_time):
        return Claim.CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM
    asset = xdr.Asset.from_xdr_bytes(balance.asset)
    obstacle = change_balance(context, context.source, asset, balance.amount)
    if obstacle is not None:
        return _CLAIM_CODES[obstacle]
    _remove(context, entry, balance)
    emit_movement(context, asset, balance_party(balance.balance_id), source_party(context), balance.amount)
    return 0


def _holds(predicate: xdr.ClaimPredicate, close_time: int) -> bool:
    if predicate.abs_before is not None:
        return predicate.abs_before.int64 > close_time
    if predicate.not_predicate is not None:
        return not _holds(predicate.not_predicate, close_time)
    if predicate.and_predicates is not None:
        return all(_holds(part, close_time) for part in predicate.and_predicates)
    if predicate.or_predicates is not None:
        return any(_holds(part, close_time) for part in predicate.or_predicates)
    return True


def check_clawback_balance(op: xdr.ClawbackClaimableBalanceOp, source: bytes) -> int:
    return 0


def claw_back_balance(context: OperationContext, op: xdr.ClawbackClaimableBalanceOp) -> int:
    found = _find(context, op.balance_id)
    if found is None:
        return Claw.CLAWBACK_CLAIMABLE_BALANCE_DOES_NOT_EXIST
    entry, balance = found
    asset = xdr.Asset.from_xdr_bytes(balance.asset)
    if issuer_of(asset) != context.source:
        return Claw.CLAWBACK_CLAIMABLE_BALANCE_NOT_ISSUER
    if not balance.clawback:
        return Claw.CLAWBACK_CLAIMABLE_BALANCE_NOT_CLAWBACK_ENABLED
    _remove(context, entry, balance)
    emit_clawback(context, asset, balance_party(balance.balance_id), balance.amount)
    return 0


def _find(context: OperationContext, identity: xdr.ClaimableBalanceID) -> tuple[LedgerEntry, ClaimableBalance] | None:
    assert identity.v0 is not None
    entry = context.view.get(wire.key_claimable_balance(identity.v0.hash))
    return (entry, entry.data) if entry is not None and isinstance(entry.data, ClaimableBalance) else None


def _remove(context: OperationContext, entry: LedgerEntry, balance: ClaimableBalance) -> None:
    """Takes the balance out of the ledger, and gives its reserve back to who made it."""
    assert entry.sponsor is not None
    context.release(entry.sponsor, len(balance.claimants))
    context.view.remove(balance.ledger_key)
