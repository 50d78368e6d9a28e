"""A short run of `make chaos`, always the same: a few faults on a pool that runs, and what the oracle makes of it."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from tests.chaos.cells import FAULTS, PHASES, plan
from tests.chaos.driver import Options, run, show
from tests.chaos.stage import Times

CELLS = ["kill postgres/searching", "kill api/working", "rpc hangs/planting"]


@pytest.mark.slow(50, "a fault in each of three blocks of 8 s, and the blocks until all is harvested")
@pytest.mark.pool
@pytest.mark.acceptance
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_a_few_faults_break_no_promise() -> None:
    times = Times(ledger=0.5, block=8)
    options = Options(seconds=200, seed=1, times=times, farmers=3, miner=False, only=CELLS, cells=len(CELLS))
    console = Console(width=140)
    report = run(options, console)
    show(report, console)
    assert not report.is_broken
    assert sorted(made.cell.name for made in report.made) == sorted(CELLS)
    assert report.withdrawals[1] > 0
    assert report.history is not None and len(report.block_times()) > len(CELLS)


def test_a_seed_is_an_order_of_all_faults_in_all_phases() -> None:
    def first(seed: int, count: int) -> list[str]:
        order = plan(seed, ray=False, clock=True)
        return [next(order)[1].name for _ in range(count)]

    every = [f"{fault.name}/{phase}" for fault in FAULTS if not fault.ray for phase in PHASES]
    assert first(1, len(every)) != every
    assert sorted(first(1, len(every))) == sorted(every)
    assert first(1, 2 * len(every)) == first(1, 2 * len(every))
    assert first(1, 10) != first(2, 10)
    with pytest.raises(ValueError, match="no fault or cell is called flood"):
        next(plan(1, ray=False, clock=False, only=["flood"]))
