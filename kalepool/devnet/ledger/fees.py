"""What a Soroban transaction pays for its resources, its events and the rent of its entries.

Formulas: soroban-env-host `fees.rs` (CAP-46-07, CAP-66).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kalepool.devnet.settings import (
    FEE_DISK_READ_1KB,
    FEE_DISK_READ_ENTRY,
    FEE_EVENTS_1KB,
    FEE_HISTORICAL_1KB,
    FEE_PER_10K_INSTRUCTIONS,
    FEE_RENT_1KB,
    FEE_TX_SIZE_1KB,
    FEE_WRITE_1KB,
    FEE_WRITE_ENTRY,
    PERSISTENT_RENT_DENOMINATOR,
    TEMPORARY_RENT_DENOMINATOR,
)

_TX_BASE_RESULT_SIZE = 300
_TTL_ENTRY_SIZE = 48


@dataclass(frozen=True, slots=True)
class Resources:
    """What a Soroban transaction declares, or a simulation found, that it uses. Sizes in bytes."""

    instructions: int
    disk_read_entries: int
    write_entries: int
    disk_read_bytes: int
    write_bytes: int
    transaction_size: int


@dataclass(frozen=True, slots=True)
class RentChange:
    """One contract entry before and after. Sizes in bytes, 0 for absent; `*_live_until` are ledgers, 0 for absent."""

    persistent: bool
    code: bool
    old_size: int
    new_size: int
    old_live_until: int
    new_live_until: int


def _ceil(value: int, per: int) -> int:
    return -(-value // per)


def non_refundable_fee(resources: Resources) -> int:
    """Stroops a transaction pays for the resources it declares, used or not."""
    return (
        _ceil(resources.instructions * FEE_PER_10K_INSTRUCTIONS, 10_000)
        + resources.disk_read_entries * FEE_DISK_READ_ENTRY
        + resources.write_entries * FEE_WRITE_ENTRY
        + _ceil(resources.disk_read_bytes * FEE_DISK_READ_1KB, 1024)
        + _ceil(resources.write_bytes * FEE_WRITE_1KB, 1024)
        + _ceil((resources.transaction_size + _TX_BASE_RESULT_SIZE) * FEE_HISTORICAL_1KB, 1024)
        + _ceil(resources.transaction_size * FEE_TX_SIZE_1KB, 1024)
    )


def events_fee(size: int) -> int:
    """Stroops for `size` bytes of contract events and return value."""
    return _ceil(size * FEE_EVENTS_1KB, 1024)


def rent_fee(changes: Iterable[RentChange], ledger: int) -> int:
    """Stroops for new entries, longer lives and grown entries, in the ledger with sequence `ledger`."""
    fee = extended = 0
    for change in changes:
        fee += _rent_of(change, ledger)
        extended += change.old_live_until < change.new_live_until
    return fee + extended * FEE_WRITE_ENTRY + _ceil(extended * _TTL_ENTRY_SIZE * FEE_WRITE_1KB, 1024)


def _rent_of(change: RentChange, ledger: int) -> int:
    fee = 0
    new = change.old_size == 0 and change.old_live_until == 0
    before = ledger - 1 if new else change.old_live_until
    if change.new_live_until >= before:
        fee += _rent(change.persistent, change.new_size, change.new_live_until - before)
    if not new and change.new_size > change.old_size and change.old_live_until >= ledger:
        fee += _rent(change.persistent, change.new_size - change.old_size, change.old_live_until - ledger + 1)
    return _ceil(fee, 3) if change.code else fee


def _rent(persistent: bool, size: int, ledgers: int) -> int:
    denominator = PERSISTENT_RENT_DENOMINATOR if persistent else TEMPORARY_RENT_DENOMINATOR
    return _ceil(size * FEE_RENT_1KB * ledgers, 1024 * denominator)
