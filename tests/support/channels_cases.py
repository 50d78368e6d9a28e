"""Calls of Stellar Channels, each with what the real plugin answered (tests/conformance/channels.json).

`python -m tests.support.channels_cases FOLDER` asks it again: npm has installed @openzeppelin/relayer-plugin-channels
in that folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stellar_sdk import (
    Account,
    Address,
    Asset,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    Keypair,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)

from kalepool.networks import DEVNET

ANSWERS = Path(__file__).parent.parent / "conformance" / "channels.json"
KEY = "a key"
ADMIN_SECRET = "devnet"
RESOURCE_FEE = 30_000
SOURCE = Keypair.from_raw_ed25519_seed(bytes(range(32)))


def _data() -> xdr.SorobanTransactionData:
    contract = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            Address(DEVNET.contract_id).to_xdr_sc_address(),
            scval.to_symbol("Pail"),
            xdr.ContractDataDurability.TEMPORARY,
        ),
    )
    resources = xdr.SorobanResources(
        xdr.LedgerFootprint([], [contract]), xdr.Uint32(1_000_000), xdr.Uint32(1000), xdr.Uint32(1000)
    )
    ext = xdr.SorobanTransactionDataExt(0)
    return xdr.SorobanTransactionData(ext, resources, xdr.Int64(RESOURCE_FEE))


def call(*, valid_for: int = 20, fee: int = RESOURCE_FEE + 100, signed: bool = True) -> TransactionEnvelope:
    """A call of KALE's harvest, which need not go well."""
    builder = TransactionBuilder(Account(SOURCE.public_key, 1), DEVNET.passphrase)
    builder.append_invoke_contract_function_op(
        DEVNET.contract_id, "harvest", [scval.to_address(SOURCE.public_key), scval.to_uint32(1)]
    )
    builder.add_time_bounds(0, int(time.time()) + valid_for)
    envelope = builder.build()
    envelope.transaction.soroban_data = _data()
    envelope.transaction.fee = fee
    if signed:
        envelope.sign(SOURCE)
    return envelope


def payment(*, signed: bool) -> TransactionEnvelope:
    builder = TransactionBuilder(Account(SOURCE.public_key, 1), DEVNET.passphrase)
    builder.append_payment_op(DEVNET.asset_issuer, Asset.native(), "1")
    builder.add_time_bounds(0, int(time.time()) + 20)
    envelope = builder.build()
    if signed:
        envelope.sign(SOURCE)
    return envelope


def bumped() -> str:
    bump = FeeBumpTransactionEnvelope(FeeBumpTransaction(SOURCE, RESOURCE_FEE + 400, call()), DEVNET.passphrase)
    bump.sign(SOURCE)
    return bump.to_xdr()


def _function() -> str:
    body = call().transaction.operations[0].to_xdr_object().body.invoke_host_function_op
    assert body is not None
    return body.host_function.to_xdr()


def _by_source() -> str:
    function = xdr.SorobanAuthorizedFunction(
        xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
        contract_fn=xdr.InvokeContractArgs(
            Address(DEVNET.contract_id).to_xdr_sc_address(), xdr.SCSymbol(b"harvest"), []
        ),
    )
    credentials = xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT)
    return xdr.SorobanAuthorizationEntry(credentials, xdr.SorobanAuthorizedInvocation(function, [])).to_xdr()


def cases() -> dict[str, dict[str, Any]]:
    """Name -> the call: `params`, and the `limit` in stroops that the key has, if any."""
    management = {"adminSecret": ADMIN_SECRET, "apiKey": "another"}
    params: dict[str, Any] = {
        "taken": {"xdr": call().to_xdr(), "skipWait": True},
        "taken at the highest fee": {"xdr": call(fee=RESOURCE_FEE + 201).to_xdr(), "skipWait": True},
        "fee too high": {"xdr": call(fee=RESOURCE_FEE + 202).to_xdr(), "skipWait": True},
        "expired": {"xdr": call(valid_for=-10).to_xdr()},
        "valid for too long": {"xdr": call(valid_for=90).to_xdr()},
        "fee-bump": {"xdr": bumped()},
        "no transaction": {"xdr": "AAAA"},
        "no base64": {"xdr": "?"},
        "unsigned payment": {"xdr": payment(signed=False).to_xdr()},
        "unsigned call": {"xdr": call(signed=False).to_xdr()},
        "payment": {"xdr": payment(signed=True).to_xdr(), "skipWait": True},
        "no object": ["xdr"],
        "nothing": {},
        "empty xdr": {"xdr": " "},
        "number as xdr": {"xdr": 1},
        "xdr and func": {"xdr": call().to_xdr(), "func": "AAAA"},
        "skipWait as text": {"xdr": call().to_xdr(), "skipWait": "false"},
        "empty fund": {"xdr": call().to_xdr(), "fundRelayerId": ""},
        "unknown fund": {"xdr": call().to_xdr(), "fundRelayerId": " other "},
        "look-up without id": {"getTransaction": {}},
        "look-up and xdr": {"getTransaction": {"transactionId": "1"}, "xdr": "AAAA"},
        "look-up with more": {"getTransaction": {"transactionId": "1", "hash": "2"}},
        "func without auth": {"func": _function()},
        "no func": {"func": "AAAA", "auth": []},
        "auth of the source": {"func": _function(), "auth": [_by_source()]},
        "func": {"func": _function(), "auth": []},
        "wrong secret": {"management": {"adminSecret": "x", "action": "getFeeUsage"}},
        "unknown action": {"management": {**management, "action": "x"}},
        "usage of nobody": {"management": {"adminSecret": ADMIN_SECRET, "action": "getFeeUsage"}},
        "usage": {"management": {**management, "action": "getFeeUsage"}},
        "no limit": {"management": {**management, "action": "getFeeLimit"}},
        "wrong limit": {"management": {**management, "action": "setFeeLimit", "limit": "1"}},
        "limit": {"management": {**management, "action": "setFeeLimit", "limit": 5.5}},
        "limit taken back": {"management": {**management, "action": "deleteFeeLimit"}},
        "channels": {"management": {"adminSecret": ADMIN_SECRET, "action": "listChannelAccounts"}},
    }
    found: dict[str, dict[str, Any]] = {name: {"params": value} for name, value in params.items()}
    found["limit reached"] = {"params": params["taken"], "limit": 30_200}
    found["limit just enough"] = {"params": params["taken"], "limit": 30_201}
    return found


def record(folder: Path) -> None:
    script = Path(__file__).with_name("record_channels.cjs")
    asked = {
        "cases": cases(),
        "key": KEY,
        "admin": ADMIN_SECRET,
        "limited": [DEVNET.contract_id, DEVNET.tractor_id],
        "data": _data().to_xdr(),
    }
    done = subprocess.run(
        ["node", str(script), str(folder)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    ANSWERS.write_text(json.dumps(json.loads(done.stdout), indent=1) + "\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
