"""How the pool is, in one sentence, and what waits for an operator's hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kalepool.services import poolers
from kalepool.services.alerts import OpenAlert, open_alerts
from kalepool.services.books.held import Difference, lasting
from kalepool.services.context import Context
from kalepool.services.health import HealthReport
from kalepool.services.journal.state import Gap
from kalepool.services.seeking import count_suspected
from kalepool.view.verdict import Level, PoolVerdict

MOST_POOLERS = 1000


@dataclass(frozen=True, slots=True)
class Wellbeing:
    """level: the worse of what the parts and the stakes say. `trouble`: the parts that are not as they should be."""

    level: Level
    trouble: tuple[tuple[str, str], ...]
    verdict: PoolVerdict


def wellbeing(report: HealthReport, verdict: PoolVerdict) -> Wellbeing:
    """Pure."""
    broken = tuple(
        (name, part.detail or part.state) for name, part in report.components.items() if part.state == "down"
    )
    waits = tuple((name, part.detail) for name, part in report.components.items() if part.state == "waiting")
    level = "bad" if broken else "warn" if waits and verdict.level != "bad" else verdict.level
    return Wellbeing(level, broken + waits, verdict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for an operator. undecided: transactions that only an explorer knows of. to_check and owed: stakes
    that were lost. gaps: what a ledger has and the database has not."""

    undecided: tuple[tuple[UUID, str, str], ...]
    gaps: Sequence[Gap]
    to_check: int
    owed: int
    owed_stroops: int
    differences: Sequence[Difference]
    suspected: int
    alerts: Sequence[OpenAlert]

    @property
    def is_nothing(self) -> bool:
        return not (
            self.undecided
            or self.gaps
            or self.to_check
            or self.owed
            or self.differences
            or self.suspected
            or self.alerts
        )


async def read_waiting(ctx: Context) -> Waiting:
    """Raises DatabaseError."""
    rows = await poolers.summaries(ctx.database, after=None, limit=MOST_POOLERS)
    return Waiting(
        undecided=tuple((submission_id, *said) for submission_id, said in ctx.journal.undecided.items()),
        gaps=ctx.journal.gaps or (),
        to_check=sum(row["to_check"] for row in rows),
        owed=sum(row["unpaid"] for row in rows),
        owed_stroops=sum(row["owed_stroops"] for row in rows),
        differences=await lasting(ctx.database, ctx.chain.network),
        suspected=await count_suspected(ctx.database),
        alerts=await open_alerts(ctx.database),
    )
