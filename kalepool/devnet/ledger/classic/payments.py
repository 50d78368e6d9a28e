"""Accounts made, paid and merged.

CreateAccountOpFrame.cpp, PaymentOpFrame.cpp, PathPaymentOpFrameBase.cpp, MergeOpFrame.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from stellar_sdk import xdr

from kalepool.devnet.ledger.account_ids import account_key, muxed_key
from kalepool.devnet.ledger.classic.movements import I64_MAX, Obstacle, change_balance
from kalepool.devnet.ledger.classic.operation_context import Ended, OperationContext, Outcome
from kalepool.devnet.ledger.classic.sac_events import (
    NATIVE,
    account_party,
    emit_movement,
    muxed_party,
    source_party,
)
from kalepool.devnet.ledger.classic.validity import is_asset_valid, issuer_of
from kalepool.devnet.ledger.ledger_entries import AUTH_IMMUTABLE_FLAG, AccountEntry
from kalepool.devnet.settings import BASE_RESERVE
from kalepool.devnet.wire import i64

Create = xdr.CreateAccountResultCode
Pay = xdr.PaymentResultCode
Merge = xdr.AccountMergeResultCode

ACCOUNT_RESERVES = 2
"""Reserves that an account without anything is worth."""

_CREDIT_CODES = {
    Obstacle.NO_LINE: Pay.PAYMENT_NO_TRUST,
    Obstacle.NOT_AUTHORIZED: Pay.PAYMENT_NOT_AUTHORIZED,
    Obstacle.LIMIT: Pay.PAYMENT_LINE_FULL,
}
_DEBIT_CODES = {
    Obstacle.NO_LINE: Pay.PAYMENT_SRC_NO_TRUST,
    Obstacle.NOT_AUTHORIZED: Pay.PAYMENT_SRC_NOT_AUTHORIZED,
    Obstacle.LIMIT: Pay.PAYMENT_UNDERFUNDED,
}


def check_create_account(op: xdr.CreateAccountOp, source: bytes) -> int:
    refused = op.starting_balance.int64 < 0 or account_key(op.destination) == source
    return Create.CREATE_ACCOUNT_MALFORMED if refused else 0


def create_account(context: OperationContext, op: xdr.CreateAccountOp) -> int:
    key, amount = account_key(op.destination), op.starting_balance.int64
    if context.view.account(key) is not None:
        return Create.CREATE_ACCOUNT_ALREADY_EXIST
    sponsor = context.sponsorships.get(key)
    if sponsor is None and amount < ACCOUNT_RESERVES * BASE_RESERVE:
        return Create.CREATE_ACCOUNT_LOW_RESERVE
    if sponsor is not None and not context.charge(sponsor, ACCOUNT_RESERVES):
        return Create.CREATE_ACCOUNT_LOW_RESERVE
    source = context.source_account()
    if source.available_balance < amount:
        return Create.CREATE_ACCOUNT_UNDERFUNDED
    context.put(replace(source, balance=source.balance - amount))
    sponsored = 0 if sponsor is None else ACCOUNT_RESERVES
    context.put(AccountEntry(key, amount, context.sequence << 32, sponsored=sponsored), sponsor=sponsor)
    emit_movement(context, NATIVE, source_party(context), account_party(key), amount)
    return 0


def check_payment(op: xdr.PaymentOp, source: bytes) -> int:
    valid = op.amount.int64 > 0 and is_asset_valid(op.asset)
    return 0 if valid else Pay.PAYMENT_MALFORMED


def pay(context: OperationContext, op: xdr.PaymentOp) -> int:
    amount, to = op.amount.int64, muxed_key(op.destination)
    issuer = issuer_of(op.asset)
    if to != context.source or issuer is not None:  # XLM to oneself is not moved at all
        if to != issuer and context.view.account(to) is None:
            return Pay.PAYMENT_NO_DESTINATION
        obstacle = change_balance(context, to, op.asset, amount)
        if obstacle is not None:
            return _CREDIT_CODES[obstacle]
        obstacle = change_balance(context, context.source, op.asset, -amount)
        if obstacle is not None:
            return _DEBIT_CODES[obstacle]
    emit_movement(context, op.asset, source_party(context), muxed_party(op.destination), amount)
    return 0


def check_merge(destination: xdr.MuxedAccount, source: bytes) -> int:
    return Merge.ACCOUNT_MERGE_MALFORMED if muxed_key(destination) == source else 0


def merge(context: OperationContext, destination: xdr.MuxedAccount) -> Outcome:
    account, other = context.source_account(), context.view.account(muxed_key(destination))
    if other is None:
        return Merge.ACCOUNT_MERGE_NO_ACCOUNT
    if account.flags & AUTH_IMMUTABLE_FLAG:
        return Merge.ACCOUNT_MERGE_IMMUTABLE_SET
    if account.subentries != len(account.signers):
        return Merge.ACCOUNT_MERGE_HAS_SUB_ENTRIES
    if account.sequence >= context.sequence << 32:
        return Merge.ACCOUNT_MERGE_SEQNUM_TOO_FAR
    if account.sponsoring or account.key in context.sponsorships.values():
        return Merge.ACCOUNT_MERGE_IS_SPONSOR
    if other.balance + account.balance > I64_MAX:
        return Merge.ACCOUNT_MERGE_DEST_FULL
    sponsor = context.sponsor_of(account.ledger_key)
    context.view.remove(account.ledger_key)
    context.put(replace(other, balance=other.balance + account.balance))
    if sponsor is not None:
        context.release(sponsor, ACCOUNT_RESERVES)
    emit_movement(context, NATIVE, source_party(context), muxed_party(destination), account.balance)
    return Ended(0, i64(account.balance))
