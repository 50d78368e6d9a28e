"""What the ledger knows of Soroban: whom to ask to run a transaction's call, and what is answered.

The contracts and their host live in `kalepool.devnet.soroban`, which is built on the ledger; the node joins the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.settings import MIN_TEMPORARY_TTL


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """The ledger a call runs in."""

    sequence: int
    timestamp: int
    network_id: bytes
    temporary_ttl: int = MIN_TEMPORARY_TTL


@dataclass(frozen=True, slots=True)
class Applied:
    """How a Soroban operation ended. `result` is its packed OperationResult; `refundable_fee` includes `rent_fee`."""

    result: bytes
    return_value: bytes | None
    events: list[bytes]
    diagnostics: list[bytes]
    rent_fee: int
    refundable_fee: int


ApplySoroban = Callable[[Transaction, StateView, LedgerInfo], Applied]
"""Runs the transaction's one Soroban operation on the view. What fails leaves no writes."""
