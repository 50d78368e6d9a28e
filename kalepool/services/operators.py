"""What operators do: each change is one database transaction with the record of who made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from kalepool.chain import Status
from kalepool.database import Database, Session, first_id, new_id
from kalepool.errors import ConflictError, InputError, NotFoundError
from kalepool.policy import bookkeeping
from kalepool.services import postings, wallets, withdrawals
from kalepool.services.context import Context
from kalepool.services.farming.compensation import CompensationStanding
from kalepool.services.journal import gaps
from kalepool.services.journal.recovery import settle_by_hand
from kalepool.services.journal.state import Gap
from kalepool.services.keys import NewKey, Role, create_key, require_room
from kalepool.services.poolers import NewPooler, insert_pooler

Audit = Literal["plantings", "works", "harvests", "submissions", "compensations", "withdrawals", "operator-actions"]

AUDITS: dict[Audit, tuple[str, str]] = {
    "plantings": ("audit_plantings", "event_id"),
    "works": ("audit_works", "event_id"),
    "harvests": ("audit_harvests", "event_id"),
    "submissions": ("audit_submissions", "submission_id"),
    "compensations": ("audit_compensations", "compensation_id"),
    "withdrawals": ("audit_withdrawals", "withdrawal_id"),
    "operator-actions": ("audit_operator_actions", "action_id"),
}
"""What can be exported: its query, and the column that orders it."""


class TransactionUnknownError(ConflictError):
    """No ledger that the server remembers has applied this transaction."""

    code = "transaction-unknown"


class NotOwedError(ConflictError):
    """It is not known to be owed."""

    code = "not-owed"


class PaidAlreadyError(ConflictError):
    """It was marked as paid, with another transaction."""

    code = "paid-already"


@dataclass(frozen=True, slots=True)
class Compensation:
    """What is owed to a farmer for a stake that was lost in a block: the stake and the reward it would have brought.

    `fault`: who owes it; `code`: the error that lost it. `paid_transaction` once it was paid. `standing`: owed;
    to-check: it may have come back; not-owed: it did. `approved_at`: an operator's yes. `wait_code`, `wait_message`:
    why it was not paid lately.
    """

    compensation_id: UUID
    block_index: int
    pooler_id: UUID
    farmer_id: UUID
    fault: str
    code: str
    stake_stroops: int
    forecast_stroops: int
    owed_stroops: int
    created_at: datetime
    paid_transaction: str | None
    paid_at: datetime | None
    standing: CompensationStanding
    approved_at: datetime | None
    wait_code: str | None
    wait_message: str | None


async def record(
    session: Session | Database, key_id: UUID, action: str, subject_id: UUID | None = None, **detail: Any
) -> None:
    """Notes for good that the operator with this key did something. No detail may be a secret."""
    await session.execute(
        "insert_operator_action",
        action_id=new_id(),
        key_id=key_id,
        action=action,
        subject_id=subject_id,
        detail=Jsonb(detail),
    )


async def add_pooler(database: Database, key_id: UUID, name: str, max_farmers: int) -> NewPooler:
    """A pooler and its first key. ConflictError when the name is taken."""
    async with database.transaction() as tx:
        new = await insert_pooler(tx, name, max_farmers)
        await record(tx, key_id, "add-pooler", new.pooler_id, name=name, max_farmers=max_farmers)
    return new


async def change_pooler(database: Database, key_id: UUID, pooler_id: UUID, changes: Mapping[str, Any]) -> None:
    """Sets what is in `changes`: status, max_farmers, open, planting_paused. NotFoundError for no such pooler."""
    wanted = {"status": None, "max_farmers": None, "open": None, "planting_paused": None, **changes}
    async with database.transaction() as tx:
        if not await tx.execute("update_pooler", pooler_id=pooler_id, **wanted):
            raise NotFoundError(f"no pooler {pooler_id}")
        await record(tx, key_id, "change-pooler", pooler_id, **changes)


async def pause_planting(database: Database, key_id: UUID, paused: bool, reason: str) -> None:
    """Pauses or resumes planting for the whole pool. What is planted is worked and harvested as ever."""
    async with database.transaction() as tx:
        await tx.execute("update_planting_paused", paused=paused)
        await record(tx, key_id, "pause-planting" if paused else "resume-planting", reason=reason)


async def add_key(
    database: Database, key_id: UUID, role: Role, subject_id: UUID | None, label: str, expires_at: datetime | None
) -> NewKey:
    """A key for a farmer, miner, pooler or operator.

    Raises InputError, NotFoundError for whom it would speak, and TooManyKeysError.
    """
    if (subject_id is None) != (role == Role.OPERATOR):
        raise InputError("subject_id names the farmer, miner or pooler; an operator's key has none")
    async with database.transaction() as tx:
        if subject_id is not None:
            found = await tx.fetch_one("select_subject_exists", role=role, subject_id=subject_id)
            if found is None or not found["exists"]:
                raise NotFoundError(f"no {role} {subject_id}")
        await require_room(tx, role, subject_id)
        new = await create_key(tx, role, subject_id=subject_id, label=label, expires_at=expires_at)
        await record(tx, key_id, "add-key", subject_id, role=role, new_key_id=str(new.key_id), label=label)
    return new


async def revoke_key(database: Database, key_id: UUID, revoked_id: UUID) -> None:
    """Ends a key of anybody. NotFoundError for none of this id."""
    async with database.transaction() as tx:
        if not await tx.execute("revoke_key", key_id=revoked_id):
            raise NotFoundError(f"no key {revoked_id}")
        await record(tx, key_id, "revoke-key", revoked_id)


async def rewards_since(database: Database, since: datetime) -> tuple[int, int]:
    """What was harvested, and the pool's part of it, rounded down for each harvest."""
    row = await database.fetch_one("select_rewards_since", since=first_id(since))
    assert row is not None
    return row["rewarded_stroops"], row["fees_stroops"]


async def pay_compensation(ctx: Context, key_id: UUID, compensation_id: UUID, transaction_hash: str) -> Compensation:
    """Marks a compensation as paid with a transaction that a ledger has applied; the same again changes nothing.

    Raises NotFoundError, NotOwedError, PaidAlreadyError, TransactionUnknownError, ChainError where the ledger cannot be
    asked.
    """
    found = await read_compensation(ctx.database, compensation_id)
    if found.standing != CompensationStanding.OWED:
        raise NotOwedError(f"compensation {compensation_id} is {found.standing}: only what is owed can be paid")
    if found.paid_transaction is None:
        outcome = await ctx.chain.look_up(transaction_hash, datetime.now(UTC))
        if outcome.status is not Status.APPLIED:
            raise TransactionUnknownError(
                f"no ledger that the RPC server remembers has applied transaction {transaction_hash}"
            )
        async with ctx.lock("payouts"), ctx.database.transaction() as tx:
            paid = await tx.execute(
                "pay_compensation", compensation_id=compensation_id, transaction_hash=bytes.fromhex(transaction_hash)
            )
            if paid:
                await record(tx, key_id, "pay-compensation", compensation_id, transaction_hash=transaction_hash)
        found = await read_compensation(ctx.database, compensation_id)
    if found.paid_transaction is None:
        raise PaidAlreadyError(f"compensation {compensation_id} is being paid by the pool itself: wait")
    if found.paid_transaction != transaction_hash:
        raise PaidAlreadyError(f"compensation {compensation_id} was paid with transaction {found.paid_transaction}")
    return found


async def approve_compensation(ctx: Context, key_id: UUID, compensation_id: UUID) -> Compensation:
    """Has a compensation paid from the operator's part of the treasury with the next round. Again changes nothing.

    Raises NotFoundError, NotOwedError, PaidAlreadyError.
    """
    async with ctx.database.transaction() as tx:
        if await tx.execute("approve_compensation", compensation_id=compensation_id):
            await record(tx, key_id, "approve-compensation", compensation_id)
    found = await read_compensation(ctx.database, compensation_id)
    if found.paid_at is not None:
        raise PaidAlreadyError(f"compensation {compensation_id} was paid with transaction {found.paid_transaction}")
    if found.standing != CompensationStanding.OWED:
        raise NotOwedError(f"compensation {compensation_id} is {found.standing}: only what is owed can be paid")
    return found


async def check_compensation(ctx: Context, key_id: UUID, compensation_id: UUID, owed: bool) -> Compensation:
    """Says of one that is to be checked whether it is owed; the same again changes nothing.

    Raises NotFoundError, and ConflictError where it was said otherwise, or never in question.
    """
    standing = CompensationStanding.OWED if owed else CompensationStanding.NOT_OWED
    async with ctx.database.transaction() as tx:
        changed = await tx.execute("check_compensation", compensation_id=compensation_id, standing=standing)
        if changed:
            await record(tx, key_id, "check-compensation", compensation_id, owed=owed)
            found = await read_compensation(tx, compensation_id)
            if owed:
                transfers = bookkeeping.lost(found.farmer_id, found.block_index, found.stake_stroops)
            else:  # it came back, and the reward with it, which the look at the chain finds
                transfers = bookkeeping.harvested(found.farmer_id, found.block_index, found.stake_stroops, 0, 0)
            await postings.post(tx, transfers)
    found = await read_compensation(ctx.database, compensation_id)
    if found.standing != standing:
        raise ConflictError(f"compensation {compensation_id} is {found.standing}: it is not to be checked")
    return found


async def settle_submission(
    ctx: Context, key_id: UUID, submission_id: UUID, status: Literal["applied", "failed"], ledger: int
) -> None:
    """Settles a transaction that the RPC server has forgotten, with what a ledger did with it.

    Raises as settle_by_hand.
    """

    async def note(session: Session) -> None:
        await record(session, key_id, "settle-submission", submission_id, status=status, ledger=ledger)

    await settle_by_hand(ctx.journal, submission_id, status, ledger, note)


async def open_gaps(ctx: Context) -> list[Gap]:
    """What of ours a ledger has and this database had not, and nobody has looked at. Raises as gaps.look."""
    await gaps.look(ctx.journal)
    return ctx.journal.gaps or []


async def acknowledge_gaps(ctx: Context, key_id: UUID, reason: str, paid_withdrawals: Sequence[UUID] = ()) -> list[Gap]:
    """An operator has looked at what is missing: from now on money is paid out again, and farmers may register.

    `paid_withdrawals`: open here, and paid by what is missing; NotFoundError unless each is open and not on its way.
    Wallets that a newer database may have given out are passed over. Again changes nothing. Returns the gaps.
    """
    async with ctx.database.transaction() as tx:
        found = await gaps.acknowledge(tx)
        for withdrawal_id in paid_withdrawals if found else ():
            await withdrawals.close_as_paid_before(tx, withdrawal_id)
        if found:
            paid = [str(withdrawal_id) for withdrawal_id in paid_withdrawals]
            missing = {gap.account: f"{gap.first_sequence}-{gap.last_sequence}" for gap in found}
            await record(tx, key_id, "acknowledge-gaps", reason=reason, missing=missing, paid_withdrawals=paid)
    if found:
        await wallets.skip_numbers(ctx.database)
    await gaps.look(ctx.journal)
    return found


async def compensations(
    database: Database,
    pooler_id: UUID | None,
    paid: bool | None,
    standing: CompensationStanding | None,
    *,
    after: UUID | None,
    limit: int,
) -> list[Compensation]:
    """A page, the newest first; of one pooler, paid or not, and of one standing unless these are None."""
    return await database.fetch_all(
        "select_compensations",
        row=Compensation,
        pooler_id=pooler_id,
        paid=paid,
        standing=standing,
        after=after,
        limit=limit,
    )


async def planting_paused(database: Database) -> bool:
    """Whether planting is paused for the whole pool."""
    row = await database.fetch_one("select_planting_paused")
    assert row is not None
    return row["planting_paused"]


async def actions(database: Database, *, after: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A page of what operators did, the newest first."""
    return await database.fetch_all("select_operator_actions", after=after, limit=limit)


async def audit(
    database: Database, what: Audit, begin: UUID, before: UUID, last: Mapping[str, Any] | None, limit: int
) -> list[dict[str, Any]]:
    """The next rows of a record, the oldest first: from id `begin` on or after the row `last`, below id `before`."""
    query, order = AUDITS[what]
    return await database.fetch_all(query, after=begin if last is None else last[order], before=before, limit=limit)


async def read_compensation(database: Database | Session, compensation_id: UUID) -> Compensation:
    """Raises NotFoundError."""
    found = await database.fetch_one("select_compensation", row=Compensation, compensation_id=compensation_id)
    if found is None:
        raise NotFoundError(f"no compensation {compensation_id}")
    return found
