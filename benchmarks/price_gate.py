"""Does the pool leave more by planting what is worth its fees than by planting all, or none? Simulated, price by price.

The scenario mainnet of benchmarks/simulator.py: 0.008 XLM a pail, 1,800 others. For each cell, a pool's farmers and
speed and how others react to the bounds, and each price of a KALE: XLM a block that are left, the part of pails that
were planted, and the difference to the better of all and none with its 95 % interval over the seeds. The same seed is
the same world, with the same blocks behind it, in which all were planted.

    python -m benchmarks.price_gate [--blocks 142] [--seeds 4] [--processes 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product, repeat

from benchmarks.simulator import RULES, held_as, interval, scheduled
from kalepool.policy.price_gate import PriceGate
from kalepool.simulation import mainnet
from kalepool.simulation.planned import Planned
from kalepool.simulation.player import by_schedule
from kalepool.simulation.seasons import WARM_UP_BLOCKS, Setup, on_mainnet
from kalepool.simulation.summary import Summary, summarise

PRICES = (0.002, 0.004, 0.005, 0.006, 0.007, 0.008, 0.01, 0.02, 0.05)
"""XLM for a KALE: from one that pays for no pail to one that pays for all."""


@dataclass(frozen=True, slots=True)
class Season:
    """A pool on mainnet and what a KALE is worth there; None for nobody knows."""

    farmers: int
    mhs: float
    reaction: mainnet.Reaction
    price: float | None = None


def play_season(season: Season, blocks: int, seed: int) -> Summary:
    gate = PriceGate(mainnet.FEES, season.price)
    setup = Setup(season.farmers, season.mhs * 1e6, RULES, season.reaction, gate=gate)
    begins = setup.first_index + WARM_UP_BLOCKS  # all start from the same blocks behind them
    staking = Planned([stroops // 10 for stroops in held_as("equal", season.farmers)], gate, begins)
    return summarise(list(on_mainnet(setup, scheduled(by_schedule), staking, blocks, seed)))


def described(price: float, gated: Sequence[Summary], whole: Sequence[Summary]) -> tuple[str, bool]:
    """A line, and whether it is below the better of all and none beyond the interval."""
    nets = [summary.net_xlm(price) for summary in gated]
    all_nets = [summary.net_xlm(price) for summary in whole]
    of_all = sum(all_nets) / len(all_nets)
    ahead, width = interval([net - (there if of_all > 0 else 0.0) for net, there in zip(nets, all_nets, strict=True)])
    planted = 1 - sum(summary.sat_out for summary in gated) / len(gated)
    line = f"{price:7g} {sum(nets) / len(nets):9.4f} {of_all:9.4f} {planted:8.1%} {ahead:+9.4f} ±{width:.4f}"
    return line, ahead + width < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=142)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--processes", type=int, help="side by side; as many as there are cores without it")
    options = parser.parse_args()
    below: list[str] = []
    looked_at = 0
    with ProcessPoolExecutor(options.processes) as processes:

        def played(season: Season) -> list[Summary]:
            return list(processes.map(play_season, repeat(season), repeat(options.blocks), range(options.seeds)))

        for (farmers, mhs), reaction in product(((50, 40.0), (10, 40.0), (50, 1.0)), mainnet.Reaction):
            cell = f"{farmers} farmers, {mhs:g} MH/s, {reaction} follow the bounds"
            whole = played(Season(farmers, mhs, reaction))
            print(f"\n{cell}\n  price       net   all net  planted ahead of the better of all and none", flush=True)
            for price in PRICES:
                line, is_below = described(price, played(Season(farmers, mhs, reaction, price)), whole)
                print(line, flush=True)
                looked_at += 1
                below += [f"{cell}, {price:g}"] if is_below else []
    print(f"\nbelow the better of all and none, beyond the interval: {len(below)} of {looked_at}", *below, sep="\n  ")
    raise SystemExit(bool(below))


if __name__ == "__main__":
    main()
