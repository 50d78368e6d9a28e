"""The network's settings and the fees that follow from them: testnet's values of 2026, as far as they matter here.

Formulas: soroban-env-host `fees.rs` (CAP-46-07, CAP-66); names follow the network's ConfigSettingEntry fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PROTOCOL_VERSION = 27
BASE_FEE = 100
"""Stroops per operation."""
BASE_RESERVE = 5_000_000
"""Stroops per ledger entry an account owns; an account itself counts twice."""

MAX_ENTRY_TTL = 3_110_400
MIN_TEMPORARY_TTL = 17_280
MIN_PERSISTENT_TTL = 2_073_600

TX_MAX_INSTRUCTIONS = 400_000_000
TX_MAX_DISK_READ_ENTRIES = 200
TX_MAX_DISK_READ_BYTES = 200_000
TX_MAX_WRITE_ENTRIES = 200
TX_MAX_WRITE_BYTES = 132_096
TX_MAX_FOOTPRINT_ENTRIES = 400
TX_MAX_SIZE_BYTES = 132_096
TX_MAX_EVENTS_SIZE_BYTES = 16_384
TX_MEMORY_LIMIT = 41_943_040
LEDGER_MAX_DISK_READ_ENTRIES = 1_000
LEDGER_MAX_DISK_READ_BYTES = 400_000
LEDGER_MAX_INSTRUCTIONS = 580_000_000
LEDGER_MAX_WRITE_ENTRIES = 1_000
LEDGER_MAX_WRITE_BYTES = 286_720
LEDGER_MAX_TRANSACTION_BYTES = 266_240

FEE_PER_10K_INSTRUCTIONS = 7
FEE_DISK_READ_ENTRY = 1_563
FEE_WRITE_ENTRY = 2_500
FEE_DISK_READ_1KB = 447
FEE_WRITE_1KB = 875
FEE_HISTORICAL_1KB = 4_059
FEE_EVENTS_1KB = 5_000
FEE_TX_SIZE_1KB = 406
FEE_RENT_1KB = 1_000  # the minimum, which a state as small as this one pays
PERSISTENT_RENT_DENOMINATOR = 1_215
TEMPORARY_RENT_DENOMINATOR = 2_430
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
