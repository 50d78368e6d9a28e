"""What an applied transaction returned, where the answer that tells it cannot be read: by what else is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from kalepool.actions import ActionName
from kalepool.chain import Outcome, Status
from kalepool.errors import ChainError
from kalepool.services.journal.events import read_pail
from kalepool.services.journal.forgotten import read_pails
from kalepool.services.journal.intents import Item
from kalepool.services.journal.state import Journal

log = structlog.get_logger()


async def with_value(journal: Journal, action: ActionName, items: Sequence[Item], outcome: Outcome) -> Outcome:
    """The outcome with a return value: of a work the gap, by the ledgers; of a harvest the rewards, by their forecasts,
    which are exact. As it is where it has one, or needs none. Raises DatabaseError."""
    if outcome.status is not Status.APPLIED or outcome.return_value is not None:
        return outcome
    match action:
        case ActionName.WORK:
            value = await _gap(journal, items[0], outcome)
        case ActionName.HARVEST:
            value = await _rewards(journal, items)
        case _:
            return outcome
    log.warning("return_value_reckoned", action=action, transaction=outcome.transaction_hash, value=value)
    return replace(outcome, return_value=value)


async def _gap(journal: Journal, item: Item, outcome: Outcome) -> int:
    """Ledgers from the plant to the work."""
    assert item.block_index is not None
    assert item.farmer_id is not None
    known = await read_pail(journal.database, item.block_index, item.farmer_id)
    if known is not None and known.sequence is not None and outcome.ledger is not None:
        return outcome.ledger - known.sequence
    pails = await read_pails(journal, [item])  # planted past this database
    pail = pails.get((item.farmer_id, item.block_index))
    if pail is None:
        raise ChainError(
            f"the gap of transaction {outcome.transaction_hash} is not known: nothing says when it planted"
        )
    return outcome.ledger - pail.sequence if outcome.ledger is not None else pail.gap or 0


async def _rewards(journal: Journal, items: Sequence[Item]) -> int | tuple[int, ...]:
    """What each pail brought: nothing where it is still there, for the tractor passed it over."""
    try:
        there = (await read_pails(journal, items)).keys() if len(items) > 1 else ()
    except ChainError:
        there = ()
    rewards = [
        0 if (item.farmer_id, item.block_index) in there else item.forecast_stroops or 0  # pyright: ignore[reportUnnecessaryContains]
        for item in items
    ]
    return rewards[0] if len(rewards) == 1 else tuple(rewards)
