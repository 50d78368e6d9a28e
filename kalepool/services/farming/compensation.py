"""What is owed to a farmer whose stake was lost, by whom: recorded once per farmer and block.

Anyone may harvest for anyone. Of a worked pail that is gone together with its block nobody can tell whether that was
done: it is recorded `to-check`, and owed only once an operator has found that nothing came back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from kalepool.database import Database, new_id
from kalepool.errors import ChainError, Fault, KalepoolError
from kalepool.networks import Network
from kalepool.policy import bookkeeping
from kalepool.protocol.model import Block, Pail
from kalepool.protocol.rewards import normalise, reward
from kalepool.services import postings
from kalepool.services.failures import PoolAwayError
from kalepool.services.journal.events import WorkOutcome, read_pail
from kalepool.services.presence import kept_from_working

log = structlog.get_logger()


class CompensationStanding(StrEnum):
    """`to-check`: the pail may have been harvested after all, and nobody knows yet."""

    OWED = "owed"
    TO_CHECK = "to-check"
    NOT_OWED = "not-owed"


MAY_BE_HARVESTED = "may-be-harvested"
"""Code of a worked pail that is gone with its block: evicted, or harvested by somebody else before."""


TIMELY_LEDGERS = 2
"""A work that is handed in with less of the block left than this comes too late, by the pooler's fault: the network
takes no transaction that is valid for less."""


@dataclass(frozen=True, slots=True)
class Unworked:
    """A pail that nobody worked, with the most zeros that were found for it."""

    stake: int
    zeros: int


def missed_reward(block: Block, index: int, lost: Unworked, others: Sequence[Unworked] = ()) -> int:
    """The reward a pail would have brought, had it and the pool's others that were lost in the block been worked, with
    the block's longest gap.

    They all take part as they would have: their points in the total, their stakes not among those shared out. Alone,
    each of them would be promised what can be had once. 0 where the block's own numbers allow no answer.
    """
    worked = Pail(sequence=0, gap=block.max_gap, stake=lost.stake, zeros=lost.zeros)
    try:
        points = sum(sum(normalise(block, block.max_gap, each.stake, each.zeros)) for each in (lost, *others))
        with_it = replace(
            block,
            normalized_total=block.normalized_total + points,
            staked_total=max(block.staked_total - sum(each.stake for each in (lost, *others)), 0),
        )
        return max(reward(with_it, worked, index), 0)
    except ChainError:
        return 0


def fault_of(
    attempts: Sequence[Mapping[str, Any]], error: KalepoolError, ledger_seconds: float, *, away: bool = False
) -> tuple[Fault, str]:
    """Whose fault a lost stake is, and the reason: that of the last attempt to work that was in order and in time; the
    pooler's where there was none, unless the pool itself was `away` when works were due.

    Else a pooler that never meant to work could lay a loss at the pool's door by one try that had to fail. A pail that
    was worked and then not harvested before it was gone is the backend's.
    """
    if any(attempt["outcome"] == WorkOutcome.WORKED for attempt in attempts):
        return Fault.BACKEND, error.code
    least = TIMELY_LEDGERS * ledger_seconds
    for attempt in reversed(attempts):
        left = attempt["seconds_left"]
        if attempt["outcome"] == WorkOutcome.FAILED and (left is None or left >= least):
            return Fault(attempt["fault"]), attempt["code"]
    if away:
        return Fault.BACKEND, PoolAwayError.code
    return Fault.POOLER, attempts[-1]["code"] if attempts else "work-missing"


async def record_lost(
    database: Database,
    pooler_id: UUID,
    block_index: int,
    farmer_id: UUID,
    block: Block | None,
    error: KalepoolError,
    network: Network,
) -> None:
    """Records what is owed for a pail that cannot be harvested any more (`error` says why). Again does nothing.

    `block`: its final state; None when the chain has forgotten it, and the reward is then not known.
    """
    at = {"block_index": block_index, "farmer_id": farmer_id}
    pail = await read_pail(database, block_index, farmer_id)
    if pail is None:
        return
    attempts = await database.fetch_all("select_work_attempts", **at)
    best = await database.fetch_one("select_best_zeros", **at)
    away = block is not None and await kept_from_working(database, block, network)
    fault, code = fault_of(attempts, error, network.ledger_seconds, away=away)
    standing = CompensationStanding.OWED
    if block is None and pail.zeros is not None:
        standing, code = CompensationStanding.TO_CHECK, MAY_BE_HARVESTED
    zeros = pail.zeros if pail.zeros is not None else (best["zeros"] if best else 0)
    forecast = 0
    if block is not None:
        others = await database.fetch_all("select_unworked_beside", row=Unworked, **at)
        forecast = missed_reward(block, block_index, Unworked(pail.stake, zeros), others)
    async with database.transaction() as session:
        recorded = await session.execute(
            "insert_compensation",
            compensation_id=new_id(),
            pooler_id=pooler_id,
            fault=fault,
            code=code,
            stake_stroops=pail.stake,
            forecast_stroops=forecast,
            standing=standing,
            **at,
        )
        await session.execute("note_paid_before", **at)
        if recorded and standing == CompensationStanding.OWED:
            await postings.post(session, bookkeeping.lost(farmer_id, block_index, pail.stake))
    if recorded:
        said = "stake_lost" if standing == CompensationStanding.OWED else "stake_to_be_looked_for"
        log.error(said, block=block_index, farmer=str(farmer_id), fault=fault, code=code, stake=pail.stake)
