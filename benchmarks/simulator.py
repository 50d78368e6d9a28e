"""How much the pool earns: its policy against simpler ones, simulated block after block.

The contract's rules are `kalepool.protocol`'s, the pool's decisions are `kalepool.policy`'s own code under a made-up
clock. Only hashing is replaced: the best of n hashes has z zeros or more with probability 1 - (1 - 16^-z)^n, and is
drawn from that; a farmer's n-th hash of a block is worth the same under every policy, so that they differ by what they
do and not by luck. Every block's bounds are what all works of the block before made them, rivals' and the pool's own.

Compared are
  ours     the pool's schedule, with one stake for all its farmers
  percent  the same, but each farmer stakes its part of its balance
  until6   (a) one farmer after the other until 6 zeros, handed in from 240 s on (kale-miner's homestead)
  fixed    (b) the same at the difficulty that is best for the cell in hindsight
  equal    (c) an equal part of the time for every farmer, handed in as ours
  pooler   (d) a delay of 150 s, then 10,000,000 nonces for one farmer after the other (kale-pool's pooler)

The grid has 40 or 250 rivals who search. `--scenario mainnet` has the network as it is: 1,800 pails of several kinds,
bounds as in autumn 2026, fees and prices (`kalepool/simulation/mainnet.py`); it prints KALE won, XLM spent, what is
left in XLM at three prices, the part of pails not planted, and how equally equal farmers fare over a day and a week.

    python benchmarks/simulator.py [--quick] [--json FILE] [--plot FILE.png] [--seeds N] [--blocks N]
    python benchmarks/simulator.py --scenario mainnet [--farmers 50] [--mhs 40] [--days 1] [--balances equal]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.policy.price_gate import UNPRICED, PriceGate
from kalepool.protocol.lifecycle import new_block
from kalepool.protocol.model import STROOPS_PER_KALE, ZERO_ENTROPY, Block
from kalepool.simulation import mainnet
from kalepool.simulation.block import Ledgers, Others, SimulatedBlock, Tally
from kalepool.simulation.luck import Luck, best_zeros
from kalepool.simulation.planned import Planned
from kalepool.simulation.player import Allocation, Pool, ScheduledBlock, by_schedule
from kalepool.simulation.seasons import BLOCKS_A_DAY, Searcher, Setup, Staking, balances, on_mainnet, percent_of
from kalepool.simulation.summary import XLM, Spread, Summary, spread, summarise

FIRST_INDEX = 150_000
WARM_UP_BLOCKS = 5
POLICIES = ("ours", "percent", "until6", "fixed", "equal", "pooler")
FIXED_DIFFICULTIES = range(3, 11)


@dataclass(frozen=True, slots=True)
class Rivals:
    """The others in the block: how many, and their speed (hashes/s each, median of a lognormal)."""

    name: str
    count: int
    hashes_per_second: float


RULES = rules_of(Settings.model_construct())
"""The schedule as it is where nothing is configured, whatever this machine's environment says."""

QUIET = Rivals("quiet", 40, 500e3)
BUSY = Rivals("busy", 250, 2e6)


@dataclass(frozen=True, slots=True)
class Cell:
    farmers: int
    hashes_per_second: float
    rivals: Rivals

    @property
    def works_per_ledger(self) -> int:
        """Channel accounts grow with the pool, so that all works leave within 10 ledgers. The same for every policy."""
        return max(RULES.works_per_ledger, self.farmers // 10)

    def __str__(self) -> str:
        return f"{self.farmers} farmers, {self.hashes_per_second / 1e6:,g} MH/s, {self.rivals.name} rivals"


Ceilings = Callable[[Sequence[int]], Staking]
"""What follows from the most that each farmer stakes, in stroops."""


def planned(ceilings: Sequence[int]) -> Staking:
    """As the pool does: one stake for all, nobody above its ceiling, and everybody planted."""
    return Planned(ceilings, UNPRICED)


def play(policy: Searcher, cell: Cell, seed: int, blocks: int, staking: Ceilings | None = None) -> list[Tally]:
    """The pool's yield block by block, after a warm-up. The world is the same for every policy with the same seed.

    `staking`: how the pool stakes given what each farmer stakes at most; without one that is what it stakes.
    """
    world, rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    n, rivals = cell.farmers, cell.rivals
    drawn = [int(s) for s in world.lognormal(math.log(20 * STROOPS_PER_KALE), 1.0, n + rivals.count)]
    mine, theirs = drawn[:n], np.array(drawn[n:], dtype=np.int64)
    speeds = world.lognormal(math.log(rivals.hashes_per_second), 1.0, rivals.count)
    pool = Pool(n, cell.hashes_per_second, rng, replace(RULES, works_per_ledger=cell.works_per_ledger))
    pool.tick_seconds = 0.5 if n < 200 else 1.0
    block = Block(0, 20, min(drawn), 5, 57, max(drawn), 7, ZERO_ENTROPY, 0, 0)
    stakes_of = staking(mine) if staking else None
    start, tallies = 1_800_000_000.0, []
    for number in range(WARM_UP_BLOCKS + blocks):
        ledgers = Ledgers(world, start)
        # Everybody plants as the block starts: most in its first ledger, some one or two later.
        planted = world.choice(3, n + rivals.count, p=[0.6, 0.3, 0.1])
        late = world.random(rivals.count) < 0.7
        seconds = np.where(late, world.uniform(240, 288, rivals.count), world.uniform(60, 240, rivals.count))
        zeros = np.array([best_zeros(world, h * t) for h, t in zip(speeds, seconds, strict=True)])
        gaps = np.maximum(np.searchsorted(ledgers.closes, start + seconds) - planted[n:], 1)
        others = Others(theirs, gaps, zeros, np.ones(rivals.count, dtype=bool))
        pool.index = FIRST_INDEX + number
        stakes = stakes_of(block, pool) if stakes_of else mine
        contract = SimulatedBlock(FIRST_INDEX + number, block, start, stakes, [int(p) for p in planted[:n]], others)
        hashes = policy(pool, ledgers, contract, Luck(np.random.default_rng([seed, 2, number]), n))
        tally = contract.tally(hashes, mainnet.FEES)
        pool.remember(contract, tally)
        if number >= WARM_UP_BLOCKS:
            tallies.append(tally)
        start = float(ledgers.closes[ledgers.end])
        block = new_block(contract.farm_block, math.floor(start))
    return tallies


@dataclass(slots=True)
class Work:
    """A work that leaves at `sent` with these zeros."""

    farmer: int
    sent: float
    zeros: int


def hand_in(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, works: Sequence[Work]) -> None:
    """Sends works as they come, as many a ledger as there are channel accounts."""
    sent_in: dict[int, int] = {}
    for work in sorted(works, key=lambda w: w.sent):
        at = int(np.searchsorted(ledgers.closes, work.sent))
        while sent_in.get(at, 0) >= pool.settings.works_per_ledger:
            at += 1
        sent_in[at] = sent_in.get(at, 0) + 1
        sent = max(work.sent, float(ledgers.closes[at - 1]))
        ledger = ledgers.inclusion(pool.rng, sent)
        contract.works += 1
        if ledger < ledgers.end:
            contract.work(work.farmer, ledger, work.zeros)


def until(difficulty: int) -> Searcher:
    """(a) and (b): one farmer after the other until that many zeros; works are handed in from 240 s on."""

    def search(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> float:
        start, speed, end = float(ledgers.closes[0]), pool.hashes_per_second, float(ledgers.closes[ledgers.end])
        now, works = start, []
        for farmer in contract.planted:
            while luck.zeros[farmer] < difficulty:
                luck.spend(farmer, luck.to_go(farmer))
            now += luck.spent[farmer] / speed
            if now >= end:
                break
            works.append(Work(farmer, max(now, start + 240), luck.zeros[farmer]))
        hand_in(pool, ledgers, contract, works)
        return (min(now, end) - start) * speed

    return search


def pooler(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> float:
    """(d): a delay of 150 s, then 10,000,000 nonces for one farmer after the other, each handed in at once."""
    now, end = float(ledgers.closes[0]) + 150, float(ledgers.closes[ledgers.end])
    works = []
    for farmer in contract.planted:
        now += 1e7 / pool.hashes_per_second
        if now >= end:
            break
        works.append(Work(farmer, now, luck.spend(farmer, 1e7)))
    hand_in(pool, ledgers, contract, works)
    return len(works) * 1e7


def by_equal_parts(luck: Luck, active: list[int], hashes: float, floor: int, least: int) -> None:
    """(c): as many hashes for each."""
    for farmer in active:
        luck.spend(farmer, hashes / len(active))


def scheduled(allocate: Allocation) -> Searcher:
    """The pool's own schedule. (c) with equal parts."""
    return lambda pool, ledgers, contract, luck: ScheduledBlock(pool, ledgers, contract, luck).play(allocate)


def t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t (a table; from 9 degrees on Abramowitz and Stegun 26.7.5, first term)."""
    known = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306)
    z = 1.959964
    return known[degrees - 1] if degrees <= len(known) else z + (z**3 + z) / (4 * degrees)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % confidence interval, over independent values."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.inf
    return mean, t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One policy in one cell. Means over seeds, with the half width of the 95 % confidence interval in `_ci`."""

    policy: str
    kale_per_block: float
    kale_per_block_ci: float
    kale_per_tera_hash: float
    kale_per_tera_hash_ci: float
    ours_ahead_kale: float
    ours_ahead_kale_ci: float
    ours_gain: float  # of this policy's reward
    gain_from: dict[str, float]  # KALE a block: where ours_ahead_kale comes from
    xlm_per_block: float
    net_xlm: dict[str, float]  # XLM a block that are left, by the price of a KALE in XLM
    zeros: float
    gap: float
    worked: float

    @property
    def beats_ours(self) -> bool:
        return self.ours_ahead_kale + self.ours_ahead_kale_ci < 0


GAIN_PARTS: dict[str, Callable[[Tally], float]] = {
    "zeros": lambda t: t.zeros,
    "gap": lambda t: t.gap,
    "stake": lambda t: t.stake,
    "stakes not lost": lambda t: -t.lost,
}


def run_cell(cell: Cell, seeds: int, blocks: int) -> tuple[int, list[Row]]:
    """The best fixed difficulty, and all policies. Seeds are the repetitions: the same worlds for every policy."""

    def play_all(policy: Searcher, staking: Ceilings | None = None) -> list[list[Tally]]:
        return [play(policy, cell, seed, blocks, staking) for seed in range(seeds)]

    fixed = {zeros: play_all(until(zeros)) for zeros in FIXED_DIFFICULTIES}
    best = max(fixed, key=lambda zeros: float(np.mean([t.won for run in fixed[zeros] for t in run])))
    runs = {
        "ours": play_all(scheduled(by_schedule), planned),
        "percent": play_all(scheduled(by_schedule)),
        "until6": fixed[6],
        "fixed": fixed[best],
        "equal": play_all(scheduled(by_equal_parts), planned),
        "pooler": play_all(pooler),
    }

    def means(name: str, get: Callable[[Tally], float]) -> list[float]:
        return [float(np.mean([get(t) for t in run])) for run in runs[name]]

    def at(price: float) -> Callable[[Tally], float]:
        return lambda tally: tally.net_xlm(price)

    def row(name: str) -> Row:
        def ahead(get: Callable[[Tally], float]) -> list[float]:
            pairs = zip(means("ours", get), means(name, get), strict=True)
            return [(ours - theirs) / STROOPS_PER_KALE for ours, theirs in pairs]

        kale, kale_ci = interval(means(name, lambda t: t.won / STROOPS_PER_KALE))
        per_hash, per_hash_ci = interval(means(name, lambda t: t.won / STROOPS_PER_KALE / max(t.hashes, 1) * 1e12))
        lead, lead_ci = interval(ahead(lambda t: t.won))
        return Row(
            policy=name,
            kale_per_block=kale,
            kale_per_block_ci=kale_ci,
            kale_per_tera_hash=per_hash,
            kale_per_tera_hash_ci=per_hash_ci,
            ours_ahead_kale=lead,
            ours_ahead_kale_ci=lead_ci,
            ours_gain=lead / abs(kale),
            gain_from={part: float(np.mean(ahead(get))) for part, get in GAIN_PARTS.items()},
            xlm_per_block=float(np.mean(means(name, lambda t: t.fees))) / XLM,
            net_xlm={f"{price:g}": float(np.mean(means(name, at(price)))) / XLM for price in mainnet.PRICES},
            zeros=float(np.mean(means(name, lambda t: t.mean_zeros))),
            gap=float(np.mean(means(name, lambda t: t.mean_gap))),
            worked=float(np.mean(means(name, lambda t: t.worked))) / cell.farmers,
        )

    return best, [row(name) for name in runs]


def all_cells() -> list[Cell]:
    return [
        Cell(farmers, speed, rivals)
        for rivals in (QUIET, BUSY)
        for farmers in (1, 10, 50, 200, 1000)
        for speed in (1e6, 40e6, 1e9, 10e9)
    ]


def quick_cells() -> list[Cell]:
    return [Cell(10, 1e6, QUIET), Cell(10, 40e6, BUSY), Cell(50, 40e6, QUIET), Cell(50, 40e6, BUSY)]


def print_cell(cell: Cell, best_fixed: int, rows: Sequence[Row]) -> None:
    print(f"\n{cell}; the best fixed difficulty is {best_fixed} zeros")
    print(
        f"  {'policy':8}{'KALE a block':>20}{'KALE a TH':>12}{'ours ahead':>20} = {'zeros':>8} {'gap':>8} {'stake':>8}"
        f" {'not lost':>8}   {'zeros':>5} {'gap':>5} {'worked':>6} {'XLM':>7}"
        + "".join(f" {f'net {price:g}':>9}" for price in mainnet.PRICES)
    )
    for row in rows:
        ci = row.ours_ahead_kale_ci / abs(row.kale_per_block)
        print(
            f"  {row.policy:8}{row.kale_per_block:11.2f} ±{row.kale_per_block_ci:7.2f}{row.kale_per_tera_hash:12.4g}"
            f"{row.ours_gain:+12.1%} ±{ci:6.1%} = {' '.join(f'{part:8.2f}' for part in row.gain_from.values())}"
            f" {row.zeros:6.2f} {row.gap:5.1f} {row.worked:6.1%} {row.xlm_per_block:7.3f}"
            + "".join(f" {net:9.3f}" for net in row.net_xlm.values()),
            flush=True,
        )


def plot(path: Path, results: Sequence[tuple[Cell, int, list[Row]]]) -> None:
    """Draws the pool's gain over every policy: a panel for each kind of rivals and policy, a bar for each cell."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = sorted({cell.rivals.name for cell, _, _ in results}, reverse=True)
    others = [name for name in POLICIES if name != "ours"]
    figure, panels = pyplot.subplots(len(others), len(kinds), figsize=(7 * len(kinds), 11), squeeze=False, sharey="row")
    for column, kind in enumerate(kinds):
        cells = [(cell, rows) for cell, _, rows in results if cell.rivals.name == kind]
        labels = [f"{cell.farmers} × {cell.hashes_per_second / 1e6:g}" for cell, _ in cells]
        for line, other in enumerate(others):
            panel = panels[line][column]
            found = [row for _, rows in cells for row in rows if row.policy == other]
            gains = [min(100 * row.ours_gain, 150) for row in found]
            errors = [min(100 * row.ours_ahead_kale_ci / abs(row.kale_per_block), 50) for row in found]
            panel.bar(range(len(found)), gains, yerr=errors, color="#4c8c4a")
            panel.axhline(0, color="black", linewidth=0.8)
            panel.set_title(f"gain over {other}, {kind} rivals (%, cut at 150)", fontsize=9)
            panel.set_xticks(range(len(found)), labels, rotation=60, fontsize=7)
    panels[-1][0].set_xlabel("farmers × MH/s")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# ----------------------------------------------------------------------------------------------------------------------
# The network as it is


@dataclass(frozen=True, slots=True)
class Contestant:
    """A policy and how it stakes."""

    name: str
    search: Searcher
    staking: Callable[[Sequence[int], PriceGate], Staking]
    """What follows from the farmers' balances, and what fees and KALE are worth."""
    price: float | None = None


def by_percent(held: Sequence[int], gate: PriceGate) -> Staking:
    return percent_of(held)


def by_bound(held: Sequence[int], gate: PriceGate) -> Staking:
    """All that counts in the block, as far as a tenth of the balance goes."""
    return lambda block, pool: [min(stroops // 10, block.max_stake) for stroops in held]


def by_plan(held: Sequence[int], gate: PriceGate) -> Staking:
    return Planned([stroops // 10 for stroops in held], gate)


def unraised(held: Sequence[int], gate: PriceGate) -> Staking:
    """As planned, but nobody is raised to the block's min_zeros before others get a zero that pays."""
    planned_ = by_plan(held, gate)

    def stakes_of(block: Block, pool: Pool) -> Sequence[int | None]:
        stakes = planned_(block, pool)
        pool.least_zeros = 0
        return stakes

    return stakes_of


CONTESTANTS = (
    Contestant("ours", scheduled(by_schedule), by_plan),
    Contestant("unraised", scheduled(by_schedule), unraised),
    *(Contestant(f"at {price:g}", scheduled(by_schedule), by_plan, price) for price in (0.002, 0.006, 0.01, 0.05)),
    Contestant("percent", scheduled(by_schedule), by_percent),
    Contestant("bound", scheduled(by_schedule), by_bound),
    Contestant("until6", until(6), by_percent),
    Contestant("equal", scheduled(by_equal_parts), by_percent),
    Contestant("pooler", pooler, by_percent),
)
"""`at` a price: who is not worth its fees at it sits out. Without one all are planted."""


def contestant_of(name: str) -> Contestant:
    """One of them, or `stake` and so many KALE: always that stake for all, as far as a tenth of the balance goes."""
    if not name.startswith("stake "):
        return next(each for each in CONTESTANTS if each.name == name)
    common = round(float(name.removeprefix("stake ")) * STROOPS_PER_KALE)

    def always(held: Sequence[int], gate: PriceGate) -> Staking:
        stakes = [min(stroops // 10, common) for stroops in held]
        return lambda block, pool: stakes

    return Contestant(name, scheduled(by_schedule), always)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is played on mainnet: the pool, the farmers' balances in stroops, how long."""

    farmers: int
    hashes_per_second: float
    held: tuple[int, ...]
    reaction: mainnet.Reaction
    days: int

    def play(self, contestant: Contestant, seed: int) -> tuple[Summary, list[Spread]]:
        """What it comes to a block, and how equal farmers fare over the first day and over all of it."""
        gate = PriceGate(mainnet.FEES, contestant.price)
        setup = Setup(self.farmers, self.hashes_per_second, RULES, self.reaction, gate=gate)
        blocks = self.days * BLOCKS_A_DAY
        tallies = list(on_mainnet(setup, contestant.search, contestant.staking(self.held, gate), blocks, seed))
        return summarise(tallies), [spread(tallies[:BLOCKS_A_DAY]), spread(tallies)][: 1 if self.days == 1 else 2]


def held_as(how: str, farmers: int) -> tuple[int, ...]:
    """Balances: `equal` (100 KALE each), `rich` (one of 10,000 KALE, the others of 100), `lognormal`."""
    if how == "rich":
        return (10_000 * STROOPS_PER_KALE, *[100 * STROOPS_PER_KALE] * (farmers - 1))
    spread_ = 1.0 if how == "lognormal" else 0.0
    return tuple(balances(np.random.default_rng(7), farmers, spread=spread_))


def print_mainnet(options: argparse.Namespace) -> None:
    held = held_as(options.balances, options.farmers)
    prices = "".join(f" {f'net {price:g}':>9}" for price in mainnet.PRICES)
    with ProcessPoolExecutor(options.processes) as processes:
        for reaction in mainnet.Reaction:
            trial = Trial(options.farmers, options.mhs * 1e6, held, reaction, options.days)
            print(f"\nmainnet, {options.farmers} farmers, {options.mhs:g} MH/s, {options.balances} balances,", end=" ")
            print(f"{reaction} of those who stake follow the bounds; KALE and XLM a block")
            print(
                f"  {'policy':10}{'KALE':>15} {'XLM':>6}{prices} {'sat out':>8} {'zeros':>5} {'gap':>5} {'worked':>7}"
            )
            for name in options.only or [each.name for each in CONTESTANTS]:
                seeds = range(options.seeds)
                played = list(processes.map(play_trial, repeat(trial), repeat(name), seeds))
                won, won_ci = interval([summary.won for summary, _ in played])
                nets = [float(np.mean([s.net_xlm(price) for s, _ in played])) for price in mainnet.PRICES]
                first = played[0][0]
                print(
                    f"  {name:10}{won:8.2f} ±{won_ci:5.2f} {first.spent:6.3f}"
                    + "".join(f" {net:9.3f}" for net in nets)
                    + f" {first.sat_out:8.1%} {first.zeros:5.2f} {first.gap:5.1f} {first.worked:7.2%}",
                    flush=True,
                )
                for there in played[0][1]:
                    print(
                        f"    farmers after {there.blocks} blocks: paying zeros {there.least_zeros} to "
                        f"{there.most_zeros}, KALE {there.least_kale:.1f} to {there.most_kale:.1f}"
                        + (f" ({there.rewards:+.1%})" if options.balances == "equal" else "")
                    )


def play_trial(trial: Trial, name: str, seed: int) -> tuple[Summary, list[Spread]]:
    """In a process of its own, where a function cannot be sent."""
    return trial.play(contestant_of(name), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cells, few seeds: half a minute")
    parser.add_argument("--cell", action="append", help="only this cell: FARMERS,MHS,quiet|busy (may be repeated)")
    parser.add_argument("--seeds", type=int, default=6, help="independent repetitions of every cell")
    parser.add_argument("--blocks", type=int, default=8, help="blocks counted in every repetition")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the gain over every policy")
    parser.add_argument("--scenario", choices=("grid", "mainnet"), default="grid")
    parser.add_argument("--farmers", type=int, default=50, help="of the scenario mainnet, as all that follow")
    parser.add_argument("--mhs", type=float, default=40.0, help="MH/s of the pool")
    parser.add_argument("--days", type=int, default=1, help=f"days of {BLOCKS_A_DAY} blocks")
    parser.add_argument("--only", action="append", help="only this policy, or 'stake KALE' (may be repeated)")
    parser.add_argument("--balances", choices=("equal", "rich", "lognormal"), default="equal")
    parser.add_argument("--processes", type=int, help="side by side; as many as there are cores without it")
    options = parser.parse_args()
    if options.scenario == "mainnet":
        print_mainnet(options)
        return
    cells = quick_cells() if options.quick else all_cells()
    if options.cell:
        kinds = {rivals.name: rivals for rivals in (QUIET, BUSY)}
        parts = [text.split(",") for text in options.cell]
        cells = [Cell(int(farmers), float(speed) * 1e6, kinds[kind]) for farmers, speed, kind in parts]
    seeds, blocks = (4, 6) if options.quick else (options.seeds, options.blocks)
    results = []
    with ProcessPoolExecutor(options.processes) as processes:
        played = processes.map(run_cell, cells, repeat(seeds), repeat(blocks))
        for cell, (best_fixed, rows) in zip(cells, played, strict=True):
            print_cell(cell, best_fixed, rows)
            results.append((cell, best_fixed, rows))
    lost = [f"{cell} against {row.policy}" for cell, _, rows in results for row in rows if row.beats_ours]
    print(f"\nbehind, beyond the confidence interval, in {len(lost)} of {len(cells)} cells", *lost, sep="\n  ")
    if options.json:
        document = {
            "seeds": seeds,
            "blocks": blocks,
            "settings": asdict(RULES),
            "cells": [
                {**asdict(cell), "best_fixed_zeros": best_fixed, "policies": [asdict(row) for row in rows]}
                for cell, best_fixed, rows in results
            ],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        plot(options.plot, results)


if __name__ == "__main__":
    main()
