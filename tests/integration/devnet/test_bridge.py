"""HTTP and JSON-RPC as stellar-rpc's bridge speaks them (creachadair/jrpc2 v1.3.3, jhttp/bridge.go and json.go)."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from stellar_sdk import Address, Asset, Keypair, StrKey, xdr

from kalepool.networks import DEVNET

pytestmark = pytest.mark.anyio

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
JSON = {"Content-Type": "application/json"}
HEALTH = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}


def request(**changes: Any) -> str:
    """A request for getHealth with other members; a value of ... leaves one out."""
    members = {**HEALTH, **changes}
    return json.dumps({name: value for name, value in members.items() if value is not ...})


# Name, body, and for each answer in it (id, error code or None, part of the message); no answers: status 204.
REQUESTS: list[tuple[str, str, list[tuple[Any, int | None, str]]]] = [
    ("a call", request(), [(1, None, "")]),
    ("an id of text", request(id="x"), [("x", None, "")]),
    ("an id below 0", request(id=-7), [(-7, None, "")]),
    ("an id of 0", request(id=0), [(0, None, "")]),
    ("an empty id", request(id=""), [("", None, "")]),
    ("a broken id", request(id=1.5), [(1.5, None, "")]),
    ("an id of null: nobody waits", request(id=None), []),
    ("no id", request(id=...), []),
    ("nothing in a batch", "[]", []),
    ("a batch of notifications", f"[{request(id=...)}, {request(id=None)}]", []),
    ("an id that is true", request(id=True), [(None, INVALID_REQUEST, "invalid request ID")]),
    ("an id that is a list", request(id=[1]), [(None, INVALID_REQUEST, "invalid request ID")]),
    ("an id that is an object", request(id={}), [(None, INVALID_REQUEST, "invalid request ID")]),
    ("another member", request(extra=1), [(1, INVALID_REQUEST, "extra fields in request")]),
    ("a reply's member", request(result=1), [(1, INVALID_REQUEST, "mixed request and reply fields")]),
    ("a reply's error", request(error={"code": 1}), [(1, INVALID_REQUEST, "mixed request and reply fields")]),
    ("an error that is none", request(error=7), [(1, PARSE_ERROR, "invalid error value")]),
    ("no version", request(jsonrpc=...), [(1, INVALID_REQUEST, "invalid version marker")]),
    ("version 1", request(jsonrpc="1.0"), [(1, INVALID_REQUEST, "invalid version marker")]),
    ("a version that is a number", request(jsonrpc=2.0), [(1, PARSE_ERROR, "invalid version key")]),
    ("no method", request(method=...), [(1, INVALID_REQUEST, "empty method name")]),
    ("a method that is null", request(method=None), [(1, INVALID_REQUEST, "empty method name")]),
    ("a method that is a number", request(method=5), [(1, PARSE_ERROR, "invalid method name")]),
    ("a method nobody has", request(method="getNothing"), [(1, NO_METHOD, "method not found")]),
    ("the library's own method", request(method="rpc.serverInfo"), [(1, NO_METHOD, "method not found")]),
    ("parameters of text", request(params="x"), [(1, INVALID_REQUEST, "parameters must be array or object")]),
    ("parameters that are null", request(params=None), [(1, None, "")]),
    ("no parameters in an object", request(params={}), [(1, None, "")]),
    ("parameters in a list", request(params=[]), [(1, INVALID_PARAMS, "invalid parameters")]),
    ("a wrong type", request(method="getTransaction", params={"hash": 7}), [(1, INVALID_PARAMS, "invalid parameters")]),
    ("a parameter that is unknown", request(params={"more": 1}), [(1, None, "")]),
    ("a number", "5", [(None, PARSE_ERROR, "request is not a JSON object")]),
    ("a text", '"x"', [(None, PARSE_ERROR, "request is not a JSON object")]),
    ("null", "null", [(None, INVALID_REQUEST, "invalid version marker")]),
    ("half of an object", "{", [(None, PARSE_ERROR, "invalid request value")]),
    ("nothing", "", [(None, PARSE_ERROR, "invalid request value")]),
    ("no JSON number", request()[:-1] + ', "params": {"a": NaN}}', [(None, PARSE_ERROR, "invalid request value")]),
    ("nested too deep", "[" * 100_000 + "]" * 100_000, [(None, PARSE_ERROR, "invalid request value")]),
    (
        "parameters nested too deep",
        request()[:-1] + ', "params": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}}",
        [(None, PARSE_ERROR, "invalid request value")],
    ),
    (
        "a batch of good and bad: the bad first",
        f"[{request(id=1)}, 7, {request(id=2, method='x')}, {request(id=...)}]",
        [(None, PARSE_ERROR, "not a JSON object"), (1, None, ""), (2, NO_METHOD, "method not found")],
    ),
    ("the same id twice", f"[{request(id=1)}, {request(id=1)}]", [(1, None, ""), (1, None, "")]),
]


async def test_requests_are_read_as_by_stellar_rpc(client) -> None:
    for name, body, expected in REQUESTS:
        async with client.http.post(client.devnet.url, data=body.encode(), headers=JSON) as response:
            assert response.status == (200 if expected else 204), name
            if not expected:
                continue
            answers = await response.json()
        assert isinstance(answers, list) == (body.startswith("[") and len(body) < 10_000), name
        for answer, (identity, code, message) in zip(
            answers if isinstance(answers, list) else [answers], expected, strict=True
        ):
            assert answer["id"] == identity and type(answer["id"]) is type(identity), name
            assert answer.get("error", {}).get("code") == code, (name, answer)
            assert message in answer.get("error", {}).get("message", ""), (name, answer)


async def test_errors_have_data_where_stellar_rpcs_do(client) -> None:
    for changes, data in (
        ({"method": "getNothing"}, "getNothing"),
        ({"extra": 1}, ["extra"]),
        ({"params": [1]}, "json: cannot unmarshal array into Go value of type protocol.GetHealthRequest"),
    ):
        answer = await client.post({**HEALTH, **changes})
        assert answer["error"]["data"] == data


TYPES = [
    ("application/json", 200),
    ("application/json; charset=utf-8", 200),
    ("application/json; charset=latin-1", 415),
    ("text/plain", 415),
    ("application/x-www-form-urlencoded", 415),
    (None, 415),
]


async def test_a_body_must_say_that_it_is_json(client) -> None:
    for kind, status in TYPES:
        headers = {} if kind is None else {"Content-Type": kind}
        skip = ["Content-Type"] if kind is None else None
        async with client.http.post(
            client.devnet.url, data=json.dumps(HEALTH).encode(), headers=headers, skip_auto_headers=skip
        ) as response:
            assert response.status == status, kind
            assert response.headers["Accept-Post"] == "application/json"
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        async with client.http.request(method, client.devnet.url) as response:
            assert (response.status, response.headers["Accept-Post"]) == (405, "application/json"), method


async def test_every_answer_may_be_read_by_a_web_page(client) -> None:
    origin = {"Origin": "https://wallet.example"}

    def allowed(response: aiohttp.ClientResponse) -> str | None:
        return response.headers.get("Access-Control-Allow-Origin")

    for path, headers, status in (
        ("/", JSON, 200),
        ("/", {"Content-Type": "text/plain"}, 415),
        ("/nothing", JSON, 404),
        ("/friendbot?addr=nobody", JSON, 400),
    ):
        async with client.http.post(
            client.devnet.url + path, data=json.dumps(HEALTH).encode(), headers={**origin, **headers}
        ) as response:
            assert (response.status, allowed(response)) == (status, origin["Origin"]), path
    too_large = {**HEALTH, "params": {"x": "y" * 600_000}}
    async with client.http.post(client.devnet.url, json=too_large, headers=origin) as response:
        assert (response.status, allowed(response)) == (413, origin["Origin"])
    client.devnet.node.faults.add({"kind": "unavailable"})
    async with client.http.post(client.devnet.url, json=HEALTH, headers=origin) as response:
        assert (response.status, allowed(response)) == (503, origin["Origin"])
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, x-key"}
    async with client.http.options(client.devnet.url, headers=asked) as response:
        assert (response.status, allowed(response)) == (204, origin["Origin"])
        assert response.headers["Access-Control-Allow-Methods"] == "POST"
        assert response.headers["Access-Control-Allow-Headers"] == "content-type, x-key"
    async with client.http.post(client.devnet.url, json=HEALTH) as response:
        assert allowed(response) is None and response.headers["Vary"] == "Origin"


def _account_key(key: bytes) -> str:
    account = xdr.LedgerKeyAccount(Keypair.from_public_key(StrKey.encode_ed25519_public_key(key)).xdr_account_id())
    return xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=account).to_xdr()


async def test_keys_are_asked_for_once_each(client) -> None:
    """stellar-core v27.1.0, src/main/QueryServer.cpp:322 and :345; ledgerentries of stellar-rpc v27.1.1."""
    key = _account_key(bytes(32))
    refused = "could not query captive core: "
    assert await client.refuse("getLedgerEntries", keys=[]) == (INTERNAL, f"{refused}no keys specified in request")
    assert await client.refuse("getLedgerEntries") == (INTERNAL, f"{refused}no keys specified in request")
    code, message = await client.refuse("getLedgerEntries", keys=[key, key])
    assert (code, message) == (INTERNAL, f"{refused}http request failed with non-200 status code (404)")
    missing = _account_key(b"\1" * 32)
    code, _ = await client.refuse("getLedgerEntries", keys=[missing, missing])
    assert code == INTERNAL


async def test_the_account_that_sdks_read_as_is_there(client) -> None:
    """GAAA…WHF, which clients name as the source of what they only simulate."""
    answer = await client.call("getLedgerEntries", keys=[_account_key(bytes(32))])
    entry = xdr.LedgerEntryData.from_xdr(answer["entries"][0]["xdr"]).account
    assert entry is not None and entry.balance.int64 > 0


async def test_friendbot_funds_contracts(client) -> None:
    contract = StrKey.encode_contract(b"\7" * 32)
    status, answer = await client.friendbot(contract)
    assert status == 200 and answer["successful"]
    status, _ = await client.friendbot(contract, kale="25")
    assert status == 200
    assert (await client.friendbot(contract))[0] == 200  # again: nothing was to be made
    alice = await client.account("alice", kale=None)
    native = Asset.native().contract_id(DEVNET.passphrase)
    balance = Address(contract).to_xdr_sc_address()
    value = xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=balance)
    assert await client.invoke(alice, native, "balance", value) == 2 * 10_000 * 10**7
    assert await client.invoke(alice, DEVNET.asset_contract_id, "balance", value) == 25 * 10**7
    assert (await client.friendbot("CABC"))[0] == 400
