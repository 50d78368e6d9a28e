"""A farmer with a contract account (C…): signs in by SEP-45, joins, is paid, leaves; and what signs nobody in."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from stellar_sdk import Address, Keypair, StrKey, scval, xdr
from stellar_sdk.auth import authorize_entry

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import LedgerEntry
from kalepool.devnet.soroban.account_contract import pack_account_instance
from kalepool.devnet.soroban.host import instance_key
from kalepool.devnet.soroban.wasm import ACCOUNT_CODE
from tests.integration.api.test_farmer_way import open_pooler, until, wait_ready
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio

Entries = list[xdr.SorobanAuthorizationEntry]


def deploy(farm, owner: Keypair, number: int) -> str:
    """A contract account of this key on the ledger; how one is made by a transaction is test_contract_accounts.py's."""
    contract = sha256(bytes([number])).digest()
    data = pack_account_instance(contract, sha256(ACCOUNT_CODE).digest(), owner.raw_public_key())
    ledger = farm.devnet.node.ledger
    live_until = ledger.header.sequence + 100_000
    ledger.entries[instance_key(contract)] = LedgerEntry(data, ledger.header.sequence, live_until)
    return wire.contract_strkey(contract)


async def ask(api, account: str) -> Entries:
    asked = await api.anybody.get("/v1/auth/contracts", params={"account": account})
    assert asked.status_code == 200, asked.text
    assert asked.json()["network_passphrase"] == api.farm.settings.chain.passphrase
    return xdr.SorobanAuthorizationEntries.from_xdr(asked.json()["authorization_entries"]).soroban_authorization_entries


def address_of(entry: xdr.SorobanAuthorizationEntry) -> str:
    assert entry.credentials.address is not None
    return Address.from_xdr_sc_address(entry.credentials.address.address).address


def by_wallet(
    api, entries: Entries, account: str, owner: Keypair, *, ledgers: int = 50, passphrase: str = ""
) -> Entries:
    last = api.farm.devnet.node.ledger.header.sequence + ledgers
    network = passphrase or api.farm.settings.chain.passphrase
    return [authorize_entry(each, owner, last, network) if address_of(each) == account else each for each in entries]


async def give_back(api, entries: Entries):
    packed = xdr.SorobanAuthorizationEntries(entries).to_xdr()
    return await api.anybody.post("/v1/auth/contracts", json={"authorization_entries": packed})


async def is_refused(api, entries: Entries, why: str) -> None:
    answer = await give_back(api, entries)
    assert answer.status_code == 400 and why in answer.json()["detail"], (why, answer.text)


def copy(entries: Entries) -> Entries:
    return [xdr.SorobanAuthorizationEntry.from_xdr_bytes(each.to_xdr_bytes()) for each in entries]


async def test_a_contract_account_farms_and_is_paid(api) -> None:
    farm = api.farm
    await wait_ready(api)
    toml = tomllib.loads((await api.anybody.get("/.well-known/stellar.toml")).text)
    assert toml["WEB_AUTH_FOR_CONTRACTS_ENDPOINT"] == f"{toml['WEB_AUTH_ENDPOINT']}/contracts"
    assert toml["WEB_AUTH_CONTRACT_ID"] == farm.settings.chain.web_auth_id
    owner = Keypair.random()
    wallet = deploy(farm, owner, 1)
    entries = by_wallet(api, await ask(api, wallet), wallet, owner)
    answer = await give_back(api, entries)
    assert answer.status_code == 200, answer.text
    made_by = "SELECT count(*) FROM submission_items WHERE destination = %s"
    assert await farm.rows(made_by, toml["SIGNING_KEY"]) == [(1,)]
    client = api.client(answer.json()["token"])
    again = await give_back(api, entries)
    assert (again.status_code, again.json()["code"]) == (400, "challenge-used") and again.json()["error"]
    async with asyncio.timeout(60), farm.ctx.chain.pool_lock:  # nobody who asks waits for what the pool pays
        await ask(api, wallet)
    assert await farm.rows(made_by, toml["SIGNING_KEY"]) == [(1,)], "the network hears the pool's key by one account"

    # Joins, with itself as the payout wallet; withdraws and leaves, by the asset contracts' transfers.
    made = (await client.post("/farmer/farmers", json={"pooler_id": await open_pooler(api)})).json()
    assert made["payout_wallet"] == wallet
    farmer = f"/farmers/{made['farmer_id']}"
    await farm.ctx.chain.fund(made["custodial_wallet"])
    await until(api, client, farmer, lambda found: found["status"] == "active")
    await farm.give(made["custodial_wallet"], 100 * KALE)
    order = {"asset": "KALE", "amount_stroops": str(30 * KALE)}
    paid = await client.post(f"{farmer}/withdrawals", json=order, headers={"Idempotency-Key": "one"})
    assert (paid.json()["status"], paid.json()["destination"]) == ("paid", wallet), paid.text
    assert await farm.ctx.chain.read_kale([wallet]) == {wallet: 30 * KALE}
    assert (await client.post(f"{farmer}/leave")).status_code == 200
    await until(api, client, f"{farmer}/leave", lambda found: found["status"] == "departed")
    assert await farm.ctx.chain.read_kale([wallet]) == {wallet: 100 * KALE}


async def test_what_signs_no_contract_account_in(api) -> None:
    farm = api.farm
    await wait_ready(api)
    owner, thief = Keypair.random(), Keypair.random()
    wallet, other = deploy(farm, owner, 1), deploy(farm, thief, 2)
    for account in (Keypair.random().public_key, StrKey.encode_contract(bytes(32)), "C", "x" * 56):
        assert (await api.anybody.get("/auth/contracts", params={"account": account})).status_code == 422, account
    elsewhere = {"account": wallet, "home_domain": "elsewhere.example"}
    assert (await api.anybody.get("/auth/contracts", params=elsewhere)).status_code == 400

    entries = await ask(api, wallet)
    ours = next(each for each in entries if address_of(each) != wallet)
    await is_refused(api, entries, "has not authorised")  # nobody has signed
    await is_refused(api, by_wallet(api, entries, wallet, thief), "has not authorised")
    await is_refused(api, by_wallet(api, entries, wallet, owner, ledgers=-2), "has not authorised")  # expired
    await is_refused(api, by_wallet(api, entries, wallet, owner, passphrase="Another Network"), "has not authorised")
    signed = by_wallet(api, entries, wallet, owner)
    await is_refused(api, signed[:1], "at least two")
    await is_refused(api, [*signed, signed[0]], "other entries")
    await is_refused(api, [ours, ours], "entry for the client")

    # The thief's own contract, where the wallet's is asked for: whose credentials are there counts.
    his = by_wallet(api, await ask(api, other), other, thief)
    await is_refused(api, [ours, next(each for each in his if address_of(each) == other)], "Inconsistent")
    swapped = copy(signed)
    mine = next(each for each in swapped if address_of(each) == wallet)
    assert mine.credentials.address is not None
    mine.credentials.address.address = Address(other).to_xdr_sc_address()
    await is_refused(api, swapped, "Unrecognized")

    assert await farm.rows("SELECT count(*) FROM api_keys WHERE subject_wallet IS NOT NULL") == [(0,)]
    for text in ("", "AAAA", "no XDR", "A" * 11_000):
        answer = await api.anybody.post("/auth/contracts", json={"authorization_entries": text})
        assert answer.status_code in (400, 422), text
    assert (await give_back(api, signed)).status_code == 200, "what is in order signs in all the same"


async def test_what_the_pool_has_not_signed_signs_nobody_in(api) -> None:
    """Other arguments, another contract or function, calls below it, a later end: signed by the wallet all the same."""
    await wait_ready(api)
    owner, thief = Keypair.random(), Keypair.random()
    wallet = deploy(api.farm, owner, 1)
    entries = await ask(api, wallet)

    def change(doing: Callable[[Any], None]) -> Entries:
        made = copy(entries)
        for each in made:
            doing(each)
        return by_wallet(api, made, wallet, owner)

    def argue(name: str, text: str) -> Callable[[Any], None]:
        def doing(entry: Any) -> None:
            call = entry.root_invocation.function.contract_fn
            fields = dict(scval.from_struct(call.args[0])) | {name: scval.to_string(text)}
            call.args[0] = scval.to_struct(fields)

        return doing

    def nest(entry: Any) -> None:
        entry.root_invocation.sub_invocations = [xdr.SorobanAuthorizedInvocation(entry.root_invocation.function, [])]

    def rename(entry: Any) -> None:
        entry.root_invocation.function.contract_fn.function_name = xdr.SCSymbol(b"transfer")

    def redirect(entry: Any) -> None:
        target = Address(api.farm.settings.chain.asset_contract_id).to_xdr_sc_address()
        entry.root_invocation.function.contract_fn.contract_address = target

    def prolong(entry: Any) -> None:
        if address_of(entry) != wallet:
            entry.credentials.address.signature_expiration_ledger = xdr.Uint32(10**6)

    for doing, why in (
        (argue("home_domain", "elsewhere.example"), "Home domain"),
        (argue("web_auth_domain", "elsewhere.example"), "web_auth_domain"),
        (argue("web_auth_domain_account", thief.public_key), "web_auth_domain_account"),
        (argue("account", thief.public_key), "Unrecognized"),
        (argue("nonce", "another"), "not signed by this pool"),
        (argue("client_domain", "elsewhere.example"), "client_domain"),
        (nest, "sub-invocations"),
        (rename, "Function name"),
        (redirect, "Contract address"),
        (prolong, "not signed by this pool"),
    ):
        await is_refused(api, change(doing), why)
    assert await api.farm.rows("SELECT count(*) FROM api_keys WHERE subject_wallet IS NOT NULL") == [(0,)]
