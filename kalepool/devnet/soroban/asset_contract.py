"""The Stellar asset contract: an asset's balances behind a token interface, with errors of its own.

Order of checks, error numbers and event forms are those of soroban-env-host's builtin contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import ContractData
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.asset_allowances import read_allowance, spend_allowance, write_allowance
from kalepool.devnet.soroban.asset_balances import AssetBalances
from kalepool.devnet.soroban.asset_errors import NEGATIVE_AMOUNT, NOT_SUPPORTED
from kalepool.devnet.soroban.host import COST_BUILTIN_CALL, SorobanHost, instance_key, read_args
from kalepool.devnet.soroban.scv import MuxedAddress
from kalepool.devnet.wire import (
    sc_addr,
    sc_bool,
    sc_bytes,
    sc_i128,
    sc_map,
    sc_string,
    sc_symbol,
    sc_u32,
    sc_u64,
    sc_vec,
)

_DAY_OF_LEDGERS = 17_280
_INSTANCE_EXTEND = 7 * _DAY_OF_LEDGERS
_INSTANCE_THRESHOLD = _INSTANCE_EXTEND - _DAY_OF_LEDGERS

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "transfer": ("address", "any_address", "i128"),
    "transfer_from": ("address", "address", "address", "i128"),
    "approve": ("address", "address", "i128", "u32"),
    "allowance": ("address", "address"),
    "burn": ("address", "i128"),
    "burn_from": ("address", "address", "i128"),
    "mint": ("address", "i128"),
    "clawback": ("address", "i128"),
    "set_authorized": ("address", "bool"),
    "trust": ("address",),
    "balance": ("address",),
    "authorized": ("address",),
    "set_admin": ("address",),
    "admin": (),
    "decimals": (),
    "name": (),
    "symbol": (),
}


class AssetContract(AssetBalances):
    """The asset contract of one asset: XLM where `code` is None."""

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        host.charge(COST_BUILTIN_CALL)
        kinds = _SIGNATURES.get(function)
        if kinds is None:
            raise host.error((2, 3), "calling unknown contract function", sc_symbol(function))
        run: Callable[..., bytes | None] = getattr(self, f"_{function}")
        return run(host, args, *read_args(host, function, args, kinds)) or wire.SCV_VOID

    # --- the functions, by name; `args` are those that were sent, which is what an address signs

    def _transfer(
        self, host: SorobanHost, args: tuple[bytes, ...], source: str, to: str | MuxedAddress, amount: int
    ) -> None:
        self._check_amount(host, amount)
        receiver, number = to if isinstance(to, MuxedAddress) else (to, None)
        host.require_auth(source, "transfer", args)
        self._extend(host)
        self._carry(host, source, receiver, amount, number)

    def _transfer_from(
        self, host: SorobanHost, args: tuple[bytes, ...], spender: str, source: str, to: str, amount: int
    ) -> None:
        self._check_amount(host, amount)
        host.require_auth(spender, "transfer_from", args)
        self._extend(host)
        spend_allowance(host, source, spender, amount)
        self._carry(host, source, to, amount, None)

    def _carry(self, host: SorobanHost, source: str, to: str, amount: int, number: int | None) -> None:
        """Moves an amount and says so: a mint where the issuer pays, a burn where it is paid."""
        self.spend(host, source, amount)
        self.receive(host, to, amount)
        if source != to and source == self.issuer:
            self._event(host, "mint", to, data=_amount_data(amount, number))
        elif source != to and to == self.issuer:
            self._event(host, "burn", source, data=sc_i128(amount))
        else:
            self._event(host, "transfer", source, to, data=_amount_data(amount, number))

    def _approve(
        self, host: SorobanHost, args: tuple[bytes, ...], owner: str, spender: str, amount: int, until: int
    ) -> None:
        self._check_amount(host, amount)
        host.require_auth(owner, "approve", args)
        self._extend(host)
        write_allowance(host, owner, spender, amount, until)
        self._event(host, "approve", owner, spender, data=sc_vec([sc_i128(amount), sc_u32(until)]))

    def _allowance(self, host: SorobanHost, args: tuple[bytes, ...], owner: str, spender: str) -> bytes:
        self._extend(host)
        return sc_i128(read_allowance(host, owner, spender))

    def _burn(self, host: SorobanHost, args: tuple[bytes, ...], source: str, amount: int) -> None:
        self._check_burn(host, source, amount)
        host.require_auth(source, "burn", args)
        self._extend(host)
        self.spend(host, source, amount)
        self._event(host, "burn", source, data=sc_i128(amount))

    def _burn_from(self, host: SorobanHost, args: tuple[bytes, ...], spender: str, source: str, amount: int) -> None:
        self._check_burn(host, source, amount)
        host.require_auth(spender, "burn_from", args)
        self._extend(host)
        spend_allowance(host, source, spender, amount)
        self.spend(host, source, amount)
        self._event(host, "burn", source, data=sc_i128(amount))

    def _mint(self, host: SorobanHost, args: tuple[bytes, ...], to: str, amount: int) -> None:
        self._check_amount(host, amount)
        self._check_not_issuer(host, to)
        self._require_admin(host, "mint", args)
        self.receive(host, to, amount)
        self._event(host, "mint", to, data=sc_i128(amount))

    def _clawback(self, host: SorobanHost, args: tuple[bytes, ...], source: str, amount: int) -> None:
        self._check_amount(host, amount)
        self.check_clawback(host, source)
        self._check_not_issuer(host, source)
        self._require_admin(host, "clawback", args)
        self.take(host, source, amount)
        self._event(host, "clawback", source, data=sc_i128(amount))

    def _set_authorized(self, host: SorobanHost, args: tuple[bytes, ...], address: str, authorize: bool) -> None:
        self._require_admin(host, "set_authorized", args)
        self.set_authorization(host, address, authorize)
        self._event(host, "set_authorized", address, data=sc_bool(authorize))

    def _set_admin(self, host: SorobanHost, args: tuple[bytes, ...], admin: str) -> None:
        before = self._require_admin(host, "set_admin", args)
        assert host.contract is not None
        host.store(instance_key(host.contract), pack_asset_instance(host.contract, self, admin))
        self._event(host, "set_admin", before, data=sc_addr(admin))

    def _trust(self, host: SorobanHost, args: tuple[bytes, ...], address: str) -> None:
        self._extend(host)
        if self.needs_trustline(host, address):
            host.require_auth(address, "trust", args)
            self.make_trustline(host, address)

    def _balance(self, host: SorobanHost, args: tuple[bytes, ...], address: str) -> bytes:
        self._extend(host)
        return sc_i128(self.balance(host, address))

    def _authorized(self, host: SorobanHost, args: tuple[bytes, ...], address: str) -> bytes:
        self._extend(host)
        return sc_bool(self.is_authorized(host, address))

    def _admin(self, host: SorobanHost, args: tuple[bytes, ...]) -> bytes:
        return sc_addr(self._read_admin(host))

    def _decimals(self, host: SorobanHost, args: tuple[bytes, ...]) -> bytes:
        return sc_u32(7)

    def _name(self, host: SorobanHost, args: tuple[bytes, ...]) -> bytes:
        return sc_string(self.name)

    def _symbol(self, host: SorobanHost, args: tuple[bytes, ...]) -> bytes:
        return sc_string(self.symbol)

    def _event(self, host: SorobanHost, name: str, *addresses: str, data: bytes) -> None:
        host.emit((sc_symbol(name), *(sc_addr(a) for a in addresses), sc_string(self.name)), data)

    # --- checks, and the instance

    def _check_amount(self, host: SorobanHost, amount: int) -> None:
        if amount < 0:
            raise host.error(NEGATIVE_AMOUNT, "negative amount is not allowed", sc_i128(amount))

    def _check_burn(self, host: SorobanHost, source: str, amount: int) -> None:
        self._check_amount(host, amount)
        if self.issuer is None:
            raise host.error(NOT_SUPPORTED, "operation invalid on native asset")
        self._check_not_issuer(host, source)

    def _check_not_issuer(self, host: SorobanHost, address: str) -> None:
        if address == self.issuer:
            raise host.error(NOT_SUPPORTED, "operation invalid on issuer")

    def _extend(self, host: SorobanHost) -> None:
        assert host.contract is not None
        host.extend_ttl(instance_key(host.contract), _INSTANCE_THRESHOLD, _INSTANCE_EXTEND)

    def _require_admin(self, host: SorobanHost, function: str, args: tuple[bytes, ...]) -> str:
        """The admin, who must have authorised the call."""
        admin = self._read_admin(host)
        host.require_auth(admin, function, args)
        self._extend(host)
        return admin

    def _read_admin(self, host: SorobanHost) -> str:
        assert host.contract is not None
        entry = host.load(instance_key(host.contract))
        admin: Any = None
        if entry is not None and isinstance(entry.data, ContractData):
            admin = entry.data.native or _unpack_admin(entry.data.value)
        if not admin:
            raise host.error((3, 3), "trying to get non-existing value for contract instance")
        return admin


def _amount_data(amount: int, number: int | None) -> bytes:
    """An event's data: the amount, and with it the id of the M… address that is paid."""
    if number is None:
        return sc_i128(amount)
    return sc_map([(sc_symbol("amount"), sc_i128(amount)), (sc_symbol("to_muxed_id"), sc_u64(number))])


def _unpack_admin(instance: bytes) -> str | None:
    # ContractInstance: kind, executable (4 bytes for an asset contract), optional storage map.
    storage = scv.decode(wire.u32(17) + instance[8:])
    for key, item in storage.value:
        if key.kind == "vec" and key.value[0].value == "Admin":
            return item.value
    return None


def pack_asset_instance(contract: bytes, asset: AssetContract, admin: str | None) -> ContractData:
    """The instance entry of an asset contract: its metadata, admin and asset."""
    metadata = sc_map(
        (sc_symbol(name), value)
        for name, value in (
            ("decimal", sc_u32(7)),
            ("name", sc_string(asset.name)),
            ("symbol", sc_string(asset.symbol)),
        )
    )
    items = [sc_symbol("METADATA") + metadata]
    if admin is not None:
        items.append(sc_vec([sc_symbol("Admin")]) + sc_addr(admin))
    if asset.issuer is None:
        info = sc_vec([sc_symbol("Native")])
    else:
        kind, width = ("AlphaNum4", 4) if len(asset.symbol) <= 4 else ("AlphaNum12", 12)
        code = asset.symbol.ljust(width, "\0")
        issuer = sc_bytes(wire.account_key(asset.issuer))
        fields = sc_map([(sc_symbol("asset_code"), sc_string(code)), (sc_symbol("issuer"), issuer)])
        info = sc_vec([sc_symbol(kind), fields])
    items.append(sc_vec([sc_symbol("AssetInfo")]) + info)
    value = wire.sc_instance(wire.EXECUTABLE_STELLAR_ASSET, wire.array(items))
    return ContractData(wire.ONE + contract, wire.SCV_CONTRACT_INSTANCE_KEY, wire.PERSISTENT, value, admin)
