"""JSON-RPC as stellar-rpc speaks it: names and forms of fields, error codes, paging, formats."""

from __future__ import annotations

import asyncio

import pytest
from stellar_sdk import Address, Asset, Claimant, ClaimPredicate, Keypair, TextMemo, scval, xdr

from kalepool.networks import DEVNET

pytestmark = pytest.mark.anyio

INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32600, -32601, -32602


def _instance_key() -> str:
    contract = Address(DEVNET.contract_id).to_xdr_sc_address()
    key = xdr.LedgerKeyContractData(
        contract, xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE), xdr.ContractDataDurability.PERSISTENT
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=key).to_xdr()


def _account_key(key: Keypair) -> str:
    account = xdr.LedgerKeyAccount(key.xdr_account_id())
    return xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=account).to_xdr()


async def test_requests_that_are_not_json_rpc_are_refused(client) -> None:
    json = {"Content-Type": "application/json"}
    async with client.http.post(client.devnet.url, data=b"{", headers=json) as response:
        assert (await response.json())["error"]["code"] == -32700
    assert (await client.post({"id": 1, "method": "getHealth"}))["error"]["code"] == INVALID_REQUEST
    assert await client.refuse("getNothing") == (NO_METHOD, "method not found")
    by_list = {"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": [1]}
    assert (await client.post(by_list))["error"]["code"] == INVALID_PARAMS
    wrong = {"jsonrpc": "2.0", "id": "x", "method": "getTransaction", "params": {"hash": 7}}
    answer = await client.post(wrong)
    assert answer["error"]["code"] == INVALID_PARAMS and answer["id"] == "x"
    async with client.http.get(client.devnet.url) as response:
        assert response.status == 405
    too_large = {"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": {"x": "y" * 600_000}}
    async with client.http.post(client.devnet.url, json=too_large) as response:
        assert response.status == 413


async def test_batches_and_notifications(client) -> None:
    call = {"jsonrpc": "2.0", "method": "getHealth"}
    answers = await client.post([{**call, "id": 1}, call, {**call, "id": 2, "method": "getNetwork"}])
    assert [answer["id"] for answer in answers] == [1, 2]
    async with client.http.post(client.devnet.url, json=call) as response:
        assert response.status == 204


async def test_numbers_have_stellar_rpcs_forms(client) -> None:
    alice = await client.account("alice", kale=None)
    health = await client.call("getHealth")
    assert {name: type(value) for name, value in health.items()} == {
        "status": str,
        "latestLedger": int,
        "latestLedgerCloseTime": str,
        "oldestLedger": int,
        "oldestLedgerCloseTime": str,
        "ledgerRetentionWindow": int,
    }
    latest = await client.call("getLatestLedger")
    assert isinstance(latest["closeTime"], str) and isinstance(latest["sequence"], int)
    stats = await client.call("getFeeStats")
    assert stats["inclusionFee"]["max"] == "100" and isinstance(stats["inclusionFee"]["ledgerCount"], int)
    done = await client.send(alice, lambda b: b.append_payment_op(alice.public_key, Asset.native(), "1"))
    single = await client.call("getTransaction", hash=done.transaction_hash)
    (several,) = (await client.call("getTransactions", startLedger=done.ledger))["transactions"]
    assert single["createdAt"] == str(several["createdAt"])
    assert set(several) - set(single) == set()
    missing = await client.call("getTransaction", hash="0" * 64)
    assert missing["status"] == "NOT_FOUND" and missing["createdAt"] == "0" and "envelopeXdr" not in missing
    ledger = (await client.call("getLedgers", startLedger=1))["ledgers"][0]
    assert isinstance(ledger["ledgerCloseTime"], str)


async def test_get_ledger_entries(client) -> None:
    alice = await client.account("alice", kale=None)
    keys = [_instance_key(), _account_key(Keypair.random()), _account_key(alice)]
    answer = await client.call("getLedgerEntries", keys=keys)
    assert [entry["key"] for entry in answer["entries"]] == [keys[0], keys[2]]
    instance, account = answer["entries"]
    assert instance["liveUntilLedgerSeq"] > answer["latestLedger"] and "liveUntilLedgerSeq" not in account
    entry = xdr.LedgerEntryData.from_xdr(account["xdr"]).account
    assert entry is not None and entry.balance.int64 == 10_000 * 10**7
    as_json = await client.call("getLedgerEntries", keys=keys[2:], xdrFormat="json")
    assert as_json["entries"][0]["dataJson"]["account"]["account_id"] == alice.public_key
    setting = xdr.LedgerKeyConfigSetting(xdr.ConfigSettingID.CONFIG_SETTING_CONTRACT_COMPUTE_V0)
    setting_key = xdr.LedgerKey(xdr.LedgerEntryType.CONFIG_SETTING, config_setting=setting).to_xdr()
    assert len((await client.call("getLedgerEntries", keys=[setting_key]))["entries"]) == 1
    ttl = xdr.LedgerKey(xdr.LedgerEntryType.TTL, ttl=xdr.LedgerKeyTtl(xdr.Hash(bytes(32)))).to_xdr()
    for bad, message in (
        ([ttl], "ledger ttl entries cannot be queried directly"),
        (["AAAA"], "cannot unmarshal key value AAAA at index 0"),
        ([keys[0], "?"], "cannot unmarshal key value ? at index 1"),
        (keys[:1] * 201, "key count (201) exceeds maximum supported (200)"),
    ):
        assert await client.refuse("getLedgerEntries", keys=bad) == (INVALID_PARAMS, message)


async def test_send_and_simulate_say_what_is_wrong(client) -> None:
    alice = await client.account("alice", kale=None)
    assert await client.refuse("sendTransaction", transaction="AAAA") == (INVALID_PARAMS, "invalid_xdr")
    unsigned = await client.build(alice, lambda b: b.append_payment_op(alice.public_key, Asset.native(), "1"))
    sent = await client.call("sendTransaction", transaction=unsigned.to_xdr())
    assert sent["status"] == "ERROR" and sent["hash"] == unsigned.hash_hex()
    result = xdr.TransactionResult.from_xdr(sent["errorResultXdr"])
    assert result.result.code is xdr.TransactionResultCode.txBAD_AUTH
    as_json = await client.call("sendTransaction", transaction=unsigned.to_xdr(), xdrFormat="json")
    assert as_json["errorResultJson"]["fee_charged"] == "100" and "errorResultXdr" not in as_json
    for transaction, reason in (
        ("AAAA", "Could not unmarshal transaction"),
        (unsigned.to_xdr(), "unsupported operation type"),
    ):
        assert reason in (await client.call("simulateTransaction", transaction=transaction))["error"]
    farmer = scval.to_address(alice.public_key)
    plant = await client.build(
        alice, lambda b: b.append_invoke_contract_function_op(DEVNET.contract_id, "plant", [farmer, scval.to_int128(0)])
    )
    simulated = await client.call("simulateTransaction", transaction=plant.to_xdr())
    assert isinstance(simulated["minResourceFee"], str)
    assert {change["type"] for change in simulated["stateChanges"]} == {"created", "updated"}
    assert all("before" in change for change in simulated["stateChanges"])
    wrong_mode = await client.call("simulateTransaction", transaction=plant.to_xdr(), authMode="maybe")
    assert wrong_mode["error"].startswith("optional 'authMode' must be one of enforce,record,record_allow_nonroot")
    as_json = await client.call("simulateTransaction", transaction=plant.to_xdr(), xdrFormat="json")
    assert as_json["results"][0]["returnValueJson"] == "void" and "footprint" in str(as_json["transactionDataJson"])


async def test_ranges_and_cursors_are_checked(client) -> None:
    await client.account("alice", kale=None)
    latest = (await client.call("getLatestLedger"))["sequence"]
    outside = f"start ledger ({latest + 1}) must be between the oldest ledger: 1 and the latest ledger: {latest}"
    for method in ("getTransactions", "getLedgers"):
        code, message = await client.refuse(method, startLedger=latest + 1)
        assert code == INVALID_REQUEST and message.startswith(outside)
        code, message = await client.refuse(method, startLedger=1, pagination={"cursor": "5"})
        assert message == "startLedger (1) and cursor (5) cannot both be set"
        code, message = await client.refuse(method, startLedger=1, pagination={"limit": 201})
        assert message == "limit must not exceed 200"
        assert (await client.refuse(method, pagination={"cursor": "x"}))[0] == INVALID_PARAMS
    first = await client.call("getLedgers", startLedger=1, pagination={"limit": 1})
    second = await client.call("getLedgers", pagination={"cursor": first["cursor"], "limit": 1})
    assert [page["ledgers"][0]["sequence"] for page in (first, second)] == [1, 2]
    code, message = await client.refuse("getEvents", startLedger=latest + 5)
    assert (code, message) == (INVALID_REQUEST, f"startLedger must be within the ledger range: 1 - {latest}")
    assert await client.refuse("getEvents") == (INVALID_PARAMS, "startLedger must be positive")
    for filters in (
        [{"type": "loud"}],
        [{"contractIds": ["CABC"]}],
        [{"topics": [[]]}],
        [{"topics": [["**", "*"]]}],
        [{"topics": [["*"] * 5]}],
        [{"topics": [["nonsense"]]}],
        [{}] * 6,
    ):
        assert (await client.refuse("getEvents", startLedger=1, filters=filters))[0] == INVALID_PARAMS


async def test_events_are_filtered_and_paged(client) -> None:
    alice = await client.account("alice")
    everything = (await client.call("getEvents", startLedger=1))["events"]
    assert [event["id"] for event in everything] == sorted(event["id"] for event in everything)
    fee = scval.to_symbol("fee").to_xdr()
    fees = await client.call("getEvents", startLedger=1, filters=[{"topics": [[fee, "**"]]}])
    assert len(fees["events"]) == 3 and all(event["topic"][0] == fee for event in fees["events"])
    exact = await client.call("getEvents", startLedger=1, filters=[{"topics": [[fee]]}])
    assert exact["events"] == []
    kale = await client.call("getEvents", startLedger=1, filters=[{"contractIds": [DEVNET.asset_contract_id]}])
    assert [event["contractId"] for event in kale["events"]] == [DEVNET.asset_contract_id]
    found, page = [], {"startLedger": 1, "pagination": {"limit": 2}}
    for _ in everything:
        answer = await client.call("getEvents", **page)
        found += answer["events"]
        page = {"pagination": {"cursor": answer["cursor"], "limit": 2}}
    assert found == everything
    as_json = await client.call("getEvents", startLedger=1, xdrFormat="json", pagination={"limit": 1})
    assert as_json["events"][0]["topicJson"][0] == {"symbol": "fee"}
    assert alice.public_key in str(await client.call("getEvents", startLedger=1, xdrFormat="json"))


async def test_faults_happen_on_demand(client) -> None:
    faults = f"{client.devnet.url}/faults"
    alice = await client.account("alice", kale=None)
    payment = await client.build(alice, lambda b: b.append_payment_op(alice.public_key, Asset.native(), "1"))
    payment.sign(alice)

    async def fault(**fields: object) -> None:
        async with client.http.post(faults, json=fields) as response:
            assert response.status == 200, await response.text()

    await fault(kind="unavailable", method="getHealth")
    async with client.http.post(client.devnet.url, json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"}) as response:
        assert response.status == 503
    await fault(kind="drop", method="getHealth")
    with pytest.raises(Exception, match=r"[Dd]isconnected|reset"):
        await client.call("getHealth")
    await fault(kind="delay", method="getHealth", seconds=0.05)
    started = asyncio.get_running_loop().time()
    await client.call("getHealth")
    assert asyncio.get_running_loop().time() - started >= 0.05
    await fault(kind="try_again_later")
    assert (await client.call("sendTransaction", transaction=payment.to_xdr()))["status"] == "TRY_AGAIN_LATER"
    await fault(kind="lose")
    assert (await client.call("sendTransaction", transaction=payment.to_xdr()))["status"] == "PENDING"
    await client.devnet.close_ledger()
    assert (await client.call("getTransaction", hash=payment.hash_hex()))["status"] == "NOT_FOUND"
    await fault(kind="drop_answer", method="sendTransaction")
    with pytest.raises(Exception, match=r"[Dd]isconnected|reset"):
        await client.call("sendTransaction", transaction=payment.to_xdr())
    assert (await client.call("sendTransaction", transaction=payment.to_xdr()))["status"] == "DUPLICATE"
    await client.devnet.close_ledger()
    assert (await client.call("getTransaction", hash=payment.hash_hex()))["status"] == "SUCCESS"
    again = await client.build(alice, lambda b: b.append_payment_op(alice.public_key, Asset.native(), "2"))
    again.sign(alice)
    await fault(kind="duplicate", method="sendTransaction")
    assert (await client.call("sendTransaction", transaction=again.to_xdr()))["status"] == "DUPLICATE"
    async with client.http.post(faults, json={"kind": "flood"}) as response:
        assert response.status == 400
    await fault(kind="stuck", count=0)
    async with client.http.get(faults) as response:
        assert [item["kind"] for item in await response.json()] == ["stuck"]
    async with client.http.delete(faults) as response:
        assert await response.json() == []


async def test_what_a_bad_server_does_with_answers(client) -> None:
    """It hangs, answers a web page, and breaks off in the middle; a hung request has done nothing."""
    alice = await client.account("alice", kale=None)
    payments = []
    for amount in ("1", "2"):
        payment = await client.build(
            alice, lambda b, n=amount: b.append_payment_op(alice.public_key, Asset.native(), n)
        )
        payment.sign(alice)
        payments.append(payment)
    client.devnet.node.faults.add({"kind": "hang", "method": "sendTransaction"})
    faults = client.devnet.node.faults
    hung = asyncio.create_task(client.call("sendTransaction", transaction=payments[0].to_xdr()))
    while faults.describe():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert not hung.done()
    hung.cancel()
    await asyncio.gather(hung, return_exceptions=True)
    client.devnet.node.faults.add({"kind": "hang", "method": "sendTransaction", "seconds": 0.05})
    with pytest.raises(Exception, match=r"[Dd]isconnected|reset"):
        await client.call("sendTransaction", transaction=payments[0].to_xdr())
    assert len(client.devnet.node.ledger.queue) == 0
    client.devnet.node.faults.add({"kind": "garbage", "method": "sendTransaction"})
    body = {"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": {"transaction": payments[1].to_xdr()}}
    async with client.http.post(client.devnet.url, json=body) as response:
        assert response.status == 200 and response.content_type == "text/html"
        assert not (await response.text()).startswith("{")
    assert (await client.call("sendTransaction", transaction=payments[1].to_xdr()))["status"] == "DUPLICATE"
    client.devnet.node.faults.add({"kind": "cut", "method": "getHealth"})
    async with client.http.post(client.devnet.url, json={"jsonrpc": "2.0", "id": 1, "method": "getHealth"}) as response:
        assert response.status == 200
        with pytest.raises(Exception, match=r"[Pp]ayload|reset|[Dd]isconnected"):
            await response.read()
    assert (await client.call("getHealth"))["status"] == "healthy"


async def test_a_server_that_lags_forgets_or_lies(client) -> None:
    faults = client.devnet.node.faults
    alice = await client.account("alice", kale=None)

    async def pay(amount: str):
        payment = await client.build(alice, lambda b: b.append_payment_op(client.kale.issuer, Asset.native(), amount))
        payment.sign(alice)
        return payment

    async def stroops() -> int | None:
        key = xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(alice.xdr_account_id())).to_xdr()
        entries = (await client.call("getLedgerEntries", keys=[key]))["entries"]
        if not entries:
            return None
        account = xdr.LedgerEntryData.from_xdr(entries[0]["xdr"]).account
        return account and account.balance.int64

    first, second = await pay("1"), await pay("2")
    second.transaction.sequence += 1
    second.signatures.clear()
    second.sign(alice)
    before = await stroops()
    latest = (await client.call("getLatestLedger"))["sequence"]
    faults.add({"kind": "lag"})
    assert (await client.call("sendTransaction", transaction=first.to_xdr()))["status"] == "PENDING"
    await client.devnet.close_ledger()
    assert await stroops() == before
    assert (await client.call("getLatestLedger"))["sequence"] == latest
    assert (await client.call("getHealth"))["latestLedger"] == latest
    assert (await client.call("getTransaction", hash=first.hash_hex()))["status"] == "NOT_FOUND"
    faults.clear()
    assert await stroops() != before
    assert (await client.call("getTransaction", hash=first.hash_hex()))["status"] == "SUCCESS"

    await client.devnet.close_ledger()
    faults.add({"kind": "forget"})
    await client.devnet.close_ledger()
    told = await client.call("getTransaction", hash=first.hash_hex())
    assert (told["status"], told["oldestLedger"]) == ("NOT_FOUND", latest + 2)
    assert (await client.call("sendTransaction", transaction=second.to_xdr()))["status"] == "PENDING"
    await client.devnet.close_ledger()
    assert (await client.call("getTransaction", hash=second.hash_hex()))["status"] == "SUCCESS"
    faults.clear()

    faults.add({"kind": "lie", "method": "getTransaction"})
    told = await client.call("getTransaction", hash=first.hash_hex())
    assert (told["status"], told["oldestLedger"]) == ("NOT_FOUND", 1)
    assert await stroops() is not None
    faults.add({"kind": "lie"})
    assert await stroops() is None
    faults.clear()
    assert (await client.call("getTransaction", hash=first.hash_hex()))["status"] == "SUCCESS"


async def test_every_query_answers_after_whatever_was_sent(client) -> None:
    """Text that is no UTF-8, bytes of every value, codes and domains that are refused: in both formats."""
    alice, bob = await client.account("alice"), await client.account("bob")
    odd = bytes(range(256))
    bad_code = xdr.Asset(
        xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM4,
        alpha_num4=xdr.AlphaNum4(xdr.AssetCode4(b"\xff\0A\n"), alice.xdr_account_id()),
    )
    await client.send(
        alice, lambda b: b.add_memo(TextMemo(odd[228:])).append_payment_op(bob.public_key, client.kale, "1")
    )
    await client.send(
        alice, lambda b: b.append_manage_data_op("name", odd[:64]).append_manage_data_op("more", odd[192:])
    )
    claimant = Claimant(bob.public_key, ClaimPredicate.predicate_before_relative_time(60))
    await client.send(alice, lambda b: b.append_create_claimable_balance_op(client.kale, "1", [claimant]))
    for operation in (
        xdr.OperationBody(xdr.OperationType.PAYMENT, payment_op=xdr.PaymentOp(_muxed(bob), bad_code, xdr.Int64(1))),
        xdr.OperationBody(
            xdr.OperationType.MANAGE_DATA, manage_data_op=xdr.ManageDataOp(xdr.String64(b"\xff"), xdr.DataValue(b""))
        ),
    ):
        envelope = await client.build(alice, lambda b: b.append_bump_sequence_op(0))
        parsed = envelope.to_xdr_object()
        parsed.v1.tx.operations = [xdr.Operation(None, operation)]
        for form in ("base64", "json"):
            sent = await client.call("sendTransaction", transaction=parsed.to_xdr(), xdrFormat=form)
            assert sent["status"] == "ERROR"
    start = 1
    for form in ("base64", "json"):
        for method in ("getTransactions", "getEvents", "getLedgers"):
            answer = await client.call(method, startLedger=start, xdrFormat=form)
            assert answer[method.removeprefix("get").lower()]
        data = xdr.LedgerKeyData(alice.xdr_account_id(), xdr.String64(b"name"))
        key = xdr.LedgerKey(xdr.LedgerEntryType.DATA, data=data).to_xdr()
        (entry,) = (await client.call("getLedgerEntries", keys=[key], xdrFormat=form))["entries"]
        assert form == "base64" or entry["dataJson"]["data"]["data_value"] == odd[:64].hex()
        assert await client.call("getFeeStats") and await client.call("getLatestLedger")


def _muxed(key: Keypair) -> xdr.MuxedAccount:
    return xdr.MuxedAccount(xdr.CryptoKeyType.KEY_TYPE_ED25519, ed25519=xdr.Uint256(key.raw_public_key()))


async def test_a_claimable_balances_entry_names_who_pays_for_it(client) -> None:
    alice = await client.account("alice")
    made = await client.send(
        alice, lambda b: b.append_create_claimable_balance_op(client.kale, "1", [Claimant(alice.public_key)])
    )
    result = xdr.TransactionResult.from_xdr(made.result_xdr).result.results
    assert result is not None and result[0].tr is not None
    balance = result[0].tr.create_claimable_balance_result
    assert balance is not None and balance.balance_id is not None
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.CLAIMABLE_BALANCE, claimable_balance=xdr.LedgerKeyClaimableBalance(balance.balance_id)
    )
    (entry,) = (await client.call("getLedgerEntries", keys=[key.to_xdr()]))["entries"]
    extension = xdr.LedgerEntryExt.from_xdr(entry["extXdr"]).v1
    assert extension is not None and extension.sponsoring_id.sponsorship_descriptor == alice.xdr_account_id()
    held = xdr.LedgerEntryData.from_xdr(entry["xdr"]).claimable_balance
    assert held is not None and held.amount.int64 == 10**7
