"""The chain on disk: one SQLite database, written once per closed ledger.

Entries hold the state after the last ledger, ledgers and transactions the history the RPC methods read. A ledger is
one transaction of the database, so a killed process finds its last closed ledger whole when it starts again.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalepool.devnet import wire
from kalepool.devnet.ledger.closing import Closed
from kalepool.devnet.ledger.event_rows import EventRow, event_rows
from kalepool.devnet.ledger.ledger_entries import LedgerEntry, unpack_data
from kalepool.devnet.ledger.meta import Header, TransactionRecord, ledger_close_meta
from kalepool.errors import ConfigError

FILE_NAME = "devnet.sqlite3"
RETENTION_LEDGERS = 17_280
"""How many ledgers of history are kept: a day of 5 s ledgers."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    key BLOB PRIMARY KEY, data BLOB NOT NULL, modified INTEGER NOT NULL, live_until INTEGER, sponsor BLOB,
    extended INTEGER);
CREATE TABLE ledgers (
    sequence INTEGER PRIMARY KEY, close_time INTEGER NOT NULL, header TEXT NOT NULL, fees TEXT NOT NULL,
    evicted BLOB NOT NULL);
CREATE TABLE transactions (
    ledger INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL, inner_hash BLOB, success INTEGER NOT NULL,
    soroban INTEGER NOT NULL, envelope BLOB NOT NULL, result BLOB NOT NULL, meta BLOB NOT NULL,
    fee_changes BLOB NOT NULL, post_fee_changes BLOB NOT NULL, events TEXT NOT NULL,
    PRIMARY KEY (ledger, position)) WITHOUT ROWID;
CREATE INDEX transactions_hash ON transactions (hash);
CREATE INDEX transactions_inner_hash ON transactions (inner_hash) WHERE inner_hash IS NOT NULL;
CREATE TABLE events (
    ledger INTEGER NOT NULL, toid INTEGER NOT NULL, position INTEGER NOT NULL, contract BLOB, type TEXT NOT NULL,
    transaction_hash BLOB NOT NULL, success INTEGER NOT NULL, topics TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (toid, position)) WITHOUT ROWID;
CREATE INDEX events_ledger ON events (ledger);
"""

_LATER_COLUMNS = ("sponsor BLOB", "extended INTEGER")
"""What a database of an older version lacks."""

_SELECT_TRANSACTIONS = """
SELECT t.ledger, l.close_time, t.position, t.hash, t.inner_hash, t.success, t.soroban, t.envelope, t.result, t.meta,
    t.fee_changes, t.post_fee_changes, t.events
FROM transactions t JOIN ledgers l ON l.sequence = t.ledger
WHERE {where} ORDER BY t.ledger, t.position
"""

_SELECT_EVENTS = """
SELECT e.ledger, e.toid, e.position, e.contract, e.type, e.transaction_hash, e.success, e.topics, e.value, l.close_time
FROM events e JOIN ledgers l ON l.sequence = e.ledger
WHERE (e.toid, e.position) >= (?, ?) AND e.toid < ? {more} ORDER BY e.toid, e.position
"""

_HEADER_HASHES = ("previous_hash", "transaction_set_hash", "result_hash", "state_hash")


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A closed ledger's sequence and close time (unix seconds)."""

    sequence: int
    close_time: int


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """An applied transaction and where it was applied; `position` counts from 1."""

    ledger: LedgerRow
    position: int
    record: TransactionRecord

    @property
    def is_fee_bump(self) -> bool:
        return self.record.inner_hash is not None


class Store:
    """The database of one devnet; in memory where there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            ":memory:" if folder is None else folder / FILE_NAME, timeout=0, isolation_level=None
        )
        try:
            # Exclusive: a chain has one writer. A killed process loses nothing with WAL and NORMAL; only a power cut
            # may cost the last ledgers.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise ConfigError(
                f"the devnet's data in {folder} cannot be used ({error}): is another devnet running?"
            ) from None
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._range: tuple[LedgerRow, LedgerRow] | None = None

    def close(self) -> None:
        self._db.close()

    # --- start

    def load(self, settings: dict[str, str]) -> tuple[Header, dict[bytes, LedgerEntry]] | None:
        """The last ledger and its state, or None for a new database.

        ConfigError where it was made with other settings.
        """
        tables = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchone()
        if tables is None:
            return None
        kept = dict(self._db.execute("SELECT name, value FROM meta"))
        for name, value in settings.items():
            if kept.get(name) != value:
                raise ConfigError(
                    f"the devnet's data was made with {name} {kept.get(name)!r}, not {value!r}: use another data folder"
                )
        row = self._db.execute("SELECT header FROM ledgers ORDER BY sequence DESC LIMIT 1").fetchone()
        present = {column[1] for column in self._db.execute("PRAGMA table_info(entries)")}
        for column in _LATER_COLUMNS:
            if column.partition(" ")[0] not in present:
                self._db.execute(f"ALTER TABLE entries ADD COLUMN {column}")
        rows = self._db.execute("SELECT key, data, modified, live_until, sponsor, extended FROM entries")
        entries = {key: LedgerEntry(unpack_data(data), *rest) for key, data, *rest in rows}
        self._read_range()
        return _header_from_json(row[0]), entries

    def create(self, header: Header, entries: dict[bytes, LedgerEntry], settings: dict[str, str]) -> None:
        """Writes the first ledger."""
        with _Transaction(self._db):
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", settings.items())
            self._write(Closed(header, [], dict(entries), []))
        self._read_range()

    # --- every ledger

    def keep(self, closed: Closed) -> None:
        """Writes a closed ledger whole, or raises and writes nothing."""
        with _Transaction(self._db):
            self._write(closed)
            self._forget(closed.header.sequence - RETENTION_LEDGERS)
        self._read_range()

    def _write(self, closed: Closed) -> None:
        db, sequence = self._db, closed.header.sequence
        gone = [(key,) for key, entry in closed.changes.items() if entry is None]
        kept = [
            (key, entry.pack_data(), entry.modified, entry.live_until, entry.sponsor, entry.extended)
            for key, entry in closed.changes.items()
            if entry is not None
        ]
        if gone:
            db.executemany("DELETE FROM entries WHERE key = ?", gone)
        db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)", kept)
        fees = {kind: [] for kind in ("classic", "soroban")}
        for record in closed.transactions:
            if record.inclusion_fee is not None:
                fees["soroban" if record.soroban else "classic"].append(record.inclusion_fee)
        header = closed.header
        ledger = (
            sequence,
            header.close_time,
            _header_to_json(header),
            json.dumps(fees),
            b"".join(map(wire.opaque, closed.evicted)),
        )
        db.execute("INSERT INTO ledgers VALUES (?, ?, ?, ?, ?)", ledger)
        db.executemany(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_transaction_to_row(sequence, n, record) for n, record in enumerate(closed.transactions, 1)],
        )
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", event_rows(closed))

    def _forget(self, before: int) -> None:
        for statement in (
            "DELETE FROM events WHERE ledger < ?",
            "DELETE FROM transactions WHERE ledger < ?",
            "DELETE FROM ledgers WHERE sequence < ?",
        ):
            self._db.execute(statement, (before,))

    # --- history

    def _read_range(self) -> None:
        select = "SELECT sequence, close_time FROM ledgers ORDER BY sequence {} LIMIT 1"
        first, last = (LedgerRow(*self._db.execute(select.format(way)).fetchone()) for way in ("ASC", "DESC"))
        self._range = first, last

    @property
    def range(self) -> tuple[LedgerRow, LedgerRow]:
        """The oldest and the latest ledger kept."""
        assert self._range is not None
        return self._range

    def header(self, sequence: int) -> Header | None:
        row = self._db.execute("SELECT header FROM ledgers WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else _header_from_json(row[0])

    def transaction(self, digest: bytes) -> TransactionRow | None:
        """By hash; a fee-bumped transaction is found by its inner hash too."""
        for column in ("hash", "inner_hash"):
            found = next(self._transactions(f"t.{column} = ?", (digest,)), None)
            if found is not None:
                return found
        return None

    def transactions(self, ledger: int, after: int = 0) -> list[TransactionRow]:
        """A ledger's transactions in the order they were applied, from behind the given position."""
        return list(self._transactions("t.ledger = ? AND t.position > ?", (ledger, after)))

    def _transactions(self, where: str, args: tuple[Any, ...]) -> Iterator[TransactionRow]:
        rows = self._db.execute(_SELECT_TRANSACTIONS.format(where=where), args)
        for ledger, close_time, position, *rest in rows:
            yield TransactionRow(LedgerRow(ledger, close_time), position, _transaction_from_row(*rest))

    def close_meta(self, header: Header) -> bytes:
        """LedgerCloseMeta of a ledger that is kept."""
        row = self._db.execute("SELECT evicted FROM ledgers WHERE sequence = ?", (header.sequence,)).fetchone()
        evicted, at, packed = [], 0, row[0]
        while at < len(packed):
            size = int.from_bytes(packed[at : at + 4], "big")
            evicted.append(packed[at + 4 : at + 4 + size])
            at += 4 + size + -size % 4
        return ledger_close_meta(header, [row.record for row in self.transactions(header.sequence)], evicted)

    def events(self, start: tuple[int, int], end_ledger: int, contracts: set[bytes] | None) -> Iterator[EventRow]:
        """Events from a (toid, position) to before a ledger, in order; of these contracts only, where given."""
        more = "" if contracts is None else f"AND e.contract IN ({','.join('?' * len(contracts))})"
        args = (*start, end_ledger << 32, *(contracts or ()))
        for row in self._db.execute(_SELECT_EVENTS.format(more=more), args):
            yield EventRow(*row)

    def fees(self, kind: str, ledgers: int) -> tuple[list[int], int]:
        """Inclusion fees per operation in the last ledgers, classic or soroban, and how many ledgers were looked at."""
        rows = self._db.execute("SELECT fees FROM ledgers ORDER BY sequence DESC LIMIT ?", (ledgers,)).fetchall()
        return [fee for (fees,) in rows for fee in json.loads(fees)[kind]], len(rows)


class _Transaction:
    """One database transaction: committed at the end, rolled back when it raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _header_to_json(header: Header) -> str:
    values = {name: getattr(header, name) for name in Header.__slots__}
    return json.dumps({k: v.hex() if isinstance(v, bytes) else v for k, v in values.items()})


def _header_from_json(text: str) -> Header:
    values: dict[str, Any] = json.loads(text)
    values.update({name: bytes.fromhex(values[name]) for name in _HEADER_HASHES})
    return Header(**values)


def _transaction_to_row(sequence: int, position: int, record: TransactionRecord) -> tuple[Any, ...]:
    events = {
        "transaction": _encode(record.transaction_events),
        "operations": [_encode(events) for events in record.operation_events],
        "diagnostic": _encode(record.diagnostics),
    }
    return (
        sequence,
        position,
        record.hash,
        record.inner_hash,
        record.success,
        record.soroban,
        record.envelope,
        record.result,
        record.meta,
        record.fee_changes,
        record.post_fee_changes,
        json.dumps(events),
    )


def _transaction_from_row(
    digest: bytes,
    inner_hash: bytes | None,
    success: int,
    soroban: int,
    envelope: bytes,
    result: bytes,
    meta: bytes,
    fee_changes: bytes,
    post_fee_changes: bytes,
    events: str,
) -> TransactionRecord:
    parts = json.loads(events)
    return TransactionRecord(
        hash=digest,
        inner_hash=inner_hash,
        success=bool(success),
        soroban=bool(soroban),
        envelope=envelope,
        result=result,
        meta=meta,
        fee_changes=fee_changes,
        post_fee_changes=post_fee_changes,
        transaction_events=_decode(parts["transaction"]),
        operation_events=[_decode(events) for events in parts["operations"]],
        diagnostics=_decode(parts["diagnostic"]),
        inclusion_fee=None,
    )


def _encode(items: list[bytes]) -> list[str]:
    return [b64encode(item).decode() for item in items]


def _decode(items: list[str]) -> list[bytes]:
    return [b64decode(item) for item in items]
