"""The coordinators of a pooler: which of them leads, by a lease that runs by the database's clock; who stands by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kalepool.database import Database
from kalepool.errors import NotLeadingError
from kalepool.fencing import Fence

SILENT_SECONDS = 15.0
"""A coordinator that was not heard of for so long is gone."""

SETTLED_SECONDS = 60.0
"""When somebody has led for so long, whoever is to stand by should be there."""

TOLD_SECONDS = 3600.0
"""For so long a take-over is told of."""

LEADERLESS_SECONDS = 30.0
"""When nobody has led for so long, whoever should is told of."""


@dataclass(frozen=True, slots=True)
class CoordinatorSelf:
    """A process that coordinates a pooler, or would. `place`: its machine and process, for people."""

    coordinator_id: UUID
    pooler_id: UUID
    place: str


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads as long as its lease runs."""

    fence: int
    place: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A lease just taken. `taken_from`: the place of whoever let it run out; None where nobody did."""

    fence: int
    taken_from: str | None


@dataclass(frozen=True, slots=True)
class Coordinating:
    """Who coordinates a pooler. `leaderless_seconds`: since its lease ran out, 0 while somebody leads.

    `taken_from`: who let it run out before. `given_up`: who has it ended by itself.
    """

    pooler_id: UUID
    pooler: str
    fence: int
    place: str
    taken_at: datetime
    expires_at: datetime
    taken_from: str | None
    given_up: bool
    led_seconds: float
    leaderless_seconds: float
    standing_by: int


async def look(database: Database, me: CoordinatorSelf, *, tells: bool = True) -> Lead | None:
    """Who leads now. `tells`: and that this one is there. Raises DatabaseError, as all of these."""
    return await database.fetch_one(
        "look_at_lease",
        row=Lead,
        coordinator_id=me.coordinator_id,
        pooler_id=me.pooler_id,
        place=me.place,
        tells=tells,
    )


async def take(database: Database, me: CoordinatorSelf, seconds: float) -> Taken | None:
    """Lead from now on; None where somebody else does."""
    return await database.fetch_one(
        "take_lease",
        row=Taken,
        coordinator_id=me.coordinator_id,
        pooler_id=me.pooler_id,
        place=me.place,
        seconds=seconds,
    )


async def renew(database: Database, me: CoordinatorSelf, fence: int, seconds: float) -> None:
    """Go on leading. Raises NotLeadingError where somebody else has taken over."""
    renewed = await database.execute(
        "renew_lease",
        coordinator_id=me.coordinator_id,
        pooler_id=me.pooler_id,
        place=me.place,
        fence=fence,
        seconds=seconds,
    )
    if not renewed:
        raise NotLeadingError(f"another coordinator has taken over from number {fence}")


async def give_up(database: Database, me: CoordinatorSelf, fence: int | None) -> None:
    """Whoever stands by leads at once. `fence`: None for one that only stood by."""
    if fence is not None:
        await database.execute("give_up_lease", pooler_id=me.pooler_id, fence=fence)
    await database.execute("forget_coordinator", coordinator_id=me.coordinator_id)


async def require_leader(database: Database, fence: Fence) -> None:
    """Raises NotLeadingError for a leadership that is over."""
    if await database.fetch_one("select_leads", pooler_id=fence.pooler_id, fence=fence.number) is None:
        raise NotLeadingError(f"number {fence.number} does not lead pooler {fence.pooler_id} any more")


async def coordinating(database: Database) -> list[Coordinating]:
    """Every pooler that a coordinator of ours was heard of within a day."""
    return await database.fetch_all("select_coordinating", row=Coordinating, silent_seconds=SILENT_SECONDS)


def who_leads(found: Coordinating, *, by_place: bool = False) -> str:
    """In words. Where anybody may read it, no machine is named."""
    who = f"{found.place} (number {found.fence})" if by_place else f"number {found.fence}"
    if found.leaderless_seconds:
        since = f"since {found.expires_at:%H:%M:%S} UTC"
        return f"no coordinator leads {since}, when {who} {'was ended' if found.given_up else 'fell silent'}"
    standing = f"{found.standing_by or 'nobody'} stand{'s' * (found.standing_by <= 1)} by"
    return f"{who} leads since {found.taken_at:%H:%M:%S} UTC, {standing}"
