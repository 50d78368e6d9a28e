"""Transactions of our accounts that a ledger took and this database does not have: it was put back to an older state.

An account's sequence number grows by one with each of its transactions. Where the ledger's is ahead of the journal's
highest there are transactions that are not here, and what they paid might be paid again. From then on nothing is paid
out and no farmer is registered, until an operator has looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Prepared
from kalepool.database import Session, new_id
from kalepool.services.failures import JournalBehindError
from kalepool.services.journal.intents import Intent
from kalepool.services.journal.state import Gap, Journal
from kalepool.units import counted

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often all accounts are looked at."""

CREATED_IN = 32
"""A new account's sequence number is the ledger that made it, shifted by so many bits."""


PAYING = frozenset(
    (
        ActionName.PAYMENT,
        ActionName.MERGE,
        ActionName.COLLECT,
        ActionName.PAYOUT,
        ActionName.TAKE_BACK,
        ActionName.COMPENSATE,
    )
)
"""What moves money of somebody's."""


def missing(sequence: int, highest: int) -> range:
    """The numbers that an account at this sequence number has used up beyond the journal's highest. Pure."""
    first_of_all = (sequence >> CREATED_IN << CREATED_IN) + 1  # it may have been closed and made again
    return range(max(highest + 1, first_of_all), sequence + 1)


async def look(journal: Journal) -> None:
    """Holds all accounts of ours against the journal, and writes down what is new. Raises ChainError, DatabaseError."""
    rows = await journal.database.fetch_all("select_accounts_of_ours")
    # The ledger first: a transaction is in the journal before it is sent.
    accounts = await journal.chain.read_accounts([row["address"] for row in rows])
    highest = await _highest(journal, accounts)
    for account in accounts.values():
        if numbers := missing(account.sequence, highest.get(account.address, 0)):
            await _write(journal, account.address, numbers)
    journal.gaps = await journal.database.fetch_all("select_open_gaps", row=Gap)


async def require_whole(journal: Journal) -> None:
    """Raises JournalBehindError where transactions of ours are known not to be here, and what `look` raises where that
    was never looked at."""
    if journal.gaps is None:
        await look(journal)
    if journal.gaps:
        raise JournalBehindError(describe(journal.gaps))


def describe(gaps: Sequence[Gap]) -> str:
    """What is missing, for people."""
    count, imported = sum(gap.transactions for gap in gaps), sum(gap.imported for gap in gaps)
    accounts = counted(len({gap.account for gap in gaps}), "account")
    return (
        f"the ledger has {counted(count, 'transaction')} of {accounts} of ours that this database did not have; "
        f"{counted(imported, 'was', 'were')} imported. It was put back to an older state, or another pool uses our "
        "keys: nothing is paid out, and no farmer registered, until an operator has looked (GET /operator/gaps)"
    )


async def require_may_pay(journal: Journal, intent: Intent, prepared: Prepared | None = None) -> None:
    """For what pays somebody else: raises as `require_whole`. `prepared`: its sequence number, which the ledger says is
    the account's next, must be the journal's next, too."""
    if intent.action not in PAYING or intent.to_ourselves:
        return
    if prepared is not None:
        highest = await _highest(journal, [prepared.source])
        if used := missing(prepared.sequence - 1, highest.get(prepared.source, 0)):
            await _write(journal, prepared.source, used)
            journal.gaps = await journal.database.fetch_all("select_open_gaps", row=Gap)
    await require_whole(journal)


async def note_restore(journal: Journal, account: str, sequence: int) -> None:
    """Writes down a sequence number that brings archived entries back: no transaction of ours is missing there."""
    await journal.database.execute(
        "insert_known_gap", gap_id=new_id(), account=account, first_sequence=sequence, last_sequence=sequence
    )


async def acknowledge(session: Session) -> list[Gap]:
    """An operator has looked: what is missing is known, and the pool goes on. Returns the gaps; to be written down."""
    gaps = await session.fetch_all("select_open_gaps", row=Gap)
    for gap in gaps:
        await session.execute("acknowledge_gap", gap_id=gap.gap_id)
    return gaps


async def _highest(journal: Journal, accounts: Iterable[str]) -> dict[str, int]:
    rows = await journal.database.fetch_all("select_highest_sequences", accounts=list(accounts))
    return {row["account"]: row["sequence"] for row in rows}


async def _write(journal: Journal, account: str, numbers: range) -> None:
    log.error("journal_behind", account=account, transactions=len(numbers), first=numbers[0], last=numbers[-1])
    await journal.database.execute(
        "insert_gap", gap_id=new_id(), account=account, first_sequence=numbers[0], last_sequence=numbers[-1]
    )
