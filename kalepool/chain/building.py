"""Transactions from their parts: calls, operations, fees, signatures. Pure: nothing here asks the network.

Fees. A transaction bids for inclusion per operation; a contract call adds the resource fee that simulation names. A
fee-bump counts as one operation more, so it must offer bid · (operations + 1) + resource fee of the inner transaction,
and bid at least what the inner one bids (CAP-15; stellar-core FeeBumpTransactionFrame).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stellar_sdk import (
    Asset,
    Claimant,
    ClaimPredicate,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    Keypair,
    Operation,
    Preconditions,
    StrKey,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
    scval,
)
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.address import Address
from stellar_sdk.decorated_signature import DecoratedSignature
from stellar_sdk.memo import Memo
from stellar_sdk.operation import (
    AccountMerge,
    BeginSponsoringFutureReserves,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    InvokeHostFunction,
    Payment,
    RestoreFootprint,
)
from stellar_sdk.soroban_rpc import SimulateTransactionResponse

from kalepool.chain.decoding import emitted_bytes, plain_value
from kalepool.chain.records import MIN_FEE_STROOPS, FeeBids, Limits, Prepared, Signer
from kalepool.errors import ChainError, FeeTooHighError, ResourceLimitError

NATIVE = Asset.native()

INSTRUCTION_LEEWAY = 500_000
"""Instructions simulation adds to what the call took: the state it is applied to takes a slightly longer way."""

WRITE_LEEWAY_BYTES = 256
RESOURCE_FEE_LEEWAY = (1_000, 10)
"""Stroops, and per cent, on top of the resource fee. What is not used of the refundable part comes back."""

NOBODY = StrKey.encode_ed25519_public_key(bytes(32))
"""Source of a simulation whose caller does not matter, as in the SDK's contract clients."""

CLAIMABLE_V0 = "00000000"
"""What a claimable balance's id begins with where it is written in hex: its kind."""

MAX_OPERATIONS = 100
MAX_SIGNATURES = 20
"""What one transaction takes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A contract function with its arguments. `function` is our name for it in errors, as harvest_many."""

    contract_id: str
    function: str
    method: str
    arguments: tuple[stellar_xdr.SCVal, ...]

    def operation(self, auth: Sequence[stellar_xdr.SorobanAuthorizationEntry] = ()) -> InvokeHostFunction:
        return InvokeHostFunction(
            stellar_xdr.HostFunction(
                stellar_xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT,
                invoke_contract=stellar_xdr.InvokeContractArgs(
                    Address(self.contract_id).to_xdr_sc_address(),
                    stellar_xdr.SCSymbol(self.method.encode()),
                    list(self.arguments),
                ),
            ),
            auth=auth,
        )


def plant_call(contract_id: str, farmer: str, amount_stroops: int) -> Call:
    arguments = (scval.to_address(farmer), scval.to_int128(amount_stroops))
    return Call(contract_id, "plant", "plant", arguments)


def work_call(contract_id: str, farmer: str, digest: bytes, nonce: int) -> Call:
    arguments = (scval.to_address(farmer), scval.to_bytes(digest), scval.to_uint64(nonce))
    return Call(contract_id, "work", "work", arguments)


def harvest_call(contract_id: str, farmer: str, index: int) -> Call:
    return Call(contract_id, "harvest", "harvest", (scval.to_address(farmer), scval.to_uint32(index)))


def tractor_call(tractor_id: str, farmer: str, indexes: Sequence[int]) -> Call:
    """The tractor's harvest(farmer, pails) -> rewards: a pail it could not harvest counts 0; all 0 is its error #2."""
    pails = scval.to_vec([scval.to_uint32(index) for index in indexes])
    return Call(tractor_id, "harvest_many", "harvest", (scval.to_address(farmer), pails))


def transfer_call(asset_contract_id: str, source: str, contract: str, amount_stroops: int) -> Call:
    """The asset contract's transfer(from, to, amount): the way to pay a contract."""
    arguments = (scval.to_address(source), scval.to_address(contract), scval.to_int128(amount_stroops))
    return Call(asset_contract_id, "transfer", "transfer", arguments)


def web_auth_call(web_auth_id: str, arguments: Mapping[str, str]) -> Call:
    """web_auth_verify(args: Map<Symbol, String>) of SEP-45's contract."""
    pairs = {scval.to_symbol(name): scval.to_string(arguments[name]) for name in sorted(arguments)}
    return Call(web_auth_id, "web_auth_verify", "web_auth_verify", (scval.to_map(pairs),))


def payment(destination: str, asset: Asset, amount_stroops: int, source: str | None = None) -> Operation:
    """`source`: None for the transaction's own."""
    return Payment(destination, asset, Operation.from_xdr_amount(amount_stroops), source)


def trustline(asset: Asset, limit_stroops: int | None = None, source: str | None = None) -> Operation:
    """Add a trustline without limit, or with one; 0 removes it. `source`: None for the transaction's own."""
    limit = None if limit_stroops is None else Operation.from_xdr_amount(limit_stroops)
    return ChangeTrust(asset, limit, source)


def claimable(asset: Asset, amount_stroops: int, claimant: str, keeper: str, until: datetime) -> Operation:
    """KALE put down for an account (G…), which need not exist or trust yet: it may claim it before `until`, and nobody
    but the keeper from then on."""
    before = ClaimPredicate.predicate_before_absolute_time(int(until.timestamp()))
    claimants = [Claimant(claimant, before), Claimant(keeper, ClaimPredicate.predicate_not(before))]
    return CreateClaimableBalance(asset, Operation.from_xdr_amount(amount_stroops), claimants)


def claim(balance_id: bytes) -> Operation:
    return ClaimClaimableBalance(CLAIMABLE_V0 + balance_id.hex())


def claimable_id(source: str, sequence: int, number: int) -> bytes:
    """The id (32 bytes) of the claimable balance that operation `number`, from 0, of a transaction makes."""
    operation = stellar_xdr.HashIDPreimageOperationID(
        Keypair.from_public_key(source).xdr_account_id(),
        stellar_xdr.SequenceNumber(stellar_xdr.Int64(sequence)),
        stellar_xdr.Uint32(number),
    )
    preimage = stellar_xdr.HashIDPreimage(stellar_xdr.EnvelopeType.ENVELOPE_TYPE_OP_ID, operation_id=operation)
    return hashlib.sha256(preimage.to_xdr_bytes()).digest()


def create_account(address: str, starting_stroops: int, source: str | None = None) -> Operation:
    return CreateAccount(address, Operation.from_xdr_amount(starting_stroops), source)


def sponsored(address: str, by: str, operations: Sequence[Operation]) -> list[Operation]:
    """Operations of which `by` pays the reserves that `address` adds. Both sign."""
    return [BeginSponsoringFutureReserves(address, by), *operations, EndSponsoringFutureReserves(address)]


def merge(destination: str) -> Operation:
    return AccountMerge(destination)


def restore() -> Operation:
    return RestoreFootprint()


def envelope(
    source: str,
    sequence: int,
    operations: Sequence[Operation],
    passphrase: str,
    *,
    fee_stroops: int = MIN_FEE_STROOPS,
    valid_until: datetime | None = None,
    soroban_data: stellar_xdr.SorobanTransactionData | None = None,
    memo: Memo | None = None,
) -> TransactionEnvelope:
    bounds = None if valid_until is None else Preconditions(TimeBounds(0, int(valid_until.timestamp())))
    transaction = Transaction(
        source, sequence, fee_stroops, operations, memo, preconditions=bounds, soroban_data=soroban_data
    )
    return TransactionEnvelope(transaction, passphrase)


def padded(soroban_data: str, min_resource_fee: int, limits: Limits, what: str) -> stellar_xdr.SorobanTransactionData:
    """Simulation's resources with a little more room, and the fee for it.

    Raises ResourceLimitError where the call is too large for one transaction.
    """
    data = stellar_xdr.SorobanTransactionData.from_xdr(soroban_data)
    resources = data.resources
    write_entries = len(resources.footprint.read_write)
    entries = write_entries + len(resources.footprint.read_only)
    needs = (
        ("instructions", resources.instructions.uint32, limits.instructions),
        ("footprint entries", entries, limits.footprint_entries),
        ("written entries", write_entries, limits.write_entries),
        ("written bytes", resources.write_bytes.uint32, limits.write_bytes),
    )
    for name, needed, allowed in needs:
        if needed > allowed:
            raise ResourceLimitError(f"{what} needs {needed} {name}, and a transaction may use {allowed}: split it")
    resources.write_bytes = stellar_xdr.Uint32(
        min(resources.write_bytes.uint32 + WRITE_LEEWAY_BYTES, limits.write_bytes)
    )
    flat, per_cent = RESOURCE_FEE_LEEWAY
    data.resource_fee = stellar_xdr.Int64(min_resource_fee * (100 + per_cent) // 100 + flat)
    return data


Simulated = tuple[
    stellar_xdr.SorobanTransactionData, list[stellar_xdr.SorobanAuthorizationEntry], int | tuple[int, ...] | None
]


def simulated(simulation: SimulateTransactionResponse, limits: Limits, what: str) -> Simulated:
    """Padded resources, authorisations and return value of a simulation that went well.

    Raises ResourceLimitError where the call is too large for one transaction, ValueError where the answer has a gap.
    """
    if simulation.transaction_data is None or simulation.min_resource_fee is None or not simulation.results:
        raise ValueError("a simulation without resources or result")
    data = padded(simulation.transaction_data, simulation.min_resource_fee, limits, what)
    result = simulation.results[0]
    emitted = emitted_bytes(simulation.events) + len(base64.b64decode(result.xdr))
    if emitted > limits.events_bytes:
        raise ResourceLimitError(
            f"{what} emits {emitted} bytes of events and a transaction may {limits.events_bytes}: split it"
        )
    return data, source_authorisations(result.auth), plain_value(result.xdr)


def source_authorisations(entries: Sequence[str] | None) -> list[stellar_xdr.SorobanAuthorizationEntry]:
    """The authorisations simulation asks for. The source account's signature must cover all: else ChainError."""
    auth = [stellar_xdr.SorobanAuthorizationEntry.from_xdr(entry) for entry in entries or ()]
    by_source = stellar_xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
    if any(entry.credentials.type != by_source for entry in auth):
        raise ChainError("simulation asks for a signature of somebody else than the source account")
    return auth


def bid(fees: FeeBids, attempt: int, cap_stroops: int, operations: int, needed: int = 0) -> int:
    """What to offer per operation: the higher a percentile the later the attempt, at most `cap_stroops` in all, and no
    less than was `needed` a moment ago.

    What contract calls paid is counted per transaction (stellar-rpc's fee window), and the network compares bids per
    operation, of which a fee-bump has one more: twice as many stroops are not twice the bid. Which of them were
    fee-bumps is not told, so each counts as if it was none: too high a bid costs nothing, as all pay what the lowest
    bid of the ledger is. Raises FeeTooHighError where the cap is below the least that anybody got in with.
    """
    if operations * max(fees.min, MIN_FEE_STROOPS) > cap_stroops:
        raise FeeTooHighError(
            f"the network asks {fees.min} stroops an operation for inclusion, {operations} are to be paid, "
            f"and KALEPOOL_FEE_CAP_STROOPS allows {cap_stroops}"
        )
    seen = (fees.p70, fees.p90, fees.p99, fees.max)[min(attempt, 4) - 1]
    wanted = max(max(seen, MIN_FEE_STROOPS) * 2 ** min(attempt - 1, 16), needed)
    return min(wanted, cap_stroops // operations)


def needed_bid(prepared: Prepared, fee_stroops: int) -> int:
    """The bid per operation that a transaction lacked, by the fee that its refusal names (txINSUFFICIENT_FEE)."""
    short = fee_stroops - prepared.max_fee_stroops
    return -(-(prepared.fee_bid_stroops + short) // prepared.fee_operations)


RELAYER_BID_STROOPS = 203
"""The most that the relayer bids for a call: 201 for a contract that it limits, as KALE's, 203 else."""

REPLACE_FEE_FACTOR = 10
"""A fee-bump takes the place of another that waits for a ledger, of the same transaction, where it bids so many times
as much (stellar-core TransactionQueue)."""


def replacing_bid(bid_stroops: int, cap_stroops: int) -> int:
    """The bid per operation for a call that the relayer may have in the network's queue already: enough to replace it.
    What is charged is what others pay."""
    return max(bid_stroops, min(-(-REPLACE_FEE_FACTOR * RELAYER_BID_STROOPS // 2), cap_stroops // 2))


def signed(
    inner: TransactionEnvelope,
    source: Signer,
    *,
    action: str,
    payer: Signer | None,
    bid_stroops: int,
    ledger: int,
    valid_until: datetime,
    function: str | None = None,
    forecast: int | tuple[int, ...] | None = None,
    others: Sequence[Signer] = (),
    relayed_until: datetime | None = None,
) -> Prepared:
    """Sign with `source` and, where `payer` is given, wrap in the payer's fee-bump. Fees are set here. `others`: whose
    accounts operations of it are of, too. `relayed_until`: see Prepared; needs a payer, for when it is over.

    `bid_stroops` is the bid per operation, of the fee-bump where there is one: the inner transaction then bids the
    minimum, which is never charged.
    """
    transaction = inner.transaction
    resource_fee = transaction.soroban_data.resource_fee.int64 if transaction.soroban_data else 0
    count = len(transaction.operations)
    transaction.fee = count * (MIN_FEE_STROOPS if payer else bid_stroops) + resource_fee
    inner_hash = _sign(inner, source)
    for other in others:
        _sign(inner, other)
    outer: TransactionEnvelope | FeeBumpTransactionEnvelope = inner
    outer_hash, bid_total = inner_hash, count * bid_stroops
    if payer is not None:
        bid_total = (count + 1) * bid_stroops
        bump = FeeBumpTransaction(payer.public_key, bid_total + resource_fee, inner)
        outer = FeeBumpTransactionEnvelope(bump, inner.network_passphrase)
        outer_hash = _sign(outer, payer)
    return Prepared(
        action=action,
        source=source.public_key,
        transaction_hash=outer_hash if relayed_until is None else inner_hash,
        inner_hash=inner_hash if payer is not None else None,
        envelope_xdr=outer.to_xdr(),
        sequence=transaction.sequence,
        valid_until=valid_until,
        ledger=ledger,
        fee_bid_stroops=bid_total,
        function=function,
        forecast=forecast,
        payer=source.public_key if payer is None else payer.public_key,
        max_fee_stroops=bid_total + resource_fee,
        fee_operations=count + (payer is not None),
        relayed_until=relayed_until,
    )


def _sign(target: TransactionEnvelope | FeeBumpTransactionEnvelope, signer: Signer) -> str:
    """Add the signer's signature; gives the hash it signed, in hex."""
    digest = target.hash()
    hint = Keypair.from_public_key(signer.public_key).signature_hint()
    target.signatures.append(DecoratedSignature(hint, signer.sign(digest)))
    return digest.hex()
