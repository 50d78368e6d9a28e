"""The network's settings: testnet's values of 2026, as far as they matter here.

Names follow the network's ConfigSettingEntry fields. What they cost a transaction is reckoned in `ledger/fees.py`.
"""

from __future__ import annotations

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
LEDGER_CAPACITY = 100
"""Classic operations, and Soroban transactions, that a ledger takes, where nobody says."""
