"""Transactions are built, priced and signed as the network wants them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import FeeBumpTransactionEnvelope, Keypair, SorobanDataBuilder, TransactionEnvelope, scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.chain import building, entries
from kalepool.chain.records import FeeBids, Limits, Prepared
from kalepool.errors import ChainError, FeeTooHighError, ResourceLimitError
from kalepool.networks import DEVNET

FARMER = Keypair.from_raw_ed25519_seed(bytes(range(32)))
POOL = Keypair.from_raw_ed25519_seed(bytes(range(1, 33)))
UNTIL = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)
RESOURCE_FEE = 65_432
amounts = st.integers(100, 10**7)


def soroban_data(read_only: int = 2, read_write: int = 3, instructions: int = 10_000_000, write_bytes: int = 1000):
    def keys(count: int, start: int) -> list[stellar_xdr.LedgerKey]:
        return [
            stellar_xdr.LedgerKey.from_xdr(entries.block_entry_key(DEVNET.contract_id, start + number))
            for number in range(count)
        ]

    builder = SorobanDataBuilder().set_resources(instructions, 0, write_bytes).set_resource_fee(RESOURCE_FEE)
    return builder.set_read_only(keys(read_only, 0)).set_read_write(keys(read_write, 1000)).build()


def plant(bid: int, payer: Keypair | None) -> Prepared:
    call = building.plant_call(DEVNET.contract_id, FARMER.public_key, 5)
    inner = building.envelope(
        FARMER.public_key,
        42,
        [call.operation()],
        DEVNET.passphrase,
        valid_until=UNTIL,
        soroban_data=soroban_data(),
    )
    return building.signed(
        inner, FARMER, action="plant", payer=payer, bid_stroops=bid, ledger=7, valid_until=UNTIL, function="plant"
    )


@given(amounts)
def test_a_fee_bump_pays_bid_times_operations_plus_one_and_the_resource_fee_once(bid: int):
    prepared = plant(bid, POOL)
    outer = FeeBumpTransactionEnvelope.from_xdr(prepared.envelope_xdr, DEVNET.passphrase)
    inner = outer.transaction.inner_transaction_envelope
    assert outer.transaction.fee == 2 * bid + RESOURCE_FEE
    assert outer.transaction.fee_source.account_id == POOL.public_key
    # the bump's inclusion rate is at least the inner one's, which is itself payable
    inner_bid = inner.transaction.fee - RESOURCE_FEE
    assert 100 <= inner_bid <= (outer.transaction.fee - RESOURCE_FEE) / 2
    assert prepared.fee_bid_stroops == 2 * bid


def test_hashes_and_signatures_are_those_of_what_is_sent():
    prepared = plant(100, POOL)
    outer = FeeBumpTransactionEnvelope.from_xdr(prepared.envelope_xdr, DEVNET.passphrase)
    inner = outer.transaction.inner_transaction_envelope
    assert prepared.transaction_hash == outer.hash_hex()
    assert prepared.inner_hash == inner.hash_hex()
    POOL.verify(outer.hash(), outer.signatures[0].signature)
    FARMER.verify(inner.hash(), inner.signatures[0].signature)
    assert inner.signatures[0].signature_hint == FARMER.signature_hint()
    assert (len(outer.signatures), len(inner.signatures)) == (1, 1)
    assert (prepared.source, prepared.sequence) == (FARMER.public_key, inner.transaction.sequence)
    bounds = inner.transaction.preconditions.time_bounds  # pyright: ignore[reportOptionalMemberAccess]
    assert bounds.max_time == int(UNTIL.timestamp())  # pyright: ignore[reportOptionalMemberAccess]


@given(amounts)
def test_without_a_payer_the_source_pays_the_bid(bid: int):
    prepared = plant(bid, None)
    envelope = TransactionEnvelope.from_xdr(prepared.envelope_xdr, DEVNET.passphrase)
    assert envelope.transaction.fee == bid + RESOURCE_FEE
    assert prepared.inner_hash is None
    assert prepared.transaction_hash == envelope.hash_hex()


def test_nothing_secret_shows():
    shown = repr(plant(100, POOL))
    for keypair in (FARMER, POOL):
        assert keypair.secret not in shown
        assert keypair.raw_secret_key().hex() not in shown


@given(
    seen=st.lists(st.integers(100, 10**8), min_size=5, max_size=5).map(sorted),
    attempt=st.integers(1, 40),
    cap=st.integers(100, 10**8),
    operations=st.integers(1, 100),
)
def test_a_bid_rises_with_the_attempt_and_never_exceeds_the_cap(
    seen: list[int], attempt: int, cap: int, operations: int
):
    fees = FeeBids(*seen)
    if operations * fees.min > cap:
        with pytest.raises(FeeTooHighError, match=str(cap)):
            building.bid(fees, attempt, cap, operations)
        return
    bid = building.bid(fees, attempt, cap, operations)
    assert bid >= 100 and bid * operations <= cap
    assert bid >= min(fees.p70, cap // operations)
    assert building.bid(fees, attempt + 1, cap, operations) >= bid


def test_resources_get_room_and_the_fee_for_it():
    padded = building.padded(soroban_data().to_xdr(), RESOURCE_FEE, Limits(), "plant")
    assert padded.resources.write_bytes.uint32 == 1256
    assert padded.resource_fee.int64 == RESOURCE_FEE * 110 // 100 + 1000
    assert padded.resources.instructions.uint32 == 10_000_000  # simulation adds the leeway itself
    full = building.padded(soroban_data(write_bytes=1000).to_xdr(), 1, Limits(write_bytes=1100), "plant")
    assert full.resources.write_bytes.uint32 == 1100


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(footprint_entries=4), "5 footprint entries"),
        (Limits(write_entries=2), "3 written entries"),
        (Limits(instructions=9_999_999), "10000000 instructions"),
        (Limits(write_bytes=999), "1000 written bytes"),
    ],
)
def test_what_is_too_large_for_one_transaction_is_said(limits: Limits, named: str):
    with pytest.raises(ResourceLimitError, match=named):
        building.padded(soroban_data().to_xdr(), 1, limits, "harvest")


def test_only_the_source_account_may_have_to_authorise():
    invocation = stellar_xdr.SorobanAuthorizedInvocation(
        stellar_xdr.SorobanAuthorizedFunction(
            stellar_xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
            building.plant_call(DEVNET.contract_id, FARMER.public_key, 5).operation().host_function.invoke_contract,
        ),
        [],
    )
    kinds = stellar_xdr.SorobanCredentialsType
    by_source = stellar_xdr.SorobanCredentials(kinds.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT)
    entry = stellar_xdr.SorobanAuthorizationEntry(by_source, invocation)
    assert building.source_authorisations([entry.to_xdr()]) == [entry]
    address = stellar_xdr.SorobanAddressCredentials(
        scval.to_address(POOL.public_key).address,  # pyright: ignore[reportArgumentType]
        stellar_xdr.Int64(1),
        stellar_xdr.Uint32(2),
        scval.to_void(),
    )
    other = stellar_xdr.SorobanCredentials(kinds.SOROBAN_CREDENTIALS_ADDRESS, address=address)
    with pytest.raises(ChainError, match="somebody else"):
        building.source_authorisations([stellar_xdr.SorobanAuthorizationEntry(other, invocation).to_xdr()])


def test_calls_carry_the_contracts_arguments():
    work = building.work_call(DEVNET.contract_id, FARMER.public_key, b"\1" * 32, 2**64 - 1)
    assert [scval.to_native(argument) for argument in work.arguments[1:]] == [b"\1" * 32, 2**64 - 1]
    tractor = building.tractor_call("C" * 56, FARMER.public_key, [5, 6])
    assert scval.to_native(tractor.arguments[1]) == [5, 6]
    assert (tractor.method, tractor.function) == ("harvest", "harvest_many")


def test_what_a_refusal_asks_for_is_bid():
    """A plant with its fee-bump: two operations, and the resource fee, of which the bid is not made."""
    prepared = Prepared(
        "plant", "G", "ab", None, "", 1, datetime.now(UTC), 0, 200, max_fee_stroops=5_200, fee_operations=2
    )
    needed = building.needed_bid(prepared, 5_801)
    assert needed == 401, "801 stroops of two operations, rounded up"
    fees = FeeBids(100, 100, 100, 100, 100)
    assert building.bid(fees, 2, 10_000, 2, needed) == 401
    assert building.bid(fees, 2, 500, 2, needed) == 250, "the cap holds"
    assert building.bid(fees, 2, 10_000, 2) == 200
