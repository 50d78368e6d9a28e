"""Whatever somebody sends an account, it can be closed after a number of tries that does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy.departing import DUST, UNLIMITED, Close, LowerLimit, PayFirst, Step, next_step

KALE = 10_000_000


class Sender:
    """Sends each ledger as much as `amount` says, of which a part comes before our own transaction."""

    def __init__(self, amount: Callable[[int], int], before: Callable[[], float]) -> None:
        self.amount, self.before, self.given = amount, before, 0


def tries(sender: Sender, *, balance: int = 900 * KALE, to_contract: bool = False, most: int = 200) -> int:
    """In how many ledgers the account is closed."""
    limit, failures, failed = 2**63 - 1, 0, False
    for count in range(1, most):
        step: Step = next_step(balance, limit, failures=failures, failed=failed, to_contract=to_contract)
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
                balance, failed = balance - known, False
            case LowerLimit(new):
                paid = 0 if to_contract else known
                failed = balance - paid > new
                if not failed:
                    balance, limit = balance - paid, new
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


@given(st.randoms(use_true_random=False), st.booleans())
def test_to_hold_it_up_is_to_give_the_farmer_ever_more(random: Random, to_contract: bool) -> None:
    """A sender that sees the room, and sends any part of it before our own transaction, pays for each ledger."""
    most = 10**9 * KALE

    def amount(room: int) -> int:
        return random.choice([1, room // 4 + 1, room // 2 + 1, room, 10 ** random.randrange(17)])

    sender = Sender(lambda room: min(amount(room), most), lambda: random.choice([0, 1]))
    ledgers = tries(sender, to_contract=to_contract)
    if ledgers > 24:
        assert sender.given > 1000 * KALE, f"{ledgers} ledgers for {sender.given} stroops"


def test_what_a_contract_is_not_paid_is_dust() -> None:
    assert next_step(DUST + 1, UNLIMITED, failures=3, failed=True, to_contract=True) == PayFirst()
    assert next_step(DUST, DUST, failures=3, failed=True, to_contract=True) == Close()
    assert next_step(None, None, failures=0, failed=False, to_contract=False) == Close()
