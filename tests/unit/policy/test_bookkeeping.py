"""What events mean for the books: whatever happens, in whatever order, sums are zero and nothing counts twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalepool.policy import bookkeeping as books
from kalepool.policy.bookkeeping import BookEvent, KaleMovement, Place, Transfer
from kalepool.policy.credits import HOUSE, split

AT = Place(7, b"\1" * 32)
amounts = st.integers(0, 10**17)
farmers = st.sampled_from(["f1", "f2", "f3"])
blocks = st.integers(0, 5)
rates = st.fractions(0, 1, max_denominator=10_000)


@st.composite
def events(draw: st.DrawFn) -> list[Transfer]:
    """One event of the pool's, as transfers."""
    farmer, block, amount = draw(farmers), draw(blocks), draw(amounts)
    part = str(draw(st.integers(0, 5)))
    reward = draw(amounts)
    what = draw(st.integers(0, 11))
    match what:
        case 0:
            return books.planted(farmer, block, amount, AT)
        case 1:
            return books.harvested(farmer, block, amount, reward, books.fee_of(reward, draw(rates)), AT)
        case 2:
            return books.lost(farmer, block, amount)
        case 3:
            return books.withdrawn(part, farmer, amount, AT)
        case 4:
            return books.received(part, farmer, amount, AT)
        case 5:
            return books.collected(part, farmer, amount, AT)
        case 6:
            return books.closed(block, amount, split({"m1": 2, HOUSE: 1}, amount), HOUSE)
        case 7:
            return [*books.claimed(part, "m1", amount), *books.paid(part, "m1", amount, AT)]
        case 8:
            return [*books.claimed(part, "m1", amount), *books.returned(part, "m1", amount, "refused")]
        case 9:
            down = [*books.claimed(part, "m1", amount), *books.put_down(part, amount, AT)]
            return [*down, *books.fetched(part, "m1", amount)]
        case 10:
            down = [*books.claimed(part, "m1", amount), *books.put_down(part, amount, AT)]
            return [*down, *books.taken_back(part, "m1", amount, "in vain", AT)]
        case _:
            return books.compensated(farmer, block, amount, AT)


def post(transfers: Iterable[Transfer]) -> dict[str, int]:
    """Balances, with each cause once: as the database does it."""
    balances: dict[str, int] = defaultdict(int)
    known: set[str] = set()
    for each in transfers:
        if each.cause in known:
            continue
        known.add(each.cause)
        balances[each.debit] += each.amount_stroops
        balances[each.credit] -= each.amount_stroops
    return balances


@given(st.lists(events(), max_size=30))
def test_sums_are_zero_and_again_changes_nothing(happened: list[list[Transfer]]) -> None:
    once = [each for transfers in happened for each in transfers]
    balances = post(once)
    assert sum(balances.values()) == 0
    assert post([*once, *once]) == balances, "posting twice is impossible"
    assert all(each.amount_stroops >= 0 and each.debit != each.credit for each in once)


@given(amounts, rates)
def test_a_fee_is_the_floor_of_the_exact_part(reward: int, rate: Fraction) -> None:
    fee = books.fee_of(reward, rate)
    assert fee <= reward * rate < fee + 1 and 0 <= fee <= reward


@given(stake=amounts, reward=amounts, rate=rates)
def test_what_a_farmer_owes_is_its_wallet_and_pails_less_its_own(stake: int, reward: int, rate: Fraction) -> None:
    deposit = KaleMovement("1", 2 * stake, 3, b"\2" * 32)
    fee = books.fee_of(reward, rate)
    transfers = [
        *books.explain(books.wallet("f"), books.owner("f"), deposit.stroops, [deposit], 0).transfers,
        *books.planted("f", 1, stake, AT),
        *books.harvested("f", 1, stake, reward, fee, AT),
        *books.planted("f", 2, stake, AT),
        *books.lost("f", 2, stake),
        *books.withdrawn("w", "f", stake // 2, AT),
    ]
    balances = post(transfers)
    owed = balances[books.wallet("f")] + balances[books.pail("f")] + balances[books.owner("f")]
    assert owed == fee
    balances = post([*transfers, *books.collected("c", "f", fee, AT)])
    assert balances[books.wallet("f")] + balances[books.pail("f")] + balances[books.owner("f")] == 0
    assert balances[books.TREASURY] + balances[books.FEE_DUE] == 0


@given(fees=amounts, hashes=st.dictionaries(st.sampled_from(["m1", "m2", HOUSE]), st.integers(1, 10**12)))
def test_a_closed_block_gives_out_its_fees_to_the_stroop(fees: int, hashes: dict[str, int]) -> None:
    transfers = books.closed(4, fees, split(hashes, fees), HOUSE)
    assert sum(each.amount_stroops for each in transfers) == fees
    assert all(each.debit == books.FEE_DUE for each in transfers)
    assert books.miner(HOUSE) not in {each.credit for each in transfers}, "its part is the operator's"


def test_more_than_there_is_cannot_be_credited() -> None:
    with pytest.raises(ValueError, match="no transfer"):
        books.closed(4, 10, {"m1": 11}, HOUSE)


def test_a_harvest_by_somebody_else_is_waited_for_then_taken_as_it_came() -> None:
    mint = KaleMovement("5", 70, 100, b"\3" * 32, is_mint=True)
    deposit = KaleMovement("6", 30, 101, b"\4" * 32)
    soon = books.explain("wallet/f", "farmer/f", 100, [mint, deposit], 50)
    assert (soon.awaited_stroops, soon.rest_stroops) == (70, 0)
    assert [(each.debit, each.credit, each.amount_stroops) for each in soon.transfers] == [("wallet/f", "farmer/f", 30)]
    late = books.explain("wallet/f", "farmer/f", 100, [mint, deposit], 100)
    assert late.awaited_stroops == 0 and sum(each.amount_stroops for each in late.transfers) == 100


@given(difference=st.integers(-(10**9), 10**9), moved=st.lists(st.integers(-(10**9), 10**9).filter(bool), max_size=5))
def test_what_no_event_explains_is_left_over(difference: int, moved: list[int]) -> None:
    movements = [KaleMovement(str(number), stroops, 9, b"\5" * 32) for number, stroops in enumerate(moved)]
    found = books.explain("wallet/f", "farmer/f", difference, movements, 0)
    balances = post(found.transfers)
    assert balances["wallet/f"] + found.rest_stroops == difference
    if found.rest_stroops:
        last = books.difference("wallet/f", found.rest_stroops, BookEvent.UNEXPLAINED, "unexplained/x", "d", 9)
        assert post([*found.transfers, last])["wallet/f"] == difference


def test_what_a_farmer_sends_to_the_treasury_beyond_its_fee_is_the_operators() -> None:
    at = Place(7, bytes(32))
    (sent,), (arrived,) = books.withdrawn("x/0", "ann", 5, at), books.treasury_received("x/0", 5, at)
    assert (sent.credit, arrived.debit, arrived.credit) == (books.wallet("ann"), books.TREASURY, books.OPERATOR)
    assert sent.amount_stroops == arrived.amount_stroops == 5 and sent.cause != arrived.cause


def test_a_payment_of_which_no_payout_is_known_is_the_miner_s_all_the_same() -> None:
    """An older database's: what was earned is paid once, and nothing is left on its way."""
    earned = books.closed(4, 9, {"m1": 9}, HOUSE)
    balances = post([*earned, *books.paid_ahead("x/0", "m1", 9, AT)])
    assert balances[books.miner("m1")] == 0 and balances[books.TREASURY] == -9 and not balances[books.paying("m1")]
