"""Trustlines: made, changed and removed by who holds them, authorised and clawed back by the issuer.

ChangeTrustOpFrame.cpp, AllowTrustOpFrame.cpp, SetTrustLineFlagsOpFrame.cpp, TrustFlagsOpFrameBase.cpp,
ClawbackOpFrame.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from stellar_sdk import xdr

from kalepool.devnet.ledger.account_ids import account_key, muxed_key
from kalepool.devnet.ledger.classic.operation_context import NOT_SUPPORTED, OperationContext, Outcome
from kalepool.devnet.ledger.classic.sac_events import emit_authorized, emit_clawback, muxed_party
from kalepool.devnet.ledger.classic.validity import is_asset_valid, issuer_of
from kalepool.devnet.ledger.ledger_entries import (
    AUTH_CLAWBACK_FLAG,
    AUTH_REQUIRED_FLAG,
    AUTH_REVOCABLE_FLAG,
    AUTHORIZED_FLAG,
    LINE_CLAWBACK_FLAG,
    MAINTAIN_FLAG,
    TrustLine,
)

Change = xdr.ChangeTrustResultCode
Allow = xdr.AllowTrustResultCode
Flags = xdr.SetTrustLineFlagsResultCode
Claw = xdr.ClawbackResultCode

_BOTH_AUTHORISATIONS = AUTHORIZED_FLAG | MAINTAIN_FLAG
_ALL_LINE_FLAGS = _BOTH_AUTHORISATIONS | LINE_CLAWBACK_FLAG


def check_change(op: xdr.ChangeTrustOp, source: bytes) -> Outcome:
    if op.limit.int64 < 0 or not is_asset_valid(op.line) or op.line.type is xdr.AssetType.ASSET_TYPE_NATIVE:
        return Change.CHANGE_TRUST_MALFORMED
    if issuer_of(op.line) == source:
        return Change.CHANGE_TRUST_MALFORMED
    return NOT_SUPPORTED if op.line.type is xdr.AssetType.ASSET_TYPE_POOL_SHARE else 0


def change_trust(context: OperationContext, op: xdr.ChangeTrustOp) -> Outcome:
    asset, limit = op.line.to_xdr_bytes(), op.limit.int64
    line = context.view.trustline(context.source, asset)
    if limit < (1 if line is None else line.balance):
        return Change.CHANGE_TRUST_INVALID_LIMIT
    if line is not None and limit == 0:
        context.drop_subentry(context.sponsor_of(line.ledger_key))
        context.view.remove(line.ledger_key)
        return 0
    issuer_key = issuer_of(op.line)
    assert issuer_key is not None
    issuer = context.view.account(issuer_key)
    if issuer is None:
        return Change.CHANGE_TRUST_NO_ISSUER
    if line is not None:
        context.put(replace(line, limit=limit))
        return 0
    refused = context.add_subentry(Change.CHANGE_TRUST_LOW_RESERVE)
    if refused:
        return refused
    flags = 0 if issuer.flags & AUTH_REQUIRED_FLAG else AUTHORIZED_FLAG
    flags |= LINE_CLAWBACK_FLAG if issuer.flags & AUTH_CLAWBACK_FLAG else 0
    context.put(TrustLine(context.source, asset, 0, limit, flags), sponsor=context.sponsor)
    return 0


def _allowed_asset(op: xdr.AllowTrustOp, source: bytes) -> xdr.Asset:
    """The asset of that code that the source issues."""
    issuer = xdr.AccountID(xdr.PublicKey(xdr.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, xdr.Uint256(source)))
    if op.asset.asset_code4 is not None:
        return xdr.Asset(op.asset.type, alpha_num4=xdr.AlphaNum4(op.asset.asset_code4, issuer))
    assert op.asset.asset_code12 is not None
    return xdr.Asset(op.asset.type, alpha_num12=xdr.AlphaNum12(op.asset.asset_code12, issuer))


def check_allow(op: xdr.AllowTrustOp, source: bytes) -> int:
    valid = (
        op.authorize.uint32 <= MAINTAIN_FLAG
        and is_asset_valid(_allowed_asset(op, source))
        and account_key(op.trustor) != source
    )
    return 0 if valid else Allow.ALLOW_TRUST_MALFORMED


def allow_trust(context: OperationContext, op: xdr.AllowTrustOp) -> int:
    asset, authorize = _allowed_asset(op, context.source), op.authorize.uint32
    revocable = context.source_account().flags & AUTH_REVOCABLE_FLAG
    if not revocable and not authorize:
        return Allow.ALLOW_TRUST_CANT_REVOKE
    line = context.view.trustline(account_key(op.trustor), asset.to_xdr_bytes())
    if line is None:
        return Allow.ALLOW_TRUST_NO_TRUST_LINE
    if not revocable and line.flags & AUTHORIZED_FLAG and authorize & MAINTAIN_FLAG:
        return Allow.ALLOW_TRUST_CANT_REVOKE
    _set_flags(context, asset, op.trustor, line, line.flags & ~_BOTH_AUTHORISATIONS | authorize)
    return 0


def check_flags(op: xdr.SetTrustLineFlagsOp, source: bytes) -> int:
    added, cleared = op.set_flags.uint32, op.clear_flags.uint32
    valid = (
        is_asset_valid(op.asset)
        and issuer_of(op.asset) == source
        and account_key(op.trustor) != source
        and not added & cleared
        and not added & ~_BOTH_AUTHORISATIONS
        and added != _BOTH_AUTHORISATIONS
        and not cleared & ~_ALL_LINE_FLAGS
    )
    return 0 if valid else Flags.SET_TRUST_LINE_FLAGS_MALFORMED


def set_trust_line_flags(context: OperationContext, op: xdr.SetTrustLineFlagsOp) -> int:
    added, cleared = op.set_flags.uint32, op.clear_flags.uint32
    revokes = cleared & _BOTH_AUTHORISATIONS and not added & AUTHORIZED_FLAG
    if revokes and not context.source_account().flags & AUTH_REVOCABLE_FLAG:
        return Flags.SET_TRUST_LINE_FLAGS_CANT_REVOKE
    line = context.view.trustline(account_key(op.trustor), op.asset.to_xdr_bytes())
    if line is None:
        return Flags.SET_TRUST_LINE_FLAGS_NO_TRUST_LINE
    flags = line.flags & ~cleared | added
    if flags & _BOTH_AUTHORISATIONS == _BOTH_AUTHORISATIONS:
        return Flags.SET_TRUST_LINE_FLAGS_INVALID_STATE
    _set_flags(context, op.asset, op.trustor, line, flags)
    return 0


def _set_flags(
    context: OperationContext, asset: xdr.Asset, trustor: xdr.AccountID, line: TrustLine, flags: int
) -> None:
    emit_authorized(context, asset, trustor, bool(flags & AUTHORIZED_FLAG))
    context.put(replace(line, flags=flags))


def check_clawback(op: xdr.ClawbackOp, source: bytes) -> int:
    valid = (
        (op.from_.ed25519 is None or op.from_.ed25519.uint256 != source)
        and op.amount.int64 >= 1
        and is_asset_valid(op.asset)
        and issuer_of(op.asset) == source
    )
    return 0 if valid else Claw.CLAWBACK_MALFORMED


def claw_back(context: OperationContext, op: xdr.ClawbackOp) -> int:
    line = context.view.trustline(muxed_key(op.from_), op.asset.to_xdr_bytes())
    if line is None:
        return Claw.CLAWBACK_NO_TRUST
    if not line.flags & LINE_CLAWBACK_FLAG:
        return Claw.CLAWBACK_NOT_CLAWBACK_ENABLED
    if line.balance < op.amount.int64:
        return Claw.CLAWBACK_UNDERFUNDED
    context.put(replace(line, balance=line.balance - op.amount.int64))
    emit_clawback(context, op.asset, muxed_party(op.from_), op.amount.int64)
    return 0
