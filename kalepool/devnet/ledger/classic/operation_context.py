"""Where an operation runs, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

from stellar_sdk import xdr

from kalepool.devnet.ledger.account_ids import muxed_id
from kalepool.devnet.ledger.ledger_entries import AccountEntry, Data, LedgerEntry
from kalepool.devnet.ledger.state_view import StateView
from kalepool.devnet.ledger.transactions import Transaction
from kalepool.devnet.settings import BASE_RESERVE
from kalepool.devnet.wire import account_id, i64, u32

_MAX_SUBENTRIES = 1_000
_OPERATION_ID = u32(6)
"""ENVELOPE_TYPE_OP_ID."""

Outer = xdr.OperationResultCode


class Ended(NamedTuple):
    """How an operation ended: its own result code and what follows it, or an `outer` code instead of both."""

    code: int
    payload: bytes = b""
    outer: int = Outer.opINNER


NOT_SUPPORTED = Ended(0, outer=Outer.opNOT_SUPPORTED)
TOO_MANY_SUBENTRIES = Ended(0, outer=Outer.opTOO_MANY_SUBENTRIES)

Outcome = int | Ended
"""A result code of the operation's own, or all there is to say."""


@dataclass(slots=True)
class OperationContext:
    """The view an operation changes, its transaction and place in it, the ledger, and the events it emits (packed)."""

    view: StateView
    transaction: Transaction
    index: int
    sequence: int
    close_time: int
    asset_contract: Callable[[bytes], bytes]  # packed Asset -> raw hash of its asset contract
    events: list[bytes] = field(default_factory=list)
    sponsorships: dict[bytes, bytes] = field(default_factory=dict)
    """Who pays for what an account adds, by raw keys: of the whole transaction."""

    @property
    def source(self) -> bytes:
        """The raw key of the operation's source."""
        return self.transaction.operation_sources[self.index]

    @property
    def source_muxed_id(self) -> int | None:
        own = self.transaction.operations[self.index].source_account
        return muxed_id(self.transaction.body.source_account if own is None else own)

    def put(self, data: Data, sponsor: bytes | None = None) -> None:
        self.view.put(LedgerEntry(data, self.sequence, sponsor=sponsor))

    def account(self, key: bytes) -> AccountEntry:
        """An account that is known to exist."""
        account = self.view.account(key)
        assert account is not None
        return account

    def source_account(self) -> AccountEntry:
        return self.account(self.source)

    def operation_id(self) -> bytes:
        """The hash that is the id of a claimable balance made by this operation."""
        source, sequence = self.transaction.source, self.transaction.sequence
        return sha256(_OPERATION_ID + account_id(source) + i64(sequence) + u32(self.index)).digest()

    @property
    def sponsor(self) -> bytes | None:
        """The raw key of who pays the reserves of what the source adds now; None: it does."""
        return self.sponsorships.get(self.source)

    def sponsor_of(self, key: bytes) -> bytes | None:
        """Who pays the reserve of an entry that is there; None: the account that it belongs to."""
        entry = self.view.get(key)
        return None if entry is None else entry.sponsor

    def charge(self, payer: bytes, reserves: int) -> bool:
        """Has an account pay reserves of others' entries; whether it can."""
        account = self.account(payer)
        if account.available_balance < reserves * BASE_RESERVE:
            return False
        self.put(replace(account, sponsoring=account.sponsoring + reserves))
        return True

    def release(self, payer: bytes, reserves: int) -> None:
        account = self.account(payer)
        self.put(replace(account, sponsoring=account.sponsoring - reserves))

    def add_subentry(self, low_reserve: int) -> Outcome:
        """Has the source, or its sponsor, pay the reserve of one entry more; 0, or what forbids it. `put` the entry
        with that sponsor."""
        account = self.source_account()
        if account.subentries >= _MAX_SUBENTRIES:
            return TOO_MANY_SUBENTRIES
        if self.sponsor is None:
            if account.available_balance < BASE_RESERVE:
                return low_reserve
        elif not self.charge(self.sponsor, 1):
            return low_reserve
        sponsored = account.sponsored + (self.sponsor is not None)
        self.put(replace(account, subentries=account.subentries + 1, sponsored=sponsored))
        return 0

    def drop_subentry(self, sponsor: bytes | None = None) -> None:
        """One entry less, whose reserve was the source's own or that sponsor's."""
        account = self.source_account()
        sponsored = account.sponsored - (sponsor is not None)
        self.put(replace(account, subentries=account.subentries - 1, sponsored=sponsored))
        if sponsor is not None:
            self.release(sponsor, 1)
