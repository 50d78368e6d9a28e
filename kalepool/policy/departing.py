"""How an account is closed while somebody sends it dust: its trustline cannot go before it is empty.

What is known is paid, and the limit lowered, so that less and less can come in; full up to its limit, the trustline
takes nothing, and the account is closed. Whoever wants to hold that up has to send more than the room that is left,
which at least halves with every try, or, before there is a limit, give the farmer a hundred times more each time.

A contract is paid by transactions of their own, between which something comes in again: what is worth another grows a
hundredfold with each.
"""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED = 2**62
"""A trustline with this limit or more was never limited."""

FIRST_ROOM = 100
"""Stroops of KALE that may still come in once the limit is lowered; WIDER times as many after each try that failed."""

WIDER = 100

DUST = 1_000
"""Stroops of KALE that are not worth a transaction of their own to a contract; WIDER times as many after each."""

MOST_DUST = 10**9
"""Stroops of KALE that a contract is always paid."""

MOST_ROOM = 10**16
"""A billion KALE: more than there is."""


@dataclass(frozen=True, slots=True)
class Close:
    """Pay all that is there, remove the trustline, merge the account."""


@dataclass(frozen=True, slots=True)
class PayFirst:
    """Pay a contract all that is there: that takes a transaction of its own."""


@dataclass(frozen=True, slots=True)
class LowerLimit:
    """Pay all that is there, unless it is for a contract, and let the trustline take no more than up to a limit."""

    limit_stroops: int


Step = Close | PayFirst | LowerLimit


def next_step(
    balance: int | None, limit: int | None, *, failures: int, failed: bool, to_contract: bool, paid: int
) -> Step:
    """What to try next with an account that holds `balance` of KALE (None: no trustline), in stroops.

    `failures`: tries so far that something which came in made fail. `failed`: the last one was among them. `paid`: how
    often a contract was paid first.
    """
    if balance is None or limit is None:
        return Close()
    if to_contract and balance > min(DUST * WIDER**paid, MOST_DUST):
        return PayFirst()
    room = limit - balance
    if room == 0 or failures == 0:
        return Close()
    kept = balance if to_contract else 0
    if limit >= UNLIMITED:
        return LowerLimit(kept + min(FIRST_ROOM * WIDER ** (failures - 1), MOST_ROOM))
    # After a failure the half: either it fits, or as much came in. Else a quarter, which is quicker.
    lowered = room // 2 if failed else room // 4
    return LowerLimit(kept + lowered) if kept + lowered > 0 else Close()
