"""Which submitter takes a transaction to the network, and for how long one that failed is left alone. Pure.

The relayer (OpenZeppelin's Stellar Channels) pays for what it carries, and promises nothing; sent directly, a
transaction costs the pool its fee. Both carry the same signed inner transaction: a ledger takes it once, from whichever
of them comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kalepool.actions import ActionName


class SubmitterName(StrEnum):
    """Who takes transactions to the network."""

    DIRECT = "direct"  # the RPC server, the pool pays
    RELAYER = "relayer"  # Stellar Channels, which pays


RELAYED = (ActionName.PLANT, ActionName.WORK, ActionName.HARVEST)
"""What the relayer is asked for: calls of the contract. What moves money goes the pool's own way."""

RELAYER_LEDGERS = 2, 3
"""So long a transaction is left to the relayer, at least and at most: it sends when its queue allows, and bids low.
With less time it is not worth a try."""

DIRECT_LEDGERS = 3
"""So long before its time is over a transaction is sent directly: the ledgers it then has to land in."""

DIRECT_SECONDS = 5.0
"""What it is valid for beyond these ledgers: their close times vary."""

LONGEST_VALIDITY = timedelta(seconds=55)
"""The relayer takes none that is valid for more than 60 seconds, by its own clock."""

LONGEST_PAUSE_LEDGERS = 60
"""About a block of the public networks."""

LIMIT_PAUSE_SECONDS = 600.0
"""After what does not mend itself soon: the fee limit of a period, a key that is not known."""

NO_ROOM = ("POOL_CAPACITY",)
NOT_SOON = ("FEE_LIMIT_EXCEEDED", "NO_CHANNELS_CONFIGURED", "API_KEY_REQUIRED", "UNAUTHORIZED")


@dataclass(frozen=True, slots=True)
class Relay:
    """A transaction is left to the relayer `until` then, and sent directly after; no ledger may take it after
    `valid_until`."""

    until: datetime
    valid_until: datetime


def relay(
    action: str, *, attempt: int, now: datetime, deadline: datetime, lands_by: datetime, ledger_seconds: float
) -> Relay | None:
    """How a transaction made now is relayed; None: it is sent directly at once.

    `lands_by`: when it has to be on the ledger, as a work by the end of its block; the deadline may be later. A harvest
    can wait: its first attempt is the relayer's alone.
    """
    if action not in RELAYED or attempt > 1:
        return None
    ledger = timedelta(seconds=ledger_seconds)
    least, most = RELAYER_LEDGERS
    direct = DIRECT_LEDGERS * ledger
    until = min(now + most * ledger, lands_by - direct)
    if until - now < least * ledger:
        return None
    valid_until = min(until + direct + timedelta(seconds=DIRECT_SECONDS), now + LONGEST_VALIDITY, deadline)
    valid_until = valid_until.replace(microsecond=0)
    return Relay(valid_until if action == ActionName.HARVEST else until, valid_until)


def pause_seconds(code: str, failures: int, ledger_seconds: float, retry_after: float | None = None) -> float:
    """For how long the relayer is not asked after it did not take a transaction. `failures`: how many pauses in a row,
    this one among them. `retry_after`: what it said itself."""
    if code in NOT_SOON:
        return LIMIT_PAUSE_SECONDS
    if retry_after is not None:
        return min(retry_after, LIMIT_PAUSE_SECONDS)
    if code in NO_ROOM:
        return 2 * ledger_seconds
    return ledger_seconds * min(2.0 ** min(failures, 16), LONGEST_PAUSE_LEDGERS)


PRIOR_RELAYED = 5
"""Before anything is known of a relayer, so many pails are taken to have been carried by it."""


def expected_fee(direct_stroops: int, *, direct: int, relayed: int, has_relayer: bool) -> int:
    """What a transaction should cost the pool per pail, in stroops of XLM: the fee of one that is sent directly, as
    often as of late the relayer did not carry it. `direct`, `relayed`: pails of the last blocks."""
    if not has_relayer:
        return direct_stroops
    return round(direct_stroops * direct / (direct + relayed + PRIOR_RELAYED))
