"""Holds the books of every wallet against the chain, and explains what differs: deposits from the asset contract's
events, what was there before the books, or nothing. While something is not explained nothing is paid out to miners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from kalepool.chain import ChainReader
from kalepool.database import Database
from kalepool.errors import KalepoolError
from kalepool.networks import Network
from kalepool.policy import bookkeeping
from kalepool.policy.bookkeeping import BookEvent, Explained, KaleMovement, Transfer
from kalepool.services import postings, prepaying
from kalepool.services.context import Context
from kalepool.units import counted

log = structlog.get_logger()

LOOK_LEDGERS = 6
"""How often it is looked: once in so many ledgers."""

PATIENCE_LEDGERS = 12
"""A difference that stays for so long, with nothing on its way, is posted as unexplained."""

OTHERS_HARVEST_SECONDS = 3 * 3600
"""For so long the pool's own record of a harvest by somebody else is waited for."""


class BooksOffError(KalepoolError):
    """The books are not what the chain says: paid by them, the wrong amount might be paid."""

    code = "books-off"


@dataclass(frozen=True, slots=True)
class Held:
    """An account of the books that stands for an address on the chain. `difference_stroops`: as found last.
    `in_flight`: something of it has no outcome yet. `posted`: it has entries."""

    account: str
    address: str
    balance_stroops: int
    equal_ledger: int | None
    opening: bool
    difference_stroops: int
    differs_since: datetime | None
    in_flight: bool
    posted: bool

    @property
    def whose(self) -> str:
        """The account of whom this address's KALE is."""
        kind, _, subject = self.account.partition("/")
        return bookkeeping.owner(subject) if kind == "wallet" else bookkeeping.OPERATOR


@dataclass(frozen=True, slots=True)
class Difference:
    """What an account has on the chain beyond its books; negative: less. `unexplained`: it was posted as such."""

    account: str
    stroops: int
    unexplained: bool


def judged(before: Sequence[Held], after: Sequence[Held]) -> list[Held]:
    """Those of which nothing was on its way while the chain was read: their books are as of what was read. Pure."""
    known = {row.account: row for row in before}
    return [
        row
        for row in after
        if row.account in known
        and not row.in_flight
        and not known[row.account].in_flight
        and row.balance_stroops == known[row.account].balance_stroops
    ]


async def compare(database: Database, chain: ChainReader) -> tuple[int, dict[Held, int]]:
    """A ledger, and what each account has in it, or a later one, beyond its books: of those with nothing on its way.
    Raises ChainError, DatabaseError."""
    before = await database.fetch_all("select_wallets_to_check", row=Held)
    ledger = chain.newest_ledger  # what is read is of this one or later
    accounts = await chain.read_accounts([row.address for row in before])
    after = await database.fetch_all("select_wallets_to_check", row=Held)
    there = {address: account.kale_stroops or 0 for address, account in accounts.items()}
    return ledger, {row: there.get(row.address, 0) - row.balance_stroops for row in judged(before, after)}


async def look(ctx: Context) -> list[Difference]:
    """Holds all against the chain once. Returns what is not explained. Raises ChainError, DatabaseError."""
    ledger, found = await compare(ctx.database, ctx.chain)
    for row, beyond in found.items():
        await _hold(ctx, row, beyond, ledger)
    return await differences(ctx.database)


async def _hold(ctx: Context, row: Held, rest: int, ledger: int) -> None:
    transfers: list[Transfer] = []
    movements: list[KaleMovement] = []
    if rest:
        explained, movements = await _explained(ctx, row, rest, ledger)
        transfers, rest = explained.transfers, explained.rest_stroops
        if final := _final(ctx, row, rest, ledger):
            transfers, rest = [*transfers, final], 0
        if transfers or rest:
            log.info("books_explained", account=row.account, entries=len(transfers), rest_stroops=rest)
        if explained.awaited_stroops and not rest:
            ledger = row.equal_ledger or 0  # what is awaited is looked for again
    async with ctx.database.transaction() as session:
        await session.execute("note_book_check", account=row.account, ledger=ledger, difference_stroops=rest)
        if row.account == bookkeeping.TREASURY:
            await prepaying.note_prepaid(session, movements)
        await postings.post(session, transfers)


async def _explained(ctx: Context, row: Held, rest: int, ledger: int) -> tuple[Explained, list[KaleMovement]]:
    """With the movements that nobody had posted."""
    movements = await ctx.chain.read_movements(row.address, (row.equal_ledger or 0) + 1)
    hashes = list({each.transaction_hash for each in movements})
    rows = await ctx.database.fetch_all("select_known_hashes", transaction_hashes=hashes)
    ours = {found["transaction_hash"] for found in rows}
    foreign = [each for each in movements if each.transaction_hash not in ours]
    posted = await ctx.database.fetch_all(
        "select_known_causes", causes=[bookkeeping.event_cause(each, row.account) for each in foreign]
    )
    causes = {found["cause"] for found in posted}
    new = [each for each in foreign if bookkeeping.event_cause(each, row.account) not in causes]
    patient = ledger - round(OTHERS_HARVEST_SECONDS / ctx.chain.network.ledger_seconds)
    return bookkeeping.explain(row.account, row.whose, rest, new, patient), new


def _final(ctx: Context, row: Held, rest: int, ledger: int) -> Transfer | None:
    """What is done about a rest that no event explains; None: nothing yet, for it may still be."""
    cause = f"difference/{row.account}/{ledger}"
    if rest > 0 and (row.opening or not row.posted):
        # From before the books, or before what the RPC server remembers: nobody else can have paid it in.
        return bookkeeping.difference(row.account, rest, BookEvent.OPENED, row.whose, cause, ledger)
    patience = timedelta(seconds=PATIENCE_LEDGERS * ctx.chain.network.ledger_seconds)
    since = row.differs_since if rest and rest == row.difference_stroops else None
    if since is None or datetime.now(UTC) - since < patience:
        return None
    log.error("books_off", account=row.account, stroops=rest, ledger=ledger)
    other = bookkeeping.unexplained(row.account)
    return bookkeeping.difference(row.account, rest, BookEvent.UNEXPLAINED, other, cause, ledger)


async def differences(database: Database) -> list[Difference]:
    """What is not as the chain says, or was not understood. Raises DatabaseError."""
    rows = await database.fetch_all("select_book_differences")
    found = [Difference(row["account"], row["difference_stroops"], False) for row in rows]
    rows = await database.fetch_all("select_unexplained")
    return [*found, *(Difference(row["account"], -row["balance_stroops"], True) for row in rows)]


async def lasting(database: Database, network: Network) -> list[Difference]:
    """Those of the differences that are no matter of a moment."""
    patience = timedelta(seconds=PATIENCE_LEDGERS * network.ledger_seconds)
    rows = await database.fetch_all("select_book_differences")
    young = {row["account"] for row in rows if datetime.now(UTC) - row["differs_since"] < patience}
    return [each for each in await differences(database) if each.unexplained or each.account not in young]


async def require_even(database: Database) -> None:
    """BooksOffError where something is not explained."""
    if found := await differences(database):
        raise BooksOffError(describe(found))


def describe(found: Sequence[Difference]) -> str:
    """What is off, for people."""
    named = ", ".join(f"{each.account} by {each.stroops}" for each in found[:5])
    return (
        f"the books of {counted(len(found), 'account')} are not as the chain says, in stroops: {named}. Nothing is "
        "paid out to miners until each is explained: see `kalepool books check`, then POST /operator/books/corrections"
    )
