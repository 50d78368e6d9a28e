"""The books as everybody may read them: in sums, entry by entry, as files of other programs; and whether they are right
in themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from kalepool.database import Database
from kalepool.policy import bookkeeping
from kalepool.services.books.held import Difference, differences

PAGE = 5_000

SIDES = {
    "wallet": "Assets:Wallet",
    "pail": "Assets:Pail",
    "treasury": "Assets:Treasury",
    "claimable": "Assets:Claimable",
    "farmer": "Liabilities:Farmer",
    "miner": "Liabilities:Miner",
    "paying": "Liabilities:Paying",
    "fee-due": "Liabilities:Fee-Due",
    "operator": "Equity:Operator",
    "outside": "Equity:Outside",
    "unexplained": "Equity:Unexplained",
}
"""Names of the kinds of accounts in plain-text accounting."""


@dataclass(frozen=True, slots=True)
class BookSummary:
    """The books in sums. balances: of each kind of account, in stroops, debits less credits; together they are 0.

    entries and head: the number of entries, and the hash of the last. checked_ledger and checked_at: when all was held
    against the chain last. differences: what was not as the chain says.
    """

    balances: dict[str, int]
    accounts: dict[str, int]
    entries: int
    head: str
    checked_ledger: int | None
    checked_at: datetime | None
    differences: list[Difference]


async def summary(database: Database) -> BookSummary:
    """Raises DatabaseError."""
    kinds = await database.fetch_all("select_kind_totals")
    head = await database.fetch_one("select_book_head")
    last = await database.fetch_one("select_last_book_check")
    assert head is not None and last is not None
    return BookSummary(
        balances={row["kind"]: row["balance_stroops"] for row in kinds},
        accounts={row["kind"]: row["accounts"] for row in kinds},
        entries=head["number"],
        head=head["hash"],
        checked_ledger=last["ledger"],
        checked_at=last["at"],
        differences=await differences(database),
    )


async def entries(
    database: Database, account: str | None = None, *, after: int = 0, limit: int = PAGE
) -> list[dict[str, Any]]:
    """A page of entries in their order, after a number; of one account unless that is None."""
    return await database.fetch_all("select_transfers_after", account=account, after=after, limit=limit)


async def every_entry(database: Database, account: str | None = None) -> AsyncIterator[dict[str, Any]]:
    """All, in their order."""
    after = 0
    while page := await entries(database, account, after=after):
        for row in page:
            yield row
        after = page[-1]["number"]


async def faults(database: Database) -> list[str]:
    """What is wrong with the books in themselves: hashes, sums, balances, credits of blocks. A line each."""
    found: list[str] = []
    hash_before, expected = bookkeeping.GENESIS, 1
    async for row in every_entry(database):
        posted_us = _microseconds(row["posted_at"])
        made = bookkeeping.entry_hash(hash_before, row, posted_us)
        if row["number"] != expected or made.hex() != row["hash"]:
            found.append(f"entry {row['number']} was changed, or one before it is gone: it does not follow on the last")
            break
        hash_before, expected = made, expected + 1
    else:
        head = await database.fetch_one("select_book_head")
        assert head is not None
        if head["hash"] != hash_before.hex() or head["number"] != expected - 1:
            found.append(f"the books end with entry {expected - 1}, and should with {head['number']}")
    sums = {row["account"]: row["balance_stroops"] for row in await database.fetch_all("sum_transfers")}
    balances = {row["account"]: row["balance_stroops"] for row in await database.fetch_all("select_all_balances")}
    if total := sum(balances.values()):
        found.append(f"debits are {total} stroops more than credits")
    for account in sorted(sums.keys() | balances.keys()):
        if sums.get(account, 0) != balances.get(account, 0):
            found.append(
                f"{account} has {balances.get(account, 0)} stroops, and its entries make {sums.get(account, 0)}"
            )
    for row in await database.fetch_all("select_uneven_blocks"):
        found.append(
            f"block {row['block_index']}: {row['credited_stroops']} stroops were credited, and its harvests brought "
            f"{row['fees_stroops']} of fees"
        )
    return found


def _microseconds(at: datetime) -> int:
    whole = round(at.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + at.microsecond


# ----------------------------------------------------------------------------------------------------------------------
# Files of other programs


def side(account: str) -> str:
    """An account's name in plain-text accounting. Its parts begin with a capital letter or a digit there."""
    kind, _, subject = account.partition("/")
    return f"{SIDES[kind]}:X{subject.upper()}" if subject else SIDES[kind]


def kale_text(stroops: int) -> str:
    return f"{Decimal(stroops).scaleb(-7):.7f}"


def beancount(rows: Iterable[Mapping[str, Any]], opened: set[str]) -> Iterable[str]:
    """Entries as beancount reads them. `opened`: accounts that were named before; grows."""
    for row in rows:
        date = f"{row['posted_at']:%Y-%m-%d}"
        for account in (row["debit"], row["credit"]):
            if account not in opened:
                opened.add(account)
                yield f"{date} open {side(account)} KALE\n"
        yield f'{date} * "{row["event"]}" "{row["cause"]}"\n'
        yield f"  number: {row['number']}\n"
        if row["transaction_hash"]:
            yield f'  transaction: "{row["transaction_hash"]}"\n'
        yield f"  {side(row['debit'])}  {kale_text(row['amount_stroops'])} KALE\n"
        yield f"  {side(row['credit'])}  -{kale_text(row['amount_stroops'])} KALE\n\n"


def ledger_text(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Entries as ledger and hledger read them."""
    for row in rows:
        yield f"{row['posted_at']:%Y-%m-%d} * ({row['number']}) {row['event']} {row['cause']}\n"
        yield f"    {side(row['debit'])}    {kale_text(row['amount_stroops'])} KALE\n"
        yield f"    {side(row['credit'])}    -{kale_text(row['amount_stroops'])} KALE\n\n"
