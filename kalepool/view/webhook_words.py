"""What pages say of webhooks: what each type of event tells of, and why a delivery was not taken."""

from __future__ import annotations

import re

from kalepool.marking import mark
from kalepool.services.outgoing import INNER
from kalepool.services.webhook_sending import CHANGED, NO_MORE
from kalepool.services.webhooks import TEST, DeliveryStatus, EventType
from kalepool.units import plain
from kalepool.view.words import Language

TYPES: dict[str, str] = {
    EventType.BLOCK_OPENED: mark("a block begins"),
    EventType.BLOCK_CLOSED: mark("a block is over"),
    EventType.PLANTING: mark("a stake is planted"),
    EventType.HARVEST: mark("a pail is harvested"),
    EventType.STAKE_LOST: mark("work was missed: a stake is lost"),
    EventType.PAYOUT: mark("a miner is paid"),
    EventType.PAYOUT_REFUSED: mark("a payout to a miner is refused"),
    EventType.WITHDRAWAL: mark("a withdrawal is paid"),
    EventType.WITHDRAWAL_REFUSED: mark("a withdrawal is refused"),
    EventType.FARMER_LEFT: mark("a farmer has left"),
    EventType.KEY_ENDED: mark("a key is ended"),
    TEST: mark("a test"),
}

STATES: dict[str, tuple[str, str]] = {
    DeliveryStatus.WAITING: ("busy", mark("waits")),
    DeliveryStatus.DELIVERED: ("good", mark("taken")),
    DeliveryStatus.GIVEN_UP: ("bad", mark("given up")),
}
"""By status of a delivery: how grave it is, and its word."""

_TROUBLES = {
    INNER: mark("its name leads to no address, or to one that is not on the internet"),
    NO_MORE: mark("this pool sends nothing there any more"),
    CHANGED: mark("its row in the database was changed: delete it and make another"),
    "TimeoutError": mark("no answer within ten seconds"),
    "ConnectError": mark("no connection, or a certificate that does not hold for its name"),
}
_STATUS = re.compile(r"HTTP status (\d{3})")


def why(trouble: str, words: Language) -> str:
    """Why a delivery was not taken, in the reader's language; by the name of the error where there is no text."""
    if found := _STATUS.fullmatch(trouble):
        return words.say(mark("the answer was HTTP status %(status)s"), status=found[1])
    if trouble in _TROUBLES:
        return words.gettext(_TROUBLES[trouble])
    return words.say(mark("an error: %(name)s"), name=plain(trouble))
