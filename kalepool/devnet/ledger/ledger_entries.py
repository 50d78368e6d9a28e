"""Ledger entries as plain values, and their XDR both ways.

A key is the packed LedgerKey. Entries are immutable: a change puts a new one in a `StateView`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.wire import ONE, ZERO, array, i64, opaque, u32, u64

MASTER_ONLY = b"\x01\x00\x00\x00"
"""Thresholds of a new account: master key weight 1, low, medium and high 0."""

AUTHORIZED_FLAG = 1


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """An account. Amounts in stroops of XLM; `signers` are (packed SignerKey, weight), sorted by key."""

    key: bytes
    balance: int
    sequence: int
    subentries: int = 0
    flags: int = 0
    home_domain: bytes = b""
    thresholds: bytes = MASTER_ONLY
    signers: tuple[tuple[bytes, int], ...] = ()
    sequence_ledger: int | None = None  # the ledger and time the sequence number last changed in; None: never
    sequence_time: int = 0

    @property
    def ledger_key(self) -> bytes:
        return wire.key_account(self.key)

    def pack(self) -> bytes:
        if self.sequence_ledger is None:
            ext = ZERO
        else:
            # The extensions nest: v1 (liabilities), v2 (sponsorships: one "none" per signer), v3 (sequence age).
            sponsors = array([ZERO] * len(self.signers))
            age = ZERO + u32(self.sequence_ledger) + u64(self.sequence_time)
            ext = ONE + bytes(16) + u32(2) + bytes(8) + sponsors + u32(3) + age
        return b"".join(
            (
                wire.LEDGER_KEY_ACCOUNT,
                wire.account_id(self.key),
                i64(self.balance),
                i64(self.sequence),
                u32(self.subentries),
                ZERO,
                u32(self.flags),
                opaque(self.home_domain),
                self.thresholds,
                array([key + u32(weight) for key, weight in self.signers]),
                ext,
            )
        )


@dataclass(frozen=True, slots=True)
class TrustLine:
    """An account's holding of a credit asset (`asset` packed), in stroops of it."""

    key: bytes
    asset: bytes
    balance: int
    limit: int
    flags: int = AUTHORIZED_FLAG

    @property
    def ledger_key(self) -> bytes:
        return wire.key_trustline(self.key, self.asset)

    def pack(self) -> bytes:
        return b"".join(
            (
                wire.LEDGER_KEY_TRUSTLINE,
                wire.account_id(self.key),
                self.asset,
                i64(self.balance),
                i64(self.limit),
                u32(self.flags),
                ZERO,
            )
        )


@dataclass(frozen=True, slots=True)
class AccountData:
    """A named value that an account has put on the ledger."""

    key: bytes
    name: bytes
    value: bytes

    @property
    def ledger_key(self) -> bytes:
        return wire.key_data(self.key, self.name)

    def pack(self) -> bytes:
        return self.ledger_key + opaque(self.value) + ZERO


@dataclass(frozen=True, slots=True)
class ContractData:
    """A contract's data entry: packed ScAddress, ScVal key and value; `native` is the value unpacked."""

    address: bytes
    key: bytes
    durability: int
    value: bytes
    native: Any = field(default=None, compare=False)

    @property
    def ledger_key(self) -> bytes:
        return wire.key_contract_data(self.address, self.key, self.durability)

    def pack(self) -> bytes:
        return b"".join((wire.LEDGER_KEY_CONTRACT_DATA, ZERO, self.address, self.key, u32(self.durability), self.value))


@dataclass(frozen=True, slots=True)
class ContractCode:
    """An uploaded Wasm module."""

    code: bytes

    @property
    def ledger_key(self) -> bytes:
        return wire.key_contract_code(sha256(self.code).digest())

    def pack(self) -> bytes:
        return b"".join((wire.LEDGER_KEY_CONTRACT_CODE, ZERO, sha256(self.code).digest(), opaque(self.code)))


@dataclass(frozen=True, slots=True)
class ConfigSetting:
    """One of the network's settings: its ConfigSettingID and packed ConfigSettingEntry."""

    identity: int
    setting: bytes

    @property
    def ledger_key(self) -> bytes:
        return wire.LEDGER_KEY_CONFIG_SETTING + u32(self.identity)

    def pack(self) -> bytes:
        return wire.LEDGER_KEY_CONFIG_SETTING + self.setting


Data = AccountEntry | TrustLine | AccountData | ContractData | ContractCode | ConfigSetting


class LedgerEntry:
    """Data, the ledger that changed it last and, for contract entries, the last ledger they live in."""

    __slots__ = ("_packed", "data", "live_until", "modified")

    def __init__(self, data: Data, modified: int, live_until: int | None = None) -> None:
        self.data = data
        self.modified = modified
        self.live_until = live_until
        self._packed: bytes | None = None

    @property
    def is_temporary(self) -> bool:
        return isinstance(self.data, ContractData) and self.data.durability == wire.TEMPORARY

    def has_expired(self, sequence: int) -> bool:
        """Whether a temporary entry is gone in that ledger. Persistent ones are never archived here."""
        return self.live_until is not None and self.live_until < sequence and self.is_temporary

    def pack_data(self) -> bytes:
        """LedgerEntryData."""
        if self._packed is None:
            self._packed = self.data.pack()
        return self._packed

    def pack(self) -> bytes:
        """LedgerEntry."""
        return u32(self.modified) + self.pack_data() + ZERO


def unpack_data(packed: bytes) -> Data:
    """The typed value of a packed LedgerEntryData. ValueError for kinds the devnet does not keep."""
    data = xdr.LedgerEntryData.from_xdr_bytes(packed)
    if data.account is not None:
        return _unpack_account(data.account)
    if data.trust_line is not None:
        line = data.trust_line
        return TrustLine(
            key=line.account_id.account_id.ed25519.uint256 if line.account_id.account_id.ed25519 else b"",
            asset=line.asset.to_xdr_bytes(),
            balance=line.balance.int64,
            limit=line.limit.int64,
            flags=line.flags.uint32,
        )
    if data.data is not None:
        assert data.data.account_id.account_id.ed25519 is not None
        return AccountData(
            key=data.data.account_id.account_id.ed25519.uint256,
            name=data.data.data_name.string64,
            value=data.data.data_value.data_value,
        )
    if data.contract_data is not None:
        contract = data.contract_data
        return ContractData(
            address=contract.contract.to_xdr_bytes(),
            key=contract.key.to_xdr_bytes(),
            durability=contract.durability.value,
            value=contract.val.to_xdr_bytes(),
        )
    if data.contract_code is not None:
        return ContractCode(data.contract_code.code)
    raise ValueError(f"the devnet keeps no entries of type {data.type.name}")


def _unpack_account(account: xdr.AccountEntry) -> AccountEntry:
    assert account.account_id.account_id.ed25519 is not None
    sequence_ledger, sequence_time = None, 0
    if account.ext.v1 is not None and account.ext.v1.ext.v2 is not None and account.ext.v1.ext.v2.ext.v3 is not None:
        age = account.ext.v1.ext.v2.ext.v3
        sequence_ledger, sequence_time = age.seq_ledger.uint32, age.seq_time.time_point.uint64
    return AccountEntry(
        key=account.account_id.account_id.ed25519.uint256,
        balance=account.balance.int64,
        sequence=account.seq_num.sequence_number.int64,
        subentries=account.num_sub_entries.uint32,
        flags=account.flags.uint32,
        home_domain=account.home_domain.string32,
        thresholds=account.thresholds.thresholds,
        signers=tuple((s.key.to_xdr_bytes(), s.weight.uint32) for s in account.signers),
        sequence_ledger=sequence_ledger,
        sequence_time=sequence_time,
    )
