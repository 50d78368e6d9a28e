"""The append-only events: what came of every plant, work and harvest; and what they and payments mean for the books.

An applied transaction's events and entries are written by the journal in the database transaction that closes its
submission, so there is one for each, once. Failures are written when a call gives up on a farmer; what is in flight is
no event yet.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Outcome, claimable_id
from kalepool.database import Database, Session, as_row, new_id
from kalepool.errors import Fault
from kalepool.policy import bookkeeping
from kalepool.policy.bookkeeping import Place, Transfer
from kalepool.protocol.model import Pail
from kalepool.services import postings
from kalepool.services.failures import Failure, InFlightError, Refused
from kalepool.services.journal.intents import Item

log = structlog.get_logger()


class WorkOutcome(StrEnum):
    """What became of a submission, as its event says."""

    WORKED = "worked"
    REFUSED = "refused"
    FAILED = "failed"


FAILURES = {
    ActionName.PLANT: "insert_failed_planting",
    ActionName.WORK: "insert_failed_work",
    ActionName.HARVEST: "insert_failed_harvest",
}


async def insert_applied(
    session: Session,
    action: ActionName,
    submission_id: UUID,
    pooler_id: UUID | None,
    items: Sequence[Item],
    outcome: Outcome,
) -> list[bool]:
    """The events of a transaction that was applied, one per item, and its entries in the books. Payments have entries
    alone, trustlines and the like neither.

    Returns per item whether it was done: the tractor passes over what it cannot harvest.
    """
    common = {
        "submission_id": submission_id,
        "pooler_id": pooler_id,
        "transaction_hash": bytes.fromhex(outcome.transaction_hash),
        "ledger": outcome.ledger,
    }
    match action:
        case ActionName.PLANT:
            rows = [{**common, **_event(item), "stake_stroops": item.amount_stroops} for item in items]
            await session.execute_many("insert_planting", rows)
            await postings.post(session, _planted(items, _place(outcome)))
        case ActionName.WORK:
            rows = [{**common, **_event(item), "gap": outcome.return_value, **_found(item)} for item in items]
            await session.execute_many("insert_work", rows)
        case ActionName.HARVEST:
            return await _insert_harvests(session, common, items, outcome)
        case ActionName.PAYMENT | ActionName.MERGE | ActionName.COLLECT | ActionName.PAYOUT | ActionName.COMPENSATE:
            await _post_payments(session, submission_id, items, _place(outcome))
        case ActionName.TAKE_BACK:
            await _take_back(session, items, _place(outcome))
    return [True] * len(items)


def _place(outcome: Outcome) -> Place:
    return Place(outcome.ledger, bytes.fromhex(outcome.transaction_hash))


def _planted(items: Sequence[Item], at: Place) -> list[Transfer]:
    return [
        each
        for item in items
        if item.block_index is not None
        for each in bookkeeping.planted(item.farmer_id, item.block_index, item.amount_stroops or 0, at)
    ]


async def _post_payments(session: Session, submission_id: UUID, items: Sequence[Item], at: Place) -> None:
    """What left farmers' wallets and the treasury in KALE; and where it went to a wallet of ours, that it came."""
    transfers: list[Transfer] = []
    arriving: dict[str, tuple[str, int]] = {}
    for number, item in enumerate(items):
        amount, part = item.amount_stroops or 0, f"{submission_id}/{number}"
        if item.asset != "KALE" or not amount:
            continue
        if item.payout_id is not None and item.until is not None:
            await _insert_claimable(session, submission_id, number, item.payout_id, at)
            transfers += bookkeeping.put_down(item.payout_id, amount, at)
            continue
        if item.action == ActionName.COMPENSATE:
            transfers += await _compensated(session, item, at)
            continue
        if item.miner_id is not None:
            transfers += (
                bookkeeping.paid(item.payout_id, item.miner_id, amount, at)
                if item.payout_id is not None
                else bookkeeping.paid_ahead(part, item.miner_id, amount, at)
            )
        elif item.farmer_id is not None and item.action == ActionName.COLLECT:
            transfers += bookkeeping.collected(part, item.farmer_id, amount, at)
            continue
        elif item.farmer_id is not None:
            transfers += bookkeeping.withdrawn(part, item.farmer_id, amount, at)
        arriving[part] = (item.destination or "", amount)
    transfers += await postings.arrivals(session, arriving, at)
    await postings.post(session, transfers)


async def _insert_claimable(session: Session, submission_id: UUID, number: int, payout_id: UUID, at: Place) -> None:
    made = await session.fetch_one("select_source", submission_id=submission_id)
    assert made is not None
    balance_id = claimable_id(made["source_account"], made["sequence"], number)
    await session.execute("insert_claimable", balance_id=balance_id, payout_id=payout_id, ledger=at.ledger)


async def _compensated(session: Session, item: Item, at: Place) -> list[Transfer]:
    assert item.block_index is not None
    named = {"block_index": item.block_index, "farmer_id": item.farmer_id}
    await session.execute("note_compensation_paid", **named, transaction_hash=at.transaction_hash)
    return bookkeeping.compensated(item.farmer_id, item.block_index, item.amount_stroops or 0, at)


TAKEN_BACK = "claimable-taken-back"


async def _take_back(session: Session, items: Sequence[Item], at: Place) -> None:
    """What nobody has claimed is due again."""
    transfers: list[Transfer] = []
    for item in items:
        said = "it was not claimed in time, and is due again: add a KALE trustline, or wish for another"
        row = await session.fetch_one("take_claimable_back", balance_id=item.balance_id, code=TAKEN_BACK, message=said)
        if row is not None:
            transfers += bookkeeping.taken_back(
                row["payout_id"], row["miner_id"], row["amount_stroops"], TAKEN_BACK, at
            )
    await postings.post(session, transfers)


def _event(item: Item) -> dict[str, Any]:
    return {"event_id": new_id(), "block_index": item.block_index, "farmer_id": item.farmer_id}


def _found(item: Item) -> dict[str, Any]:
    return {"nonce": item.nonce, "hash": item.hash, "zeros": item.zeros}


def rewards_of(outcome: Outcome, items: Sequence[Item]) -> list[int | None]:
    """What an applied harvest brought per item, in stroops; None for a pail that the tractor passed over.

    The tractor answers 0 for those, as it does for a reward of nothing: the forecast tells them apart.
    """
    value = outcome.return_value
    rewards = [value] if isinstance(value, int) else list(value or ())
    if len(rewards) != len(items):
        raise ValueError(f"transaction {outcome.transaction_hash} harvests {len(items)} pails and returned {value!r}")
    return [
        None if reward == 0 and item.forecast_stroops else reward for reward, item in zip(rewards, items, strict=True)
    ]


async def _insert_harvests(
    session: Session, common: dict[str, Any], items: Sequence[Item], outcome: Outcome
) -> list[bool]:
    harvested: list[dict[str, Any]] = []
    transfers: list[Transfer] = []
    rewards = rewards_of(outcome, items)
    ids = [item.farmer_id for item in items if item.farmer_id is not None]
    pails = [(item.block_index, item.farmer_id) for item in items]
    terms = await postings.harvest_terms(session, [(i, f) for i, f in pails if i is not None and f is not None])
    theirs = await _planting_themselves(session, ids)
    for item, reward in zip(items, rewards, strict=True):
        if reward is None:
            continue
        assert item.farmer_id is not None and item.block_index is not None
        on = terms[item.block_index, item.farmer_id]
        fee = on.fee_of(reward)
        row = {**common, **_event(item), "reward_stroops": reward, "stake_stroops": item.amount_stroops}
        harvested.append({**row, "forecast_stroops": item.forecast_stroops, "fee_stroops": fee, "solo": on.solo})
        if item.farmer_id in theirs:  # it went to a wallet that is none of ours
            await session.execute("charge_self_planter", farmer_id=item.farmer_id)
        else:
            transfers += bookkeeping.harvested(
                item.farmer_id, item.block_index, item.amount_stroops or 0, reward, fee, _place(outcome)
            )
        if item.forecast_stroops is not None and reward != item.forecast_stroops:
            log.error(
                "forecast_off",
                block=item.block_index,
                farmer=str(item.farmer_id),
                reward_stroops=reward,
                forecast_stroops=item.forecast_stroops,
            )
    await session.execute_many("insert_harvest", harvested)
    await postings.post(session, transfers)
    return [reward is not None for reward in rewards]


async def _planting_themselves(session: Session, farmer_ids: Sequence[UUID]) -> set[UUID]:
    rows = await session.fetch_all("select_planting_themselves", farmer_ids=list(farmer_ids))
    return {row["farmer_id"] for row in rows}


async def insert_failures(database: Database, action: ActionName, pooler_id: UUID, failures: Sequence[Failure]) -> None:
    """One event per failure. What is in flight has no outcome yet and is left out."""
    rows = [_failure(pooler_id, failure) for failure in failures if failure.code != InFlightError.code]
    if action == ActionName.WORK:
        unknown = dict.fromkeys(("nonce", "hash", "zeros", "seconds_left"))
        rows = [{**row, "outcome": WorkOutcome.FAILED, **unknown} for row in rows]
    if rows:
        await database.execute_many(FAILURES[action], rows)


async def insert_refusals(
    database: Database, pooler_id: UUID, refusals: Sequence[Refused], known: Container[UUID], seconds_left: float
) -> None:
    """One event per submission that did not become work, of farmers that are `known` to exist. `seconds_left`: of the
    block when they were handed in.

    `refused`: the submission itself was at fault; `failed`: it could not be brought to the chain.
    """
    rows = [
        {
            **_failure(pooler_id, refused.failure),
            "outcome": WorkOutcome.REFUSED if refused.failure.fault is Fault.POOLER else WorkOutcome.FAILED,
            "nonce": refused.nonce,
            "hash": refused.hash,
            "zeros": refused.zeros,
            "seconds_left": seconds_left,
        }
        for refused in refusals
        if refused.failure.farmer_id in known and refused.failure.code != InFlightError.code
    ]
    if rows:
        await database.execute_many("insert_failed_work", rows)


def _failure(pooler_id: UUID, failure: Failure) -> dict[str, Any]:
    return {**as_row(failure), "event_id": new_id(), "pooler_id": pooler_id}


async def insert_found_planting(
    database: Database, pooler_id: UUID, farmer_id: UUID, block_index: int, pail: Pail
) -> None:
    """A pail on the chain that the journal knows nothing of: after a database was put back to an older state."""
    row = _found_planting(pooler_id, farmer_id, block_index, pail)
    async with database.transaction() as session:
        found = await session.execute("insert_planting", **row)
        if found:
            await postings.post(session, bookkeeping.planted(farmer_id, block_index, pail.stake, Place(pail.sequence)))
    if found:
        log.warning("plant_found_on_chain", block=block_index, farmer=str(farmer_id), stake_stroops=pail.stake)


async def insert_own_planting(
    database: Database, pooler_id: UUID, farmer_id: UUID, block_index: int, pail: Pail
) -> None:
    """A pail of a farmer that plants itself: its stake is none of our books'."""
    if await database.execute("insert_planting", **_found_planting(pooler_id, farmer_id, block_index, pail)):
        log.info("planted_itself", block=block_index, farmer=str(farmer_id), stake_stroops=pail.stake)


def _found_planting(pooler_id: UUID, farmer_id: UUID, block_index: int, pail: Pail) -> dict[str, Any]:
    return {
        "event_id": new_id(),
        "block_index": block_index,
        "pooler_id": pooler_id,
        "farmer_id": farmer_id,
        "stake_stroops": pail.stake,
        "submission_id": None,
        "transaction_hash": None,
        "ledger": pail.sequence,
    }


async def insert_found_harvest(
    database: Database, pooler_id: UUID, farmer_id: UUID, block_index: int, pail: Pail, reward_stroops: int
) -> None:
    """A worked pail that is gone from the chain while its block is there: somebody else harvested it for the farmer."""
    row = {
        "event_id": new_id(),
        "block_index": block_index,
        "pooler_id": pooler_id,
        "farmer_id": farmer_id,
        "reward_stroops": reward_stroops,
        "stake_stroops": pail.stake,
        "forecast_stroops": reward_stroops,
        "submission_id": None,
        "transaction_hash": None,
        "ledger": None,
    }
    async with database.transaction() as session:
        terms = (await postings.harvest_terms(session, [(block_index, farmer_id)]))[block_index, farmer_id]
        fee = terms.fee_of(reward_stroops)
        found = await session.execute("insert_harvest", **row, fee_stroops=fee, solo=terms.solo)
        if found and not await _planting_themselves(session, [farmer_id]):
            await postings.post(session, bookkeeping.harvested(farmer_id, block_index, pail.stake, reward_stroops, fee))
    if found:
        log.warning("harvested_elsewhere", block=block_index, farmer=str(farmer_id), reward_stroops=reward_stroops)


async def read_pail(database: Database, block_index: int, farmer_id: UUID) -> Pail | None:
    """A pail as our events tell it, with its best work; None where nothing was planted."""
    return await database.fetch_one("select_pail", row=Pail, block_index=block_index, farmer_id=farmer_id)
