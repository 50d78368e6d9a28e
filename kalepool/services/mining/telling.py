"""What the API's processes tell each other of rigs and miners: each sees shares of rigs that another deals with.

A row is one of: ["shares", searcher, [credited hashes of each]], ["miner", id, shares brought, rigs of each hasty
request, {outcome: shares}], ["changed", id of a miner whose ban is another], ["over", searcher of a rig that gave its
place away].
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from kalepool.clock import steady_now
from kalepool.policy.shares import ShareOutcome
from kalepool.services.mining.gate import Gate
from kalepool.services.mining.intake import Entry
from kalepool.services.siblings import Shared


class MiningNews(Shared):
    """Collects what this process counts, and applies what the others do."""

    def __init__(self, gate: Gate, count_share: Callable[[int, int], None], forget: Callable[[int], None]) -> None:
        """`count_share` gets the searcher and the hashes of a share; `forget` the searcher of a rig that is no more."""
        self._gate = gate
        self._count_share = count_share
        self._forget = forget
        self._credited: defaultdict[int, list[int]] = defaultdict(list)
        self._outcomes: defaultdict[UUID, Counter[ShareOutcome]] = defaultdict(Counter)
        self._given_away: set[int] = set()

    def counted(self, entry: Entry) -> None:
        """An entry is in the database, through this process."""
        if not self.is_shared:
            return
        self._outcomes[entry.miner_id][entry.answer.outcome] += 1
        if entry.answer.outcome is ShareOutcome.ACCEPTED:
            self._credited[entry.searcher].append(entry.answer.credited_hashes)

    def gave_away(self, searcher: int) -> None:
        """A rig of another name has this number now."""
        if self.is_shared:
            self._given_away.add(searcher)

    def untold(self) -> Iterable[Sequence[Any]]:
        visits, changed = self._gate.take_untold()
        outcomes, self._outcomes = self._outcomes, defaultdict(Counter)
        credited, self._credited = self._credited, defaultdict(list)
        given_away, self._given_away = self._given_away, set()
        for miner_id in {**visits, **outcomes}:
            visit = visits.get(miner_id)
            shares, hasty = (visit.shares, visit.hasty) if visit is not None else (0, [])
            yield ["miner", str(miner_id), shares, hasty, outcomes.get(miner_id, {})]
        for searcher, hashes in credited.items():
            yield ["shares", searcher, hashes]
        for miner_id in changed:
            yield ["changed", str(miner_id)]
        for searcher in given_away:
            yield ["over", searcher]

    def heard(self, row: Sequence[Any], sender: UUID) -> None:
        match row:
            case ["shares", searcher, hashes]:
                for credited in hashes:
                    self._count_share(searcher, credited)
            case ["miner", miner_id, shares, hasty, outcomes]:
                told = Counter({ShareOutcome(outcome): count for outcome, count in outcomes.items()})
                self._gate.hear(UUID(miner_id), shares, hasty, told, steady_now())
            case ["changed", miner_id]:
                self._gate.hear_change(UUID(miner_id))
            case ["over", searcher]:
                self._forget(searcher)
            case _:  # of a later version
                pass

    def missed(self) -> None:
        self._gate.read_again()
