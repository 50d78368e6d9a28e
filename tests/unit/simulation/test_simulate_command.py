"""`kalepool simulate`: what an operator is told before he starts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kalepool.commands import simulate as simulating
from kalepool.commands.simulate import Present, _play, hashes_per_second, simulate
from kalepool.config import Settings
from kalepool.errors import InputError
from kalepool.simulation import mainnet
from kalepool.simulation.block import points_of
from kalepool.simulation.mainnet import BOUNDS, Mainnet, pails_behind


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulating, "configure", lambda level: None)  # logging is the whole process's


def test_a_hashrate_is_read_as_people_write_it() -> None:
    assert [hashes_per_second(text) for text in ("40M", "1.5G", "500k", "7", "2 MH/s")] == [40e6, 1.5e9, 5e5, 7, 2e6]
    for wrong in ("", "M", "0", "-1M", "4X", "1e6"):
        with pytest.raises(InputError, match="40M"):
            hashes_per_second(wrong)


def test_it_says_what_is_won_and_spent_and_left(capsys: pytest.CaptureFixture[str]) -> None:
    simulate(farmers=10, hashrate="40M", price=0.05, balance=100, blocks=3, seed=0)
    said = capsys.readouterr().out
    assert "3 blocks, 10 farmers, 40.0 MH/s; about 1,800 others with the bounds of autumn 2026:" in said
    figures = {line.split()[0]: line.split()[1] for line in said.splitlines() if line.startswith("  ")}
    won, spent, left = (float(figures[name].replace(",", "")) for name in ("won", "spent", "left"))
    assert 30 < won < 60 and spent == 3 * 10 * 0.008 and left == pytest.approx(won * 0.05 - spent, abs=0.01)
    assert "sat out             0.0% of pails" in said


def test_it_says_that_nobody_would_be_planted(capsys: pytest.CaptureFixture[str]) -> None:
    simulate(farmers=10, hashrate="40M", price=0.002, balance=100, blocks=3, seed=0)
    said = capsys.readouterr().out
    assert "nobody is planted: at 0.002 XLM for a KALE a pail brings less than the 0.008 XLM it costs" in said
    anyway = re.search(r"all planted ([\d.]+) KALE for 0\.24 XLM: even at (0\.\d+) XLM for a KALE", said)
    assert anyway is not None and float(anyway[2]) == pytest.approx(0.24 / float(anyway[1]), rel=0.02)


def test_a_networks_present_bounds_are_played_with() -> None:
    bounds = replace(BOUNDS, min_gap=10, max_gap=40, max_stake=70_000_000, min_zeros=6, max_zeros=9)
    world = Mainnet(mainnet.np.random.default_rng(1), bounds=bounds)
    others = world.others(bounds)
    assert others.gaps.min() == 10 and others.gaps.max() == 40
    assert others.zeros.min() == 6 and others.zeros.max() == 9 and others.stakes.max() >= 70_000_000
    over = replace(bounds, normalized_total=points_of(bounds, others) // 2)
    assert pails_behind(over) == pytest.approx(900, rel=0.02)
    said = _play(Settings.load(), Present(bounds, 210_000, 900), 5, 40e6, 0.05, 100, 2, 0)
    assert said[0].endswith("about 900 others with the bounds of block 210000:")
    assert said[1] == "  gap 10 to 40, stake 0.00 to 7.00 KALE, zeros 6 to 9"
