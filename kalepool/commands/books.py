"""`kalepool books`: the pool's KALE in double entry, checked, shown, exported."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from kalepool.commands.pool import read_settings, show, with_database_open
from kalepool.database import Database
from kalepool.units import counted

books = typer.Typer(add_completion=False, no_args_is_help=True, help="Check, show and export the pool's books.")

Account = Annotated[str | None, typer.Option("--account", help="Only this one's, as miner/… or wallet/….")]

LOOKS = 3
"""What came in a moment ago is not posted yet: it is looked at so often, a few ledgers apart."""


@books.command("check")
def books_check() -> None:
    """Check that no entry was changed, that debits equal credits, and that each wallet has on the chain what its books
    say. The exit status is 1 where something is wrong."""
    import asyncio

    from kalepool.chain import ChainReader
    from kalepool.services.books.held import LOOK_LEDGERS, compare, differences
    from kalepool.services.books.ledgers import faults

    settings = read_settings()

    async def check(database: Database) -> tuple[list[str], int, int]:
        found = await faults(database)
        async with ChainReader.of(settings) as chain:
            await chain.read_ledger()
            await chain.read_limits()
            ledger, beyond = await compare(database, chain)
            for _ in range(LOOKS - 1):
                if not any(beyond.values()):
                    break
                await asyncio.sleep(LOOK_LEDGERS * chain.network.ledger_seconds)
                ledger, beyond = await compare(database, chain)
        off = {row.account: stroops for row, stroops in beyond.items() if stroops}
        found += [
            f"{account} has {stroops:+d} stroops on the chain beyond its books" for account, stroops in off.items()
        ]
        found += [
            f"{each.account}: {each.stroops:+d} stroops" for each in await differences(database) if each.unexplained
        ]
        return found, len(beyond), ledger

    found, accounts, ledger = with_database_open(settings, check)
    for line in found:
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    agreed = counted(accounts, "account has", "accounts have")
    typer.echo(f"The books are right, and {agreed} on the chain what they say, at ledger {ledger}.")


@books.command("show")
def books_show(account: Account = None) -> None:
    """Show the sums of all accounts, or the entries of one."""
    from kalepool.services.books import ledgers

    async def read(database: Database) -> Table:
        table = Table(box=None, header_style="dim")
        if account is not None:
            for heading in ("number", "posted", "event", "debit", "credit", "KALE", "block"):
                table.add_column(heading, no_wrap=True)
            async for row in ledgers.every_entry(database, account):
                at, kale = f"{row['posted_at']:%Y-%m-%d %H:%M}", ledgers.kale_text(row["amount_stroops"])
                block = "" if row["block_index"] is None else str(row["block_index"])
                table.add_row(str(row["number"]), at, row["event"], row["debit"], row["credit"], kale, block)
            return table
        found = await ledgers.summary(database)
        for heading in ("kind", "accounts", "KALE"):
            table.add_column(heading, no_wrap=True)
        for kind, stroops in found.balances.items():
            table.add_row(kind, str(found.accounts[kind]), ledgers.kale_text(stroops))
        table.add_row("together", "", ledgers.kale_text(sum(found.balances.values())))
        return table

    show(with_database_open(read_settings(), read))


@books.command("export")
def books_export(
    form: Annotated[Literal["csv", "beancount", "ledger"], typer.Option("--format", help="Whose file.")] = "csv",
    account: Account = None,
) -> None:
    """Write every entry to standard output: as CSV, or as beancount or ledger (and hledger) read it."""
    from kalepool.services.books import ledgers

    async def write(database: Database) -> None:
        opened: set[str] = set()
        writers: dict[str, Callable[[list[Mapping[str, Any]]], Iterable[str]]] = {
            "csv": _csv,
            "beancount": lambda rows: ledgers.beancount(rows, opened),
            "ledger": ledgers.ledger_text,
        }
        if form == "csv":
            sys.stdout.write(",".join(COLUMNS) + "\n")
        async for rows in _pages(ledgers.every_entry(database, account)):
            sys.stdout.writelines(writers[form](rows))

    with_database_open(read_settings(), write)


COLUMNS = (
    "number",
    "posted_at",
    "event",
    "cause",
    "debit",
    "credit",
    "amount_stroops",
    "block_index",
    "ledger",
    "transaction_hash",
    "note",
    "hash",
)


async def _pages(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[list[Mapping[str, Any]]]:
    page: list[Mapping[str, Any]] = []
    async for row in rows:
        page.append(row)
        if len(page) == 1000:
            yield page
            page = []
    yield page


def _csv(rows: list[Mapping[str, Any]]) -> Iterable[str]:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([row[column] for column in COLUMNS] for row in rows)
    yield out.getvalue()
