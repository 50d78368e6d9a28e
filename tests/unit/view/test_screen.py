"""What a terminal shows and says, and how the closing table judges a run."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from rich.console import Console
from rich.table import Table

from kalepool.protocol.model import Block
from kalepool.services.farmers import Lacking
from kalepool.units import kale, rate
from kalepool.up.report import Movement, blocks_table, close, farmers_table
from kalepool.view.lines import QUIET_SECONDS, changes
from kalepool.view.moment import ActiveSearcher, BlockSummary, FarmerProgress, LostStakes, Moment
from kalepool.view.screen import print_whole, render, workers_table

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KALE = 10_000_000
FARMER = FarmerProgress(
    farmer_id=UUID(int=1),
    custodial_wallet="G" * 56,
    name="demo 1",
    status="active",
    stake_stroops=25 * KALE,
    found_zeros=8,
    worked_zeros=7,
    gap=41,
    forecast_stroops=250_5000000,
    reward_stroops=None,
    harvested_at=None,
    plant_transaction=None,
    work_transaction=None,
    harvest_transaction=None,
    failed_code=None,
    received_stroops=249_1234567,
    received_index=41,
    balance_stroops=2004_0000000,
)
BLOCK = BlockSummary(
    block_index=41,
    open=False,
    given_up=False,
    started_at=NOW - timedelta(seconds=80),
    closed_at=NOW - timedelta(seconds=20),
    planted=10,
    worked=10,
    harvested=10,
    best_zeros=7,
    staked_stroops=250 * KALE,
    rewarded_stroops=2505 * KALE,
    forecast_stroops=2505 * KALE,
    unplanted=0,
    planted_at=NOW - timedelta(seconds=79),
)
WORKER = ActiveSearcher(UUID(int=2), "cpu", "", 41_500_000.0, 1, "node/1", "avx512", 2, 8)
MINERS = [ActiveSearcher(UUID(int=number), "miner", f"rig {number}", 250_000.0, 0, "", "", 0, 0) for number in (3, 4)]
MOMENT = Moment(
    at=NOW,
    ledger=1234,
    index=42,
    block=Block(0, 0, 0, 0, 10, 10, 7, bytes(32), 0, 0),
    ends_at=NOW + timedelta(seconds=37),
    block_seconds=60,
    ledger_seconds=1.0,
    paused=False,
    planting_paused=False,
    farmers=tuple(replace(FARMER, name=f"demo {number}") for number in range(1, 11)),
    blocks=(replace(BLOCK, block_index=42, open=True, closed_at=None, harvested=0), BLOCK),
    searchers=(WORKER, *MINERS),
)


def shown(*parts: object, width: int = 120) -> str:
    console = Console(width=width, height=40, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def test_without_the_chain_nothing_is_said_that_only_it_knows() -> None:
    silent = replace(MOMENT, ledger=None, ends_at=None, block=None, trouble="no answer")
    said = picture(silent)
    assert "the chain cannot be read: this is what the database knows" in said
    assert "planted 10/10" not in said and "waiting for the first block" not in said
    assert "harvested 10/10 of block 41" in said and "42.0 MH/s" in said and "demo 1" in said


def picture(moment: Moment | None, *, notices: tuple[str, ...] = (), height: int = 40, width: int = 120) -> str:
    return shown(render(moment, NOW, list(notices), title="kalepool", height=height), width=width)


@pytest.mark.parametrize(
    ("stroops", "text"),
    [(0, "0.00"), (1, "0.00"), (9_999_999, "0.99"), (25_050_000_000, "2,505.00"), (-15_000_000, "-1.50"), (None, "-")],
)
def test_amounts_are_rounded_towards_zero(stroops: int | None, text: str) -> None:
    assert kale(stroops) == text


def test_every_stroop_can_be_shown() -> None:
    assert kale(123_4567891, 7) == "123.4567891" and kale(-1, 7) == "-0.0000001" and kale(10**39, 0) == f"{10**32:,}"


@pytest.mark.parametrize(
    ("hashes", "text"),
    [(0, "0 H/s"), (999, "999 H/s"), (1_000, "1.0 kH/s"), (42e6, "42.0 MH/s"), (3e12, "3000.0 GH/s")],
)
def test_rates_carry_their_prefix(hashes: float, text: str) -> None:
    assert rate(hashes) == text


def test_the_picture_has_what_was_promised() -> None:
    text = picture(MOMENT, notices=("api ended",))
    for promised in (
        *("block 42", "37 s left", "planted 10/10", "worked 10/10", "harvested 10/10 of block 41", "42.0 MH/s"),
        *("demo 10", "250.50", "249.12", "2,004.00", "api ended", "1 worker, 2 miners", "max zeros 7"),
    ):
        assert promised in text, promised


@pytest.mark.parametrize("height", [10, 24, 50])
def test_the_picture_fits_its_terminal(height: int) -> None:
    many = replace(MOMENT, farmers=MOMENT.farmers * 5)
    lines = picture(many, height=height, notices=("one", "two")).rstrip("\n").split("\n")
    assert len(lines) <= max(height, 22)
    if height < 50:
        assert "more" in "\n".join(lines)


@pytest.mark.parametrize("moment", [None, replace(MOMENT, index=None, block=None, ends_at=None, farmers=(), blocks=())])
def test_there_is_a_picture_before_the_first_block(moment: Moment | None) -> None:
    assert "kalepool" in picture(moment)


def test_a_narrow_terminal_breaks_nothing() -> None:
    assert "block 42" in picture(MOMENT, width=60)


def test_nothing_is_cut_short_in_eighty_columns() -> None:
    assert "…" not in picture(MOMENT, width=80)


def test_lines_are_printed_when_something_changed_and_now_and_then() -> None:
    assert changes(None, MOMENT, 0) and len(changes(None, MOMENT, 0)) == 1
    assert changes(MOMENT, replace(MOMENT, ledger=1235), 1.0) == []
    assert len(changes(MOMENT, replace(MOMENT, ledger=1235), QUIET_SECONDS)) == 1
    assert "block 43" in changes(MOMENT, replace(MOMENT, index=43), 1.0)[0]
    unharvested = replace(MOMENT, blocks=(MOMENT.blocks[0], replace(BLOCK, harvested=9)))
    assert changes(unharvested, MOMENT, 1.0) == [
        "block 41  harvested 10/10  worked 10/10  best zeros 7  reward 2,505.00 KALE  forecast 2,505.00 KALE"
    ]


def test_workers_are_listed() -> None:
    assert "avx512" in shown(workers_table(MOMENT.workers))


@pytest.mark.parametrize(
    ("change", "settled", "whole"),
    [
        ({}, True, True),
        ({"open": True}, False, False),
        ({"harvested": 9}, False, False),
        ({"worked": 9, "harvested": 9}, True, False),
        ({"unplanted": 1}, True, False),
        ({"planted": 0, "worked": 0, "harvested": 0}, True, False),
        ({"given_up": True, "worked": 0, "harvested": 0}, True, False),
    ],
)
def test_a_block_is_whole_when_all_was_done(change: dict, settled: bool, whole: bool) -> None:
    block = replace(BLOCK, **change)
    assert (block.is_settled, block.is_whole) == (settled, whole)


def movement(name: str = "demo 1") -> Movement:
    return Movement(name, f"G-{name}", name, 30, 500, 20, 500, 3, 2, 2, 7)


def test_a_run_that_adds_up_has_no_problems() -> None:
    million = 1_000_000 * KALE
    report = close([BLOCK], [movement()], {"G-demo 1": million}, {"G-demo 1": million + 490})
    assert report.problems == [] and report.lines[0].difference == 0
    assert "1,000,000.00 │     yes" in shown(farmers_table(report))
    assert "2,505.00" in shown(blocks_table(report))


def test_the_closing_table_fits_a_terminal() -> None:
    huge = 234_567 * KALE
    moved = replace(movement("demo 10"), paid_in_stroops=huge, staked_stroops=huge, returned_stroops=huge)
    report = close(
        [replace(BLOCK, staked_stroops=huge, forecast_stroops=huge)], [moved], {"G-demo 10": huge}, {"G-demo 10": huge}
    )
    text = shown(blocks_table(report), farmers_table(report), width=100)
    assert text.count("234,567.00") == 12 and "…" not in text


def test_one_stroop_too_few_or_a_lost_stake_is_a_problem() -> None:
    lost = replace(BLOCK, worked=9, harvested=9)
    report = close([lost], [movement(), movement("demo 2")], {}, {"G-demo 1": 490, "G-demo 2": 489})
    assert report.problems == [
        "block 41: 10 planted, 9 worked, 9 harvested",
        "demo 2: the chain's balance differs from the table by -0.0000001 KALE: somebody with the wallet's key "
        "paid out of it, or planted?",
    ]


def test_payments_that_the_pool_made_add_up_and_deposits_are_named_as_likely() -> None:
    paid = replace(movement(), paid_in_stroops=KALE // 2, paid_out_stroops=2 * KALE)
    after = {"G-demo 1": 2 * KALE + 490 - 3 * KALE // 2, "G-demo 2": 500}
    report = close([BLOCK], [paid, movement("demo 2")], {"G-demo 1": 2 * KALE}, after)
    assert [line.difference for line in report.lines] == [0, 10]
    assert "somebody paid into the wallet" in report.problems[0] and len(report.problems) == 1
    text = shown(farmers_table(report))
    assert "rewards + paid" in text and "-1.50" in text


def test_the_operator_s_pause_is_in_the_picture() -> None:
    assert "paused by the operator" not in picture(MOMENT).lower()
    assert picture(replace(MOMENT, planting_paused=True)).lower().count("paused, safe to stop") == 1
    lost = replace(MOMENT, planting_paused=True, lost=LostStakes(41, 1, 25 * KALE))
    assert "paused by the operator: nothing is planted" in picture(lost)


def test_the_verdict_is_in_the_picture() -> None:
    assert "Safe: All 10 farmers planted are worked." in picture(MOMENT)
    assert "Block 41 lost 1 stake, 25.00 KALE" in picture(replace(MOMENT, lost=LostStakes(41, 1, 25 * KALE)))


def test_what_a_farmer_waits_for_is_in_the_picture() -> None:
    waiting = replace(FARMER, status="registered", stake_stroops=None)
    lacks = replace(waiting, missing=Lacking(45_000_000, trustline=True))
    said = picture(replace(MOMENT, farmers=(waiting, lacks)))
    assert "demo 1 (registered)" in said and "demo 1 (waits for 4.5 XLM)" in said


def test_a_verdict_that_turns_to_trouble_or_from_it_is_told_once() -> None:
    assert changes(None, MOMENT, 0)[0].endswith("  Safe")
    unworked = replace(MOMENT, farmers=(replace(FARMER, worked_zeros=None), *MOMENT.farmers[1:]))
    at_risk = replace(unworked, at=MOMENT.at + timedelta(seconds=36))
    assert not any(line.startswith("On course") for line in changes(None, unworked, 0))
    told = changes(unworked, at_risk, 1.0)
    assert told == ["At risk: 1 of 10 planted farmers not worked and no time left: 25.00 KALE of stakes may be lost."]
    assert changes(at_risk, replace(at_risk, ledger=1236), 1.0) == []
    lost = replace(MOMENT, lost=LostStakes(41, 1, 25 * KALE))
    assert [line.endswith("  Safe") for line in changes(lost, MOMENT, 1.0)] == [True]


def test_a_chain_that_falls_silent_is_told_by_who_listens_to_it() -> None:
    silent = replace(MOMENT, trouble="no answer")
    assert changes(MOMENT, silent, 1.0) == []
    assert changes(MOMENT, silent, QUIET_SECONDS)[0].endswith("  Chain does not answer")
    assert "37 s left" in picture(silent) and "Chain does not answer: " in picture(silent)


def test_who_leaves_after_the_plant_is_counted_on_both_sides() -> None:
    leaving = replace(MOMENT, farmers=(replace(FARMER, status="leaving"), *MOMENT.farmers[1:]))
    gone = replace(leaving, farmers=(replace(FARMER, status="leaving", stake_stroops=None), *MOMENT.farmers[1:]))
    for moment, counted in ((MOMENT, "10/10"), (leaving, "10/10"), (gone, "9/9")):
        assert f"planted {counted}  " in changes(None, moment, 0)[-1]
        assert f"planted {counted}  " in picture(moment)


def test_no_amount_of_a_table_is_cut() -> None:
    table = Table("farmer", "balance")
    table.columns[1].no_wrap = True
    table.add_row("G" * 20, "1,234,567.12")
    said = io.StringIO()
    print_whole(Console(file=said, width=20), table)
    assert "1,234,567.12" in said.getvalue() and "G" * 20 in said.getvalue()


def test_an_address_to_send_to_is_whole() -> None:
    wallet = "G" + "A" * 55
    told = io.StringIO()
    notice = f"send 40 XLM to the pool's account {wallet}, then all goes on by itself"
    Console(file=told, width=80).print(render(MOMENT, NOW, [notice], title="", height=30))
    assert wallet in told.getvalue().replace("\n", "")


def test_where_not_all_farmers_fit_those_in_trouble_are_shown() -> None:
    many = [replace(FARMER, farmer_id=UUID(int=n), name=f"farmer {n}", worked_zeros=7) for n in range(60)]
    many[41] = replace(many[41], worked_zeros=None, work_transaction=None, failed_code="timeout")
    told = io.StringIO()
    moment = replace(MOMENT, farmers=tuple(many))
    Console(file=told, width=120).print(render(moment, NOW, [], title="", height=20))
    assert "farmer 41 " in told.getvalue() and " more" in told.getvalue()
