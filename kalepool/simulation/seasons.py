"""Block after block: who is planted with what stake, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kalepool.policy.price_gate import UNPRICED, PailFees, PriceGate
from kalepool.policy.schedule import ScheduleSettings
from kalepool.protocol.lifecycle import new_block
from kalepool.protocol.model import STROOPS_PER_KALE, Block
from kalepool.simulation import mainnet
from kalepool.simulation.block import Ledgers, SimulatedBlock, Tally
from kalepool.simulation.luck import Luck
from kalepool.simulation.mainnet import Mainnet
from kalepool.simulation.player import Pool

WARM_UP_BLOCKS = 12  # so many blocks are looked back on to foresee rivals
BLOCKS_A_DAY = 284
TICK_SECONDS = 1.0  # what is decided hangs on the ledger, so more often changes little

Searcher = Callable[[Pool, Ledgers, SimulatedBlock, Luck], float]
"""Plays the pool's part of a block in `SimulatedBlock` and returns the hashes it spent."""

Staking = Callable[[Block, Pool], Sequence[int | None]]
"""(the block that begins, the pool): each farmer's stake in stroops, None for one that sits it out."""


def balances(rng: np.random.Generator, farmers: int, median_kale: float = 100.0, spread: float = 1.0) -> list[int]:
    """KALE of each farmer in stroops, log-normal: all the same with a spread of 0."""
    drawn = rng.lognormal(math.log(median_kale * STROOPS_PER_KALE), spread, farmers)
    return [int(stroops) for stroops in drawn]


def percent_of(held: Sequence[int], part: float = 0.1) -> Staking:
    """Each farmer stakes this part of its balance."""
    stakes = [int(stroops * part) for stroops in held]
    return lambda block, pool: stakes


@dataclass(frozen=True, slots=True)
class Setup:
    """A pool on mainnet: how many farmers, how fast, against whom."""

    farmers: int
    hashes_per_second: float
    settings: ScheduleSettings
    reaction: mainnet.Reaction = mainnet.Reaction.SOME
    fees: PailFees = mainnet.FEES
    gate: PriceGate = UNPRICED
    bounds: Block = mainnet.BOUNDS
    pails: int = mainnet.PAILS
    first_index: int = mainnet.FIRST_INDEX


def on_mainnet(setup: Setup, search: Searcher, staking: Staking, blocks: int, seed: int) -> Iterator[Tally]:
    """The pool's yield block by block, after a warm-up."""
    n = setup.farmers
    world = Mainnet(np.random.default_rng(seed), setup.reaction, setup.pails, setup.bounds)
    rng = np.random.default_rng([seed, 1])
    pool = Pool(n, setup.hashes_per_second, rng, setup.settings, mainnet.LEDGER_SECONDS, TICK_SECONDS, gate=setup.gate)
    block = setup.bounds
    start = 1_800_000_000.0
    for number in range(WARM_UP_BLOCKS + blocks):
        ledgers = Ledgers(world.rng, start, mainnet.LEDGER_SECONDS, world.late())
        planted = [int(p) for p in world.rng.choice(3, n, p=[0.6, 0.3, 0.1])]
        pool.index = setup.first_index + number
        stakes = staking(block, pool)
        contract = SimulatedBlock(pool.index, block, start, stakes, planted, world.others(block))
        hashes = search(pool, ledgers, contract, Luck(np.random.default_rng([seed, 2, number]), n))
        tally = contract.tally(hashes, setup.fees)
        pool.remember(contract, tally)
        if number >= WARM_UP_BLOCKS:
            yield tally
        start = float(ledgers.closes[ledgers.end])
        block = new_block(contract.farm_block, math.floor(start))
