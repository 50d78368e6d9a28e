"""Amounts credited and debited: to accounts in XLM, to trustlines in everything else.

An issuer holds its own asset without a line, and without limits.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from stellar_sdk import xdr

from kalepool.devnet.ledger.classic.operation_context import OperationContext
from kalepool.devnet.ledger.classic.validity import issuer_of
from kalepool.devnet.ledger.ledger_entries import AUTHORIZED_FLAG

I64_MAX = 2**63 - 1


class Obstacle(Enum):
    """Why an amount cannot be moved."""

    NO_LINE = "no trustline"
    NOT_AUTHORIZED = "not authorised"
    LIMIT = "too little is there to take, or too little room to give"


def change_balance(context: OperationContext, key: bytes, asset: xdr.Asset, amount: int) -> Obstacle | None:
    """Adds an amount to what an account holds, or takes one that is negative; what stands against it."""
    issuer = issuer_of(asset)
    if issuer is None:
        account = context.account(key)
        balance = account.balance + amount
        if balance > I64_MAX or (amount < 0 and balance < account.minimum_balance):
            return Obstacle.LIMIT
        context.put(replace(account, balance=balance))
        return None
    if key == issuer:
        return None
    line = context.view.trustline(key, asset.to_xdr_bytes())
    if line is None:
        return Obstacle.NO_LINE
    if not line.flags & AUTHORIZED_FLAG:
        return Obstacle.NOT_AUTHORIZED
    if not 0 <= line.balance + amount <= line.limit:
        return Obstacle.LIMIT
    context.put(replace(line, balance=line.balance + amount))
    return None
