"""Who holds how much of an asset: accounts by their ledger entries, contracts by entries of the asset contract.

Order of checks and messages are soroban-env-host's (stellar_asset_contract/balance.rs).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import (
    AUTH_CLAWBACK_FLAG,
    AUTH_REQUIRED_FLAG,
    AUTH_REVOCABLE_FLAG,
    AUTHORIZED_FLAG,
    LINE_CLAWBACK_FLAG,
    MAINTAIN_FLAG,
    AccountEntry,
    ContractData,
    TrustLine,
)
from kalepool.devnet.settings import BASE_RESERVE
from kalepool.devnet.soroban import scv
from kalepool.devnet.soroban.asset_errors import (
    ACCOUNT_MISSING,
    BALANCE,
    DEAUTHORIZED,
    LOW_RESERVE,
    NOT_SUPPORTED,
    OVERFLOW,
    TOO_MANY_SUBENTRIES,
    TRUSTLINE_MISSING,
)
from kalepool.devnet.soroban.host import SorobanHost
from kalepool.devnet.wire import sc_addr, sc_bool, sc_i64, sc_i128, sc_map, sc_symbol, sc_vec

_DAY_OF_LEDGERS = 17_280
_EXTEND = 30 * _DAY_OF_LEDGERS
_THRESHOLD = _EXTEND - _DAY_OF_LEDGERS
_I64_MAX = 2**63 - 1
_I128_MAX = 2**127 - 1
_MAX_SUBENTRIES = 1_000


class Holding(NamedTuple):
    """A balance that the asset contract keeps itself."""

    amount: int = 0
    authorized: bool = True
    clawback: bool = False


class AssetBalances:
    """The balances of one asset: XLM where `code` is None."""

    def __init__(self, code: str | None = None, issuer: bytes = b"") -> None:
        self.issuer = wire.account_strkey(issuer) if code else None
        self.asset = wire.asset_credit(code, issuer) if code else wire.ASSET_NATIVE
        self.name = f"{code}:{self.issuer}" if code else "native"
        self.symbol = code or "native"

    def holds_for(self, address: str) -> bool:
        """Whether the contract itself keeps the address's balance: a contract's, while accounts have trustlines."""
        return address.startswith("C")

    def issuer_has(self, host: SorobanHost, flag: int) -> bool:
        """Whether the issuer's account has a flag; XLM has no issuer."""
        return self.issuer is not None and bool(host.load_account(self.issuer).flags & flag)

    # --- what the contract's functions ask for

    def balance(self, host: SorobanHost, address: str) -> int:
        if self.holds_for(address):
            key = balance_key(host, address)
            held = self._holding(host, address)
            if held is not None:
                host.extend_ttl(key, _THRESHOLD, _EXTEND)
            return 0 if held is None else held.amount
        if address == self.issuer:
            return _I64_MAX
        if self.issuer is None:
            return host.load_account(address).balance
        return self._trustline(host, address).balance

    def is_authorized(self, host: SorobanHost, address: str) -> bool:
        """Whether the address may pay and be paid."""
        if self.holds_for(address):
            held = self._holding(host, address)
            return not self.issuer_has(host, AUTH_REQUIRED_FLAG) if held is None else held.authorized
        if self.issuer is None or address == self.issuer:
            return True
        return bool(self._trustline(host, address).flags & AUTHORIZED_FLAG)

    def spend(self, host: SorobanHost, address: str, amount: int) -> None:
        """Takes an amount from an authorised address."""
        self._check_authorized(host, address)
        self.take(host, address, amount)

    def take(self, host: SorobanHost, address: str, amount: int) -> None:
        """Takes an amount, from an address that is not authorised too."""
        if not self.holds_for(address):
            if amount > _I64_MAX:
                raise host.error(OVERFLOW, "spent amount is too large for an i64")
            self._move(host, address, -amount)
            return
        held = self._holding(host, address)
        if held is None:
            if amount > 0:
                raise host.error(BALANCE, "zero balance is not sufficient to spend", sc_i128(amount))
            return
        if held.amount < amount:
            raise host.error(BALANCE, "balance is not sufficient to spend", sc_i128(held.amount), sc_i128(amount))
        self._hold(host, address, held._replace(amount=held.amount - amount))

    def receive(self, host: SorobanHost, address: str, amount: int) -> None:
        """Gives an amount to an authorised address."""
        self._check_authorized(host, address)
        if not self.holds_for(address):
            if amount > _I64_MAX:
                raise host.error(OVERFLOW, "received amount is too large for an i64")
            self._move(host, address, amount)
            return
        held = self._holding(host, address)
        if held is None:
            held = Holding(clawback=self.issuer_has(host, AUTH_CLAWBACK_FLAG))
        if held.amount + amount > _I128_MAX:
            raise host.error(OVERFLOW, "balance overflow in receive_balance")
        self._hold(host, address, held._replace(amount=held.amount + amount))

    def set_authorization(self, host: SorobanHost, address: str, authorize: bool) -> None:
        """Lets an address pay and be paid, or no longer."""
        if not authorize and not self.issuer_has(host, AUTH_REVOCABLE_FLAG):
            raise host.error(NOT_SUPPORTED, "issuer does not have AUTH_REVOCABLE set")
        if self.holds_for(address):
            held = self._holding(host, address)
            if held is None:
                held = Holding(clawback=self.issuer_has(host, AUTH_CLAWBACK_FLAG))
            self._hold(host, address, held._replace(authorized=authorize))
            return
        if self.issuer is None:
            raise host.error(NOT_SUPPORTED, "expected trustline asset")
        if address == self.issuer:
            raise host.error(NOT_SUPPORTED, "issuer doesn't have a trustline")
        line = self._trustline(host, address)
        if bool(line.flags & AUTHORIZED_FLAG) != authorize:
            added, removed = (AUTHORIZED_FLAG, MAINTAIN_FLAG) if authorize else (MAINTAIN_FLAG, AUTHORIZED_FLAG)
            host.store(line.ledger_key, replace(line, flags=line.flags & ~removed | added), sc_addr(address))

    def check_clawback(self, host: SorobanHost, address: str) -> None:
        """Raises unless what the address holds may be clawed back."""
        if self.holds_for(address):
            held = self._holding(host, address)
            if held is None:
                raise host.error(BALANCE, "no balance to clawback")
            if not held.clawback:
                raise host.error(BALANCE, "balance isn't clawbackable")
            return
        if self.issuer is None:
            raise host.error(NOT_SUPPORTED, "cannot clawback native asset")
        if address == self.issuer:
            raise host.error(NOT_SUPPORTED, "cannot clawback from issuer")
        if not self._trustline(host, address).flags & LINE_CLAWBACK_FLAG:
            raise host.error(BALANCE, "trustline isn't clawbackable")

    def needs_trustline(self, host: SorobanHost, address: str) -> bool:
        """Whether the address is an account that has none yet. Raises for one that can have none."""
        if self.holds_for(address):
            return False
        if self.issuer is None:
            raise host.error(NOT_SUPPORTED, "trust operation is not supported for native asset")
        if address == self.issuer:
            raise host.error(NOT_SUPPORTED, "cannot create trustline for issuer")
        return host.load(wire.key_trustline(wire.account_key(address), self.asset), sc_addr(address)) is None

    def make_trustline(self, host: SorobanHost, address: str) -> None:
        """Opens an unlimited trustline."""
        flags = 0 if self.issuer_has(host, AUTH_REQUIRED_FLAG) else AUTHORIZED_FLAG
        flags |= LINE_CLAWBACK_FLAG if self.issuer_has(host, AUTH_CLAWBACK_FLAG) else 0
        account = host.load_account(address)
        if account.subentries >= _MAX_SUBENTRIES:
            raise host.error(TOO_MANY_SUBENTRIES, "account has reached maximum number of sub-entries")
        if account.available_balance < BASE_RESERVE:
            raise host.error(LOW_RESERVE, "account has insufficient reserve for new trustline")
        line = TrustLine(account.key, self.asset, 0, _I64_MAX, flags)
        host.store(line.ledger_key, line, sc_addr(address))
        host.store(account.ledger_key, replace(account, subentries=account.subentries + 1), sc_addr(address))

    # --- ledger entries

    def _check_authorized(self, host: SorobanHost, address: str) -> None:
        if not self.is_authorized(host, address):
            raise host.error(DEAUTHORIZED, "balance is deauthorized")

    def _move(self, host: SorobanHost, address: str, amount: int) -> None:
        """Adds to what an account holds, or takes where the amount is negative."""
        if address == self.issuer:
            return
        if self.issuer is not None:
            line = self._trustline(host, address)
            self._check_range(host, line.balance + amount, 0, line.limit)
            host.store(line.ledger_key, replace(line, balance=line.balance + amount), sc_addr(address))
            return
        key = wire.account_key(address)
        entry = host.load(wire.key_account(key), sc_addr(address))
        if entry is None or not isinstance(entry.data, AccountEntry):
            self._make_account(host, address, amount)
            return
        account = entry.data
        self._check_range(host, account.balance + amount, account.minimum_balance, _I64_MAX)
        host.store(account.ledger_key, replace(account, balance=account.balance + amount), sc_addr(address))

    def _make_account(self, host: SorobanHost, address: str, amount: int) -> None:
        if amount <= 0:
            raise host.error(ACCOUNT_MISSING, "account entry is missing", sc_addr(address))
        minimum = 2 * BASE_RESERVE
        if amount < minimum:
            message = "transfer amount is below minimum balance for new account"
            raise host.error(LOW_RESERVE, message, sc_i64(amount), sc_i64(minimum))
        account = AccountEntry(wire.account_key(address), amount, host.sequence << 32)
        host.store(account.ledger_key, account, sc_addr(address))

    def _check_range(self, host: SorobanHost, balance: int, low: int, high: int) -> None:
        if not -_I64_MAX <= balance <= _I64_MAX:
            raise host.error(BALANCE, "resulting balance overflow")
        if not low <= balance <= high:
            args = sc_i64(low), sc_i64(balance), sc_i64(high)
            raise host.error(BALANCE, "resulting balance is not within the allowed range", *args)

    def _trustline(self, host: SorobanHost, address: str) -> TrustLine:
        entry = host.load(wire.key_trustline(wire.account_key(address), self.asset), sc_addr(address))
        if entry is None or not isinstance(entry.data, TrustLine):
            raise host.error(TRUSTLINE_MISSING, "trustline entry is missing for account", sc_addr(address))
        return entry.data

    def _holding(self, host: SorobanHost, address: str) -> Holding | None:
        entry = host.load(balance_key(host, address), sc_addr(address))
        if entry is None or not isinstance(entry.data, ContractData):
            return None
        return Holding(**{name.value: item.value for name, item in scv.decode(entry.data.value).value})

    def _hold(self, host: SorobanHost, address: str, held: Holding) -> None:
        assert host.contract is not None
        data = pack_balance(host.contract, address, held)
        host.store(data.ledger_key, data, sc_addr(address))
        host.extend_ttl(data.ledger_key, _THRESHOLD, _EXTEND)


def pack_balance(contract: bytes, address: str, held: Holding) -> ContractData:
    """The entry of a balance that the asset contract with this raw hash keeps itself."""
    fields = (
        ("amount", sc_i128(held.amount)),
        ("authorized", sc_bool(held.authorized)),
        ("clawback", sc_bool(held.clawback)),
    )
    value = sc_map((sc_symbol(name), item) for name, item in fields)
    key = sc_vec([sc_symbol("Balance"), sc_addr(address)])
    return ContractData(wire.ONE + contract, key, wire.PERSISTENT, value)


def balance_key(host: SorobanHost, address: str) -> bytes:
    """Packed ledger key of a contract address's balance in the running asset contract."""
    assert host.contract is not None
    packed = sc_vec([sc_symbol("Balance"), sc_addr(address)])
    return wire.key_contract_data(wire.ONE + host.contract, packed, wire.PERSISTENT)
