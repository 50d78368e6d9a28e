"""Whatever somebody sends an account, it can be closed after a number of tries that does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.departing import DUST, MOST_DUST, WIDER, Close, LowerLimit, PayFirst, Step, next_step
from kalepool.services.leaving import TRIES

KALE = 10_000_000


class Sender:
    """Sends each ledger as much as `amount` says, of which a part comes before our own transaction."""

    def __init__(self, amount: Callable[[int], int], before: Callable[[], float]) -> None:
        self.amount, self.before, self.given = amount, before, 0


def tries(sender: Sender, *, balance: int = 900 * KALE, to_contract: bool = False, most: int = 200) -> int:
    """In how many ledgers the account is closed."""
    limit, failures, failed, paid = 2**63 - 1, 0, False, 0
    for count in range(1, most):
        step: Step = next_step(balance, limit, failures=failures, failed=failed, to_contract=to_contract, paid=paid)
        known = balance
        total = min(sender.amount(limit - balance), limit - balance)
        early = round(total * sender.before())
        sender.given += total
        balance += early
        match step:
            case Close():
                failed = balance > known
                if not failed:
                    return count
            case PayFirst():
                balance, failed, paid = balance - known, False, paid + 1
            case LowerLimit(new):
                left = balance if to_contract else balance - known
                failed = left > new
                if not failed:
                    balance, limit = left, new
        failures += failed
        balance = min(balance + total - early, limit)
    raise AssertionError(f"not closed in {most} ledgers")


def test_an_account_that_is_left_alone_is_closed_at_once() -> None:
    assert tries(Sender(lambda _: 0, lambda: 0)) == 1
    assert tries(Sender(lambda _: 0, lambda: 0), to_contract=True) == 2


@pytest.mark.parametrize("to_contract", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_dust_from_fifteen_accounts_holds_it_up_for_a_few_ledgers(seed: int, to_contract: bool) -> None:
    random = Random(seed)
    sender = Sender(lambda _: 15, random.random)
    assert tries(sender, to_contract=to_contract) <= 9
    assert sender.given < 200


@pytest.mark.parametrize("to_contract", [False, True])
@pytest.mark.parametrize("amount", [300, DUST + 1, 50_000, 3_000_000])
def test_more_than_dust_in_every_ledger_holds_it_up_no_longer(amount: int, to_contract: bool) -> None:
    random = Random(amount)
    assert tries(Sender(lambda _: amount, random.random), to_contract=to_contract) <= 12


@pytest.mark.parametrize("seed", range(100))
def test_nor_where_a_try_takes_now_one_ledger_and_now_several(seed: int) -> None:
    random = Random(seed)
    amount = random.choice((15, 300, 30_000, 500_000, KALE))
    sender = Sender(lambda _: amount * random.randint(0, 4), random.random)
    assert tries(sender, to_contract=True) <= 18 < TRIES


@given(st.randoms(use_true_random=False), st.booleans())
def test_to_hold_it_up_is_to_give_the_farmer_ever_more(random: Random, to_contract: bool) -> None:
    """A sender that sees the room, and sends any part of it before our own transaction, pays for each ledger."""
    most = 10**9 * KALE

    def amount(room: int) -> int:
        return random.choice([1, room // 4 + 1, room // 2 + 1, room, always, 10 ** random.randrange(17)])

    always = 10 ** random.randrange(9)
    sender = Sender(lambda room: min(amount(room), most), lambda: random.choice([0, 1]))
    ledgers = tries(sender, to_contract=to_contract)
    if ledgers > 24:
        assert sender.given > 1000 * KALE, f"{ledgers} ledgers for {sender.given} stroops"


def test_what_a_contract_is_not_paid_is_dust() -> None:
    def step(balance: int, paid: int) -> Step:
        return next_step(balance, balance, failures=0, failed=False, to_contract=True, paid=paid)

    assert (step(DUST, 0), step(DUST + 1, 0)) == (Close(), PayFirst())
    assert (step(DUST * WIDER, 1), step(DUST * WIDER + 1, 1)) == (Close(), PayFirst())
    assert (step(MOST_DUST, 9), step(MOST_DUST + 1, 9)) == (Close(), PayFirst())
    assert next_step(None, None, failures=0, failed=False, to_contract=False, paid=0) == Close()
