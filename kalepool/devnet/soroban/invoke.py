"""Soroban operations: simulated against the present state, or applied with what the transaction declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import Entry, View
from kalepool.devnet.ledger.operations import outcome
from kalepool.devnet.ledger.transactions import SorobanData, Transaction
from kalepool.devnet.settings import (
    MAX_ENTRY_TTL,
    TX_MAX_EVENTS_SIZE_BYTES,
    TX_MAX_INSTRUCTIONS,
    RentChange,
    Resources,
    events_fee,
    non_refundable_fee,
    rent_fee,
)
from kalepool.devnet.soroban.authorisation import AuthMode, Authorisation, Enforcing, Recording
from kalepool.devnet.soroban.host import (
    BUDGET_EXCEEDED,
    Contract,
    Error,
    Footprint,
    Host,
    HostError,
    LedgerInfo,
    success_hash_preimage,
)
from kalepool.devnet.wire import array, i64, sc_string, sc_symbol, sc_u64, sc_vec, u32

Contracts = Mapping[bytes, Contract]
Type = xdr.OperationType

TRAPPED = -2
RESOURCE_LIMIT_EXCEEDED = -3
INSUFFICIENT_REFUNDABLE_FEE = -5

_INSTRUCTIONS_FACTOR = 1.04
_INSTRUCTIONS_LEEWAY = 50_000
_SIZE_FACTOR = 1.1
_SIZE_LEEWAY = 500
_REFUNDABLE_FACTOR = 1.15
_ENVELOPE_OVERHEAD = 1_892
"""Bytes of the largest envelope around an operation and a footprint: 20 signatures, all preconditions."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How a Soroban operation ended. `result` is its packed OperationResult; `refundable_fee` includes `rent_fee`."""

    result: bytes
    return_value: bytes | None
    events: list[bytes]
    diagnostics: list[bytes]
    rent_fee: int
    refundable_fee: int


def apply(transaction: Transaction, view: View, ledger: LedgerInfo, contracts: Contracts) -> Applied:
    """Runs the transaction's one Soroban operation on the view. What fails leaves no writes."""
    operation = transaction.operations[0]
    soroban = transaction.soroban
    assert soroban is not None
    maximum = soroban.resource_fee - non_refundable_fee(soroban.resources(len(transaction.envelope)))
    if operation.body.type is not Type.INVOKE_HOST_FUNCTION:
        return _apply_ttl(operation, soroban, view, ledger, maximum)
    invoke = operation.body.invoke_host_function_op
    assert invoke is not None
    source = wire.account_strkey(transaction.operation_sources[0])
    auth = Enforcing(invoke.auth, source)
    work = View(view)
    host = Host(work, ledger, contracts, auth, soroban.footprint, soroban.instructions)

    def failed(code: int, *diagnostics: bytes) -> Applied:
        events = [*host.diagnostic_events(), *diagnostics, *_metrics(host)]
        return Applied(outcome(operation.body.type, code), None, [], events, 0, 0)

    try:
        value = _run(host, invoke.host_function)
    except HostError as error:
        ended = _diagnostic(sc_symbol("host_fn_failed"), wire.sc_error(*error.error))
        code = RESOURCE_LIMIT_EXCEEDED if error.error == BUDGET_EXCEEDED else TRAPPED
        return failed(code, ended)
    events = host.contract_events()
    size = sum(map(len, events)) + len(value)
    limits = (
        (host.disk_read_bytes(), soroban.disk_read_bytes, "operation byte-read resources exceeds amount specified"),
        (host.write_bytes(), soroban.write_bytes, "operation byte-write resources exceeds amount specified"),
        (size, TX_MAX_EVENTS_SIZE_BYTES, "total events size exceeds network config maximum"),
    )
    for used, limit, message in limits:
        if used > limit:
            return failed(RESOURCE_LIMIT_EXCEEDED, _error_event(BUDGET_EXCEEDED, message, used, limit))
    rent = rent_fee(host.rent_changes(), ledger.sequence)
    refundable = rent + events_fee(size)
    if refundable > maximum:
        message = "refundable resource fee was not sufficient to cover the events and rent fees"
        return failed(INSUFFICIENT_REFUNDABLE_FEE, _error_event((7, 5), message, refundable, maximum))
    work.merge()
    digest = sha256(success_hash_preimage(value, events)).digest()
    result = outcome(operation.body.type, 0, digest)
    return Applied(result, value, events, [*host.diagnostic_events(), *_metrics(host)], rent, refundable)


def _metrics(host: Host) -> list[bytes]:
    """The events stellar-core adds to every call about what it used: those that mean something here."""
    emitted = host.contract_events()
    values = {
        "read_entry": len(host.keys),
        "write_entry": sum(host.keys.values()),
        "ledger_read_byte": host.disk_read_bytes(),
        "ledger_write_byte": host.write_bytes(),
        "emit_event": len(emitted),
        "emit_event_byte": sum(map(len, emitted)),
        "cpu_insn": host.instructions,
    }
    topic = sc_symbol("core_metrics")
    return [_diagnostic(topic, sc_symbol(name), data=sc_u64(value)) for name, value in values.items()]


def _run(host: Host, function: xdr.HostFunction) -> bytes:
    call = function.invoke_contract
    if call is None or call.contract_address.contract_id is None:
        raise host.error((1, 6), "this network runs its built-in contracts only: nothing can be uploaded or deployed")
    args = tuple(arg.to_xdr_bytes() for arg in call.args)
    name = call.function_name.sc_symbol.decode(errors="replace")
    if name.startswith("__"):
        raise host.error((2, 6), "can't invoke a reserved function directly", sc_symbol(name))
    return host.invoke(call.contract_address.contract_id.contract_id.hash, name, args)


def _apply_ttl(operation: xdr.Operation, soroban: SorobanData, view: View, ledger: LedgerInfo, maximum: int) -> Applied:
    """ExtendFootprintTtl, and RestoreFootprint, which finds nothing to do: nothing is ever archived here."""
    kind = operation.body.type
    work = View(view)
    changes: list[RentChange] = []
    if operation.body.extend_footprint_ttl_op is not None:
        extend_to = operation.body.extend_footprint_ttl_op.extend_to.uint32
        if soroban.footprint.read_write or extend_to > MAX_ENTRY_TTL - 1:
            return Applied(outcome(kind, -1), None, [], [], 0, 0)
        changes = _extend(work, soroban.footprint.read_only, ledger.sequence, extend_to)
    elif soroban.footprint.read_only:
        return Applied(outcome(kind, -1), None, [], [], 0, 0)
    rent = rent_fee(changes, ledger.sequence)
    if rent > maximum:
        return Applied(outcome(kind, -3), None, [], [], 0, 0)
    work.merge()
    return Applied(outcome(kind, 0), None, [], [], rent, rent)


def _extend(view: View, keys: tuple[bytes, ...], sequence: int, extend_to: int) -> list[RentChange]:
    changes = []
    for key in keys:
        entry = view.get(key)
        if entry is None or entry.live_until is None or not sequence <= entry.live_until < sequence + extend_to:
            continue
        view.put_at(key, Entry(entry.data, entry.modified, sequence + extend_to))
        code = key[:4] == wire.LEDGER_KEY_CONTRACT_CODE
        size = len(entry.pack())
        changes.append(RentChange(not entry.is_temporary, code, size, size, entry.live_until, sequence + extend_to))
    return changes


def _diagnostic(*topics: bytes, data: bytes = wire.SCV_VOID) -> bytes:
    return wire.diagnostic_event(False, wire.contract_event(None, "diagnostic", topics, data))


def _error_event(error: Error, message: str, *numbers: int) -> bytes:
    data = sc_vec([sc_string(message), *(sc_u64(number) for number in numbers)])
    return _diagnostic(sc_symbol("error"), wire.sc_error(*error), data=data)


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
    view: View,
    ledger: LedgerInfo,
    contracts: Contracts,
    *,
    mode: AuthMode,
    upgraded_auth: bool,
    instruction_leeway: int,
) -> Simulated:
    """Runs the transaction's Soroban operation in recording mode. Nothing of the view below is changed."""
    operation = transaction.operations[0]
    if operation.body.type is not Type.INVOKE_HOST_FUNCTION:
        return _simulate_ttl(operation, transaction, view, ledger)
    invoke = operation.body.invoke_host_function_op
    assert invoke is not None
    source = wire.account_strkey(transaction.operation_sources[0])
    auth: Authorisation
    if mode is AuthMode.ENFORCE:
        auth = Enforcing(invoke.auth, source)
    else:
        auth = Recording(source, allow_nonroot=mode is AuthMode.RECORD_ALLOW_NONROOT, upgraded=upgraded_auth)
    work = View(view)
    host = Host(work, ledger, contracts, auth, None, TX_MAX_INSTRUCTIONS)
    try:
        value = _run(host, invoke.host_function)
    except HostError as error:
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


def _state_changes(host: Host, work: View, view: View) -> list[StateChange]:
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


def _simulate_ttl(operation: xdr.Operation, transaction: Transaction, view: View, ledger: LedgerInfo) -> Simulated:
    declared = transaction.soroban.footprint if transaction.soroban else Footprint((), ())
    if operation.body.extend_footprint_ttl_op is None:
        data, fee = _transaction_data(Footprint((), ()), 0, 0, 0, 8, 0)
        return Simulated(None, [], data, fee)
    extend_to = operation.body.extend_footprint_ttl_op.extend_to.uint32
    work = View(view)
    changes = _extend(work, declared.read_only, ledger.sequence, extend_to)
    extended = Footprint(tuple(sorted(work.changes)), ())
    data, fee = _transaction_data(extended, 0, 0, 0, 12, rent_fee(changes, ledger.sequence))
    return Simulated(None, [], data, fee)
