"""The schedule's simulator in a few cells: the pool's policy earns more than those it is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulator
from benchmarks.simulator import BUSY, Allocation, Cell, Luck, best_zeros, by_equal_parts, by_schedule, run_cell


def test_the_best_of_so_many_hashes() -> None:
    rng = np.random.default_rng(0)
    for hashes, zeros in ((1, 1), (256, 2), (1_000_000, 5)):
        reached = np.mean([best_zeros(rng, hashes) >= zeros for _ in range(20_000)])
        assert reached == pytest.approx(1 - (1 - 16.0**-zeros) ** hashes, abs=0.012)


@pytest.mark.parametrize("allocate", [by_schedule, by_equal_parts])
def test_hashes_find_as_much_however_they_are_cut_up(allocate: Allocation) -> None:
    luck = Luck(np.random.default_rng(0), 4000)
    for farmer in range(4000):
        for _ in range(4):
            allocate(luck, [farmer], 250_000, 0, 0)
    assert luck.spent == pytest.approx([1_000_000] * 4000)
    for zeros in range(3, 7):
        reached = np.mean([found >= zeros for found in luck.zeros])
        assert reached == pytest.approx(1 - (1 - 16.0**-zeros) ** 1_000_000, abs=0.025)


@pytest.mark.no_cover  # watched line by line it takes three times as long
@pytest.mark.parametrize(("cell", "gains"), [(Cell(50, 40e6, BUSY), True), (Cell(10, 1e6, BUSY), False)], ids=str)
def test_ours_is_ahead(cell: Cell, gains: bool) -> None:
    _, rows = run_cell(cell, seeds=2 if gains else 4, blocks=4)
    by_name = {row.policy: row for row in rows}
    assert all(row.ours_gain > -0.02 for row in rows)
    assert by_name["ours"].worked > 0.98
    for row in rows:
        assert sum(row.gain_from.values()) == pytest.approx(row.ours_ahead_kale, rel=1e-6, abs=1e-6)
    if gains:
        assert by_name["until6"].ours_gain > 0.10
        assert by_name["pooler"].ours_gain > 0.25


def test_the_program_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "x.png")]
    monkeypatch.setattr("sys.argv", ["simulator.py", "--cell", "2,1,quiet", "--seeds", "2", "--blocks", "2", *files])
    simulator.main()
    assert "2 farmers, 1 MH/s, quiet rivals" in capsys.readouterr().out
    cell = json.loads((tmp_path / "x.json").read_text())["cells"][0]
    assert [row["policy"] for row in cell["policies"]] == list(simulator.POLICIES)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
