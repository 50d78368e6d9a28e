"""The official Python SDK drives a whole cycle against the devnet."""

from __future__ import annotations

import pytest
from stellar_sdk import Asset, CreateAccount, Keypair, StrKey, TransactionBuilder, TransactionEnvelope, scval, xdr
from stellar_sdk.exceptions import AccountNotFoundException, PrepareTransactionException
from stellar_sdk.soroban_rpc import EventFilter, GetTransactionStatus

from kalepool.networks import DEVNET
from kalepool.protocol.hashing import hash_work

pytestmark = pytest.mark.anyio

CONTRACT, ASSET, TRACTOR = DEVNET.contract_id, DEVNET.asset_contract_id, DEVNET.tractor_id or ""
NONCE = 2**64 - 5


async def test_whole_cycle_with_the_python_sdk(client) -> None:
    server = client.server
    network = await server.get_network()
    assert network.passphrase == DEVNET.passphrase
    assert (await server.get_health()).status == "healthy"
    assert (await server.get_version_info()).protocol_version == network.protocol_version
    alice, bob = await client.account("alice"), await client.account("bob", kale=None)
    await client.send(alice, lambda b: b.append_payment_op(bob.public_key, Asset.native(), "5"))
    new = Keypair.random()
    await client.send(alice, lambda b: b.append_create_account_op(new.public_key, "5"))
    assert (await server.load_account(new.public_key)).account.account_id == new.public_key
    await client.send(bob, lambda b: b.append_change_trust_op(client.kale))
    await client.send(alice, lambda b: b.append_payment_op(bob.public_key, client.kale, "250"))

    farmer = scval.to_address(alice.public_key)
    inner = await client.prepare(alice, CONTRACT, "plant", farmer, scval.to_int128(1_000_000))
    bumped = TransactionBuilder.build_fee_bump_transaction(bob, 2000, inner, DEVNET.passphrase)
    bumped.sign(bob)
    planted = await client.apply(bumped)
    assert planted.status is GetTransactionStatus.SUCCESS and planted.fee_bump
    by_inner = await server.get_transaction(inner.hash_hex())
    assert by_inner.ledger == planted.ledger and by_inner.transaction_hash == inner.hash_hex()
    with pytest.raises(PrepareTransactionException) as refused:
        await client.prepare(alice, CONTRACT, "plant", farmer, scval.to_int128(0))
    assert "Error(Contract, #8)" in str(refused.value.simulate_transaction_response.error)

    await client.devnet.close_ledger()
    digest = hash_work(0, NONCE, bytes(32), alice.public_key)
    work = farmer, scval.to_bytes(digest), scval.to_uint64(NONCE)
    assert await client.invoke(bob, CONTRACT, "work", *work) == 2
    await client.devnet.close_ledger(60)
    await client.invoke(alice, CONTRACT, "plant", farmer, scval.to_int128(0))
    rewards = await client.invoke(bob, TRACTOR, "harvest", farmer, scval.to_vec([scval.to_uint32(0)]))
    assert rewards == [25_050_000_000]
    assert await client.invoke(bob, ASSET, "balance", farmer) == 750 * 10**7 + 25_050_000_000

    mint = [scval.to_symbol("mint").to_xdr(), farmer.to_xdr(), "*"]
    events = await server.get_events(1, filters=[EventFilter(contractIds=[ASSET], topics=[mint])])
    assert [scval.from_int128(xdr.SCVal.from_xdr(event.value)) for event in events.events] == [
        1000 * 10**7,
        25_050_000_000 + 1_000_000,
    ]
    assert all(StrKey.is_valid_contract(event.contract_id) for event in events.events)
    ledgers = await server.get_ledgers(1)
    assert [ledger.sequence for ledger in ledgers.ledgers] == list(range(1, ledgers.latest_ledger + 1))
    page = await server.get_transactions(1, limit=4)
    rest = await server.get_transactions(cursor=page.cursor)
    hashes = [transaction.transaction_hash for transaction in page.transactions + rest.transactions]
    assert len(set(hashes)) == len(hashes) and bumped.hash_hex() in hashes
    assert (await server.get_fee_stats()).soroban_inclusion_fee.transaction_count == 5
    latest = await server.get_latest_ledger()
    header = xdr.LedgerHeader.from_xdr(latest.header_xdr)
    assert header.ledger_seq.uint32 == latest.sequence

    await client.send(
        alice,
        lambda b: (
            b.append_payment_op(DEVNET.asset_issuer, client.kale, "3255")
            .append_change_trust_op(client.kale, "0")
            .append_account_merge_op(bob.public_key)
        ),
    )
    with pytest.raises(AccountNotFoundException):
        await server.load_account(alice.public_key)


async def test_friendbot_gives_as_testnets_does(client) -> None:
    key = Keypair.random().public_key
    status, gift = await client.friendbot(key)
    assert status == 200
    done = await client.server.get_transaction(gift["hash"])
    assert done.status is GetTransactionStatus.SUCCESS
    envelope = TransactionEnvelope.from_xdr(done.envelope_xdr, DEVNET.passphrase)
    (operation,) = envelope.transaction.operations
    assert isinstance(operation, CreateAccount) and operation.starting_balance == "10000"
    status, again = await client.friendbot(key)
    assert status == 400 and "createAccountAlreadyExist" in again["detail"]
    for address, query, reason in (
        (key, {"kale": "5"}, "no trustline"),
        (key, {"kale": "-1"}, "kale must be an amount"),
        (key, {"kale": "NaN"}, "kale must be an amount"),
        ("GABC", {}, "must be a valid"),
    ):
        status, refused = await client.friendbot(address, **query)
        assert status == 400 and reason in refused["detail"]
