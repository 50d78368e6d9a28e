"""What the pool's database says: its tables as they stand, read with psycopg alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """The tables that money goes through, at one moment. Hashes are in hex."""

    accounts: list[Row]
    farmers: list[Row]
    submissions: list[Row]
    submission_items: list[Row]
    plantings: list[Row]
    works: list[Row]
    harvests: list[Row]
    pooler_compensations: list[Row]
    withdrawals: list[Row]
    block_operations: list[Row]

    @classmethod
    def read(cls, url: str) -> Record:
        """All in one snapshot. psycopg.Error where the database cannot be read."""
        with psycopg.connect(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return cls(**{table.name: _rows(cursor, table.name) for table in fields(cls)})

    def own_accounts(self) -> list[str]:
        """Every account whose key the pool holds."""
        pool = [row["address"] for row in self.accounts if row["purpose"] != "sign-in"]
        return pool + [row["custodial_wallet"] for row in self.farmers]


def _rows(cursor: psycopg.Cursor[Row], table: str) -> list[Row]:
    cursor.execute(f"SELECT * FROM {table}".encode())
    return [{name: _plain(value) for name, value in row.items()} for row in cursor.fetchall()]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
