"""What a transaction of the pool does: the word for it in the journal, the schedule and the API."""

from __future__ import annotations

from enum import StrEnum


class ActionName(StrEnum):
    """The first three are the contract's; the others move the pool's and the farmers' own."""

    PLANT = "plant"
    WORK = "work"
    HARVEST = "harvest"
    PAYMENT = "payment"
    TRUSTLINE = "trustline"
    CREATE_ACCOUNT = "create_account"
    MERGE = "merge"
    COLLECT = "collect"
    PAYOUT = "payout"
    TAKE_BACK = "take_back"
    COMPENSATE = "compensate"
