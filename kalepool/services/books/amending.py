"""Corrections of the books by operators: further entries, with who and why. Nothing is ever changed."""

from __future__ import annotations

from uuid import UUID

from kalepool.database import Database, new_id
from kalepool.errors import ConflictError, NotFoundError
from kalepool.policy.bookkeeping import BookEvent, Transfer
from kalepool.services import operators, postings


async def correct(database: Database, key_id: UUID, debit: str, credit: str, amount_stroops: int, reason: str) -> str:
    """Moves an amount from `credit` to `debit`. Returns the entry's cause.

    Raises NotFoundError for an account that the books do not have, ConflictError where nothing would move.
    """
    if debit == credit or amount_stroops <= 0:
        raise ConflictError(f"a correction moves something between two accounts, not {amount_stroops} within {debit}")
    cause = f"correction/{new_id()}"
    transfer = Transfer(cause, BookEvent.CORRECTED, debit, credit, amount_stroops, note=f"{reason} (key {key_id})")
    async with database.transaction() as session:
        for account in (debit, credit):
            if account in ("operator", "outside"):
                continue
            if await session.fetch_one("select_book_account", account=account) is None:
                raise NotFoundError(f"the books have no account {account}: see `kalepool books show`")
        await operators.record(
            session,
            key_id,
            "correct-books",
            debit=debit,
            credit=credit,
            amount_stroops=str(amount_stroops),
            reason=reason,
        )
        await postings.post(session, [transfer])
    return cause
