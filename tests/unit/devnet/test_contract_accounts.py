"""Contract accounts: made by a transaction, and asked by their own code who may act for them (host/auth.rs)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from stellar_sdk import Address, Keypair, scval, xdr
from stellar_sdk.auth import authorize_entry

from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.devnet.soroban.wasm import ACCOUNT_CODE
from kalepool.networks import DEVNET

KALE, ASSET, WEB_AUTH = DEVNET.contract_id, DEVNET.asset_contract_id, str(DEVNET.web_auth_id)
STROOPS = 10_000_000
CODE = sha256(ACCOUNT_CODE).digest()


def creation(
    chain, payer: Keypair, owner: bytes, *, code: bytes = CODE, salt: bytes = bytes(32), by: str | None = None
):
    args = [scval.to_bytes(owner)]
    return chain.build(payer, lambda b: b.append_create_contract_op(code, by or payer.public_key, args, salt))


def make_account(chain, payer: Keypair, owner: Keypair) -> str:
    envelope = creation(chain, payer, owner.raw_public_key())
    simulated = chain.simulate(envelope)
    assert simulated.error is None, simulated.error
    chain.assemble(envelope, simulated)
    envelope.sign(payer)
    record = chain.must(chain.apply(envelope))
    return Address.from_xdr_sc_val(chain.meta(record).soroban_meta.return_value).address


def as_wallet(
    chain, payer: Keypair, signer: Keypair, until: int, contract: str, function: str, *args: xdr.SCVal
) -> Any:
    """A call that a contract account has authorised, and what enforcing it in a simulation says."""
    envelope = chain.call(payer, contract, function, *args)
    recorded = chain.simulate(envelope)
    assert recorded.error is None, recorded.error
    operation: Any = envelope.transaction.operations[0]
    operation.auth = [
        authorize_entry(xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry), signer, until, DEVNET.passphrase)
        for entry in recorded.auth
    ]
    return envelope, chain.simulate(envelope, AuthMode.ENFORCE)


def test_a_contract_account_plants_and_pays_by_its_owners_signature(chain) -> None:
    payer, owner, thief = chain.fund("payer", "owner", "thief")
    wallet = make_account(chain, payer, owner)
    gift = (scval.to_address(owner.public_key), scval.to_address(wallet), scval.to_int128(50 * STROOPS))
    chain.must(chain.apply(chain.prepare(owner, ASSET, "transfer", *gift)))
    until = chain.node.ledger.header.sequence + 20
    calls: list[tuple[Any, ...]] = [
        (KALE, "plant", scval.to_address(wallet), scval.to_int128(10 * STROOPS)),
        (ASSET, "transfer", scval.to_address(wallet), scval.to_address(thief.public_key), scval.to_int128(STROOPS)),
    ]
    for arguments in calls:
        _, refused = as_wallet(chain, payer, thief, until, *arguments)
        assert "Error(Contract, #4)" in refused.error and refused.error.startswith(
            "HostError: Error(Auth, InvalidAction)"
        )
        _, expired = as_wallet(chain, payer, owner, until - 30, *arguments)
        assert "signature has expired" in expired.error
        envelope, simulated = as_wallet(chain, payer, owner, until, *arguments)
        assert simulated.error is None, simulated.error
        signed = envelope.transaction.operations[0].auth
        chain.assemble(envelope, simulated)
        envelope.sign(payer)
        chain.must(chain.apply(envelope))
        again = chain.call(payer, *arguments)
        again.transaction.operations[0].auth = signed
        assert "nonce already exists" in chain.simulate(again, AuthMode.ENFORCE).error
    balance = chain.simulate(chain.call(payer, ASSET, "balance", scval.to_address(wallet)))
    assert scval.from_int128(xdr.SCVal.from_xdr_bytes(balance.return_value)) == 39 * STROOPS


@pytest.mark.parametrize("what", ["code", "twice", "owner", "deployer"])
def test_what_is_no_contract_account_is_not_made(chain, what: str) -> None:
    payer, owner = chain.fund("payer", "owner")
    match what:
        case "code":
            envelope, error = creation(chain, payer, owner.raw_public_key(), code=bytes(32)), "Wasm does not exist"
        case "twice":
            make_account(chain, payer, owner)
            envelope, error = creation(chain, payer, owner.raw_public_key()), "contract already exists"
        case "owner":
            envelope, error = creation(chain, payer, b"short"), "UnreachableCodeReached"
        case _:
            # Somebody else's address makes the contract: simulated well, and not applied without that one's signature.
            envelope = creation(chain, payer, owner.raw_public_key(), by=owner.public_key)
            simulated = chain.simulate(envelope)
            chain.assemble(envelope, simulated)
            envelope.sign(payer)
            assert chain.operations(chain.apply(envelope)) == [-2]
            return
    assert error in chain.simulate(envelope).error


def test_a_contract_without_check_auth_authorises_nothing(chain) -> None:
    payer, owner = chain.fund("payer", "owner")
    until = chain.node.ledger.header.sequence + 20
    arguments: tuple[Any, ...] = (KALE, "plant", scval.to_address(str(DEVNET.tractor_id)), scval.to_int128(0))
    _, refused = as_wallet(chain, payer, owner, until, *arguments)
    assert "trying to invoke non-existent contract function" in refused.error


def test_the_web_auth_contract_asks_for_everybodys_word(chain) -> None:
    payer, owner, other = chain.fund("payer", "owner", "other")
    wallet = make_account(chain, payer, owner)

    def given(**args: str) -> xdr.SCVal:
        return scval.to_map({scval.to_symbol(name): scval.to_string(text) for name, text in sorted(args.items())})

    whole = given(account=wallet, web_auth_domain_account=other.public_key, anything="else")
    recorded = chain.simulate(chain.call(payer, WEB_AUTH, "web_auth_verify", whole))
    assert recorded.error is None and len(recorded.auth) == 2
    lacking = chain.simulate(chain.call(payer, WEB_AUTH, "web_auth_verify", given(account=wallet)))
    assert "Error(Contract, #1)" in lacking.error
    nonsense = given(account="nobody", web_auth_domain_account=other.public_key)
    assert "UnreachableCodeReached" in chain.simulate(chain.call(payer, WEB_AUTH, "web_auth_verify", nonsense)).error
