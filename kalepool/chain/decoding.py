"""What the network's answers mean: result codes, diagnostic events, return values, as typed errors and ints. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from stellar_sdk import MuxedAccount, StrKey, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.contract_errors import ContractError
from kalepool.errors import (
    AccountMissingError,
    AssetContractError,
    BadSequenceError,
    ChainError,
    FeeUnpaidError,
    FootprintStaleError,
    InsufficientBalanceError,
    NothingHarvestableError,
    ResourceLimitError,
    RpcUnavailableError,
    TransactionExpiredError,
    TransactionFailedError,
    TrustlineMissingError,
)
from kalepool.networks import Network

ASSET_NUMBERS = {"plant": {1, 2, 9, 10, 11, 12, 13}, "harvest": {1, 6, 8, 11, 12, 13}, "transfer": set(range(1, 14))}
"""Numbers that, where no event names the failing contract, can only be the asset contract's in a call of that function.

plant burns and harvest mints; neither then raises the KALE contract's errors of those numbers. work calls no other.
transfer is the asset contract's own.
"""

_HOST_ERROR = re.compile(r"Error\((\w+), (?:#(\d+)|(\w+))\)")

_INSUFFICIENT = {
    "PAYMENT_UNDERFUNDED",
    "CREATE_CLAIMABLE_BALANCE_UNDERFUNDED",
    "CREATE_CLAIMABLE_BALANCE_LOW_RESERVE",
    "CREATE_ACCOUNT_UNDERFUNDED",
    "CREATE_ACCOUNT_LOW_RESERVE",
    "CHANGE_TRUST_LOW_RESERVE",
}
_NO_TRUSTLINE = {
    "PAYMENT_SRC_NO_TRUST",
    "PAYMENT_NO_TRUST",
    "PAYMENT_SRC_NOT_AUTHORIZED",
    "PAYMENT_NOT_AUTHORIZED",
    "PAYMENT_LINE_FULL",
    "CHANGE_TRUST_TRUST_LINE_MISSING",
}
_NO_ACCOUNT = {"txNO_ACCOUNT", "opNO_ACCOUNT", "PAYMENT_NO_DESTINATION", "ACCOUNT_MERGE_NO_ACCOUNT"}
_STALE = {
    "INVOKE_HOST_FUNCTION_RESOURCE_LIMIT_EXCEEDED",
    "INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED",
    "INVOKE_HOST_FUNCTION_INSUFFICIENT_REFUNDABLE_FEE",  # rent of what was extended meanwhile
}


@dataclass(frozen=True, slots=True)
class HostError:
    """The error a contract call ended with: `kind` as Contract or Storage, and who raised it first, where known."""

    kind: str
    number: int | None
    name: str | None
    contract_id: str | None

    def __str__(self) -> str:
        return f"Error({self.kind}, {f'#{self.number}' if self.number is not None else self.name})"


@dataclass(frozen=True, slots=True)
class Result:
    """A TransactionResult: the innermost code that says why, and what was charged."""

    success: bool
    code: str
    fee_stroops: int


def read_result(result_xdr: str) -> Result:
    """Read a base64 TransactionResult, through a fee-bump to the inner result and on to the first failed operation."""
    result = stellar_xdr.TransactionResult.from_xdr(result_xdr)
    outer: stellar_xdr.TransactionResultResult | stellar_xdr.InnerTransactionResultResult = result.result
    if (pair := result.result.inner_result_pair) is not None:
        outer = pair.result.result
    code = outer.code.name
    success = code in ("txSUCCESS", "txFEE_BUMP_INNER_SUCCESS")
    if code == "txFAILED":
        code = next((name for operation in outer.results or () if (name := _operation_code(operation))), code)
    return Result(success, code, result.fee_charged.int64)


def fee_payer(envelope_xdr: str) -> str:
    """Who pays for a transaction: its fee-bump's source, or its own."""
    envelope = stellar_xdr.TransactionEnvelope.from_xdr(envelope_xdr)
    if envelope.fee_bump is not None:
        return MuxedAccount.from_xdr_object(envelope.fee_bump.tx.fee_source).account_id
    if envelope.v1 is None:
        raise ValueError("a transaction envelope of version 0")
    return MuxedAccount.from_xdr_object(envelope.v1.tx.source_account).account_id


def _operation_code(operation: stellar_xdr.OperationResult) -> str | None:
    """The code of an operation that failed, as PAYMENT_UNDERFUNDED; None where it succeeded."""
    if operation.tr is None:
        return operation.code.name
    for name, value in vars(operation.tr).items():
        if name != "type" and value is not None:
            return None if value.code.value >= 0 else value.code.name
    return None


def host_error(
    text: str, events: Iterable[stellar_xdr.DiagnosticEvent], invoked: str | None = None
) -> HostError | None:
    """The error a contract call ended with, from simulation's text or, where that is empty, the diagnostic events.

    An error that travels up is reported again by every contract on its way: the first report of the final error names
    the one that raised it.
    """
    reports = [report for event in events if (report := _error_report(event)) is not None]
    if match := _HOST_ERROR.search(text):
        kind, number, name = match[1], int(match[2]) if match[2] else None, match[3]
    elif reports:
        kind, number, name = reports[-1].kind, reports[-1].number, reports[-1].name
    else:
        return None
    same = [r.contract_id for r in reports if (r.kind, r.number, r.name) == (kind, number, name) and r.contract_id]
    return HostError(kind, number, name, same[0] if same else None)


def _error_report(event: stellar_xdr.DiagnosticEvent) -> HostError | None:
    """The error an event reports (topics `error`, Error(…)), or None for other events."""
    body = event.event.body.v0
    if event.event.type != stellar_xdr.ContractEventType.DIAGNOSTIC or body is None or len(body.topics) < 2:
        return None
    label, value = body.topics[0], body.topics[1]
    if label.sym is None or label.sym.sc_symbol != b"error" or value.error is None:
        return None
    contract = event.event.contract_id
    return HostError(
        kind={"WASM_VM": "WasmVm"}.get(name := value.error.type.name.removeprefix("SCE_"), name.capitalize()),
        number=value.error.contract_code.uint32 if value.error.contract_code is not None else None,
        name=_camel(value.error.code.name.removeprefix("SCEC_")) if value.error.code is not None else None,
        contract_id=None if contract is None else StrKey.encode_contract(contract.contract_id.hash),
    )


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def read_events(events: Iterable[str] | None) -> list[stellar_xdr.DiagnosticEvent]:
    """Diagnostic events from base64; unreadable ones are left out, they only explain."""
    found: list[stellar_xdr.DiagnosticEvent] = []
    for event in events or ():
        try:
            found.append(stellar_xdr.DiagnosticEvent.from_xdr(event))
        except (ValueError, TypeError, EOFError, UnicodeDecodeError):
            continue
    return found


def emitted_bytes(events: Iterable[str] | None) -> int:
    """Bytes of the contract events among a simulation's events, which the network limits.

    A DiagnosticEvent is a bool and a ContractEvent: extension (4 bytes), optional contract id (4 or 36), type (4), …
    """
    total = 0
    for event in events or ():
        raw = base64.b64decode(event)
        kind = 44 if raw[8:12] == b"\0\0\0\1" else 12
        if int.from_bytes(raw[kind : kind + 4]) == stellar_xdr.ContractEventType.CONTRACT.value:
            total += len(raw) - 4
    return total


def contract_error(error: HostError, network: Network, function: str | None) -> ChainError | None:
    """The typed error of a contract's own error number, told apart by who raised it; None for the host's errors."""
    if error.kind != "Contract" or error.number is None:
        return None
    raised_by = error.contract_id
    if raised_by is None:
        tractor = function == "harvest_many" and error.number in (1, 2)
        asset = error.number in ASSET_NUMBERS.get("harvest" if function == "harvest_many" else function or "", ())
        raised_by = network.tractor_id if tractor else network.asset_contract_id if asset else network.contract_id
    if raised_by == network.asset_contract_id:
        return AssetContractError(error.number)
    if raised_by == network.tractor_id:
        return NothingHarvestableError(f"the tractor harvested none of the pails (its error #{error.number})")
    if raised_by == network.contract_id:
        return ContractError.from_number(error.number)
    return TransactionFailedError(f"contract {raised_by} said #{error.number}", result_code=str(error))


def simulation_error(text: str, events: Iterable[str] | None, network: Network, function: str) -> ChainError:
    """Why a simulation was refused. A server's own trouble, which is no verdict on the call, is RpcUnavailableError."""
    error = host_error(text, read_events(events))
    if error is None or ("HostError" not in text and error.kind != "Contract"):
        brief = text.strip().splitlines()[0][:300] if text.strip() else "no reason given"
        return RpcUnavailableError(f"{function} could not be simulated: {brief}")
    if (typed := contract_error(error, network, function)) is not None:
        return typed
    if error.kind == "Budget":
        return ResourceLimitError(f"{function} needs more than one transaction may use: {error}")
    return TransactionFailedError(f"{function} fails in simulation: {error}", result_code=str(error))


def applied_error(
    result: Result, events: Iterable[str] | None, network: Network, function: str | None, transaction_hash: str
) -> ChainError:
    """Why a ledger has a transaction as failed."""
    code = result.code
    if code.startswith("INVOKE_HOST_FUNCTION"):
        error = host_error("", read_events(events))
        if error is not None and (typed := contract_error(error, network, function)) is not None:
            return typed
        # ExceededLimit: it touched a key outside its footprint, or took a longer way than was simulated. Without any
        # event the cause of a trap is hidden: a new simulation finds it.
        outside = error is None or (error.kind in ("Storage", "Budget") and error.name == "ExceededLimit")
        if code in _STALE or (code == "INVOKE_HOST_FUNCTION_TRAPPED" and outside):
            return FootprintStaleError(
                f"{function} was simulated against another state than it was applied to ({error or code})",
                result_code=code,
                transaction_hash=transaction_hash,
            )
        return TransactionFailedError(
            f"{function} failed: {error or code}", result_code=code, transaction_hash=transaction_hash
        )
    return refused_error(result, transaction_hash)


def refused_error(result: Result, transaction_hash: str) -> ChainError:
    """Why the network refused a transaction, or failed a classic operation, by its result code."""
    code = result.code
    if code in _NO_ACCOUNT:
        return AccountMissingError(f"an account of transaction {transaction_hash} does not exist ({code})")
    meanings: tuple[tuple[set[str], type[TransactionFailedError], str], ...] = (
        ({"txBAD_SEQ"}, BadSequenceError, "the source account's sequence number has moved on"),
        ({"txTOO_LATE"}, TransactionExpiredError, "its time bound has passed"),
        ({"txINSUFFICIENT_BALANCE"}, FeeUnpaidError, "the paying account cannot pay the fee"),
        ({"txSOROBAN_INVALID"}, FootprintStaleError, "its resources do not fit"),
        (_INSUFFICIENT, InsufficientBalanceError, "too little to pay, or to keep the reserve"),
        (_NO_TRUSTLINE, TrustlineMissingError, "no usable trustline"),
    )
    for codes, error, meaning in meanings:
        if code in codes:
            return error(
                f"transaction refused: {meaning} ({code})", result_code=code, transaction_hash=transaction_hash
            )
    return TransactionFailedError(f"refused: {code}", result_code=code, transaction_hash=transaction_hash)


def return_value(meta_xdr: str | None) -> int | tuple[int, ...] | None:
    """The return value in a base64 TransactionMeta (V3 or V4): an int, a tuple of them, or None."""
    if not meta_xdr:
        return None
    meta = stellar_xdr.TransactionMeta.from_xdr(meta_xdr)
    versioned = meta.v4 or meta.v3
    if versioned is None or versioned.soroban_meta is None or versioned.soroban_meta.return_value is None:
        return None
    return plain_value(versioned.soroban_meta.return_value)


def meta_events(meta_xdr: str | None) -> list[str]:
    """The diagnostic events inside a base64 TransactionMeta V4, for a server that does not list them apart."""
    meta = stellar_xdr.TransactionMeta.from_xdr(meta_xdr) if meta_xdr else None
    return [event.to_xdr() for event in meta.v4.diagnostic_events] if meta is not None and meta.v4 is not None else []


def plain_value(value: stellar_xdr.SCVal | str) -> int | tuple[int, ...] | None:
    """An SCVal (or its base64) as int, tuple of ints, or None for void."""
    native = scval.to_native(value)
    if isinstance(native, list):
        return tuple(native)
    return native if isinstance(native, int) and not isinstance(native, bool) else None
