"""Do equal farmers get the same on the network as it is? Simulated for a day and a week, seed after seed.

The scenario mainnet of benchmarks/simulator.py: 50 farmers of 100 KALE each, 40 MH/s. Paying zeros are those past the
block's min_zeros, up to its max_zeros. Printed is how far the sums of the least and the most favoured are apart. In a
real pool the same is measured by benchmarks/fairness.py.

    python -m benchmarks.turns [--farmers 50] [--mhs 40] [--days 7] [--seeds 6] [--processes 1]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from benchmarks.simulator import Trial, held_as, play_trial
from kalepool.simulation import mainnet
from kalepool.simulation.seasons import BLOCKS_A_DAY
from kalepool.simulation.summary import Spread

WANTED = 4


def described(there: Spread) -> str:
    return (
        f"{there.blocks} blocks: {there.least_zeros} to {there.most_zeros} paying zeros, {there.zeros} apart; "
        f"{there.least_kale:,.1f} to {there.most_kale:,.1f} KALE, {there.rewards:.1%} apart"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farmers", type=int, default=50)
    parser.add_argument("--mhs", type=float, default=40.0, help="MH/s of the pool")
    parser.add_argument("--days", type=int, default=7, help=f"of {BLOCKS_A_DAY} blocks")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, help="side by side; as many as there are cores without it")
    options = parser.parse_args()
    held = held_as("equal", options.farmers)
    trial = Trial(options.farmers, options.mhs * 1e6, held, mainnet.Reaction.SOME, options.days)
    worst: dict[int, int] = {}
    print(f"mainnet, {options.farmers} equal farmers, {options.mhs:g} MH/s")
    with ProcessPoolExecutor(options.processes) as processes:
        played = processes.map(play_trial, repeat(trial), repeat("ours"), range(options.seeds))
        for seed, (_, spreads) in enumerate(played):
            for there in spreads:
                print(f"seed {seed}, {described(there)}", flush=True)
                worst[there.blocks] = max(worst.get(there.blocks, 0), there.zeros)
    for blocks, zeros in worst.items():
        print(f"after {blocks} blocks at most {zeros} paying zeros apart; wanted: {WANTED}")
    raise SystemExit(any(zeros > WANTED for zeros in worst.values()))


if __name__ == "__main__":
    main()
