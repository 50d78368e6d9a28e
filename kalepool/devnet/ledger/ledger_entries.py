"""Ledger entries as plain values, and their XDR both ways.

A key is the packed LedgerKey. Entries are immutable: a change puts a new one in a `StateView`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from stellar_sdk import xdr

from kalepool.devnet import wire
from kalepool.devnet.ledger.account_ids import account_key
from kalepool.devnet.settings import BASE_RESERVE
from kalepool.devnet.wire import ONE, ZERO, array, i64, opaque, u32, u64

MASTER_ONLY = b"\x01\x00\x00\x00"
"""Thresholds of a new account: master key weight 1, low, medium and high 0."""

AUTH_REQUIRED_FLAG, AUTH_REVOCABLE_FLAG, AUTH_IMMUTABLE_FLAG, AUTH_CLAWBACK_FLAG = 1, 2, 4, 8
"""An account's flags."""
AUTHORIZED_FLAG, MAINTAIN_FLAG, LINE_CLAWBACK_FLAG = 1, 2, 4
"""A trustline's flags: may pay and be paid, may only keep its offers, may be clawed back."""


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
    sponsoring: int = 0  # reserves it pays for entries that are no part of it
    sponsored: int = 0  # reserves, its own and its entries', that others pay
    inflation_dest: bytes | None = None

    @property
    def ledger_key(self) -> bytes:
        return wire.key_account(self.key)

    @property
    def minimum_balance(self) -> int:
        """Stroops that must stay on it: its reserve."""
        return (2 + self.subentries + self.sponsoring - self.sponsored) * BASE_RESERVE

    @property
    def available_balance(self) -> int:
        """Stroops of XLM above the reserve."""
        return self.balance - self.minimum_balance

    def _pack_extensions(self) -> bytes:
        if self.sequence_ledger is None and not self.sponsoring and not self.sponsored:
            return ZERO
        # The extensions nest: v1 (liabilities), v2 (sponsorships: one "none" per signer), v3 (sequence age).
        sponsors = array([ZERO] * len(self.signers))
        age = ZERO
        if self.sequence_ledger is not None:
            age = u32(3) + ZERO + u32(self.sequence_ledger) + u64(self.sequence_time)
        return ONE + bytes(16) + u32(2) + u32(self.sponsored) + u32(self.sponsoring) + sponsors + age

    def pack(self) -> bytes:
        inflation = None if self.inflation_dest is None else wire.account_id(self.inflation_dest)
        return b"".join(
            (
                wire.LEDGER_KEY_ACCOUNT,
                wire.account_id(self.key),
                i64(self.balance),
                i64(self.sequence),
                u32(self.subentries),
                wire.optional(inflation),
                u32(self.flags),
                opaque(self.home_domain),
                self.thresholds,
                array([key + u32(weight) for key, weight in self.signers]),
                self._pack_extensions(),
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
class DataEntry:
    """A name and a value that an account keeps."""

    key: bytes
    name: bytes
    value: bytes

    @property
    def ledger_key(self) -> bytes:
        return wire.key_data(self.key, self.name)

    def pack(self) -> bytes:
        return self.ledger_key + opaque(self.value) + ZERO


@dataclass(frozen=True, slots=True)
class ClaimableBalance:
    """An amount that one of its claimants may take. `claimants`: (raw key, packed ClaimPredicate); `asset` packed."""

    balance_id: bytes
    claimants: tuple[tuple[bytes, bytes], ...]
    asset: bytes
    amount: int
    clawback: bool = False

    @property
    def ledger_key(self) -> bytes:
        return wire.key_claimable_balance(self.balance_id)

    def pack(self) -> bytes:
        claimants = [ZERO + wire.account_id(key) + predicate for key, predicate in self.claimants]
        ext = ONE + ZERO + ONE if self.clawback else ZERO
        return self.ledger_key + array(claimants) + self.asset + i64(self.amount) + ext


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


Data = AccountEntry | TrustLine | DataEntry | ClaimableBalance | ContractData | ContractCode | ConfigSetting


class LedgerEntry:
    """Data, the ledger that changed it last and, for contract entries, the last ledger they live in.

    `sponsor` is the raw key of the account that pays its reserve, where that is not the account it belongs to.
    `extended` is the ledger that set `live_until`: a life is an entry of its own in the network's ledger.
    """

    __slots__ = ("_packed", "data", "extended", "live_until", "modified", "sponsor")

    def __init__(
        self,
        data: Data,
        modified: int,
        live_until: int | None = None,
        sponsor: bytes | None = None,
        extended: int | None = None,
    ) -> None:
        self.data = data
        self.modified = modified
        self.live_until = live_until
        self.sponsor = sponsor
        self.extended = modified if extended is None else extended
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
        return u32(self.modified) + self.pack_data() + self.pack_extension()

    def pack_extension(self) -> bytes:
        """LedgerEntryExt."""
        return ZERO if self.sponsor is None else ONE + ONE + wire.account_id(self.sponsor) + ZERO


def unpack_data(packed: bytes) -> Data:
    """The typed value of a packed LedgerEntryData. ValueError for kinds the devnet does not keep."""
    data = xdr.LedgerEntryData.from_xdr_bytes(packed)
    if data.account is not None:
        return _unpack_account(data.account)
    if data.trust_line is not None:
        line = data.trust_line
        return TrustLine(
            key=account_key(line.account_id),
            asset=line.asset.to_xdr_bytes(),
            balance=line.balance.int64,
            limit=line.limit.int64,
            flags=line.flags.uint32,
        )
    if data.data is not None:
        kept = data.data
        return DataEntry(account_key(kept.account_id), kept.data_name.string64, kept.data_value.data_value)
    if data.claimable_balance is not None:
        return _unpack_claimable_balance(data.claimable_balance)
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


def _unpack_claimable_balance(entry: xdr.ClaimableBalanceEntry) -> ClaimableBalance:
    assert entry.balance_id.v0 is not None
    claimants = [claimant.v0 for claimant in entry.claimants if claimant.v0 is not None]
    return ClaimableBalance(
        balance_id=entry.balance_id.v0.hash,
        claimants=tuple((account_key(each.destination), each.predicate.to_xdr_bytes()) for each in claimants),
        asset=entry.asset.to_xdr_bytes(),
        amount=entry.amount.int64,
        clawback=entry.ext.v1 is not None and bool(entry.ext.v1.flags.uint32),
    )


def _unpack_account(account: xdr.AccountEntry) -> AccountEntry:
    v2 = None if account.ext.v1 is None else account.ext.v1.ext.v2
    age = None if v2 is None else v2.ext.v3
    return AccountEntry(
        key=account_key(account.account_id),
        balance=account.balance.int64,
        sequence=account.seq_num.sequence_number.int64,
        subentries=account.num_sub_entries.uint32,
        flags=account.flags.uint32,
        home_domain=account.home_domain.string32,
        thresholds=account.thresholds.thresholds,
        signers=tuple((s.key.to_xdr_bytes(), s.weight.uint32) for s in account.signers),
        sequence_ledger=None if age is None else age.seq_ledger.uint32,
        sequence_time=0 if age is None else age.seq_time.time_point.uint64,
        sponsoring=0 if v2 is None else v2.num_sponsoring.uint32,
        sponsored=0 if v2 is None else v2.num_sponsored.uint32,
        inflation_dest=None if account.inflation_dest is None else account_key(account.inflation_dest),
    )
