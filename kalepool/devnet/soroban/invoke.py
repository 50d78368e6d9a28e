"""Soroban operations applied with what the transaction declares: a call, or a longer life for entries."""

from __future__ import annotations

from hashlib import sha256

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.fees import RentChange, events_fee, non_refundable_fee, rent_fee
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.ledger.operation_results import outcome
from kalepool.devnet.ledger.soroban_calls import Applied, LedgerInfo
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import SorobanData, Transaction
from kalepool.devnet.settings import TX_MAX_EVENTS_SIZE_BYTES
from kalepool.devnet.soroban.authorisation import Enforcing
from kalepool.devnet.soroban.creation import create_contract
from kalepool.devnet.soroban.host import CallError, Contracts, Error, SorobanHost, success_hash_preimage
from kalepool.devnet.wire import BUDGET_EXCEEDED, EventKind, sc_string, sc_symbol, sc_u64, sc_vec

Type = xdr.OperationType

TRAPPED = -2
RESOURCE_LIMIT_EXCEEDED = -3
INSUFFICIENT_REFUNDABLE_FEE = -5


def apply(transaction: Transaction, view: StateView, ledger: LedgerInfo, contracts: Contracts) -> Applied:
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
    work = StateView(view)
    host = SorobanHost(work, ledger, contracts, auth, soroban.footprint, soroban.instructions)

    def failed(code: int, *diagnostics: bytes) -> Applied:
        events = [*host.diagnostic_events(), *diagnostics, *_metrics(host)]
        return Applied(outcome(operation.body.type, code), None, [], events, 0, 0)

    try:
        value = run_function(host, invoke.host_function)
    except CallError as error:
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


def _metrics(host: SorobanHost) -> list[bytes]:
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


def run_function(host: SorobanHost, function: xdr.HostFunction) -> bytes:
    """Calls the contract the operation names and returns its packed ScVal. HostError where it fails."""
    host.auth.open(host)
    if function.create_contract is not None or function.create_contract_v2 is not None:
        return create_contract(host, function)
    call = function.invoke_contract
    if call is None or call.contract_address.contract_id is None:
        raise host.error((1, 6), "this network runs its own code only: nothing can be uploaded")
    args = tuple(arg.to_xdr_bytes() for arg in call.args)
    name = call.function_name.sc_symbol.decode(errors="replace")
    if name.startswith("__"):
        raise host.error((2, 6), "can't invoke a reserved function directly", sc_symbol(name))
    return host.invoke(call.contract_address.contract_id.contract_id.hash, name, args)


def _apply_ttl(
    operation: xdr.Operation, soroban: SorobanData, view: StateView, ledger: LedgerInfo, maximum: int
) -> Applied:
    """ExtendFootprintTtl, and RestoreFootprint, which finds nothing to do: nothing is ever archived here."""
    kind = operation.body.type
    work = StateView(view)
    changes: list[RentChange] = []
    if operation.body.extend_footprint_ttl_op is not None:
        extend_to = operation.body.extend_footprint_ttl_op.extend_to.uint32
        changes = extend_entries(work, soroban.footprint.read_only, ledger.sequence, extend_to)
    rent = rent_fee(changes, ledger.sequence)
    if rent > maximum:
        return Applied(outcome(kind, -3), None, [], [], 0, 0)
    work.merge()
    return Applied(outcome(kind, 0), None, [], [], rent, rent)


def extend_entries(view: StateView, keys: tuple[bytes, ...], sequence: int, extend_to: int) -> list[RentChange]:
    """Lets contract entries live until at least `extend_to` ledgers from now; what that changes for their rent."""
    changes = []
    for key in keys:
        entry = view.get(key)
        if entry is None or entry.live_until is None or not sequence <= entry.live_until < sequence + extend_to:
            continue
        view.put_at(key, LedgerEntry(entry.data, entry.modified, sequence + extend_to, extended=sequence))
        code = key[:4] == wire.LEDGER_KEY_CONTRACT_CODE
        size = len(entry.pack())
        changes.append(RentChange(not entry.is_temporary, code, size, size, entry.live_until, sequence + extend_to))
    return changes


def _diagnostic(*topics: bytes, data: bytes = wire.SCV_VOID) -> bytes:
    return wire.diagnostic_event(False, wire.contract_event(None, EventKind.DIAGNOSTIC, topics, data))


def _error_event(error: Error, message: str, *numbers: int) -> bytes:
    data = sc_vec([sc_string(message), *(sc_u64(number) for number in numbers)])
    return _diagnostic(sc_symbol("error"), wire.sc_error(*error), data=data)
