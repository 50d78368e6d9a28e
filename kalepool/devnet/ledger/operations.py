"""The classic operations: what they do to a view of the ledger, and the results they report.

Result codes and the order of checks are stellar-core's (src/transactions/*OpFrame.cpp); events are CAP-67's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from stellar_sdk import StrKey, xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import (
    AUTHORIZED_FLAG,
    AccountData,
    AccountEntry,
    Data,
    LedgerEntry,
    TrustLine,
)
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.settings import BASE_RESERVE
from kalepool.devnet.wire import ZERO, EventKind, i32, i64, sc_addr, sc_i128, sc_string, sc_symbol, u32

_I64_MAX = 2**63 - 1
_MAX_SIGNERS = 20
_MAX_SUBENTRIES = 1_000
_AUTH_IMMUTABLE_FLAG = 4
_ALL_FLAGS = 15

Type = xdr.OperationType


@dataclass(slots=True)
class OperationContext:
    """Where an operation runs: the view it changes, its source, the ledger, and the events it emits (packed)."""

    view: StateView
    source: bytes
    sequence: int
    asset_contract: Callable[[bytes], bytes]  # packed Asset -> raw hash of its asset contract
    events: list[bytes] = field(default_factory=list)

    def put(self, data: Data) -> None:
        self.view.put(LedgerEntry(data, self.sequence))

    def account(self, key: bytes) -> AccountEntry:
        account = self.view.account(key)
        assert account is not None
        return account


def outcome(kind: xdr.OperationType, code: int, rest: bytes = b"") -> bytes:
    """OperationResult of an operation that ran: opINNER, the operation's type, its code and what follows it."""
    return ZERO + u32(kind.value) + i32(code) + rest


def default_result(operation: xdr.Operation) -> bytes:
    """The OperationResult of an operation that was not looked at: success, all zero."""
    kind = operation.body.type
    rest = bytes(8) if kind is Type.ACCOUNT_MERGE else bytes(32) if kind is Type.INVOKE_HOST_FUNCTION else b""
    return outcome(kind, 0, rest)


def is_success(result: bytes) -> bool:
    return result[:4] == ZERO and result[8:12] == ZERO


def malformed(operation: xdr.Operation, source: bytes) -> bytes | None:
    """The result of an operation that can be refused without looking at the ledger; None where it cannot."""
    body = operation.body
    code = 0
    if body.create_account_op is not None:
        op = body.create_account_op
        code = -1 if op.starting_balance.int64 < 0 or _account_key(op.destination) == source else 0
    elif body.payment_op is not None:
        code = -1 if body.payment_op.amount.int64 <= 0 else 0
    elif body.change_trust_op is not None:
        line = body.change_trust_op.line
        asset = line.alpha_num4 or line.alpha_num12
        if asset is None or body.change_trust_op.limit.int64 < 0 or _account_key(asset.issuer) == source:
            code = -1
    elif body.destination is not None and body.type is Type.ACCOUNT_MERGE:
        code = -1 if muxed_key(body.destination) == source else 0
    elif body.set_options_op is not None:
        code = _malformed_options(body.set_options_op, source)
    elif body.bump_sequence_op is not None:
        code = -1 if body.bump_sequence_op.bump_to.sequence_number.int64 < 0 else 0
    elif body.manage_data_op is not None:
        code = 0 if _is_name(body.manage_data_op.data_name.string64) else -4
    elif body.type not in (Type.INVOKE_HOST_FUNCTION, Type.EXTEND_FOOTPRINT_TTL, Type.RESTORE_FOOTPRINT):
        return i32(-3)  # opNOT_SUPPORTED
    return outcome(body.type, code) if code else None


def _is_name(name: bytes) -> bool:
    """Whether an account's data may be called so: as stellar-core's isStringValid."""
    return 0 < len(name) <= 64 and name.isascii() and name.decode().isprintable()


def _malformed_options(op: xdr.SetOptionsOp, source: bytes) -> int:
    flags = [flag.uint32 for flag in (op.set_flags, op.clear_flags) if flag is not None]
    if any(flag & ~_ALL_FLAGS for flag in flags):
        return -6
    if len(flags) == 2 and flags[0] & flags[1]:
        return -3
    weights = (op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold)
    if any(weight is not None and weight.uint32 > 255 for weight in weights):
        return -7
    if op.signer is not None:
        key = op.signer.key.to_xdr_bytes()
        if key == ZERO + source or op.signer.weight.uint32 > 255:
            return -8
    return 0


def apply(operation: xdr.Operation, context: OperationContext) -> bytes:
    """Runs a classic operation and returns its packed OperationResult."""
    body = operation.body
    kind = body.type
    if context.view.account(context.source) is None:
        return i32(-2)  # opNO_ACCOUNT
    refused = malformed(operation, context.source)
    if refused is not None:
        return refused
    if body.create_account_op is not None:
        return outcome(kind, _create_account(context, body.create_account_op))
    if body.payment_op is not None:
        return outcome(kind, _payment(context, body.payment_op))
    if body.change_trust_op is not None:
        return outcome(kind, _change_trust(context, body.change_trust_op))
    if body.set_options_op is not None:
        return outcome(kind, _set_options(context, body.set_options_op))
    if body.manage_data_op is not None:
        return outcome(kind, _manage_data(context, body.manage_data_op))
    if body.bump_sequence_op is not None:
        return outcome(kind, _bump_sequence(context, body.bump_sequence_op))
    assert body.destination is not None
    code, moved = _merge(context, muxed_key(body.destination))
    return outcome(kind, code, i64(moved) if code == 0 else b"")


def _create_account(context: OperationContext, op: xdr.CreateAccountOp) -> int:
    key, amount = _account_key(op.destination), op.starting_balance.int64
    if context.view.account(key) is not None:
        return -4
    if amount < 2 * BASE_RESERVE:
        return -3
    source = context.account(context.source)
    if _spendable(source) < amount:
        return -2
    context.put(replace(source, balance=source.balance - amount))
    context.put(AccountEntry(key, amount, context.sequence << 32))
    _transfer_event(context, wire.ASSET_NATIVE, context.source, key, amount)
    return 0


def _payment(context: OperationContext, op: xdr.PaymentOp) -> int:
    asset, amount, to = op.asset.to_xdr_bytes(), op.amount.int64, muxed_key(op.destination)
    issuer = _issuer(op.asset)
    if context.view.account(to) is None:
        return -5
    code = _credit(context, to, asset, issuer, amount)
    if code == 0:
        code = _debit(context, context.source, asset, issuer, amount)
    if code == 0:
        _transfer_event(context, asset, context.source, to, amount, op.asset)
    return code


def _credit(context: OperationContext, key: bytes, asset: bytes, issuer: bytes | None, amount: int) -> int:
    if issuer is None:
        account = context.account(key)
        if account.balance + amount > _I64_MAX:
            return -8
        context.put(replace(account, balance=account.balance + amount))
        return 0
    if key == issuer:
        return 0
    line = context.view.trustline(key, asset)
    if line is None:
        return -6
    if not line.flags & AUTHORIZED_FLAG:
        return -7
    if line.balance + amount > line.limit:
        return -8
    context.put(replace(line, balance=line.balance + amount))
    return 0


def _debit(context: OperationContext, key: bytes, asset: bytes, issuer: bytes | None, amount: int) -> int:
    if issuer is None:
        account = context.account(key)
        if _spendable(account) < amount:
            return -2
        context.put(replace(account, balance=account.balance - amount))
        return 0
    if key == issuer:
        return 0
    line = context.view.trustline(key, asset)
    if line is None:
        return -3
    if not line.flags & AUTHORIZED_FLAG:
        return -4
    if line.balance < amount:
        return -2
    context.put(replace(line, balance=line.balance - amount))
    return 0


def _change_trust(context: OperationContext, op: xdr.ChangeTrustOp) -> int:
    asset, limit = op.line.to_xdr_bytes(), op.limit.int64
    alpha = op.line.alpha_num4 or op.line.alpha_num12
    assert alpha is not None
    line = context.view.trustline(context.source, asset)
    source = context.account(context.source)
    if line is not None:
        if limit < line.balance:
            return -3
        if limit == 0:
            context.view.remove(line.ledger_key)
            context.put(replace(source, subentries=source.subentries - 1))
            return 0
        if context.view.account(_account_key(alpha.issuer)) is None:
            return -2
        context.put(replace(line, limit=limit))
        return 0
    if limit == 0:
        return -3
    if context.view.account(_account_key(alpha.issuer)) is None:
        return -2
    if source.subentries >= _MAX_SUBENTRIES:
        return -4
    if source.balance < (3 + source.subentries) * BASE_RESERVE:
        return -4
    context.put(replace(source, subentries=source.subentries + 1))
    context.put(TrustLine(context.source, asset, 0, limit))
    return 0


def _set_options(context: OperationContext, op: xdr.SetOptionsOp) -> int:
    account = context.account(context.source)
    if op.inflation_dest is not None:
        return -4
    changes: dict[str, Any] = {}
    if op.clear_flags is not None or op.set_flags is not None:
        if account.flags & _AUTH_IMMUTABLE_FLAG:
            return -5
        cleared = account.flags & ~(op.clear_flags.uint32 if op.clear_flags else 0)
        changes["flags"] = cleared | (op.set_flags.uint32 if op.set_flags else 0)
    if op.home_domain is not None:
        changes["home_domain"] = op.home_domain.string32
    thresholds = bytearray(account.thresholds)
    weights = (op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold)
    for position, weight in enumerate(weights):
        if weight is not None:
            thresholds[position] = weight.uint32
    changes["thresholds"] = bytes(thresholds)
    if op.signer is not None:
        signers = dict(account.signers)
        key, weight = op.signer.key.to_xdr_bytes(), op.signer.weight.uint32
        known = key in signers
        if weight == 0:
            signers.pop(key, None)
            changes["subentries"] = account.subentries - known
        else:
            if not known and len(signers) == _MAX_SIGNERS:
                return -2
            if not known and account.balance < (3 + account.subentries) * BASE_RESERVE:
                return -1
            signers[key] = weight
            changes["subentries"] = account.subentries + (not known)
        changes["signers"] = tuple(sorted(signers.items()))
    context.put(replace(account, **changes))
    return 0


def _manage_data(context: OperationContext, op: xdr.ManageDataOp) -> int:
    account, name = context.account(context.source), op.data_name.string64
    before = context.view.get(wire.key_data(account.key, name))
    if op.data_value is None:
        if before is None:
            return -2
        context.view.remove(before.data.ledger_key)
        context.put(replace(account, subentries=account.subentries - 1))
        return 0
    if before is None:
        if account.balance < (3 + account.subentries) * BASE_RESERVE:
            return -3
        context.put(replace(account, subentries=account.subentries + 1))
    context.put(AccountData(account.key, name, op.data_value.data_value))
    return 0


def _bump_sequence(context: OperationContext, op: xdr.BumpSequenceOp) -> int:
    account = context.account(context.source)
    target = op.bump_to.sequence_number.int64
    if target > account.sequence:
        context.put(replace(account, sequence=target))
    return 0


def _merge(context: OperationContext, to: bytes) -> tuple[int, int]:
    account = context.account(context.source)
    destination = context.view.account(to)
    if destination is None:
        return -2, 0
    if account.flags & _AUTH_IMMUTABLE_FLAG:
        return -3, 0
    if account.subentries != len(account.signers):
        return -4, 0
    if account.sequence >= context.sequence << 32:
        return -5, 0
    if destination.balance + account.balance > _I64_MAX:
        return -6, 0
    context.view.remove(account.ledger_key)
    context.put(replace(destination, balance=destination.balance + account.balance))
    _transfer_event(context, wire.ASSET_NATIVE, account.key, to, account.balance)
    return 0, account.balance


def _transfer_event(
    context: OperationContext, asset: bytes, source: bytes, to: bytes, amount: int, parsed: xdr.Asset | None = None
) -> None:
    """The event the asset's contract emits for a classic movement: the issuer mints and burns, others transfer."""
    issuer = None if parsed is None else _issuer(parsed)
    addresses = [sc_addr(wire.account_strkey(key)) for key in (source, to)]
    name = "transfer"
    if source != to and source == issuer:
        name, addresses = "mint", addresses[1:]
    elif source != to and to == issuer:
        name, addresses = "burn", addresses[:1]
    topics = [sc_symbol(name), *addresses, sc_string(asset_name(parsed))]
    context.events.append(
        wire.contract_event(context.asset_contract(asset), EventKind.CONTRACT, topics, sc_i128(amount))
    )


def asset_name(asset: xdr.Asset | None) -> str:
    """SEP-11 name: `native`, or CODE:ISSUER."""
    alpha = None if asset is None else asset.alpha_num4 or asset.alpha_num12
    if alpha is None:
        return "native"
    code = alpha.asset_code.to_xdr_bytes().rstrip(b"\0").decode(errors="replace")
    return f"{code}:{StrKey.encode_ed25519_public_key(_account_key(alpha.issuer))}"


def _issuer(asset: xdr.Asset) -> bytes | None:
    alpha = asset.alpha_num4 or asset.alpha_num12
    return None if alpha is None else _account_key(alpha.issuer)


def _spendable(account: AccountEntry) -> int:
    return account.balance - (2 + account.subentries) * BASE_RESERVE


def _account_key(account: xdr.AccountID) -> bytes:
    assert account.account_id.ed25519 is not None
    return account.account_id.ed25519.uint256


def muxed_key(account: xdr.MuxedAccount) -> bytes:
    """The raw public key of an account address, with or without an id."""
    if account.ed25519 is not None:
        return account.ed25519.uint256
    assert account.med25519 is not None
    return account.med25519.ed25519.uint256
