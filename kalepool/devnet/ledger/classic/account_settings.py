"""What an account's owner sets: options, data entries, the sequence number.

SetOptionsOpFrame.cpp, ManageDataOpFrame.cpp, BumpSequenceOpFrame.cpp.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import account_key
from kalepool.devnet.ledger.classic.operation_context import NOT_SUPPORTED, OperationContext, Outcome
from kalepool.devnet.ledger.classic.validity import is_text
from kalepool.devnet.ledger.ledger_entries import (
    AUTH_CLAWBACK_FLAG,
    AUTH_IMMUTABLE_FLAG,
    AUTH_REVOCABLE_FLAG,
    AccountEntry,
    DataEntry,
)
from kalepool.devnet.wire import ZERO

Options = xdr.SetOptionsResultCode
ManageData = xdr.ManageDataResultCode

_ALL_FLAGS = 15
_MAX_SIGNERS = 20
_MAX_WEIGHT = 255


def check_options(op: xdr.SetOptionsOp, source: bytes) -> int:
    flags = [flag.uint32 for flag in (op.set_flags, op.clear_flags) if flag is not None]
    if any(flag & ~_ALL_FLAGS for flag in flags):
        return Options.SET_OPTIONS_UNKNOWN_FLAG
    if len(flags) == 2 and flags[0] & flags[1]:
        return Options.SET_OPTIONS_BAD_FLAGS
    weights = (op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold)
    if any(weight is not None and weight.uint32 > _MAX_WEIGHT for weight in weights):
        return Options.SET_OPTIONS_THRESHOLD_OUT_OF_RANGE
    if op.signer is not None and not _is_signer_valid(op.signer, source):
        return Options.SET_OPTIONS_BAD_SIGNER
    if op.home_domain is not None and not is_text(op.home_domain.string32):
        return Options.SET_OPTIONS_INVALID_HOME_DOMAIN
    return 0


def _is_signer_valid(signer: xdr.Signer, source: bytes) -> bool:
    payload = signer.key.ed25519_signed_payload
    if payload is not None and not payload.payload:
        return False
    return signer.key.to_xdr_bytes() != ZERO + source and signer.weight.uint32 <= _MAX_WEIGHT


def set_options(context: OperationContext, op: xdr.SetOptionsOp) -> Outcome:
    account = context.source_account()
    if op.inflation_dest is not None:
        destination = account_key(op.inflation_dest)
        if context.view.account(destination) is None:
            return Options.SET_OPTIONS_INVALID_INFLATION
        account = replace(account, inflation_dest=destination)
    flags = _changed_flags(account, op)
    if isinstance(flags, Options):
        return flags
    changes: dict[str, Any] = {"flags": flags}
    if op.home_domain is not None:
        changes["home_domain"] = op.home_domain.string32
    thresholds = bytearray(account.thresholds)
    weights = (op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold)
    for position, weight in enumerate(weights):
        if weight is not None:
            thresholds[position] = weight.uint32
    context.put(replace(account, **changes, thresholds=bytes(thresholds)))
    return 0 if op.signer is None else _set_signer(context, op.signer)


def _changed_flags(account: AccountEntry, op: xdr.SetOptionsOp) -> int | Options:
    """The flags after the operation, or what forbids it."""
    cleared = op.clear_flags.uint32 if op.clear_flags is not None else 0
    added = op.set_flags.uint32 if op.set_flags is not None else 0
    if (cleared or added) and account.flags & AUTH_IMMUTABLE_FLAG:
        return Options.SET_OPTIONS_CANT_CHANGE
    flags = account.flags & ~cleared | added
    if flags & AUTH_CLAWBACK_FLAG and not flags & AUTH_REVOCABLE_FLAG:
        return Options.SET_OPTIONS_AUTH_REVOCABLE_REQUIRED
    return flags


def _set_signer(context: OperationContext, signer: xdr.Signer) -> Outcome:
    """Adds a signer, changes its weight, or removes it where the weight is 0."""
    key, weight = signer.key.to_xdr_bytes(), signer.weight.uint32
    signers = dict(context.source_account().signers)
    known = key in signers
    if weight:
        if not known:
            if context.sponsor is not None:
                return NOT_SUPPORTED  # signers whose reserve another pays are nobody's here
            if len(signers) == _MAX_SIGNERS:
                return Options.SET_OPTIONS_TOO_MANY_SIGNERS
            refused = context.add_subentry(Options.SET_OPTIONS_LOW_RESERVE)
            if refused:
                return refused
        signers[key] = weight
    elif known:
        del signers[key]
        context.drop_subentry()
    context.put(replace(context.source_account(), signers=tuple(sorted(signers.items()))))
    return 0


def check_data(op: xdr.ManageDataOp, source: bytes) -> int:
    name = op.data_name.string64
    return 0 if name and is_text(name) else ManageData.MANAGE_DATA_INVALID_NAME


def manage_data(context: OperationContext, op: xdr.ManageDataOp) -> Outcome:
    name = op.data_name.string64
    known = context.view.get(wire.key_data(context.source, name))
    if op.data_value is None:
        if known is None:
            return ManageData.MANAGE_DATA_NAME_NOT_FOUND
        context.drop_subentry(known.sponsor)
        context.view.remove(known.data.ledger_key)
        return 0
    sponsor = None
    if known is None:
        refused, sponsor = context.add_subentry(ManageData.MANAGE_DATA_LOW_RESERVE), context.sponsor
        if refused:
            return refused
    context.put(DataEntry(context.source, name, op.data_value.data_value), sponsor=sponsor)
    return 0


def check_bump(op: xdr.BumpSequenceOp, source: bytes) -> int:
    return xdr.BumpSequenceResultCode.BUMP_SEQUENCE_BAD_SEQ if op.bump_to.sequence_number.int64 < 0 else 0


def bump_sequence(context: OperationContext, op: xdr.BumpSequenceOp) -> int:
    account = context.source_account()
    target = max(account.sequence, op.bump_to.sequence_number.int64)
    context.put(replace(account, sequence=target, sequence_ledger=context.sequence, sequence_time=context.close_time))
    return 0
