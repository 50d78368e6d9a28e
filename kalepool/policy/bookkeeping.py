"""What the pool's events mean for its books: each a list of transfers, with one debit, one credit and a unique cause.

Accounts of what is on the chain (a farmer's wallet and pails, the treasury, claimable balances) are debited with what
comes; accounts of whose it is (farmer, miner, paying, fee-due, operator) are credited with it. Whole stroops of KALE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

GENESIS = hashlib.sha256(b"kalepool books").digest()
"""What the first entry is chained to."""

TREASURY, FEE_DUE, OPERATOR, OUTSIDE = "treasury", "fee-due", "operator", "outside"


class BookEvent(StrEnum):
    """Why something moved."""

    PLANTED = "planted"
    STAKE_BACK = "stake-back"
    REWARDED = "rewarded"
    FEE = "fee"
    LOST = "lost"
    DEPOSITED = "deposited"
    WITHDRAWN = "withdrawn"
    COLLECTED = "collected"
    CREDITED = "credited"
    KEPT = "kept"
    CLAIMED = "claimed"
    PAID = "paid"
    RETURNED = "returned"
    PUT_DOWN = "put-down"
    TAKEN_BACK = "taken-back"
    COMPENSATED = "compensated"
    OPENED = "opened"
    UNEXPLAINED = "unexplained"
    CORRECTED = "corrected"


def wallet(farmer: object) -> str:
    """The account of a farmer's custodial wallet."""
    return f"wallet/{farmer}"


def pail(farmer: object) -> str:
    """The account of what a farmer has planted."""
    return f"pail/{farmer}"


def owner(farmer: object) -> str:
    """The account of what is a farmer's own."""
    return f"farmer/{farmer}"


def miner(name: object) -> str:
    """The account of what a miner has earned and not been paid."""
    return f"miner/{name}"


def paying(name: object) -> str:
    """The account of what is on its way to a miner."""
    return f"paying/{name}"


def claimable(payout: object) -> str:
    """The account of what is put down on the ledger for a miner to claim."""
    return f"claimable/{payout}"


def unexplained(account: str) -> str:
    """Where a difference of this account goes that nothing explains."""
    return f"unexplained/{account.replace('/', '-')}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount from the account `credit` to the account `debit`; nothing where it is 0. ValueError for less."""

    cause: str
    event: BookEvent
    debit: str
    credit: str
    amount_stroops: int
    block_index: int | None = None
    ledger: int | None = None
    transaction_hash: bytes | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.amount_stroops < 0 or self.debit == self.credit:
            raise ValueError(f"no transfer: {self}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the chain something happened, as far as that is known."""

    ledger: int | None = None
    transaction_hash: bytes | None = None


NOWHERE = Place()


def fee_of(reward_stroops: int, rate: Fraction) -> int:
    """The pool's part of one reward: rounded down, exact."""
    return reward_stroops * rate.numerator // rate.denominator


def planted(farmer: object, block_index: int, stake: int, at: Place = NOWHERE) -> list[Transfer]:
    return [_of_pail("plant", BookEvent.PLANTED, pail(farmer), wallet(farmer), stake, farmer, block_index, at)]


def harvested(
    farmer: object, block_index: int, stake: int, reward: int, fee: int, at: Place = NOWHERE
) -> list[Transfer]:
    """The plant is posted before, where nobody knew of it: a pail that was harvested was planted."""
    args = (farmer, block_index, at)
    return [
        *planted(farmer, block_index, stake),
        _of_pail("stake", BookEvent.STAKE_BACK, wallet(farmer), pail(farmer), stake, *args),
        _of_pail("reward", BookEvent.REWARDED, wallet(farmer), owner(farmer), reward, *args),
        _of_pail("fee", BookEvent.FEE, owner(farmer), FEE_DUE, fee, farmer, block_index, NOWHERE),
    ]


def lost(farmer: object, block_index: int, stake: int) -> list[Transfer]:
    """A stake that does not come back."""
    return [
        *planted(farmer, block_index, stake),
        _of_pail("lost", BookEvent.LOST, owner(farmer), pail(farmer), stake, farmer, block_index, NOWHERE),
    ]


def _of_pail(
    what: str, event: BookEvent, debit: str, credit: str, amount: int, farmer: object, block_index: int, at: Place
) -> Transfer:
    cause = f"{what}/{block_index}/{farmer}"
    return Transfer(cause, event, debit, credit, amount, block_index, at.ledger, at.transaction_hash)


def withdrawn(part: str, farmer: object, amount: int, at: Place) -> list[Transfer]:
    """A payment out of a farmer's wallet. `part`: names the payment, as `<submission>/<number>`."""
    return [_paid(f"paid/{part}", BookEvent.WITHDRAWN, owner(farmer), wallet(farmer), amount, at)]


def received(part: str, farmer: object, amount: int, at: Place) -> list[Transfer]:
    """The same payment where it arrives in a wallet of the pool's."""
    return [_paid(f"got/{part}", BookEvent.DEPOSITED, wallet(farmer), owner(farmer), amount, at)]


def treasury_received(part: str, amount: int, at: Place) -> list[Transfer]:
    """The same where it arrives in the treasury, and is no fee."""
    return [_paid(f"got/{part}", BookEvent.DEPOSITED, TREASURY, OPERATOR, amount, at)]


def collected(part: str, farmer: object, amount: int, at: Place) -> list[Transfer]:
    """A farmer's fee, from its wallet to the treasury."""
    return [_paid(f"paid/{part}", BookEvent.COLLECTED, TREASURY, wallet(farmer), amount, at)]


def _paid(cause: str, event: BookEvent, debit: str, credit: str, amount: int, at: Place) -> Transfer:
    return Transfer(cause, event, debit, credit, amount, None, at.ledger, at.transaction_hash)


def closed(
    block_index: int, fees: int, credits: Mapping[str, int], house: str, note: str | None = None
) -> list[Transfer]:
    """A block's fees to those who earned them: `credits` by miner; the house's and the rest to the operator, with a
    note.

    ValueError where more is credited than was earned.
    """
    transfers = [
        Transfer(f"credit/{block_index}/{name}", BookEvent.CREDITED, FEE_DUE, miner(name), credits[name], block_index)
        for name in sorted(credits)
        if name != house
    ]
    rest = fees - sum(each.amount_stroops for each in transfers)
    kept = Transfer(f"kept/{block_index}", BookEvent.KEPT, FEE_DUE, OPERATOR, rest, block_index, note=note)
    return [*transfers, kept]


def claimed(payout: object, name: object, amount: int) -> list[Transfer]:
    """A payout is begun: from now on nothing else pays the same."""
    return [Transfer(f"claim/{payout}", BookEvent.CLAIMED, miner(name), paying(name), amount)]


def paid(payout: object, name: object, amount: int, at: Place) -> list[Transfer]:
    """A payout that a ledger has applied."""
    return [_paid(f"payout/{payout}", BookEvent.PAID, paying(name), TREASURY, amount, at)]


def paid_ahead(part: str, name: object, amount: int, at: Place) -> list[Transfer]:
    """A payment to a miner of which no payout is known: by a database that this one is older than."""
    return [_paid(f"paid/{part}", BookEvent.PAID, miner(name), TREASURY, amount, at)]


def returned(payout: object, name: object, amount: int, why: str) -> list[Transfer]:
    """A payout that was given up: it is due again."""
    return [Transfer(f"return/{payout}", BookEvent.RETURNED, paying(name), miner(name), amount, note=why)]


def put_down(payout: object, amount: int, at: Place) -> list[Transfer]:
    """A payout that a ledger has put down to be claimed: on its way still."""
    return [_paid(f"put-down/{payout}", BookEvent.PUT_DOWN, claimable(payout), TREASURY, amount, at)]


def fetched(payout: object, name: object, amount: int) -> list[Transfer]:
    """Its miner has claimed it."""
    return [_paid(f"payout/{payout}", BookEvent.PAID, paying(name), claimable(payout), amount, NOWHERE)]


def taken_back(payout: object, name: object, amount: int, why: str, at: Place) -> list[Transfer]:
    """Nobody has claimed it in time: it is in the treasury again, and due again."""
    back = _paid(f"take-back/{payout}", BookEvent.TAKEN_BACK, TREASURY, claimable(payout), amount, at)
    return [back, *returned(payout, name, amount, why)]


def compensated(farmer: object, block_index: int, amount: int, at: Place) -> list[Transfer]:
    """What the operator owed a farmer for a lost stake, paid from the treasury into its wallet."""
    args = (BookEvent.COMPENSATED, farmer, block_index, at)

    def part(what: str, debit: str, credit: str) -> Transfer:
        return _of_pail(what, args[0], debit, credit, amount, *args[1:])

    return [part("compensation", OPERATOR, owner(farmer)), part("compensation-paid", wallet(farmer), TREASURY)]


def difference(account: str, stroops: int, event: BookEvent, other: str, cause: str, ledger: int) -> Transfer:
    """Brings an account of the chain to what the chain has: `stroops` more, or less where negative."""
    debit, credit = (account, other) if stroops > 0 else (other, account)
    return Transfer(cause, event, debit, credit, abs(stroops), ledger=ledger)


# ----------------------------------------------------------------------------------------------------------------------
# Movements on the chain that are none of the journal's


@dataclass(frozen=True, slots=True)
class KaleMovement:
    """KALE that came to a wallet (negative: went), by an event of the asset's contract. `is_mint`: it was made anew, as
    by a harvest, which anybody may do for anybody."""

    event_id: str
    stroops: int
    ledger: int
    transaction_hash: bytes
    is_mint: bool = False
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """What a wallet's difference is: `transfers` to be posted; `awaited_stroops` of harvests by others that the pool
    has not recorded yet; `rest_stroops` that nothing explains."""

    transfers: list[Transfer]
    awaited_stroops: int
    rest_stroops: int


def event_cause(movement: KaleMovement, account: str) -> str:
    """Names the entry that a movement becomes."""
    return f"event/{movement.event_id}/{account}"


def explain(
    account: str, whose: str, difference_stroops: int, movements: Iterable[KaleMovement], patient: int
) -> Explained:
    """`difference_stroops`: chain less books. What was made anew later than ledger `patient` is waited for: the pool
    finds out that somebody harvested for it, and posts that itself."""
    transfers: list[Transfer] = []
    awaited = rest = 0
    for each in movements:
        if each.is_mint and each.ledger > patient:
            awaited += each.stroops
            continue
        event = BookEvent.DEPOSITED if each.stroops > 0 else BookEvent.WITHDRAWN
        made = difference(account, each.stroops, event, whose, event_cause(each, account), each.ledger)
        rest += each.stroops
        transfers.append(
            Transfer(
                made.cause,
                event,
                made.debit,
                made.credit,
                made.amount_stroops,
                ledger=each.ledger,
                transaction_hash=each.transaction_hash,
            )
        )
    return Explained(transfers, awaited, difference_stroops - rest - awaited)


# ----------------------------------------------------------------------------------------------------------------------
# The chain of entries


def entry_hash(before: bytes, row: Mapping[str, object], posted_us: int) -> bytes:
    """The hash of an entry behind the one with hash `before`: as the database makes it, and anybody can check."""
    names = ("number", "cause", "event", "debit", "credit", "amount_stroops", "block_index", "ledger")
    parts = ["" if row[name] is None else str(row[name]) for name in names]
    line = "|".join([*parts, str(row["transaction_hash"] or ""), str(posted_us), str(row["note"] or "")])
    return hashlib.sha256(before + line.encode()).digest()
