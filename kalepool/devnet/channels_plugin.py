"""Stellar Channels as OpenZeppelin's plugin serves it: signed transactions, wrapped in a fee-bump that it pays for.

It answers as relayer-plugin-channels 0.21.0 does, behind the relayer's own envelope (tests/conformance/channels.json).
What needs channel accounts, a function with its authorisations or an unsigned transaction, is refused as by a plugin
that has none. Every API key that is given is known, and has a limit of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import structlog
from stellar_sdk import FeeBumpTransaction, FeeBumpTransactionEnvelope, StrKey, TransactionEnvelope, xdr

from kalepool.devnet import wire
from kalepool.devnet.faults import FaultKind
from kalepool.devnet.friendbot import Friendbot, FriendbotError
from kalepool.devnet.genesis import derived_keypair
from kalepool.devnet.ledger.queue import SendStatus
from kalepool.devnet.node import Node
from kalepool.networks import DEVNET

log = structlog.get_logger()

FUND = "channels fund"
"""The name of the account that pays."""

ADMIN_SECRET = "devnet"  # everybody's who reaches this devnet
METHOD = "channels"
"""What faults call it."""

INCLUSION_FEE = {True: 201, False: 203}
"""For contracts that it limits, KALE's and the tractor, and for others."""

CLASSIC_FEE = 100_000
FEE_LEEWAY = 201
MAX_VALIDITY_SECONDS = 60
WAIT_SECONDS = 25.0


class PluginError(Exception):
    """An error of the plugin's: `data` is what the relayer answers with it."""

    def __init__(self, message: str, code: str | None, status: int, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        given = {"code": code, "details": details}
        self.data = {name: value for name, value in given.items() if value is not None}


@dataclass(slots=True)
class _Account:
    """What an API key has used up, and may. Stroops."""

    consumed: int = 0
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction of the relayer's, as it was sent to the network, and why that did not take it."""

    hash: bytes
    refused: str | None


class ChannelsPlugin:
    """One for a devnet. `fee_limit`: stroops that an API key may cost, None for no limit."""

    def __init__(self, node: Node, friendbot: Friendbot, *, fee_limit: int | None = None) -> None:
        self._node, self._friendbot, self._fee_limit = node, friendbot, fee_limit
        self._fund = derived_keypair(DEVNET, FUND)
        self._keys: dict[str, _Account] = {}
        self._sent: dict[str, _Sent] = {}

    @property
    def address(self) -> str:
        """Who pays."""
        return self._fund.public_key

    async def run(self) -> None:
        """Has the paying account funded, once ledgers close."""
        while self._node.ledger.view.account(wire.account_key(self.address)) is None:
            try:
                await self._friendbot.fund(self.address)
            except (FriendbotError, TimeoutError) as error:
                log.debug("channels_not_funded", reason=str(error))
                await self._node.wait_ledger()

    async def serve(self, authorization: list[str], api_key: str | None, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer to one call. `authorization`: the request's headers of this name; `api_key`: its
        x-api-key, for which the managed service takes the first one's."""
        given = authorization[0].removeprefix("Bearer ") if len(authorization) == 1 else ""
        if not given or not authorization[0].startswith("Bearer ") or " " in given:
            return 401, {"success": False, "code": 401, "error": "Unauthorized", "message": "Unauthorized"}
        params = cast("dict[str, Any]", body).get("params") if isinstance(body, dict) else None
        try:
            return 200, {"success": True, "data": await self._call(api_key or given, params), "error": None}
        except PluginError as error:
            return error.status, {"success": False, "data": error.data, "error": str(error)}

    async def _call(self, api_key: str, params: Any) -> dict[str, Any]:
        if isinstance(params, dict) and isinstance(params.get("management"), dict):
            return self._manage(cast("dict[str, Any]", params["management"]))
        params = _require_params(params)
        if "getTransaction" in params:
            return self._look_up(params["getTransaction"]["transactionId"].strip())
        if "xdr" not in params:
            raise _no_channels()
        if self._node.ledger.view.account(wire.account_key(self.address)) is None:
            details = {"relayerId": "channels-fund"}
            raise PluginError("Fund relayer not found", "RELAYER_UNAVAILABLE", 502, details)
        return await self._submit(api_key, params["xdr"].strip(), skip_wait=params.get("skipWait") is True)

    # Transactions

    async def _submit(self, api_key: str, text: str, *, skip_wait: bool) -> dict[str, Any]:
        try:
            parsed = xdr.TransactionEnvelope.from_xdr(text)
        except Exception:  # the SDK's decoder raises EOFError, struct.error, ValueError and others of its own
            raise PluginError("Internal server error", None, 500) from None
        if parsed.v1 is None:
            raise PluginError("Internal server error", None, 500)
        if not parsed.v1.signatures:
            raise _unsigned(parsed.v1)
        # The plugin goes by its own clock: here that of the chain, where it was moved ahead.
        closed = self._node.ledger.header.close_time
        _require_valid(parsed.v1.tx, closed if self._node.is_manual else max(int(time.time()), closed))
        if self._node.faults.take(FaultKind.CAPACITY, METHOD):
            raise _no_capacity(_contract_of(parsed.v1.tx))
        fee = _max_fee(parsed.v1.tx)
        account = self._keys.setdefault(api_key, _Account())
        self._require_budget(account, fee)
        name = str(uuid4())
        sent = self._sent[name] = self._send(text, fee)
        if skip_wait:
            account.consumed += fee
            return {"transactionId": name, "status": "pending", "hash": None}
        return await self._wait(name, sent, account, fee)

    def _require_budget(self, account: _Account, fee: int) -> None:
        limit = account.limit if account.limit is not None else self._fee_limit
        if self._node.faults.take(FaultKind.FEE_LIMIT, METHOD):
            limit = account.consumed
        if limit is not None and account.consumed + fee > limit:
            remaining = limit - account.consumed
            raise PluginError(
                f"Transaction fee ({fee} stroops) exceeds remaining budget ({remaining} stroops). "
                f"Consumed: {account.consumed}/{limit} stroops.",
                "FEE_LIMIT_EXCEEDED",
                429,
                {"consumed": account.consumed, "fee": fee, "remaining": remaining, "limit": limit},
            )

    def _send(self, text: str, fee: int) -> _Sent:
        inner = TransactionEnvelope.from_xdr(text, DEVNET.passphrase)
        envelope = FeeBumpTransactionEnvelope(FeeBumpTransaction(self._fund, fee, inner), DEVNET.passphrase)
        envelope.sign(self._fund)
        transaction = self._node.ledger.parse(envelope.to_xdr_object().to_xdr_bytes())
        answer = self._node.queue(transaction)
        refused = None
        if answer.status not in (SendStatus.PENDING, SendStatus.DUPLICATE):
            refused = answer.status.value if answer.result is None else answer.result.code.name
            log.debug("channels_refused_by_network", reason=refused)
        return _Sent(transaction.hash, refused)

    async def _wait(self, name: str, sent: _Sent, account: _Account, fee: int) -> dict[str, Any]:
        """As long as the plugin waits for a ledger."""
        if sent.refused is None:
            try:
                await asyncio.wait_for(self._node.wait_applied(sent.hash), WAIT_SECONDS)
            except TimeoutError:
                details = {"id": name, "hash": sent.hash.hex()}
                raise PluginError(
                    "Transaction wait timeout. It may still submit.", "WAIT_TIMEOUT", 504, details
                ) from None
        found = self._look_up(name)
        account.consumed += fee
        if found["status"] != "confirmed":
            reason = sent.refused or "Transaction failed"
            details = {"status": "failed", "reason": reason, "id": name, "hash": sent.hash.hex(), "resultCode": None}
            raise PluginError(reason, "ONCHAIN_FAILED", 400, {**details, "labUrl": None})
        return found

    def _look_up(self, name: str) -> dict[str, Any]:
        sent = self._sent.get(name)
        if sent is None:
            raise PluginError(f"Transaction with ID {name} not found", None, 500)
        row = self._node.store.transaction(sent.hash)
        if row is not None:
            status = "confirmed" if row.record.success else "failed"
        elif sent.refused is not None:
            status = "failed"
        else:
            status = "submitted" if self._node.ledger.queue.holds(sent.hash) else "expired"
        return {"transactionId": name, "status": status, "hash": sent.hash.hex()}

    # Management

    def _manage(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if str(asked.get("adminSecret") or "") != ADMIN_SECRET:
            raise PluginError("Unauthorized", "UNAUTHORIZED", 401)
        action = str(asked.get("action") or "")
        if action == "listChannelAccounts":
            return {"relayerIds": []}
        if action not in ("getFeeUsage", "getFeeLimit", "setFeeLimit", "deleteFeeLimit"):
            raise PluginError("Invalid management action", "INVALID_ACTION", 400)
        api_key = asked.get("apiKey")
        if not isinstance(api_key, str) or not api_key:
            raise PluginError("Invalid payload: apiKey is required", "INVALID_PAYLOAD", 400)
        account = self._keys.setdefault(api_key, _Account())
        if action == "setFeeLimit":
            limit = asked.get("limit")
            if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
                message = "Invalid payload: limit must be a non-negative number"
                raise PluginError(message, "INVALID_PAYLOAD", 400)
            account.limit = int(limit)
            return {"ok": True, "limit": account.limit}
        if action == "deleteFeeLimit":
            account.limit = None
            return {"ok": True}
        limit = account.limit if account.limit is not None else self._fee_limit
        known = {} if limit is None else {"limit": limit}
        if action == "getFeeLimit":
            return known
        rest = {} if limit is None else {"remaining": max(0, limit - account.consumed)}
        return {"consumed": account.consumed, **known, **rest}


def _invalid(message: str, details: dict[str, Any] | None = None) -> PluginError:
    return PluginError(message, "INVALID_PARAMS", 400, details)


def _require_params(given: Any) -> dict[str, Any]:
    """The plugin's validation.ts."""
    if isinstance(given, list):  # an object too, in the plugin's language
        given = {}
    if not isinstance(given, dict):
        raise _invalid("Invalid request: params must be an object")
    params = cast("dict[str, Any]", given)
    if "getTransaction" in params:
        _require_only(params, ("getTransaction", "fundRelayerId"), "`getTransaction` request must not include other")
        _require_fund(params)
        _require_name(params["getTransaction"])
    elif "xdr" in params:
        if not isinstance(params["xdr"], str) or not params["xdr"].strip():
            raise _invalid("`xdr` must be a non-empty base64 string")
        _require_only(params, ("xdr", "skipWait", "fundRelayerId"), "`xdr` request must not include other")
        _require_flag(params)
        _require_fund(params)
    elif "func" in params or "auth" in params:
        if not params.get("func") or params.get("auth") in (None, "", 0, False):
            raise _invalid("`func` and `auth` are both required when omitting `xdr`")
        _require_call(params["func"], params["auth"])
        _require_flag(params)
        _require_fund(params)
    else:
        raise _invalid("Must pass either `xdr` or `func` and `auth`")
    fund = params.get("fundRelayerId")
    if fund is not None:
        message = f"Fund relayer '{fund.strip()}' is not in the allowed list"
        raise PluginError(message, "CONFIG_MISSING", 400, {"fundRelayerId": fund.strip()})
    return params


def _require_name(asked: Any) -> None:
    name = cast("dict[str, Any]", asked).get("transactionId") if isinstance(asked, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise _invalid("`getTransaction.transactionId` must be a non-empty string")
    unknown = [key for key in asked if key != "transactionId"]
    if unknown:
        raise _invalid("`getTransaction` must only contain `transactionId`", {"unknown": unknown})


def _require_fund(params: Mapping[str, Any]) -> None:
    if "fundRelayerId" in params:
        fund = params["fundRelayerId"]
        if not isinstance(fund, str) or not fund.strip():
            raise _invalid("`fundRelayerId` must be a non-empty string")


def _require_only(params: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    unknown = [name for name in params if name not in names]
    if unknown:
        raise _invalid(f"{what} parameters", {"unknown": unknown})


def _require_flag(params: Mapping[str, Any]) -> None:
    if "skipWait" in params and not isinstance(params["skipWait"], bool):
        raise _invalid("`skipWait` must be a boolean")


def _require_call(function: Any, auth: Any) -> None:
    """That both are what they should be, as base64 of XDR, and nothing that only a source account may authorise."""
    try:
        xdr.HostFunction.from_xdr(function)
        if not isinstance(auth, list):
            raise TypeError("auth must be an array of base64 strings")
        entries = [xdr.SorobanAuthorizationEntry.from_xdr(entry) for entry in cast("list[Any]", auth)]
    except Exception as error:
        raise _invalid("Invalid `func` or `auth` encoding", {"message": str(error)}) from None
    by_source = xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
    if any(entry.credentials.type == by_source for entry in entries):
        raise _invalid(
            "Detached address credentials required: source-account credentials are incompatible with relayer-managed "
            "channel accounts",
            {"reason": "source-account credentials not allowed"},
        )


def _unsigned(envelope: xdr.TransactionV1Envelope) -> PluginError:
    operations = envelope.tx.operations
    if len(operations) == 1 and operations[0].body.invoke_host_function_op is not None:
        return _no_channels()
    kind = {"operationType": _camel(operations[0].body.type.name)} if operations else {}
    return PluginError(
        "Unsigned XDR must contain exactly one invokeHostFunction operation",
        "INVALID_UNSIGNED_XDR",
        400,
        {"operationCount": len(operations), **kind},
    )


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def _no_channels() -> PluginError:
    message = "No channel accounts configured. Use the management API to set channel accounts."
    return PluginError(message, "NO_CHANNELS_CONFIGURED", 503)


def _no_capacity(contract: str | None) -> PluginError:
    details = {"reason": "limited_contract_capacity", "capacityRatio": 0.8, "maxSpins": 12}
    if contract is not None:
        details["contractId"] = contract
    return PluginError("Too many transactions queued. Please try again later", "POOL_CAPACITY", 503, details)


def _require_valid(transaction: xdr.Transaction, now: int) -> None:
    """The plugin's tx.ts. `now`: a unix time."""
    fee = transaction.fee.uint32
    data = transaction.ext.soroban_data
    if data is not None and fee > data.resource_fee.int64 + FEE_LEEWAY:
        details = {"fee": str(fee), "resourceFee": str(data.resource_fee.int64)}
        raise PluginError("Transaction fee must be equal to the resource fee", "FEE_MISMATCH", 400, details)
    bounds = transaction.cond.time_bounds
    if bounds is None and transaction.cond.v2 is not None:
        bounds = transaction.cond.v2.time_bounds
    last = 0 if bounds is None else bounds.max_time.time_point.uint64
    if last and last < now:
        message = "Transaction has expired: `timeBounds.maxTime` is in the past"
        raise PluginError(message, "TIMEBOUNDS_EXPIRED", 400, {"maxTime": last, "now": now})
    if last and last - now > MAX_VALIDITY_SECONDS:
        raise PluginError(
            "Transaction `timeBounds.maxTime` too far into the future. Must be no greater than "
            f"{MAX_VALIDITY_SECONDS} seconds",
            "TIMEBOUNDS_TOO_FAR",
            400,
        )


def _contract_of(transaction: xdr.Transaction) -> str | None:
    if len(transaction.operations) != 1 or (call := transaction.operations[0].body.invoke_host_function_op) is None:
        return None
    invoked = call.host_function.invoke_contract
    if invoked is None or invoked.contract_address.contract_id is None:
        return None
    return StrKey.encode_contract(invoked.contract_address.contract_id.contract_id.hash)


def _max_fee(transaction: xdr.Transaction) -> int:
    """The plugin's fee.ts."""
    resource_fee = transaction.ext.soroban_data.resource_fee.int64 if transaction.ext.soroban_data else 0
    inclusion = INCLUSION_FEE[_contract_of(transaction) in (DEVNET.contract_id, DEVNET.tractor_id)]
    computed = resource_fee + inclusion if resource_fee > 0 else CLASSIC_FEE + inclusion
    fee = transaction.fee.uint32
    return computed if computed >= fee else fee + inclusion
