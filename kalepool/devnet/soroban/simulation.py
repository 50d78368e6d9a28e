"""Soroban operations simulated against the present state: what they would need, cost and change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.fees import Resources, events_fee, non_refundable_fee, rent_fee
from kalepool.devnet.ledger.ledger_entries import AccountEntry, LedgerEntry
from kalepool.devnet.ledger.soroban_calls import LedgerInfo
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import Footprint, SorobanData, Transaction
from kalepool.devnet.settings import TX_MAX_INSTRUCTIONS
from kalepool.devnet.soroban.authorisation import AuthMode, Authorisation, Enforcing, Recording
from kalepool.devnet.soroban.host import CallError, Contracts, SorobanHost
from kalepool.devnet.soroban.invoke import extend_entries, run_function
from kalepool.devnet.wire import array, i64, u32

_INSTRUCTIONS_FACTOR = 1.04
_INSTRUCTIONS_LEEWAY = 50_000
_SIZE_FACTOR = 1.1
_SIZE_LEEWAY = 500
_REFUNDABLE_FACTOR = 1.15
_ENVELOPE_OVERHEAD = 1_892
"""Bytes of the largest envelope around an operation and a footprint: 20 signatures, all preconditions."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """An entry a simulation would change: packed key, packed LedgerEntry before and after."""

    key: bytes
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulation: `transaction_data` is a packed SorobanTransactionData. With `error`, only `events` come with it."""

    error: str | None
    events: list[bytes]
    transaction_data: bytes = b""
    resource_fee: int = 0
    return_value: bytes | None = None
    auth: tuple[bytes, ...] = ()
    changes: tuple[StateChange, ...] = ()


def simulate(
    transaction: Transaction,
    view: StateView,
    ledger: LedgerInfo,
    contracts: Contracts,
    *,
    mode: AuthMode,
    upgraded_auth: bool,
    instruction_leeway: int,
) -> Simulated:
    """Runs the transaction's Soroban operation in recording mode. Nothing of the view below is changed."""
    operation = transaction.operations[0]
    if operation.body.type is not xdr.OperationType.INVOKE_HOST_FUNCTION:
        return _simulate_ttl(operation, transaction, view, ledger)
    invoke = operation.body.invoke_host_function_op
    assert invoke is not None
    source = wire.account_strkey(transaction.operation_sources[0])
    auth: Authorisation
    if mode is AuthMode.ENFORCE:
        auth = Enforcing(invoke.auth, source)
    else:
        auth = Recording(source, allow_nonroot=mode is AuthMode.RECORD_ALLOW_NONROOT, upgraded=upgraded_auth)
    work = StateView(_Grown(view))
    host = SorobanHost(work, ledger, contracts, auth, None, TX_MAX_INSTRUCTIONS)
    try:
        value = run_function(host, invoke.host_function)
    except CallError as error:
        return Simulated(error.render(), host.diagnostic_events())

    recorded = tuple(auth.entries()) if isinstance(auth, Recording) else ()
    sent = recorded or tuple(entry.to_xdr_bytes() for entry in invoke.auth)
    footprint = Footprint(
        tuple(sorted(key for key, write in host.keys.items() if not write)),
        tuple(sorted(key for key, write in host.keys.items() if write)),
    )
    leeway = max(_INSTRUCTIONS_LEEWAY, instruction_leeway)
    instructions = max(host.instructions + leeway, int(host.instructions * _INSTRUCTIONS_FACTOR))
    body = 4 + len(invoke.host_function.to_xdr_bytes()) + len(array(sent))
    read_bytes, write_bytes = host.disk_read_bytes(), host.write_bytes()
    rent = rent_fee(host.rent_changes(), ledger.sequence)
    events_size = sum(map(len, host.contract_events())) + len(value)
    data, fee = _transaction_data(
        footprint, instructions, read_bytes, write_bytes, body, rent + events_fee(events_size)
    )
    return Simulated(
        error=None,
        events=host.diagnostic_events(),
        transaction_data=data,
        resource_fee=fee,
        return_value=value,
        auth=sent,
        changes=tuple(_state_changes(host, work, view)),
    )


class _Grown(Mapping[bytes, LedgerEntry]):
    """A state whose accounts have all their extensions already.

    An account gets them by its first transaction, before a call in it is measured; so a simulation measures them too.
    """

    def __init__(self, view: StateView) -> None:
        self._view = view

    def get(self, key: bytes, default: Any = None) -> Any:
        entry = self._view.get(key)
        if entry is None or not isinstance(entry.data, AccountEntry) or entry.data.sequence_ledger is not None:
            return entry
        return LedgerEntry(replace(entry.data, sequence_ledger=0), entry.modified)

    def __getitem__(self, key: bytes) -> LedgerEntry:
        entry = self.get(key)
        if entry is None:
            raise KeyError(key)
        return entry

    def __iter__(self) -> Iterator[bytes]:
        raise NotImplementedError("entries are looked up, never listed")

    def __len__(self) -> int:
        raise NotImplementedError("entries are looked up, never counted")


def _state_changes(host: SorobanHost, work: StateView, view: StateView) -> list[StateChange]:
    changes = []
    for key, write in host.keys.items():
        before, after = view.get(key), work.get(key)
        if write and before is not after:
            changes.append(
                StateChange(
                    key, before.pack() if before is not None else None, after.pack() if after is not None else None
                )
            )
    return changes


def _transaction_data(
    footprint: Footprint, instructions: int, read_bytes: int, write_bytes: int, body: int, refundable: int
) -> tuple[bytes, int]:
    """Packed SorobanTransactionData and its resource fee. `body` is the operation's size in bytes."""
    keys = footprint.read_only + footprint.read_write
    packed = array(footprint.read_only) + array(footprint.read_write)
    size = _ENVELOPE_OVERHEAD + body + len(packed)
    soroban = SorobanData(footprint, instructions, read_bytes, write_bytes, 0)
    resources: Resources = soroban.resources(max(size + _SIZE_LEEWAY, int(size * _SIZE_FACTOR)))
    assert resources.disk_read_entries <= len(keys)
    fee = non_refundable_fee(resources) + int(refundable * _REFUNDABLE_FACTOR)
    data = wire.ZERO + packed + u32(instructions) + u32(read_bytes) + u32(write_bytes) + i64(fee)
    return data, fee


def _simulate_ttl(operation: xdr.Operation, transaction: Transaction, view: StateView, ledger: LedgerInfo) -> Simulated:
    declared = transaction.soroban.footprint if transaction.soroban else Footprint((), ())
    if operation.body.extend_footprint_ttl_op is None:
        data, fee = _transaction_data(Footprint((), ()), 0, 0, 0, 8, 0)
        return Simulated(None, [], data, fee)
    extend_to = operation.body.extend_footprint_ttl_op.extend_to.uint32
    work = StateView(view)
    changes = extend_entries(work, declared.read_only, ledger.sequence, extend_to)
    extended = Footprint(tuple(sorted(work.changes)), ())
    data, fee = _transaction_data(extended, 0, 0, 0, 12, rent_fee(changes, ledger.sequence))
    return Simulated(None, [], data, fee)
