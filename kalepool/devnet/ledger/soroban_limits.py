"""Whether a Soroban transaction declares acceptable resources, in stellar-core's words.

TransactionFrame.cpp: checkSorobanResources, validateSorobanMemo, and what commonValidPreSeqNum says of fees.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import account_key, muxed_id
from kalepool.devnet.ledger.classic.validity import is_asset_valid, issuer_of
from kalepool.devnet.ledger.fees import non_refundable_fee
from kalepool.devnet.ledger.transactions import SorobanData, Transaction
from kalepool.devnet.settings import (
    MAX_CONTRACT_DATA_KEY_BYTES,
    TX_MAX_DISK_READ_BYTES,
    TX_MAX_DISK_READ_ENTRIES,
    TX_MAX_FOOTPRINT_ENTRIES,
    TX_MAX_INSTRUCTIONS,
    TX_MAX_SIZE_BYTES,
    TX_MAX_WRITE_BYTES,
    TX_MAX_WRITE_ENTRIES,
)

_STORAGE, _BUDGET, _VALUE = 3, 7, 8
_INVALID_INPUT, _EXCEEDED_LIMIT, _UNEXPECTED_TYPE = 2, 5, 8
_FOOTPRINT_TYPES = (
    wire.LEDGER_KEY_ACCOUNT,
    wire.LEDGER_KEY_TRUSTLINE,
    wire.LEDGER_KEY_CONTRACT_DATA,
    wire.LEDGER_KEY_CONTRACT_CODE,
)


class SorobanProblem(NamedTuple):
    """What is wrong: (ScErrorType, ScErrorCode), the message, and the numbers it tells."""

    error: tuple[int, int]
    message: str
    numbers: tuple[int, ...] = ()


def soroban_problem(transaction: Transaction, soroban: SorobanData) -> SorobanProblem | None:
    """The first thing that makes the declaration unacceptable; None where nothing does."""
    if _has_memo_or_id(transaction):
        message = "Soroban transactions are not allowed to use memo or muxed source account"
        return SorobanProblem((_VALUE, _INVALID_INPUT), message)
    return resources_problem(transaction, soroban) or _fee_problem(transaction, soroban) or _duplicate_problem(soroban)


def _has_memo_or_id(transaction: Transaction) -> bool:
    operation = transaction.operations[0]
    if operation.body.type is not xdr.OperationType.INVOKE_HOST_FUNCTION:
        return False
    sources = (transaction.body.source_account, operation.source_account)
    muxed = any(source is not None and muxed_id(source) is not None for source in sources)
    return muxed or transaction.body.memo.type is not xdr.MemoType.MEMO_NONE


def resources_problem(transaction: Transaction, soroban: SorobanData) -> SorobanProblem | None:
    """Which limit of the network the declared resources or the footprint are beyond."""
    for kind, value, limit, message in _limits(transaction, soroban):
        if value > limit:
            return SorobanProblem((kind, _EXCEEDED_LIMIT), message, (value, limit))
    for key in (*soroban.footprint.read_only, *soroban.footprint.read_write):
        problem = _key_problem(key)
        if problem is not None:
            return problem
    size = len(transaction.envelope)
    if size > TX_MAX_SIZE_BYTES:
        message = "total transaction size exceeds network config limit"
        return SorobanProblem((_BUDGET, _EXCEEDED_LIMIT), message, (size, TX_MAX_SIZE_BYTES))
    return None


def _limits(transaction: Transaction, soroban: SorobanData) -> Iterator[tuple[int, int, int, str]]:
    footprint, exceeds = soroban.footprint, "exceed network config limit"
    resources = soroban.resources(len(transaction.envelope))
    yield _BUDGET, soroban.instructions, TX_MAX_INSTRUCTIONS, f"transaction instructions resources {exceeds}"
    yield _STORAGE, soroban.disk_read_bytes, TX_MAX_DISK_READ_BYTES, f"transaction byte-read resources {exceeds}"
    yield _STORAGE, soroban.write_bytes, TX_MAX_WRITE_BYTES, f"transaction byte-write resources {exceeds}"
    keys = len(footprint.read_only) + len(footprint.read_write)
    message = "the number of entries in transaction footprint exceeds the network config limit"
    yield _STORAGE, keys, TX_MAX_FOOTPRINT_ENTRIES, message
    reads = resources.disk_read_entries
    yield _STORAGE, reads, TX_MAX_DISK_READ_ENTRIES, f"transaction entry-disk-read resources {exceeds}"
    writes = len(footprint.read_write)
    yield _STORAGE, writes, TX_MAX_WRITE_ENTRIES, f"transaction entry-write resources {exceeds}"


def _key_problem(packed: bytes) -> SorobanProblem | None:
    if packed[:4] not in _FOOTPRINT_TYPES:
        message = "transaction footprint contains unsupported ledger key type"
        return SorobanProblem((_STORAGE, _UNEXPECTED_TYPE), message, (int.from_bytes(packed[:4], "big"),))
    if packed[:4] == wire.LEDGER_KEY_TRUSTLINE and not _is_line_valid(packed):
        message = "transaction footprint contains invalid trustline asset"
        return SorobanProblem((_STORAGE, _INVALID_INPUT), message)
    if len(packed) > MAX_CONTRACT_DATA_KEY_BYTES:
        message = "transaction footprint key exceeds network config limit"
        return SorobanProblem((_STORAGE, _EXCEEDED_LIMIT), message, (len(packed), MAX_CONTRACT_DATA_KEY_BYTES))
    return None


@lru_cache(maxsize=16_384)  # the same keys come again and again
def _is_line_valid(packed: bytes) -> bool:
    """Whether an account can have that trustline."""
    line = xdr.LedgerKey.from_xdr_bytes(packed).trust_line
    assert line is not None
    native = line.asset.type is xdr.AssetType.ASSET_TYPE_NATIVE
    return is_asset_valid(line.asset) and not native and issuer_of(line.asset) != account_key(line.account_id)


def _fee_problem(transaction: Transaction, soroban: SorobanData) -> SorobanProblem | None:
    name = "transaction `sorobanData.resourceFee`"
    declared = soroban.resource_fee
    if transaction.fee_bump is None and declared > transaction.full_fee:
        message = f"{name} is higher than the full transaction fee"
        return SorobanProblem((_VALUE, _EXCEEDED_LIMIT), message, (declared, transaction.full_fee))
    needed = non_refundable_fee(soroban.resources(len(transaction.envelope)))
    if declared < needed:
        message = f"{name} is lower than the actual Soroban resource fee"
        return SorobanProblem((_VALUE, _EXCEEDED_LIMIT), message, (declared, needed))
    return None


def _duplicate_problem(soroban: SorobanData) -> SorobanProblem | None:
    keys = soroban.footprint.read_only + soroban.footprint.read_write
    if len(set(keys)) == len(keys):
        return None
    message = (
        "Found duplicate key in the Soroban footprint; every key across read-only and read-write footprints has to "
        "be unique."
    )
    return SorobanProblem((_STORAGE, _INVALID_INPUT), message)
