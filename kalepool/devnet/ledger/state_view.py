"""The state of the ledger under change: overlays that are merged into the state below or dropped whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from kalepool.devnet import wire
from kalepool.devnet.ledger.ledger_entries import AccountEntry, LedgerEntry, TrustLine
from kalepool.devnet.wire import ZERO, array, u32


class StateView:
    """Changes on top of a state that are kept or dropped together. None marks a removed entry."""

    __slots__ = ("changes", "parent")

    def __init__(self, parent: StateView | Mapping[bytes, LedgerEntry]) -> None:
        self.parent = parent
        self.changes: dict[bytes, LedgerEntry | None] = {}

    def get(self, key: bytes) -> LedgerEntry | None:
        if key in self.changes:
            return self.changes[key]
        return self.parent.get(key)

    def put(self, entry: LedgerEntry) -> None:
        self.put_at(entry.data.ledger_key, entry)

    def put_at(self, key: bytes, entry: LedgerEntry) -> None:
        """Who pays an entry's reserve pays it until the entry is removed."""
        if entry.sponsor is None and (known := self.get(key)) is not None:
            entry.sponsor = known.sponsor
        self.changes[key] = entry

    def remove(self, key: bytes) -> None:
        if self.parent.get(key) is None:
            self.changes.pop(key, None)
        else:
            self.changes[key] = None

    def merge(self) -> None:
        """Moves the changes into the view below."""
        assert isinstance(self.parent, StateView)
        for key, entry in self.changes.items():
            if entry is None:
                self.parent.remove(key)
            else:
                self.parent.changes[key] = entry
        self.changes = {}

    def account(self, key: bytes) -> AccountEntry | None:
        entry = self.get(wire.key_account(key))
        return entry.data if entry is not None and isinstance(entry.data, AccountEntry) else None

    def trustline(self, key: bytes, asset: bytes) -> TrustLine | None:
        entry = self.get(wire.key_trustline(key, asset))
        return entry.data if entry is not None and isinstance(entry.data, TrustLine) else None


def ttl_key(key: bytes) -> bytes:
    """LedgerKey of the TTL entry that belongs to a contract entry's packed key."""
    return wire.LEDGER_KEY_TTL + sha256(key).digest()


def _ttl_entry(key: bytes, entry: LedgerEntry) -> bytes:
    assert entry.live_until is not None
    return u32(entry.extended) + wire.LEDGER_KEY_TTL + sha256(key).digest() + u32(entry.live_until) + ZERO


_CREATED = u32(0)
_UPDATED = u32(1)
_REMOVED = u32(2)
_STATE = u32(3)


def pack_changes(view: StateView) -> bytes:
    """LedgerEntryChanges of what a view changes, TTL entries included."""
    return array(list(_changes(view)))


def _changes(view: StateView) -> Iterator[bytes]:
    for key, after in view.changes.items():
        before = view.parent.get(key)
        if before is after:
            continue
        if after is None:
            assert before is not None
            yield _STATE + before.pack()
            yield _REMOVED + key
            if before.live_until is not None:
                yield _STATE + _ttl_entry(key, before)
                yield _REMOVED + ttl_key(key)
            continue
        if before is None:
            yield _CREATED + after.pack()
            if after.live_until is not None:
                yield _CREATED + _ttl_entry(key, after)
            continue
        if before.data is not after.data:
            yield _STATE + before.pack()
            yield _UPDATED + after.pack()
        if after.live_until is not None and before.live_until is not None and after.live_until != before.live_until:
            yield _STATE + _ttl_entry(key, before)
            yield _UPDATED + _ttl_entry(key, after)
