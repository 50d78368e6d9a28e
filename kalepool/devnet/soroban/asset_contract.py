"""The Stellar asset contract: an asset's ledger balances behind a token interface, with errors of its own.

Order of checks, error numbers and event forms are those of soroban-env-host's builtin contract.
"""

from __future__ import annotations

from dataclasses import replace

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import AUTHORIZED_FLAG, AccountEntry, ContractData, TrustLine
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.host import COST_BUILTIN_CALL, Error, SorobanHost, instance_key, read_args
from kalepool.devnet.wire import (
    sc_addr,
    sc_bool,
    sc_bytes,
    sc_i64,
    sc_i128,
    sc_map,
    sc_string,
    sc_symbol,
    sc_u32,
    sc_vec,
)

NOT_SUPPORTED: Error = (0, 2)
ACCOUNT_MISSING: Error = (0, 6)
NEGATIVE_AMOUNT: Error = (0, 8)
BALANCE: Error = (0, 10)
DEAUTHORIZED: Error = (0, 11)
OVERFLOW: Error = (0, 12)
TRUSTLINE_MISSING: Error = (0, 13)

_DAY_OF_LEDGERS = 17_280
_INSTANCE_EXTEND = 7 * _DAY_OF_LEDGERS
_INSTANCE_THRESHOLD = _INSTANCE_EXTEND - _DAY_OF_LEDGERS
_BALANCE_EXTEND = 30 * _DAY_OF_LEDGERS
_BALANCE_THRESHOLD = _BALANCE_EXTEND - _DAY_OF_LEDGERS
_I64_MAX = 2**63 - 1
_I128_MAX = 2**127 - 1

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "transfer": ("address", "address", "i128"),
    "burn": ("address", "i128"),
    "mint": ("address", "i128"),
    "balance": ("address",),
    "authorized": ("address",),
    "set_admin": ("address",),
    "admin": (),
    "decimals": (),
    "name": (),
    "symbol": (),
}


class AssetContract:
    """The asset contract of one asset: XLM where `code` is None."""

    def __init__(self, code: str | None = None, issuer: bytes = b"") -> None:
        self.issuer = wire.account_strkey(issuer) if code else None
        self.asset = wire.asset_credit(code, issuer) if code else wire.ASSET_NATIVE
        self.name = f"{code}:{self.issuer}" if code else "native"
        self.symbol = code or "native"

    def invoke(self, host: SorobanHost, contract: bytes, function: str, args: tuple[bytes, ...]) -> bytes:
        host.charge(COST_BUILTIN_CALL)
        kinds = _SIGNATURES.get(function)
        if kinds is None:
            raise host.error((2, 3), "calling unknown contract function", sc_symbol(function))
        plain = read_args(host, function, args, kinds)
        match function:
            case "transfer":
                self._transfer(host, args, *plain)
            case "burn":
                self._burn(host, args, *plain)
            case "mint":
                self._mint(host, args, *plain)
            case "set_admin":
                self._set_admin(host, args, *plain)
            case "balance":
                self._extend(host)
                return wire.sc_i128(self._balance(host, *plain))
            case "authorized":
                self._extend(host)
                return sc_bool(self._is_authorized(host, *plain))
            case "admin":
                return sc_addr(self._admin(host))
            case "decimals":
                return sc_u32(7)
            case "name":
                return sc_string(self.name)
            case _:
                return sc_string(self.symbol)
        return wire.SCV_VOID

    # --- the functions

    def _transfer(self, host: SorobanHost, args: tuple[bytes, ...], source: str, to: str, amount: int) -> None:
        self._check_amount(host, amount)
        host.require_auth(source, "transfer", args)
        self._extend(host)
        self._spend(host, source, amount)
        self._receive(host, to, amount)
        if source != to and source == self.issuer:
            self._event(host, "mint", to, data=sc_i128(amount))
        elif source != to and to == self.issuer:
            self._event(host, "burn", source, data=sc_i128(amount))
        else:
            self._event(host, "transfer", source, to, data=sc_i128(amount))

    def _burn(self, host: SorobanHost, args: tuple[bytes, ...], source: str, amount: int) -> None:
        self._check_amount(host, amount)
        if self.issuer is None:
            raise host.error(NOT_SUPPORTED, "operation invalid on native asset")
        self._check_not_issuer(host, source)
        host.require_auth(source, "burn", args)
        self._extend(host)
        self._spend(host, source, amount)
        self._event(host, "burn", source, data=sc_i128(amount))

    def _mint(self, host: SorobanHost, args: tuple[bytes, ...], to: str, amount: int) -> None:
        self._check_amount(host, amount)
        self._check_not_issuer(host, to)
        host.require_auth(self._admin(host), "mint", args)
        self._extend(host)
        self._receive(host, to, amount)
        self._event(host, "mint", to, data=sc_i128(amount))

    def _set_admin(self, host: SorobanHost, args: tuple[bytes, ...], admin: str) -> None:
        before = self._admin(host)
        host.require_auth(before, "set_admin", args)
        self._extend(host)
        assert host.contract is not None
        host.store(instance_key(host.contract), pack_asset_instance(host.contract, self, admin))
        self._event(host, "set_admin", before, data=sc_addr(admin))

    def _event(self, host: SorobanHost, name: str, *addresses: str, data: bytes) -> None:
        host.emit((sc_symbol(name), *(sc_addr(a) for a in addresses), sc_string(self.name)), data)

    # --- checks and balances

    def holds_for(self, address: str) -> bool:
        """Whether the contract itself keeps the address's balance: a contract's, while accounts have trustlines."""
        return address.startswith("C")

    def _check_amount(self, host: SorobanHost, amount: int) -> None:
        if amount < 0:
            raise host.error(NEGATIVE_AMOUNT, "negative amount is not allowed", sc_i128(amount))

    def _check_not_issuer(self, host: SorobanHost, address: str) -> None:
        if address == self.issuer:
            raise host.error(NOT_SUPPORTED, "operation invalid on issuer")

    def _extend(self, host: SorobanHost) -> None:
        assert host.contract is not None
        host.extend_ttl(instance_key(host.contract), _INSTANCE_THRESHOLD, _INSTANCE_EXTEND)

    def _admin(self, host: SorobanHost) -> str:
        assert host.contract is not None
        entry = host.load(instance_key(host.contract))
        admin = entry.data.native if entry is not None and isinstance(entry.data, ContractData) else None
        if admin is None and entry is not None and isinstance(entry.data, ContractData):
            admin = _read_admin(entry.data.value)
        if not admin:
            raise host.error((3, 3), "trying to get non-existing value for contract instance")
        return admin

    def _is_authorized(self, host: SorobanHost, address: str) -> bool:
        if address == self.issuer or self.issuer is None:
            return True
        if self.holds_for(address):
            # No asset here requires authorisation, so a contract without a balance has it.
            return True
        return bool(self._trustline(host, address).flags & AUTHORIZED_FLAG)

    def _spend(self, host: SorobanHost, address: str, amount: int) -> None:
        if not self._is_authorized(host, address):
            raise host.error(DEAUTHORIZED, "balance is deauthorized")
        if self.holds_for(address):
            balance = self._contract_balance(host, address)
            if balance < amount:
                raise host.error(BALANCE, "balance is not sufficient to spend", sc_i128(balance), sc_i128(amount))
            if amount > 0:
                self._write_contract_balance(host, address, balance - amount)
        else:
            self._transfer_classic(host, address, -amount)

    def _receive(self, host: SorobanHost, address: str, amount: int) -> None:
        if not self._is_authorized(host, address):
            raise host.error(DEAUTHORIZED, "balance is deauthorized")
        if self.holds_for(address):
            balance = self._contract_balance(host, address)
            if balance + amount > _I128_MAX:
                raise host.error(OVERFLOW, "balance overflow in receive_balance")
            self._write_contract_balance(host, address, balance + amount)
        else:
            self._transfer_classic(host, address, amount)

    def _transfer_classic(self, host: SorobanHost, address: str, amount: int) -> None:
        if not -_I64_MAX <= amount <= _I64_MAX:
            raise host.error(BALANCE, "amount does not fit an i64 balance", sc_i128(amount))
        if address == self.issuer:
            return
        if self.issuer is None:
            account = self._account(host, address)
            self._check_range(host, account.balance + amount, account.minimum_balance, _I64_MAX)
            host.store(account.ledger_key, replace(account, balance=account.balance + amount), sc_addr(address))
        else:
            line = self._trustline(host, address)
            self._check_range(host, line.balance + amount, 0, line.limit)
            host.store(line.ledger_key, replace(line, balance=line.balance + amount), sc_addr(address))

    def _check_range(self, host: SorobanHost, balance: int, low: int, high: int) -> None:
        if not -_I64_MAX <= balance <= _I64_MAX:
            raise host.error(BALANCE, "resulting balance overflow")
        if not low <= balance <= high:
            args = sc_i64(low), sc_i64(balance), sc_i64(high)
            raise host.error(BALANCE, "resulting balance is not within the allowed range", *args)

    def _balance(self, host: SorobanHost, address: str) -> int:
        if self.holds_for(address):
            return self._contract_balance(host, address)
        if address == self.issuer:
            return _I64_MAX
        return self._account(host, address).balance if self.issuer is None else self._trustline(host, address).balance

    def _account(self, host: SorobanHost, address: str) -> AccountEntry:
        return host.load_account(address)

    def _trustline(self, host: SorobanHost, address: str) -> TrustLine:
        entry = host.load(wire.key_trustline(wire.account_key(address), self.asset), sc_addr(address))
        if entry is None or not isinstance(entry.data, TrustLine):
            raise host.error(TRUSTLINE_MISSING, "trustline entry is missing for account", sc_addr(address))
        return entry.data

    def _contract_balance(self, host: SorobanHost, address: str) -> int:
        key = balance_key(host, address)
        entry = host.load(key, sc_addr(address))
        if entry is None or not isinstance(entry.data, ContractData):
            return 0
        return next(item.value for name, item in scv.decode(entry.data.value).value if name.value == "amount")

    def _write_contract_balance(self, host: SorobanHost, address: str, amount: int) -> None:
        assert host.contract is not None
        data = pack_balance(host.contract, address, amount)
        host.store(data.ledger_key, data, sc_addr(address))
        host.extend_ttl(data.ledger_key, _BALANCE_THRESHOLD, _BALANCE_EXTEND)


def pack_balance(contract: bytes, address: str, amount: int) -> ContractData:
    """The entry of a balance that the asset contract with this raw hash keeps itself."""
    fields = (("amount", sc_i128(amount)), ("authorized", sc_bool(True)), ("clawback", sc_bool(False)))
    value = sc_map((sc_symbol(name), item) for name, item in fields)
    key = sc_vec([sc_symbol("Balance"), sc_addr(address)])
    return ContractData(wire.ONE + contract, key, wire.PERSISTENT, value)


def balance_key(host: SorobanHost, address: str) -> bytes:
    """Packed ledger key of a contract address's balance in the running asset contract."""
    assert host.contract is not None
    packed = sc_vec([sc_symbol("Balance"), sc_addr(address)])
    return wire.key_contract_data(wire.ONE + host.contract, packed, wire.PERSISTENT)


def _read_admin(instance: bytes) -> str | None:
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
