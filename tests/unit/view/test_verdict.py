"""What is said of the pool in one word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from kalepool.policy.planting import PlantingPlan, SitOut
from kalepool.services.farmers import Lacking
from kalepool.services.health import WORKERS_AWAITED_SECONDS
from kalepool.view.moment import ActiveSearcher, FarmerProgress, LostStakes, Moment
from kalepool.view.verdict import judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKER = ActiveSearcher(uuid4(), "cpu", "", 1e6, number=1, node="here/1", backend="avx512", threads=2, best_zeros=6)


def farmer(worked_zeros: int | None = 6) -> FarmerProgress:
    return FarmerProgress(
        farmer_id=uuid4(),
        custodial_wallet="G",
        name=None,
        status="active",
        stake_stroops=1_000,
        found_zeros=6,
        worked_zeros=worked_zeros,
        gap=10,
        forecast_stroops=None,
        reward_stroops=None,
        harvested_at=None,
        plant_transaction=b"plant",
        work_transaction=b"work",
        harvest_transaction=None,
        failed_code=None,
        received_stroops=None,
        received_index=None,
    )


def moment(**known: object) -> Moment:
    made = Moment(
        at=NOW,
        ledger=1234,
        index=9,
        block=None,
        ends_at=NOW + timedelta(seconds=200),
        block_seconds=300,
        ledger_seconds=5.0,
        paused=False,
        planting_paused=False,
        farmers=(farmer(), farmer()),
        blocks=(),
        searchers=(WORKER,),
    )
    return replace(made, **known)


def test_who_sits_out_is_said_and_why() -> None:
    none = PlantingPlan(9, 2, 0, 0, 0, 80_000, 0.002, SitOut.PRICE)
    empty = replace(farmer(), stake_stroops=None, worked_zeros=None)
    said = judge(moment(farmers=(empty, empty), plans=(none,)))
    assert (said.level, said.title) == ("warn", "Sits out")
    assert said.detail == "Nobody is planted: at 0.002 XLM for a KALE a pail brings less than the 0.008 XLM it costs."
    over = judge(moment(farmers=(empty, empty), plans=(replace(none, index=10),), ends_at=NOW))
    assert over.title == "Sits out", "the next block, which nobody begins"
    done = judge(moment(farmers=(farmer(), farmer()), plans=(replace(none, index=10),), ends_at=NOW))
    assert done.title == "Sits out", "nor whoever was worked in the last one learns it from Safe"
    some = replace(none, places=1, reason=SitOut.BUDGET)
    for farmers in ((farmer(), empty), (farmer(None), empty)):
        one = judge(moment(farmers=farmers, plans=(some,)))
        assert one.level in ("good", "busy")
        assert one.detail.endswith(
            " 1 of 2 farmers sits it out, by turns: what 24 hours may cost is spent (KALEPOOL_XLM_PER_DAY)."
        )
    assert judge(moment(farmers=(empty, empty), plans=(some,))).title == "Not planted"


def test_a_loss_shows_until_the_next_block_is_over() -> None:
    assert judge(moment()).title == "Safe"
    lost = judge(moment(lost=LostStakes(8, 10, 16_214_200_000)))
    assert (lost.level, lost.title) == ("bad", "Block 8 lost 10 stakes, 1,621.42 KALE")
    assert "This block: Safe" in lost.detail
    assert judge(moment(lost=LostStakes(8, 1, 1), trouble="no answer")).title == "Chain does not answer"


@pytest.mark.parametrize("farmers", [(), (farmer(),), (farmer(None), farmer())])
def test_the_operator_s_pause_is_told(farmers: tuple[FarmerProgress, ...]) -> None:
    idle = replace(farmer(None), stake_stroops=None)
    told = judge(moment(planting_paused=True, farmers=(*farmers, idle)))
    waits = any(not farmer.worked for farmer in farmers)
    assert (told.level, told.title) == ("warn", "Paused by the operator" if waits else "Paused, safe to stop")
    under_way = judge(moment(planting_paused=True, farmers=(*farmers, idle), under_way=1))
    assert under_way.title == "Paused by the operator"
    assert judge(moment(planting_paused=True, paused=True)).title == "Farm paused"


def test_what_a_farmer_waits_for_is_told_and_it_is_not_counted() -> None:
    idle = replace(farmer(None), status="registered", stake_stroops=None, gap=None)
    assert idle.waits_for == "waits for XLM"
    assert replace(idle, missing=Lacking(45_000_000, trustline=True)).waits_for == "waits for 4.5 XLM"
    assert replace(idle, missing=Lacking(0, trustline=True)).waits_for == "is let in"
    assert judge(moment(farmers=(idle,))).detail == "1 farmer registered; below is what each waits for."
    assert judge(moment(farmers=())).detail == "Nobody takes part yet."
    assert moment(farmers=(farmer(), idle)).active == 1


def test_a_block_that_has_hardly_begun_alarms_nobody() -> None:
    unplanted = replace(farmer(None), stake_stroops=None, found_zeros=None)
    unfound = replace(farmer(None), found_zeros=None)
    for block_seconds, ledger_seconds, early in ((60, 1.0, 10), (300, 5.0, 30)):
        known = {"block_seconds": block_seconds, "ledger_seconds": ledger_seconds, "searchers": ()}
        for ago, titles in ((early - 1, {"Planting", "On course"}), (early, {"Not planted", "Nobody is mining"})):
            ends_at = NOW + timedelta(seconds=block_seconds - ago)
            said = {judge(moment(farmers=(one,), ends_at=ends_at, **known)).title for one in (unplanted, unfound)}
            assert said == titles


@pytest.mark.parametrize("found", [None, 6])
def test_nobody_mining_is_a_loss_whatever_was_found_before(found: int | None) -> None:
    waits = replace(farmer(None), found_zeros=found)
    told = judge(moment(farmers=(waits, farmer()), searchers=()))
    assert (told.level, told.title) == ("bad", "Nobody is mining")
    assert judge(moment(farmers=(waits, farmer()))).title == "On course"
    resting = replace(WORKER, hashes_per_second=0.0)
    assert judge(moment(farmers=(farmer(None),), searchers=(resting,))).title == "On course"
    done = judge(moment(searchers=()))
    assert (done.level, done.title) == ("warn", "Nobody is mining")
    assert done.detail.startswith("All 2 farmers planted are worked: no stake of this block is at risk.")
    assert judge(moment(searchers=(), ends_at=NOW)).title == "Safe", "the block is over: there is nothing to search"


def test_a_pool_that_starts_waits_for_its_workers() -> None:
    unplanted, unfound = (replace(farmer(None), stake_stroops=stake, found_zeros=None) for stake in (None, 1_000))
    early, late = WORKERS_AWAITED_SECONDS - 1, WORKERS_AWAITED_SECONDS

    def told(one: FarmerProgress, awaited: float | None, **known: object) -> tuple[str, str]:
        said = judge(moment(farmers=(one,), awaited_seconds=awaited, **{"searchers": (), **known}))
        return said.level, said.title

    assert [told(one, early) for one in (unplanted, unfound, farmer())] == [
        ("busy", "Planting"),
        ("busy", "Starting"),
        ("good", "Safe"),
    ]
    for awaited in (late, None):  # none has come for so long; or one has come, and is gone
        assert [told(one, awaited) for one in (unplanted, unfound, farmer())] == [
            ("bad", "Not planted"),
            ("bad", "Nobody is mining"),
            ("warn", "Nobody is mining"),
        ]
    assert told(unfound, early, searchers=(WORKER,))[1] == "On course"
    assert told(unfound, early, ends_at=NOW + timedelta(seconds=9)) == ("bad", "At risk"), "no worker comes in time"
