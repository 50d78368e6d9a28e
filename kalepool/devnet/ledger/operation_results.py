"""Packed OperationResults."""

from __future__ import annotations

from stellar_sdk import xdr

from kalepool.devnet.wire import ZERO, i32, u32

Type = xdr.OperationType

_OFFER_ENTRY_SIZE = 36 + 8 + 4 + 4 + 8 + 8 + 4 + 4  # seller, id, two assets (XLM), amount, price, flags, ext
_MANAGED_OFFER = bytes(4 + 4 + _OFFER_ENTRY_SIZE)  # no offers claimed, MANAGE_OFFER_CREATED, the offer
_PATH_PAYMENT = bytes(4 + 36 + 4 + 8)  # no offers, and the last payment: destination, asset (XLM), amount

_UNTOUCHED_PAYLOADS = {
    Type.PATH_PAYMENT_STRICT_RECEIVE: _PATH_PAYMENT,
    Type.PATH_PAYMENT_STRICT_SEND: _PATH_PAYMENT,
    Type.MANAGE_SELL_OFFER: _MANAGED_OFFER,
    Type.MANAGE_BUY_OFFER: _MANAGED_OFFER,
    Type.CREATE_PASSIVE_SELL_OFFER: _MANAGED_OFFER,
    Type.ACCOUNT_MERGE: bytes(8),  # the balance
    Type.INFLATION: bytes(4),  # no payouts
    Type.CREATE_CLAIMABLE_BALANCE: bytes(36),  # its id
    Type.INVOKE_HOST_FUNCTION: bytes(32),  # the hash of what came of it
}
"""What follows the code of a success in which everything is zero; nothing for all other types."""


def outcome(kind: xdr.OperationType, code: int, rest: bytes = b"") -> bytes:
    """OperationResult of an operation that ran: opINNER, the operation's type, its code and what follows it."""
    return ZERO + u32(kind.value) + i32(code) + rest


def default_result(operation: xdr.Operation) -> bytes:
    """The OperationResult of an operation that was not looked at: success, all zero."""
    kind = operation.body.type
    return outcome(kind, 0, _UNTOUCHED_PAYLOADS.get(kind, b""))


def is_success(result: bytes) -> bool:
    return result[:4] == ZERO and result[8:12] == ZERO
