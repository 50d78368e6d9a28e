"""How much the schedule earns: the pool's policy against simpler ones, simulated block after block.

The contract's rules are `kalepool.protocol`'s, the pool's decisions are `kalepool.policy`'s own code under a made-up
clock. Only hashing is replaced: the best of n hashes has z zeros or more with probability 1 - (1 - 16^-z)^n, and is
drawn from that; a farmer's n-th hash of a block is worth the same under every policy, so that they differ by what they
do and not by luck. Every block's bounds are what all works of the block before made them, rivals' and the pool's own.

Compared are
  ours     the pool's schedule
  until6   (a) one farmer after the other until 6 zeros, handed in from 240 s on (kale-miner's homestead)
  fixed    (b) the same at the difficulty that is best for the cell in hindsight
  equal    (c) an equal part of the time for every farmer, handed in as ours
  pooler   (d) a delay of 150 s, then 10,000,000 nonces for one farmer after the other (kale-pool's pooler)

    python benchmarks/simulator.py [--quick] [--json FILE] [--plot FILE.png] [--seeds N] [--blocks N]
    python benchmarks/simulator.py --fairness DAYS [--cell FARMERS,MHS,KIND] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path

import numpy as np

from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.policy.schedule import ScheduleSettings, Submit, decide
from kalepool.policy.search import pick
from kalepool.policy.snapshot import ChainState, FarmerState, Found, Snapshot
from kalepool.policy.turns import in_turn, owed, zero_points
from kalepool.protocol.lifecycle import new_block, new_farm_block
from kalepool.protocol.model import STROOPS_PER_KALE, ZERO_ENTROPY, Block, Pail
from kalepool.protocol.rewards import normalise, pot, reward

LEDGER_SECONDS = 5.0
BLOCK_SECONDS = 300
FIRST_INDEX = 150_000
WARM_UP_BLOCKS = 5
BLOCKS_A_DAY = 288
BLOCKS_FAIR = 284  # that begin in a day: blocks start some seconds late
POLICIES = ("ours", "until6", "fixed", "equal", "pooler")
FIXED_DIFFICULTIES = range(3, 11)
RECORDS = 16  # a farmer's best share gets better at most so often: the last would take 16^15 hashes
HASH_ROUNDING = 1e-6

Rng = np.random.Generator


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


@dataclass(slots=True)
class Tally:
    """The pool's yield of one block, in stroops. The rewards are split by what earned the points."""

    zeros: float = 0.0
    gap: float = 0.0
    stake: float = 0.0
    lost: float = 0.0
    extra_fees: float = 0.0
    hashes: float = 0.0
    worked: int = 0
    mean_zeros: float = 0.0
    mean_gap: float = 0.0

    @property
    def net(self) -> float:
        return self.zeros + self.gap + self.stake - self.lost - self.extra_fees


def best_zeros(rng: Rng, hashes: float) -> int:
    """The most zeros among that many hashes, drawn by inverting P(best < z) = (1 - 16^-z)^hashes."""
    return int(-math.log(-math.expm1(-rng.exponential() / max(hashes, 1.0))) / math.log(16))


class Luck:
    """What each farmer's hashes of one block are worth: after how many of them its best share gets how many zeros.

    The next hash to have more than z zeros is an exponential number of hashes away, 16^(z + 1) on average, and has k
    zeros more than that with probability 16^-k or more.
    """

    def __init__(self, rng: Rng, farmers: int) -> None:
        steps = rng.exponential(size=(farmers, RECORDS))
        jumps = np.floor(rng.exponential(size=(farmers, RECORDS)) / math.log(16))
        zeros = np.cumsum(jumps + 1, axis=1) - 1
        steps[:, 1:] *= 16.0 ** (zeros[:, :-1] + 1)
        steps[:, 0] = 1.0  # the first hash is the best so far, whatever it is
        self._at = np.cumsum(steps, axis=1).tolist()
        self._zeros = zeros.astype(int).tolist()
        self._next = [0] * farmers
        self.spent = [0.0] * farmers
        self.zeros = [-1] * farmers

    def to_go(self, farmer: int) -> float:
        """How many more hashes until its best share is a better one."""
        return self._at[farmer][self._next[farmer]] - self.spent[farmer]

    def spend(self, farmer: int, hashes: float) -> int:
        """The zeros of its best share after so many more hashes."""
        self.spent[farmer] += hashes
        while self._at[farmer][self._next[farmer]] <= self.spent[farmer] + HASH_ROUNDING:
            self.zeros[farmer] = self._zeros[farmer][self._next[farmer]]
            self._next[farmer] += 1
        return self.zeros[farmer]


class Ledgers:
    """Ledger close times of one block: `closes[0]` is the ledger that started it, `end` the first of the next block."""

    def __init__(self, rng: Rng, start: float) -> None:
        steps = LEDGER_SECONDS + rng.normal(0, 0.15, 70)
        self.closes = start + np.concatenate(([0.0], np.cumsum(steps)))
        self.end = int(np.argmax(np.floor(self.closes) >= math.floor(start) + BLOCK_SECONDS))

    def inclusion(self, rng: Rng, sent: float) -> int:
        """The ledger that includes what is sent now: after some latency, at times one ledger late, seldom three."""
        latency = rng.lognormal(math.log(1.2), 0.4)
        late = rng.random()
        ledger = int(np.searchsorted(self.closes, sent + latency))
        return min(ledger + (3 if late < 0.001 else 1 if late < 0.02 else 0), len(self.closes) - 1)


@dataclass(slots=True)
class Work:
    """A work that leaves at `sent` with these zeros."""

    farmer: int
    sent: float
    zeros: int


class Contract:
    """The contract's arithmetic of one block, for works whose hashes were never made."""

    def __init__(self, index: int, block: Block, start: float, stakes: Sequence[int], planted: Sequence[int]) -> None:
        self.index, self.block = index, block
        self.farm_block = replace(new_farm_block(math.floor(start)), min_stake=min(stakes), max_stake=max(stakes))
        self.block = replace(block, staked_total=sum(stakes))
        self.pails = [Pail(at, None, stake, None) for at, stake in zip(planted, stakes, strict=True)]
        self.works = 0

    def work(self, farmer: int, ledger: int, zeros: int) -> bool:
        """As lifecycle.work after its hash checks. False where the contract refuses."""
        pail, block, farm_block = self.pails[farmer], self.block, self.farm_block
        gap = ledger - pail.sequence
        if gap < 1 or (pail.zeros is not None and zeros <= pail.zeros):
            return False
        total, staked = block.normalized_total + sum(normalise(block, gap, pail.stake, zeros)), block.staked_total
        if pail.zeros is None:
            staked -= pail.stake
        else:
            total -= sum(normalise(block, gap, pail.stake, pail.zeros))
        self.block = replace(block, normalized_total=total, staked_total=staked)
        self.farm_block = replace(
            farm_block,
            min_gap=min(farm_block.min_gap, gap),
            max_gap=max(farm_block.max_gap, gap),
            min_zeros=min(farm_block.min_zeros, zeros),
            max_zeros=max(farm_block.max_zeros, zeros),
        )
        self.pails[farmer] = replace(pail, gap=gap, zeros=zeros)
        self.works += 1
        return True

    def tally(self, farmers: int, hashes: float, fee: float) -> Tally:
        """What the first `farmers` pails, the pool's, earned."""
        result = Tally(hashes=hashes)
        per_point = pot(self.block, self.index) / max(self.block.normalized_total, 1)
        worked = []
        for pail in self.pails[:farmers]:
            if pail.zeros is None or pail.gap is None:
                result.lost += pail.stake
                continue
            gap, stake, zeros = normalise(self.block, pail.gap, pail.stake, pail.zeros)
            result.gap += gap * per_point
            result.stake += stake * per_point
            result.zeros += zeros * per_point
            worked.append(pail)
            assert abs(reward(self.block, pail, self.index) - (gap + stake + zeros) * per_point) <= 1 + 1e-9 * per_point
        result.worked = len(worked)
        if worked:
            result.mean_zeros = sum(p.zeros or 0 for p in worked) / len(worked)
            result.mean_gap = sum(p.gap or 0 for p in worked) / len(worked)
        result.extra_fees = fee * max(0, self.works - len(worked))
        return result


@dataclass(slots=True)
class Pool:
    """What a policy knows and remembers of its own from block to block."""

    cell: Cell
    rng: Rng
    settings: ScheduleSettings
    inclusions: list[int] = field(default_factory=list)
    due: int = 0
    lost: int = 0
    previous_block: Block | None = None
    past: deque[dict[str, int]] = field(default_factory=lambda: deque(maxlen=BLOCKS_A_DAY))
    """Each farmer's zero points, of the blocks of the last day."""
    paying_zeros: list[list[int]] = field(default_factory=list)
    rewards: list[list[float]] = field(default_factory=list)
    """Of every block, each farmer's zeros past min_zeros and up to max_zeros, and what it was paid in stroops."""

    def turns(self, seed: bytes) -> list[int]:
        """The farmers in the order of their turns."""
        return [int(name) for name in in_turn(map(name_of, range(self.cell.farmers)), owed(self.past), seed)]

    def note(self, contract: Contract) -> None:
        """What came of a block for each farmer."""
        block, pails = contract.block, contract.pails[: self.cell.farmers]
        self.past.append(
            {name_of(n): zero_points(pail.zeros, block.min_zeros, block.max_zeros) for n, pail in enumerate(pails)}
        )
        most = max(block.max_zeros - block.min_zeros, 0)
        self.paying_zeros.append([min(max((pail.zeros or 0) - block.min_zeros, 0), most) for pail in pails])
        self.rewards.append([reward(block, pail, contract.index) if pail.gap is not None else 0.0 for pail in pails])


def name_of(farmer: int) -> str:
    """What the policy calls a farmer."""
    return f"{farmer:04d}"


Searcher = Callable[[Pool, Ledgers, Contract, Luck], float]
"""Plays the pool's part of a block in `Contract` and returns the hashes it spent."""


def play(policy: Searcher, cell: Cell, seed: int, blocks: int) -> list[Tally]:
    """The pool's yield block by block, after a warm-up. The world is the same for every policy with the same seed."""
    return play_pool(policy, cell, seed, blocks)[1]


def play_pool(
    policy: Searcher, cell: Cell, seed: int, blocks: int, own_stake: int | None = None
) -> tuple[Pool, list[Tally]]:
    """As `play`, with the pool as it stands at the end. own_stake: what each of its farmers stakes, in stroops."""
    world, rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    n, rivals = cell.farmers, cell.rivals
    stakes = [int(s) for s in world.lognormal(math.log(20 * STROOPS_PER_KALE), 1.0, n + rivals.count)]
    stakes[:n] = stakes[:n] if own_stake is None else [own_stake] * n
    speeds = world.lognormal(math.log(rivals.hashes_per_second), 1.0, rivals.count)
    pool = Pool(cell, rng, replace(RULES, works_per_ledger=cell.works_per_ledger))
    block = Block(0, 20, min(stakes), 5, 57, max(stakes), 7, ZERO_ENTROPY, 0, 0)
    start, tallies = 1_800_000_000.0, []
    for number in range(WARM_UP_BLOCKS + blocks):
        ledgers = Ledgers(world, start)
        # Everybody plants as the block starts: most in its first ledger, some one or two later.
        planted = [int(p) for p in world.choice(3, n + rivals.count, p=[0.6, 0.3, 0.1])]
        contract = Contract(FIRST_INDEX + number, block, start, stakes, planted)
        late = world.random(rivals.count) < 0.7
        seconds = np.where(late, world.uniform(240, 288, rivals.count), world.uniform(60, 240, rivals.count))
        rival_zeros = [best_zeros(world, h * t) for h, t in zip(speeds, seconds, strict=True)]
        for rival in range(rivals.count):
            ledger = int(np.searchsorted(ledgers.closes, start + seconds[rival]))
            contract.work(n + rival, max(ledger, planted[n + rival] + 1), rival_zeros[rival])
        works = contract.works
        hashes = policy(pool, ledgers, contract, Luck(np.random.default_rng([seed, 2, number]), n))
        contract.works -= works
        tally = contract.tally(n, hashes, pool.settings.work_fee_stroops)
        pool.note(contract)
        pool.previous_block = contract.block
        pool.due, pool.lost = pool.due + n, pool.lost + n - tally.worked
        if number >= WARM_UP_BLOCKS:
            tallies.append(tally)
        start = float(ledgers.closes[ledgers.end])
        block = new_block(contract.farm_block, math.floor(start))
    return pool, tallies


def hand_in(pool: Pool, ledgers: Ledgers, contract: Contract, works: Sequence[Work]) -> None:
    """Sends works as they come, as many a ledger as there are channel accounts."""
    sent_in: dict[int, int] = {}
    for work in sorted(works, key=lambda w: w.sent):
        at = int(np.searchsorted(ledgers.closes, work.sent))
        while sent_in.get(at, 0) >= pool.cell.works_per_ledger:
            at += 1
        sent_in[at] = sent_in.get(at, 0) + 1
        sent = max(work.sent, float(ledgers.closes[at - 1]))
        ledger = ledgers.inclusion(pool.rng, sent)
        if ledger < ledgers.end:
            contract.work(work.farmer, ledger, work.zeros)


def until(difficulty: int) -> Searcher:
    """(a) and (b): one farmer after the other until that many zeros; works are handed in from 240 s on."""

    def search(pool: Pool, ledgers: Ledgers, contract: Contract, luck: Luck) -> float:
        start, speed, end = float(ledgers.closes[0]), pool.cell.hashes_per_second, float(ledgers.closes[ledgers.end])
        now, works = start, []
        for farmer in range(pool.cell.farmers):
            while luck.zeros[farmer] < difficulty:
                luck.spend(farmer, luck.to_go(farmer))
            now += luck.spent[farmer] / speed
            if now >= end:
                break
            works.append(Work(farmer, max(now, start + 240), luck.zeros[farmer]))
        hand_in(pool, ledgers, contract, works)
        return (min(now, end) - start) * speed

    return search


def pooler(pool: Pool, ledgers: Ledgers, contract: Contract, luck: Luck) -> float:
    """(d): a delay of 150 s, then 10,000,000 nonces for one farmer after the other, each handed in at once."""
    now, end = float(ledgers.closes[0]) + 150, float(ledgers.closes[ledgers.end])
    works = []
    for farmer in range(pool.cell.farmers):
        now += 1e7 / pool.cell.hashes_per_second
        if now >= end:
            break
        works.append(Work(farmer, now, luck.spend(farmer, 1e7)))
    hand_in(pool, ledgers, contract, works)
    return len(works) * 1e7


Allocation = Callable[[Luck, list[int], float, int], None]
"""(luck, farmers searched for, hashes, the block's min_zeros): spends the hashes."""


def by_schedule(luck: Luck, active: list[int], hashes: float, floor: int) -> None:
    """As the workers do: always for the farmer that `pick` names, until it has a zero more. `active` is in turn."""
    zeros = [luck.zeros[farmer] for farmer in active]
    while active and hashes > 0:
        position = pick(zeros, 0, floor)
        farmer = active[position]
        spent = min(luck.to_go(farmer), hashes)
        hashes -= spent
        zeros[position] = luck.spend(farmer, spent)


def by_equal_parts(luck: Luck, active: list[int], hashes: float, floor: int) -> None:
    """(c): as many hashes for each."""
    for farmer in active:
        luck.spend(farmer, hashes / len(active))


class ScheduledBlock:
    """The pool's own schedule in one block: decide() every tick, and the workers' search in between."""

    def __init__(self, pool: Pool, ledgers: Ledgers, contract: Contract, luck: Luck) -> None:
        self.pool, self.ledgers, self.contract, self.luck = pool, ledgers, contract, luck
        cell = pool.cell
        self.now = float(ledgers.closes[0])
        self.drain = self.now + 270 - cell.farmers / cell.works_per_ledger * LEDGER_SECONDS
        # The coordinator hashes one nonce for each farmer at once.
        self.states = [
            FarmerState(name_of(farmer), may_plant=False, shares=(Found(luck.spend(farmer, 1.0), 0),))
            for farmer in range(cell.farmers)
        ]
        self.turns = pool.turns(contract.index.to_bytes(4, "big"))
        self.active = list(self.turns)
        self.in_flight: list[tuple[int, int, int, int]] = []  # ledger, farmer, zeros, ledger when sent
        self.seen = -1

    def play(self, allocate: Allocation) -> float:
        """The whole block. The hashes it took."""
        hashes = 0.0
        while self.now < self.ledgers.closes[self.ledgers.end]:
            ledger = int(np.searchsorted(self.ledgers.closes, self.now, side="right")) - 1
            if ledger > self.seen:
                self._see(ledger)
            self._act(ledger)
            tick = self._tick()
            if self.active:
                power = tick * self.pool.cell.hashes_per_second
                allocate(self.luck, self.active, power, self.contract.block.min_zeros)
                hashes += power
            self._note_shares()
            self.now += tick
        for at, farmer, found, _ in sorted(self.in_flight):
            if at < self.ledgers.end:
                self.contract.work(farmer, at, found)
        return hashes

    def _see(self, ledger: int) -> None:
        """What a ledger brought: works that landed, and pails planted by now."""
        for landed in sorted(work for work in self.in_flight if work[0] <= ledger):
            self.in_flight.remove(landed)
            at, farmer, found, sent = landed
            self.contract.work(farmer, at, found)
            self.states[farmer] = replace(self.states[farmer], working=False, pail=self.contract.pails[farmer])
            self.pool.inclusions.append(at - sent)
        for farmer, pail in enumerate(self.contract.pails[: len(self.states)]):
            if self.states[farmer].pail is None and pail.sequence <= ledger:
                self.states[farmer] = replace(self.states[farmer], pail=pail)
        self.seen = ledger

    def _act(self, ledger: int) -> None:
        """Sends the works that the schedule decides on."""
        for action in decide(self._snapshot(ledger), datetime.fromtimestamp(self.now, UTC), self.pool.settings):
            if not isinstance(action, Submit):
                continue
            farmer = int(action.farmer)
            at = self.ledgers.inclusion(self.pool.rng, self.now)
            self.in_flight.append((at, farmer, action.zeros, ledger))
            self.states[farmer] = replace(self.states[farmer], working=True)
            if action.reason != "insurance":
                self.active.remove(farmer)

    def _snapshot(self, ledger: int) -> Snapshot:
        pool, contract = self.pool, self.contract
        chain = ChainState(
            ledger=ledger,
            ledger_closed_at=datetime.fromtimestamp(float(self.ledgers.closes[ledger]), UTC),
            index=contract.index,
            farm_block=contract.farm_block,
            block=contract.block,
            paused=False,
            ledger_seconds=LEDGER_SECONDS,
            block_seconds=BLOCK_SECONDS,
            previous_block=pool.previous_block,
        )
        speed, inclusions = pool.cell.hashes_per_second, pool.inclusions[-300:]
        farmers = [self.states[farmer] for farmer in self.turns]
        return Snapshot(chain, farmers, (), speed, inclusions, pool.due, pool.lost)

    def _tick(self) -> float:
        """Seconds until the schedule is asked again: short ones once works are due."""
        if self.now <= self.drain:
            return LEDGER_SECONDS
        return 0.5 if self.pool.cell.farmers < 200 else 1.0

    def _note_shares(self) -> None:
        for farmer in self.active:
            shares, zeros = self.states[farmer].shares, self.luck.zeros[farmer]
            if zeros > shares[-1].zeros:
                self.states[farmer] = replace(self.states[farmer], shares=(*shares, Found(zeros, 0)))


def scheduled(allocate: Allocation) -> Searcher:
    """The pool's own schedule. (c) with equal parts."""
    return lambda pool, ledgers, contract, luck: ScheduledBlock(pool, ledgers, contract, luck).play(allocate)


@dataclass(frozen=True, slots=True)
class Fairness:
    """How far the least and the most favoured of equal farmers are apart after so many blocks."""

    blocks: int
    least_zeros: int
    most_zeros: int
    rewards_apart: float  # the most over the least, less 1

    @classmethod
    def after(cls, pool: Pool, blocks: int) -> Fairness:
        """Of the last blocks that the pool played."""
        zeros = [sum(column) for column in zip(*pool.paying_zeros[-blocks:], strict=True)]
        paid = [sum(column) for column in zip(*pool.rewards[-blocks:], strict=True)]
        return cls(blocks, min(zeros), max(zeros), max(paid) / max(min(paid), 1) - 1)


def play_fairness(cell: Cell, seed: int, days: int) -> list[Fairness]:
    """Equal farmers, with the same stake: after a day, and after all days."""
    pool, _ = play_pool(scheduled(by_schedule), cell, seed, days * BLOCKS_FAIR, own_stake=20 * STROOPS_PER_KALE)
    return [Fairness.after(pool, blocks) for blocks in sorted({BLOCKS_FAIR, days * BLOCKS_FAIR})]


def print_fairness(cells: Sequence[Cell], seeds: int, days: int) -> None:
    """How equal farmers fare, of every cell and seed."""
    jobs = [(cell, seed) for cell in cells for seed in range(seeds)]
    with ProcessPoolExecutor() as processes:
        played = processes.map(play_fairness, *zip(*jobs, strict=True), repeat(days))
        for (cell, seed), fairness in zip(jobs, played, strict=True):
            print(f"{cell}, seed {seed}")
            for one in fairness:
                print(
                    f"  after {one.blocks:5} blocks: paying zeros {one.least_zeros} to {one.most_zeros}, "
                    f"{one.most_zeros - one.least_zeros} apart; rewards {one.rewards_apart:.2%} apart",
                    flush=True,
                )


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
    "extra fees": lambda t: -t.extra_fees,
}


def run_cell(cell: Cell, seeds: int, blocks: int) -> tuple[int, list[Row]]:
    """The best fixed difficulty, and all policies. Seeds are the repetitions: the same worlds for every policy."""

    def play_all(policy: Searcher) -> list[list[Tally]]:
        return [play(policy, cell, seed, blocks) for seed in range(seeds)]

    fixed = {zeros: play_all(until(zeros)) for zeros in FIXED_DIFFICULTIES}
    best = max(fixed, key=lambda zeros: float(np.mean([t.net for run in fixed[zeros] for t in run])))
    runs = {
        "ours": play_all(scheduled(by_schedule)),
        "until6": fixed[6],
        "fixed": fixed[best],
        "equal": play_all(scheduled(by_equal_parts)),
        "pooler": play_all(pooler),
    }

    def means(name: str, get: Callable[[Tally], float]) -> list[float]:
        return [float(np.mean([get(t) for t in run])) for run in runs[name]]

    def row(name: str) -> Row:
        def ahead(get: Callable[[Tally], float]) -> list[float]:
            pairs = zip(means("ours", get), means(name, get), strict=True)
            return [(ours - theirs) / STROOPS_PER_KALE for ours, theirs in pairs]

        kale, kale_ci = interval(means(name, lambda t: t.net / STROOPS_PER_KALE))
        per_hash, per_hash_ci = interval(means(name, lambda t: t.net / STROOPS_PER_KALE / max(t.hashes, 1) * 1e12))
        lead, lead_ci = interval(ahead(lambda t: t.net))
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
        f" {'not lost':>8} {'fees':>6}   {'zeros':>5} {'gap':>5} {'worked':>6}"
    )
    for row in rows:
        ci = row.ours_ahead_kale_ci / abs(row.kale_per_block)
        print(
            f"  {row.policy:8}{row.kale_per_block:11.2f} ±{row.kale_per_block_ci:7.2f}{row.kale_per_tera_hash:12.4g}"
            f"{row.ours_gain:+12.1%} ±{ci:6.1%} = {' '.join(f'{part:8.2f}' for part in row.gain_from.values())}"
            f" {row.zeros:6.2f} {row.gap:5.1f} {row.worked:6.1%}",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cells, few seeds: half a minute")
    parser.add_argument("--cell", action="append", help="only this cell: FARMERS,MHS,quiet|busy (may be repeated)")
    parser.add_argument("--seeds", type=int, default=6, help="independent repetitions of every cell")
    parser.add_argument("--blocks", type=int, default=8, help="blocks counted in every repetition")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the gain over every policy")
    parser.add_argument("--fairness", type=int, metavar="DAYS", help="only how equal farmers fare, over so many days")
    options = parser.parse_args()
    cells = quick_cells() if options.quick else all_cells()
    if options.cell:
        kinds = {rivals.name: rivals for rivals in (QUIET, BUSY)}
        parts = [text.split(",") for text in options.cell]
        cells = [Cell(int(farmers), float(speed) * 1e6, kinds[kind]) for farmers, speed, kind in parts]
    if options.fairness:
        print_fairness(
            cells if options.cell else [Cell(50, 40e6, QUIET), Cell(50, 40e6, BUSY)], options.seeds, options.fairness
        )
        return
    seeds, blocks = (4, 6) if options.quick else (options.seeds, options.blocks)
    results = []
    with ProcessPoolExecutor() as processes:
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
