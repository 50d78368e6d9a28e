"""The schedule's simulator in a few cells: the pool's policy earns more than those it is compared with."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import schedule
from benchmarks.schedule import BUSY, Cell, best_zeros, by_schedule, run_cell


def test_the_best_of_so_many_hashes() -> None:
    rng = np.random.default_rng(0)
    for hashes, zeros in ((1, 1), (256, 2), (1_000_000, 5)):
        reached = np.mean([best_zeros(rng, hashes) >= zeros for _ in range(20_000)])
        assert reached == pytest.approx(1 - (1 - 16.0**-zeros) ** hashes, abs=0.012)


def test_search_by_schedule_finds_as_much_as_hashing_does() -> None:
    """For one farmer the order does not matter: the best of all hashes, however they are cut up."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        zeros = [0]
        for _ in range(4):
            by_schedule(rng, zeros, [0], 250_000, 0)
        found.append(zeros[0])
    assert np.mean(found) == pytest.approx(np.mean([best_zeros(rng, 1_000_000) for _ in range(1500)]), abs=0.1)


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
    monkeypatch.setattr("sys.argv", ["schedule.py", "--cell", "2,1,quiet", "--seeds", "2", "--blocks", "2", *files])
    schedule.main()
    assert "2 farmers, 1 MH/s, quiet rivals" in capsys.readouterr().out
    cell = json.loads((tmp_path / "x.json").read_text())["cells"][0]
    assert [row["policy"] for row in cell["policies"]] == list(schedule.POLICIES)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
