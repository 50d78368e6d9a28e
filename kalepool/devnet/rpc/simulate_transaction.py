from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import structlog
from stellar_sdk import xdr

from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.node import Node
from kalepool.devnet.rpc.params import Params, format_problem, take
from kalepool.devnet.rpc.xdr_json import as_json
from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.devnet.soroban.simulation import Simulated, simulate

log = structlog.get_logger()

_Type = xdr.OperationType


def simulate_transaction(node: Node, params: Params) -> dict[str, Any]:
    """Runs a transaction against the last closed ledger. What is wrong with it is said in `error`, never as a fault."""
    wanted = take(params, "xdrFormat", str)
    mode, wanted_mode = AuthMode.RECORD, take(params, "authMode", str)
    leeway = take(take(params, "resourceConfig", dict), "instructionLeeway", int)
    upgraded = take(params, "useUpgradedAuth", bool)
    transaction, problem = _read(node, take(params, "transaction", str))
    problem = format_problem(wanted) or problem
    if problem is None and transaction is not None:
        mode, problem = _auth_mode(transaction, wanted_mode)
    if problem is not None or transaction is None:
        return {"error": problem, "latestLedger": 0}
    told = node.told()
    try:
        simulated = simulate(
            transaction,
            told.view,
            told.info,
            node.contracts,
            mode=mode,
            upgraded_auth=upgraded,
            instruction_leeway=leeway,
        )
        answer = _answer(simulated)
        answer = _convert(answer) if wanted == "json" else answer
    except Exception as error:
        log.exception("simulation_raised", hash=transaction.hash.hex())
        answer = {"error": f"the simulation ended with an internal error: {type(error).__name__}"}
    return {**answer, "latestLedger": told.header.sequence}


def _read(node: Node, text: str) -> tuple[Transaction | None, str | None]:
    try:
        transaction = node.ledger.parse(b64decode(text, validate=True))
    except ValueError:
        return None, "Could not unmarshal transaction"
    if len(transaction.operations) != 1:
        return None, "Transaction contains more than one operation"
    if transaction.body.memo.type is not xdr.MemoType.MEMO_NONE:
        return None, "Transaction contains a memo. Soroban transactions do not support memos."
    kind = transaction.operations[0].body.type
    if kind in (_Type.EXTEND_FOOTPRINT_TTL, _Type.RESTORE_FOOTPRINT):
        if transaction.soroban is None:
            return None, (
                "To perform a SimulateTransaction for ExtendFootprintTtl or RestoreFootprint operations,"
                " SorobanTransactionData must be provided"
            )
    elif kind is not _Type.INVOKE_HOST_FUNCTION:
        name = "".join(part.capitalize() for part in kind.name.split("_"))
        return None, f"Transaction contains unsupported operation type: OperationType{name}"
    return transaction, None


def _auth_mode(transaction: Transaction, wanted: str) -> tuple[AuthMode, str | None]:
    """The mode to simulate in, and what is wrong with the one asked for."""
    if wanted not in ("", *AuthMode):
        return AuthMode.RECORD, f"optional 'authMode' must be one of {','.join(AuthMode)} when included"
    invoke = transaction.operations[0].body.invoke_host_function_op
    if invoke is None:
        problem = "cannot set authMode with non-InvokeHostFunction operations" if wanted else None
        return AuthMode.RECORD, problem
    if not wanted:
        return AuthMode.ENFORCE if invoke.auth else AuthMode.RECORD, None
    mode = AuthMode(wanted)
    if invoke.auth and mode is not AuthMode.ENFORCE:
        return mode, f"cannot set authMode to '{mode}' with an auth footprint"
    return mode, None


def _answer(simulated: Simulated) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if simulated.error is not None:
        answer["error"] = simulated.error
    if simulated.transaction_data:
        answer["transactionData"] = b64encode(simulated.transaction_data).decode()
    if simulated.events:
        answer["events"] = [b64encode(event).decode() for event in simulated.events]
    if simulated.resource_fee:
        answer["minResourceFee"] = str(simulated.resource_fee)
    if simulated.return_value is not None:
        auth = [b64encode(entry).decode() for entry in simulated.auth]
        answer["results"] = [{"auth": auth, "xdr": b64encode(simulated.return_value).decode()}]
    if simulated.changes:
        answer["stateChanges"] = [
            {
                "type": "created" if change.before is None else "deleted" if change.after is None else "updated",
                "key": b64encode(change.key).decode(),
                "before": None if change.before is None else b64encode(change.before).decode(),
                "after": None if change.after is None else b64encode(change.after).decode(),
            }
            for change in simulated.changes
        ]
    return answer


def _convert(answer: dict[str, Any]) -> dict[str, Any]:
    top = {
        "transactionData": ("transactionDataJson", xdr.SorobanTransactionData),
        "events": ("eventsJson", xdr.DiagnosticEvent),
    }
    result = {"auth": ("authJson", xdr.SorobanAuthorizationEntry), "xdr": ("returnValueJson", xdr.SCVal)}
    change = {
        "key": ("keyJson", xdr.LedgerKey),
        "before": ("beforeJson", xdr.LedgerEntry),
        "after": ("afterJson", xdr.LedgerEntry),
    }
    converted = as_json(answer, top)
    for name, fields in (("results", result), ("stateChanges", change)):
        if name in converted:
            converted[name] = [as_json(item, fields) for item in converted[name]]
    return converted
