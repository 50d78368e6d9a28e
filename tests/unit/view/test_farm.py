"""What a farmer's page says of the way in, and of each block."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from kalepool.chain import Account
from kalepool.services.farmers import Farmer, Lacking, missing_funds
from kalepool.units import STROOPS
from kalepool.view.farm import steps_in, tell

NOW = datetime(2026, 1, 31, tzinfo=UTC)
FARMER = Farmer(
    UUID(int=1), UUID(int=2), "GFARMER", "GWALLET", Decimal("0.1"), "registered", {}, NOW, None, b"", 50 * STROOPS
)
EMPTY: dict = dict.fromkeys(
    ("stake_stroops", "zeros", "reward_stroops", "owed_code", "owed_paid_transaction", "failed_code", "failed_message")
)


def account(native: int, kale: int | None) -> Account:
    return Account("GFARMER", 1, native, max(native - 15_000_000, 0), kale, 1)


def now(farmer: Farmer, held: Account | None, *, has_place: bool = True, blocks: int = 0) -> str:
    """The step that is waited for, as it is told."""
    missing = missing_funds(held, STROOPS, farmer.deposit_stroops if farmer.activated_at is None else 0)
    steps = steps_in(farmer, held, missing, has_place=has_place, blocks=blocks)
    assert [step.state for step in steps] == sorted((step.state for step in steps), key=["done", "now", "later"].index)
    return next((f"{each.title}: {each.detail} {each.amount}" for each in steps if each.state == "now"), "")


def test_the_way_in_step_by_step() -> None:
    assert now(FARMER, None) == "XLM in the wallet: waits for 25000000"
    assert now(FARMER, account(3 * STROOPS, None)) == "Trustline for KALE, which the pool adds: a few ledgers 0"
    assert now(FARMER, account(3 * STROOPS, 0)) == "KALE in the wallet: waits for 500000000"
    paid = account(3 * STROOPS, 50 * STROOPS)
    assert now(FARMER, paid) == "Let in by the pool: a few ledgers 0"
    assert now(FARMER, paid, has_place=False) == "Let in by the pool: the pool is full: it waits for a place 0"
    active = replace(FARMER, status="active", activated_at=NOW)
    assert now(active, paid) == "First planted: with the next block 0"
    assert now(active, account(0, 0), blocks=1) == "", "what it spent later is no step back"
    assert len(steps_in(replace(FARMER, deposit_stroops=0), None, Lacking(1, True), has_place=True, blocks=0)) == 5


def test_a_block_in_words() -> None:
    planted = EMPTY | {"stake_stroops": 1}
    worked = planted | {"zeros": 5}
    assert tell(planted).text == "planted, a hash is searched for"
    assert tell(worked).text == "worked, harvested when the block is over"
    assert tell(worked | {"reward_stroops": 0}).text == "harvested"
    lost = planted | {"owed_code": "work-missing"}
    assert (tell(lost).level, tell(lost).text) == ("bad", "stake lost, owed to you")
    assert tell(lost).reason == "no hash was handed in before the block was over"
    assert tell(lost | {"owed_paid_transaction": "aa"}).text == "stake lost, made good"
    left_out = EMPTY | {"failed_code": "underfunded", "failed_message": "wallet G lacks 1 XLM"}
    assert tell(left_out).reason == "the wallet has too little XLM or KALE: send some"
    strange = EMPTY | {"failed_code": "nobody-thought-of-it", "failed_message": "it said no"}
    assert tell(strange).reason == "an error on the pool's side; it is in its log", "no code is shown to people"
    assert tell(EMPTY).reason == ""
