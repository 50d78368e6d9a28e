"""What a transaction was to do, read from its envelope. Pure. For those that the journal does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stellar_sdk import (
    Asset,
    FeeBumpTransactionEnvelope,
    IdMemo,
    MuxedAccount,
    Operation,
    StrKey,
    Transaction,
    TransactionEnvelope,
    scval,
)
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.address import Address
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
)

from kalepool.actions import ActionName
from kalepool.networks import Network
from kalepool.protocol.model import pail_key


@dataclass(frozen=True, slots=True)
class PastPart:
    """What a transaction was to do with one wallet (and block). `amount_stroops`: the stake of a plant, what was paid;
    `kale`: whether that was in KALE. `native_stroops`: XLM that a closed account was paid out in. `until`: it was put
    down to be claimed before then. `balance_id`: a claimable balance that was claimed."""

    wallet: str
    block_index: int | None = None
    amount_stroops: int | None = None
    kale: bool = True
    destination: str | None = None
    nonce: int | None = None
    digest: bytes | None = None
    native_stroops: int | None = None
    until: datetime | None = None
    balance_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class PastTransaction:
    """`source` and `sequence` are the inner transaction's, where there is one. `action` is None for what is none of
    ours. `memo_id`: its memo, where that is a number."""

    source: str
    sequence: int
    valid_until: datetime
    envelope_xdr: str = field(repr=False)
    action: ActionName | None = None
    parts: tuple[PastPart, ...] = ()
    memo_id: int | None = None


def read_envelope(envelope_xdr: str, network: Network, kale: Asset) -> PastTransaction:
    """Raises ValueError and the like for what is no transaction."""
    inner = _inner(envelope_xdr, network.passphrase)
    bounds = inner.preconditions.time_bounds if inner.preconditions else None
    latest = bounds.max_time if bounds and bounds.max_time else 0
    action, parts = _meaning(inner, network, kale)
    return PastTransaction(
        source=inner.source.account_id,
        sequence=inner.sequence,
        valid_until=datetime.fromtimestamp(latest, UTC),
        envelope_xdr=envelope_xdr,
        action=action,
        parts=parts,
        memo_id=inner.memo.memo_id if isinstance(inner.memo, IdMemo) else None,
    )


def envelope_hash(envelope_xdr: str, passphrase: str) -> str:
    """The hex hash of an envelope as it stands: the fee-bump's, where it is one."""
    kind = stellar_xdr.TransactionEnvelope.from_xdr(envelope_xdr).type
    if kind == stellar_xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP:
        return FeeBumpTransactionEnvelope.from_xdr(envelope_xdr, passphrase).hash_hex()
    return TransactionEnvelope.from_xdr(envelope_xdr, passphrase).hash_hex()


def _inner(envelope_xdr: str, passphrase: str) -> Transaction:
    kind = stellar_xdr.TransactionEnvelope.from_xdr(envelope_xdr).type
    if kind == stellar_xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP:
        bump = FeeBumpTransactionEnvelope.from_xdr(envelope_xdr, passphrase)
        return bump.transaction.inner_transaction_envelope.transaction
    return TransactionEnvelope.from_xdr(envelope_xdr, passphrase).transaction


def _meaning(transaction: Transaction, network: Network, kale: Asset) -> tuple[ActionName | None, tuple[PastPart, ...]]:
    source, operations = transaction.source.account_id, transaction.operations
    match operations:
        case [InvokeHostFunction(host_function=function)] if function.invoke_contract is not None:
            return _call(function.invoke_contract, transaction, network)
        case [*_, AccountMerge()] | [*_, AccountMerge(), Payment()]:
            return ActionName.MERGE, (_departure(source, operations, kale),)
        case [Payment() | CreateClaimableBalance(), *_] if all(isinstance(each, PAYS) for each in operations):
            return ActionName.PAYMENT, tuple(
                _paid(each, source, kale) for each in operations if isinstance(each, Payment | CreateClaimableBalance)
            )
        case [ClaimClaimableBalance(), *_] if all(isinstance(each, ClaimClaimableBalance) for each in operations):
            return ActionName.TAKE_BACK, tuple(
                PastPart(source, balance_id=bytes.fromhex(each.balance_id)[4:])
                for each in operations
                if isinstance(each, ClaimClaimableBalance)
            )
        case [ChangeTrust()]:
            return ActionName.TRUSTLINE, (PastPart(source),)
        case [BeginSponsoringFutureReserves(sponsored_id=whose), *_, ChangeTrust(), EndSponsoringFutureReserves()]:
            return ActionName.TRUSTLINE, (PastPart(whose),)
        case [CreateAccount(), *_]:
            return ActionName.CREATE_ACCOUNT, tuple(
                PastPart(source, amount_stroops=_to_stroops(each.starting_balance), destination=each.destination)
                for each in operations
                if isinstance(each, CreateAccount)
            )
        case _:
            return None, ()


PAYS = Payment | ChangeTrust | CreateClaimableBalance


def _paid(operation: Payment | CreateClaimableBalance, source: str, kale: Asset) -> PastPart:
    part = PastPart(
        operation.source.account_id if operation.source else source,
        amount_stroops=_to_stroops(operation.amount),
        kale=operation.asset == kale,
    )
    if isinstance(operation, Payment):
        return replace(part, destination=_address(operation.destination))
    first = operation.claimants[0]
    before = first.predicate.abs_before
    until = None if before is None else datetime.fromtimestamp(before, UTC)
    return replace(part, destination=first.destination, until=until)


def _departure(source: str, operations: Sequence[Operation], kale: Asset) -> PastPart:
    """What an account that was closed paid, and whom: who was paid last."""
    payments = [each for each in operations if isinstance(each, Payment)]
    closed = next(each.destination for each in operations if isinstance(each, AccountMerge))
    return PastPart(
        source,
        amount_stroops=sum(_stroops(each) for each in payments if each.asset == kale),
        destination=_address(payments[-1].destination if payments else closed),
        native_stroops=sum(_stroops(each) for each in payments if each.asset != kale),
    )


def _call(
    call: stellar_xdr.InvokeContractArgs, transaction: Transaction, network: Network
) -> tuple[ActionName | None, tuple[PastPart, ...]]:
    contract = Address.from_xdr_sc_address(call.contract_address).address
    arguments: list[Any] = [scval.to_native(argument) for argument in call.args]
    name = call.function_name.sc_symbol.decode()
    wallet = getattr(arguments[0], "address", "") if arguments else ""
    native = Asset.native().contract_id(network.passphrase)
    if name == "transfer" and contract in (network.asset_contract_id, native) and len(arguments) == 3:
        to = getattr(arguments[1], "address", "")
        part = PastPart(wallet, amount_stroops=arguments[2], kale=contract != native, destination=to)
        return ActionName.PAYMENT, (part,)
    if contract not in (network.contract_id, network.tractor_id) or not arguments:
        return None, ()
    match name, arguments[1:]:
        case "plant", [int(amount)]:
            return ActionName.PLANT, (PastPart(wallet, _index(transaction, wallet), amount),)
        case "work", [bytes(digest), int(nonce)]:
            return ActionName.WORK, (PastPart(wallet, _index(transaction, wallet), nonce=nonce, digest=digest),)
        case "harvest", [int(index)]:
            return ActionName.HARVEST, (PastPart(wallet, index),)
        case "harvest", [[*indexes]]:
            return ActionName.HARVEST, tuple(PastPart(wallet, int(index)) for index in indexes)
        case _:
            return None, ()


def _index(transaction: Transaction, wallet: str) -> int | None:
    """The block of a plant or work: its arguments do not tell, the pail among what it writes does."""
    data = transaction.soroban_data
    wanted = pail_key(wallet, 0).name
    for key in data.resources.footprint.read_write if data is not None else ():
        if key.contract_data is None or key.contract_data.key.vec is None:
            continue
        parts: list[Any] = [scval.to_native(part) for part in key.contract_data.key.vec.sc_vec]
        if len(parts) == 3 and parts[0] == wanted and getattr(parts[1], "address", "") == wallet:
            return int(parts[2])
    return None


def _address(address: MuxedAccount) -> str:
    assert StrKey.is_valid_ed25519_public_key(address.account_id)
    return address.account_muxed or address.account_id


def _stroops(payment: Payment) -> int:
    return _to_stroops(payment.amount)


def _to_stroops(amount: str) -> int:
    return Operation.to_xdr_amount(amount)


def paid_by(accounts: Sequence[str]) -> list[list[str]]:
    """Topics of the events that say what each account paid in fees (CAP-67)."""
    return [[scval.to_symbol("fee").to_xdr(), scval.to_address(account).to_xdr()] for account in accounts]


def moved_by(wallet: str) -> list[list[str]]:
    """Topics of the asset contract's events that change a wallet's balance."""
    address = scval.to_address(wallet).to_xdr()

    def topic(name: str, *more: str) -> list[str]:
        return [scval.to_symbol(name).to_xdr(), *more, "**"]

    return [
        topic("transfer", address),
        topic("transfer", "*", address),
        topic("mint", address),
        topic("burn", address),
        topic("clawback", address),
    ]


def movement(topics: Sequence[str], value: str, wallet: str) -> int:
    """Stroops that the event brings to the wallet; negative: takes from it."""
    name, *addresses = (scval.to_native(topic) for topic in topics)
    data: Any = scval.to_native(value)
    amount: int = data if isinstance(data, int) else data["amount"]  # with the memo of a muxed destination (CAP-67)
    first, second = (getattr(each, "address", None) for each in (*addresses, None, None)[:2])
    match name:
        case "transfer":
            return amount * ((second == wallet) - (first == wallet))
        case "mint":
            return amount if first == wallet else 0
        case _:
            return -amount if first == wallet else 0


def is_mint(topics: Sequence[str]) -> bool:
    return bool(scval.to_native(topics[0]) == "mint")


def sender(topics: Sequence[str]) -> str | None:
    """Whose the KALE was that the event transfers; None for what was made anew or ended."""
    name, first, *_ = (scval.to_native(topic) for topic in topics)
    return getattr(first, "address", None) if name == "transfer" else None
