"""The events that tell of classic movements, as an asset's contract would emit them.

CAP-67; forms and order of stellar-core's EventManager.cpp.
"""

from __future__ import annotations

from typing import NamedTuple

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import account_key, muxed_id, muxed_key
from kalepool.devnet.ledger.classic.operation_context import OperationContext
from kalepool.devnet.ledger.classic.validity import asset_name, issuer_of
from kalepool.devnet.wire import (
    EventKind,
    address_of_account,
    address_of_claimable_balance,
    sc_address_value,
    sc_bool,
    sc_bytes,
    sc_i128,
    sc_map,
    sc_opaque_string,
    sc_string,
    sc_symbol,
    sc_u64,
)

NATIVE = xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE)


class Party(NamedTuple):
    """One side of a movement: its packed ScAddress, and for accounts the raw key and the id of an M… address."""

    address: bytes
    key: bytes | None = None
    muxed_id: int | None = None


def account_party(key: bytes, number: int | None = None) -> Party:
    return Party(address_of_account(key), key, number)


def muxed_party(account: xdr.MuxedAccount) -> Party:
    return account_party(muxed_key(account), muxed_id(account))


def source_party(context: OperationContext) -> Party:
    return account_party(context.source, context.source_muxed_id)


def balance_party(balance_id: bytes) -> Party:
    """A claimable balance."""
    return Party(address_of_claimable_balance(balance_id))


def emit_movement(context: OperationContext, asset: xdr.Asset, source: Party, to: Party, amount: int) -> None:
    """A transfer; a mint where the issuer pays, a burn where it is paid."""
    issuer = issuer_of(asset)
    mints, burns = (issuer is not None and party.key == issuer for party in (source, to))
    if mints == burns:
        _emit(context, asset, "transfer", (source, to), _with_muxed_id(context, to, amount))
    elif mints:
        _emit(context, asset, "mint", (to,), _with_muxed_id(context, to, amount))
    else:
        _emit(context, asset, "burn", (source,), sc_i128(amount))


def emit_clawback(context: OperationContext, asset: xdr.Asset, source: Party, amount: int) -> None:
    _emit(context, asset, "clawback", (source,), sc_i128(amount))


def emit_authorized(context: OperationContext, asset: xdr.Asset, trustor: xdr.AccountID, authorized: bool) -> None:
    _emit(context, asset, "set_authorized", (account_party(account_key(trustor)),), sc_bool(authorized))


def _emit(context: OperationContext, asset: xdr.Asset, name: str, parties: tuple[Party, ...], data: bytes) -> None:
    addresses = (sc_address_value(party.address) for party in parties)
    topics = [sc_symbol(name), *addresses, sc_string(asset_name(asset))]
    contract = context.asset_contract(asset.to_xdr_bytes())
    context.events.append(wire.contract_event(contract, EventKind.CONTRACT, topics, data))


def _with_muxed_id(context: OperationContext, to: Party, amount: int) -> bytes:
    """The amount; with it the receiving account's id, or the transaction's memo where the address has none."""
    memo = _memo_value(context.transaction.body.memo) if to.key is not None else None
    number = memo if to.muxed_id is None else sc_u64(to.muxed_id)
    if number is None:
        return sc_i128(amount)
    return sc_map([(sc_symbol("amount"), sc_i128(amount)), (sc_symbol("to_muxed_id"), number)])


def _memo_value(memo: xdr.Memo) -> bytes | None:
    if memo.text is not None:
        return sc_opaque_string(memo.text)
    if memo.id is not None:
        return sc_u64(memo.id.uint64)
    digest = memo.hash or memo.ret_hash
    return None if digest is None else sc_bytes(digest.hash)
