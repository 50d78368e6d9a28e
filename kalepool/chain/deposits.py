"""What somebody's own wallet signs, a payment to a farmer's or a trustline: made for it, taken back, and sent on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stellar_sdk import CreateAccount, MuxedAccount, Operation, Payment, TransactionEnvelope

from kalepool.chain import building
from kalepool.chain.client import Chain
from kalepool.chain.records import Outcome, Prepared
from kalepool.errors import AccountMissingError, InputError
from kalepool.marking import mark

VALID_SECONDS = 300
"""Somebody reads it, and perhaps looks for the wallet, before it is signed."""

ACTION, TRUST = "deposit", "trustline"


async def deposit_envelope(
    chain: Chain, source: str, farmer: str, *, kale_stroops: int = 0, native_stroops: int = 0
) -> str:
    """A payment from `source` to a farmer's wallet, to be signed, as base64 XDR; XLM creates the wallet where it is not
    on the ledger. Raises InputError for no amount, AccountMissingError, FeeTooHighError, RpcUnavailableError."""
    if (kale_stroops > 0) == (native_stroops > 0):
        raise InputError(f"a deposit of {kale_stroops} stroops KALE and {native_stroops} stroops XLM: one of them")
    accounts = await chain.read_accounts([source, farmer])
    if source not in accounts:
        raise AccountMissingError(
            mark("your wallet %(wallet)s is not on the ledger: it has nothing to send"), wallet=source
        )
    if native_stroops and farmer not in accounts:
        operation: Operation = building.create_account(farmer, native_stroops)
    else:
        operation = building.payment(
            farmer, chain.asset if kale_stroops else building.NATIVE, kale_stroops or native_stroops
        )
    return await _to_sign(chain, source, accounts[source].sequence, operation)


async def trustline_envelope(chain: Chain, source: str) -> str:
    """A trustline for KALE of `source`, to be signed, as base64 XDR. Raises as `deposit_envelope`."""
    accounts = await chain.read_accounts([source])
    if source not in accounts:
        raise AccountMissingError(
            mark("your wallet %(wallet)s is not on the ledger: send XLM to it first"), wallet=source
        )
    return await _to_sign(chain, source, accounts[source].sequence, building.trustline(chain.asset))


async def _to_sign(chain: Chain, source: str, sequence: int, operation: Operation) -> str:
    bid = building.bid((await chain.read_fees()).classic, 2, building.MIN_FEE_STROOPS * 1000, 1)
    until = await chain.now() + timedelta(seconds=VALID_SECONDS)
    return building.envelope(
        source,
        sequence + 1,
        [operation],
        chain.network.passphrase,
        fee_stroops=bid,
        valid_until=until,
    ).to_xdr()


async def send_deposit(chain: Chain, transaction: str, source: str, farmer: str) -> Outcome:
    """Sends what `deposit_envelope` made, once its wallet has signed it. Raises InputError for anything else."""
    return await _send(chain, transaction, source, ACTION, lambda operation: _goes_to(operation, farmer))


async def send_trustline(chain: Chain, transaction: str, source: str) -> Outcome:
    """Sends what `trustline_envelope` made, once its wallet has signed it. Raises InputError for anything else."""
    wanted = building.trustline(chain.asset).to_xdr_object()
    return await _send(chain, transaction, source, TRUST, lambda operation: operation.to_xdr_object() == wanted)


async def _send(
    chain: Chain, transaction: str, source: str, action: str, is_meant: Callable[[Operation], bool]
) -> Outcome:
    try:
        envelope = TransactionEnvelope.from_xdr(transaction, chain.network.passphrase)
        inner = envelope.transaction
        [operation] = inner.operations
        bounds = inner.preconditions.time_bounds if inner.preconditions else None
    except Exception:  # the SDK raises whatever its decoders do
        raise InputError(mark("this is not what was to be signed: it cannot be read")) from None
    if inner.source.universal_account_id != source or operation.source is not None or bounds is None:
        raise InputError(mark("this is not what was to be signed: it is not from the wallet that is signed in"))
    if not is_meant(operation):
        raise InputError(
            mark("this is not what was to be signed: it does not pay this farmer's wallet")
            if action == ACTION
            else mark("this is not what was to be signed: it is no trustline for the pool's KALE")
        )
    if not envelope.signatures:
        raise InputError(mark("this is not signed by the wallet yet: have it sign, and send what comes out"))
    return await chain.submit(
        Prepared(
            action=action,
            source=source,
            transaction_hash=envelope.hash_hex(),
            inner_hash=None,
            envelope_xdr=envelope.to_xdr(),
            sequence=inner.sequence,
            valid_until=datetime.fromtimestamp(bounds.max_time, UTC),
            ledger=0,
            fee_bid_stroops=inner.fee,
        )
    )


def _goes_to(operation: Operation, farmer: str) -> bool:
    match operation:
        case CreateAccount(destination=str(to)):
            return to == farmer
        case Payment(destination=MuxedAccount() as to):
            return to.universal_account_id == farmer
        case _:
            return False
