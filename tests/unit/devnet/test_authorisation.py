"""Authorisation by others than the transaction's source: signed entries, their nonces and trees."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from stellar_sdk import Keypair, Signer, scval, xdr
from stellar_sdk.auth import authorize_entry

from kalepool.devnet.soroban.authorisation import AuthMode
from kalepool.networks import DEVNET

KALE = DEVNET.contract_id
STROOPS = 10_000_000


def _call(chain, source: Keypair, farmer: Keypair, stroops: int):
    args = scval.to_address(farmer.public_key), scval.to_int128(stroops)
    return chain.call(source, KALE, "plant", *args)


def _sign(chain, simulated, signer: Keypair, ledgers: int = 100) -> list[Any]:
    until = chain.node.ledger.header.sequence + ledgers
    entries = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry) for entry in simulated.auth]
    return [authorize_entry(entry, signer, until, DEVNET.passphrase) for entry in entries]


def _with_auth(chain, envelope, simulated, entries, source: Keypair):
    chain.assemble(envelope, simulated)
    envelope.transaction.operations[0].auth = entries
    envelope.sign(source)
    return envelope


def _public_key(signature: xdr.SCVal) -> bytes:
    fields: Any = scval.to_native(signature)
    return fields["public_key"]


def _refusals(chain, record) -> list[str]:
    return [
        data if isinstance(data, str) else data[0]
        for _, topics, data in chain.diagnostics(record)
        if topics[0] == "error"
    ]


@pytest.fixture
def people(chain) -> tuple[Keypair, Keypair]:
    """(a farmer who only authorises, a sender who pays)."""
    farmer, sender = chain.fund("farmer", "sender")
    return farmer, sender


def test_a_signed_entry_authorises_plant_and_its_burn(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, STROOPS)
    simulated = chain.simulate(envelope)
    entry: Any = xdr.SorobanAuthorizationEntry.from_xdr_bytes(simulated.auth[0])
    assert entry.credentials.address_v2 is not None
    assert len(entry.root_invocation.sub_invocations) == 1  # the burn is inside the plant
    signed = _with_auth(chain, envelope, simulated, _sign(chain, simulated, farmer), sender)
    chain.must(chain.apply(signed))
    assert chain.pail(farmer).stake == STROOPS


def test_the_older_credentials_work_too(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, 0)
    simulated = chain.simulate(envelope)
    entry: Any = xdr.SorobanAuthorizationEntry.from_xdr_bytes(simulated.auth[0])
    kind = xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS
    entry.credentials = xdr.SorobanCredentials(kind, address=entry.credentials.address_v2)
    signed = authorize_entry(entry, farmer, chain.node.ledger.header.sequence + 10, DEVNET.passphrase)
    chain.must(chain.apply(_with_auth(chain, envelope, simulated, [signed], sender)))


def test_an_entry_is_good_once_and_until_it_expires(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, 0)
    simulated = chain.simulate(envelope)
    entries = _sign(chain, simulated, farmer, ledgers=3)
    chain.must(chain.apply(_with_auth(chain, envelope, simulated, entries, sender)))
    chain.close(60)
    assert chain.farm.index == 0
    fresh = chain.simulate(_call(chain, sender, farmer, 0))

    def resend(auth):
        again = _call(chain, sender, farmer, 0)
        data = copy.deepcopy(fresh)
        envelope = _with_auth(chain, again, data, auth, sender)
        keys = envelope.transaction.soroban_data.resources.footprint
        nonces = xdr.SorobanTransactionData.from_xdr_bytes(simulated.transaction_data).resources.footprint.read_write
        keys.read_write += [key for key in nonces if key not in keys.read_write and b"\0\0\0\x15" in key.to_xdr_bytes()]
        envelope.transaction.soroban_data.resource_fee.int64 += 100_000
        envelope.transaction.fee += 100_000
        envelope.signatures.clear()
        envelope.sign(sender)
        return chain.apply(envelope)

    assert "nonce already exists for address" in _refusals(chain, resend(entries))
    while chain.node.ledger.header.sequence < entries[0].credentials.address_v2.signature_expiration_ledger.uint32:
        chain.close()
    assert "signature has expired" in _refusals(chain, resend(entries))


def test_other_peoples_and_missing_signatures_do_not_authorise(chain, people) -> None:
    farmer, sender = people
    for signer, reason in ((sender, "signer does not belong to account"), (None, "no account signatures found")):
        envelope = _call(chain, sender, farmer, 0)
        simulated = chain.simulate(envelope)
        entries: list[Any] = [xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry) for entry in simulated.auth]
        if signer is not None:
            entries = _sign(chain, simulated, signer)
        else:
            entries[0].credentials.address_v2.signature = scval.to_vec([])
            entries[0].credentials.address_v2.signature_expiration_ledger = xdr.Uint32(10**6)
        record = chain.apply(_with_auth(chain, envelope, simulated, entries, sender))
        assert chain.operations(record) == [-2]
        refusals = _refusals(chain, record)
        assert reason in refusals and "failed account authentication with error" in refusals


def test_nobody_plants_for_a_farmer_without_authorisation(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, 0)
    simulated = chain.simulate(envelope)
    record = chain.apply(_with_auth(chain, envelope, simulated, [], sender))
    assert "Unauthorized function call for address" in _refusals(chain, record)
    assert chain.pail(farmer) is None


def test_an_entry_for_one_call_does_not_allow_another(chain, people) -> None:
    farmer, sender = people
    allowed = chain.simulate(_call(chain, sender, farmer, 1))
    entries = _sign(chain, allowed, farmer)
    more = _call(chain, sender, farmer, 2)
    simulated = chain.simulate(more)
    record = chain.apply(_with_auth(chain, more, simulated, entries, sender))
    assert "Unauthorized function call for address" in _refusals(chain, record)


def test_the_burn_needs_its_place_in_the_tree(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, STROOPS)
    simulated = chain.simulate(envelope)
    entry: Any = xdr.SorobanAuthorizationEntry.from_xdr_bytes(simulated.auth[0])
    entry.root_invocation.sub_invocations.clear()
    signed = authorize_entry(entry, farmer, chain.node.ledger.header.sequence + 10, DEVNET.passphrase)
    record = chain.apply(_with_auth(chain, envelope, simulated, [signed], sender))
    assert "Unauthorized function call for address" in _refusals(chain, record)


def test_weights_of_several_signers_add_up(chain, people) -> None:
    farmer, sender = people
    second = chain.keypair("second")
    chain.must(
        chain.send(
            farmer,
            lambda b: b.append_set_options_op(med_threshold=2, signer=Signer.ed25519_public_key(second.public_key, 1)),
        )
    )

    def plant(*signers: Keypair):
        envelope = _call(chain, sender, farmer, 0)
        simulated = chain.simulate(envelope)
        maps = []
        for signer in signers:
            signed = _sign(chain, simulated, signer)[0]
            maps += signed.credentials.address_v2.signature.vec.sc_vec
        entry = _sign(chain, simulated, signers[0])[0]
        maps.sort(key=_public_key)
        entry.credentials.address_v2.signature = scval.to_vec(maps)
        return chain.apply(_with_auth(chain, envelope, simulated, [entry], sender))

    assert "signature weight is lower than threshold" in _refusals(chain, plant(farmer))
    chain.must(plant(farmer, second))


def test_simulation_can_enforce_what_is_there(chain, people) -> None:
    farmer, sender = people
    envelope = _call(chain, sender, farmer, 0)
    simulated = chain.simulate(envelope)
    envelope.transaction.operations[0].auth = _sign(chain, simulated, farmer)
    enforced = chain.simulate(envelope, AuthMode.ENFORCE)
    assert enforced.error is None
    assert list(enforced.auth) == [entry.to_xdr_bytes() for entry in envelope.transaction.operations[0].auth]
    envelope.transaction.operations[0].auth = []
    assert "Unauthorized function call for address" in chain.simulate(envelope, AuthMode.ENFORCE).error
