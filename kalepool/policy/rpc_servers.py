"""Which RPC server is asked, and how often: each one's standing by what it answers. Times are seconds of a clock that
never goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto


class Trouble(StrEnum):
    """Why a server is passed over."""

    SILENT = "does not answer"
    FAILING = "answers with errors"
    UNREADABLE = "answers what cannot be read"
    LIMITED = "limits our rate"
    BEHIND = "is behind"
    FOREIGN = "serves another network"  # for good: until somebody changes the settings


PAUSE_SECONDS = {
    Trouble.SILENT: 2.0,
    Trouble.FAILING: 1.0,
    Trouble.UNREADABLE: 2.0,
    Trouble.LIMITED: 1.0,
    Trouble.BEHIND: 1.0,
}
"""For how long a server is passed over at first; twice as long each further time, up to the longest."""

LONGEST_PAUSE_SECONDS = 60.0

FORGIVEN_SECONDS = 60.0
"""After so long without trouble the next one counts as the first."""

HEARD_SECONDS = 30.0
"""A server that nothing was heard of for so long is asked how it is: only so it is known which one is ahead."""


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """What is known of a server. It is passed over `until` then, and until it has answered well again."""

    trouble: Trouble | None = None
    since: float = 0.0  # of the trouble, or of its end
    until: float = 0.0
    times: int = 0
    ledger: int = 0  # the newest it named
    heard_at: float = float("-inf")

    @property
    def is_well(self) -> bool:
        return self.trouble is None


def after_trouble(standing: ServerStanding, trouble: Trouble, now: float, least_seconds: float = 0.0) -> ServerStanding:
    """`least_seconds`: how long the server itself asks to be left alone. Trouble while it is passed over anyway is of
    the same kind: of many requests that were on their way."""
    if standing.trouble is Trouble.FOREIGN or trouble is Trouble.FOREIGN:
        return replace(standing, trouble=Trouble.FOREIGN, since=now, until=float("inf"), heard_at=now)
    if standing.trouble is not None and now < standing.until:
        return replace(standing, until=max(standing.until, now + least_seconds), heard_at=now)
    forgiven = standing.is_well and now - standing.since >= FORGIVEN_SECONDS
    times = 1 if forgiven else standing.times + 1
    pause = min(PAUSE_SECONDS[trouble] * 2.0 ** min(times - 1, 16), LONGEST_PAUSE_SECONDS)
    since = now if standing.is_well else standing.since
    return replace(
        standing, trouble=trouble, since=since, until=now + max(pause, least_seconds), times=times, heard_at=now
    )


def after_answer(standing: ServerStanding, ledger: int, newest: int, now: float) -> ServerStanding:
    """After an answer of a ledger (0: it names none), where `newest` is the newest that any server named."""
    heard = replace(standing, ledger=max(standing.ledger, ledger), heard_at=now)
    if 0 < ledger < newest:
        return after_trouble(heard, Trouble.BEHIND, now)
    shows_nothing = heard.trouble is Trouble.BEHIND and not ledger
    if heard.is_well or heard.trouble is Trouble.FOREIGN or now < heard.until or shows_nothing:
        return heard
    return replace(heard, trouble=None, since=now)


def order(standings: Sequence[ServerStanding], now: float) -> list[int]:
    """Whom to ask, one after the other: the first that is well; last those in trouble, who may be asked soonest first.
    One of another network is never asked."""
    rest = [place for place, standing in enumerate(standings) if standing.trouble is not Trouble.FOREIGN]
    return sorted(rest, key=lambda place: 0.0 if standings[place].is_well else max(standings[place].until, 1e-9))


def takers(standings: Sequence[ServerStanding], now: float) -> list[int]:
    """Whom to send a transaction to: all that are well or merely behind; where there is none, whoever there is.

    One that does not answer is left out: whether it has passed a transaction on would be unknown each time.
    """
    asked = order(standings, now)
    return [p for p in asked if standings[p].trouble in (None, Trouble.BEHIND)] or asked


def to_be_heard(standings: Sequence[ServerStanding], now: float) -> list[int]:
    """Who is to be asked how it is: to be taken back, or since nothing was heard of it for long."""
    return [
        place
        for place, standing in enumerate(standings)
        if standing.trouble is not Trouble.FOREIGN
        and (now >= standing.until if standing.trouble else now - standing.heard_at >= HEARD_SECONDS)
    ]


def describe(names: Sequence[str], standings: Sequence[ServerStanding], now: float) -> str:
    """Which of several servers is asked, and why none before it, in words."""
    asked = order(standings, now)
    first = f"{names[asked[0]]} is asked" if asked and standings[asked[0]].is_well else "none is well"
    others = [f"{names[place]} {said(standing, standings)}" for place, standing in enumerate(standings)]
    return "; ".join([first, *(each for each, standing in zip(others, standings, strict=True) if standing.trouble)])


def said(standing: ServerStanding, all_of_them: Sequence[ServerStanding]) -> str:
    """A server's trouble in words."""
    if standing.trouble is Trouble.BEHIND:
        ledgers = max(max(each.ledger for each in all_of_them) - standing.ledger, 1)
        return f"is {ledgers} ledger{'' if ledgers == 1 else 's'} behind"
    return str(standing.trouble)


class Sending(Enum):
    """How sending went."""

    TAKEN = auto()  # the network has it, or has had it
    LATER = auto()  # not taken, to be sent again
    LOST = auto()  # no answer: it may have been taken
    REFUSED = auto()


def what_counts(answers: Sequence[tuple[Sending, int]]) -> int:
    """Which of several servers' answers to the same transaction counts; each with the ledger that it was given in.

    Taken by one is taken; where one may have taken it, it may be taken; else the server that is ahead knows best.
    """
    for wanted in (Sending.TAKEN, Sending.LOST):
        for place, (sent, _) in enumerate(answers):
            if sent is wanted:
                return place
    return max(range(len(answers)), key=lambda place: answers[place][1])


BURST_PART = 0.1
STEADY_PART = 0.85
"""Of the requests a second that are allowed: so many at once, and so many a second steadily. Together they stay below
it in every second, also where some arrive late."""


WATCH_PART = 0.25
"""Of a bucket's tokens: no more go into looking for the next ledger."""


@dataclass(slots=True)
class Bucket:
    """Tokens for requests, of which never more than `per_second` are had in a second (2 where that is below 2)."""

    per_second: float
    tokens: float = float("inf")
    at: float = 0.0

    def take(self, now: float) -> float:
        """0: one was taken. Else there is none, and one after so many seconds."""
        most, steady = max(BURST_PART * self.per_second, 1.0), STEADY_PART * self.per_second
        self.tokens = min(self.tokens + max(now - self.at, 0.0) * steady, most)
        self.at = now
        if self.tokens < 1 - 1e-9:
            return (1 - self.tokens) / steady
        self.tokens -= 1
        return 0.0

    @property
    def watch_seconds(self) -> float:
        """Between two looks for the next ledger."""
        return 1 / (WATCH_PART * STEADY_PART * self.per_second)
