"""The pool's schedule in one block: `decide` every tick, and the workers' search in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from kalepool.networks import MAINNET
from kalepool.policy.foresight import PastBlock
from kalepool.policy.price_gate import UNPRICED, PriceGate
from kalepool.policy.schedule import ScheduleSettings, Submit, decide
from kalepool.policy.search import pick
from kalepool.policy.snapshot import ChainState, FarmerState, Found, Snapshot
from kalepool.policy.timing import blocks_per_day
from kalepool.policy.turns import claim, in_turn, owed, rewards_had, zeros_had
from kalepool.protocol.model import Block
from kalepool.simulation.block import BLOCK_SECONDS, Ledgers, SimulatedBlock, Tally
from kalepool.simulation.luck import Luck, Rng

Allocation = Callable[[Luck, list[int], float, int, int], None]
"""(luck, farmers searched for, hashes, the block's min_zeros, what all are raised to): spends the hashes."""

REMEMBERED = 300
DAY = blocks_per_day(MAINNET)


def by_schedule(luck: Luck, active: list[int], hashes: float, floor: int, least: int) -> None:
    """As the workers do: always for the farmer that `pick` names, until it has a zero more. `active` in turn."""
    zeros = [luck.zeros[farmer] for farmer in active]
    while active and hashes > 0:
        position = pick(zeros, 0, floor, least=least)
        farmer = active[position]
        spent = min(luck.to_go(farmer), hashes)
        hashes -= spent
        zeros[position] = luck.spend(farmer, spent)


@dataclass(slots=True)
class Pool:
    """What the pool is, and what it remembers of its own from block to block."""

    farmers: int
    hashes_per_second: float
    rng: Rng
    settings: ScheduleSettings
    ledger_seconds: float = 5.0
    tick_seconds: float = 0.5
    inclusions: list[int] = field(default_factory=list)
    gate: PriceGate = UNPRICED
    index: int = 0
    least_zeros: int = 0
    seen: deque[PastBlock] = field(default_factory=lambda: deque(maxlen=DAY))
    due: int = 0
    lost: int = 0
    previous_block: Block | None = None
    past: dict[int, dict[str, float]] = field(default_factory=dict)
    """What each farmer had of zeros in the blocks of the last day, as policy/turns.py counts it; 0 for who sat one
    out."""
    past_rewards: dict[int, dict[str, float]] = field(default_factory=dict)
    """The same for rewards."""

    def turns(self, index: int) -> list[int]:
        """The farmers in the order of their turns in this block."""
        zeros, rewards = (owed(past, index, DAY) for past in (self.past, self.past_rewards))
        claims = {name: claim(zeros[name], rewards[name]) for name in zeros}
        return [int(name) for name in in_turn(map(name_of, range(self.farmers)), claims, index.to_bytes(8, "big"))]

    def remember(self, contract: SimulatedBlock, tally: Tally) -> None:
        """A block that is over."""
        block = contract.block
        zeros = [pail.zeros if pail else None for pail in contract.pails]
        self.past[contract.index] = {
            name_of(n): zeros_had(z, block.min_zeros, block.max_zeros) for n, z in enumerate(zeros)
        }
        none = dict.fromkeys(self.past[contract.index], 0.0)
        self.past_rewards[contract.index] = none | rewards_had(
            block, {name_of(n): pail for n, pail in enumerate(contract.pails) if pail is not None}
        )
        self.past.pop(contract.index - DAY, None)
        self.past_rewards.pop(contract.index - DAY, None)
        worked = [pail for pail in contract.pails if pail is not None and pail.zeros is not None]
        self.seen.append(PastBlock(block, worked, contract.others_staked))
        self.previous_block = block
        self.due, self.lost = self.due + tally.planted, self.lost + tally.planted - tally.worked


def name_of(farmer: int) -> str:
    """What the policy calls a farmer."""
    return f"{farmer:04d}"


class ScheduledBlock:
    """The pool's own schedule in one block."""

    def __init__(self, pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> None:
        self.pool, self.ledgers, self.contract, self.luck = pool, ledgers, contract, luck
        self.now = float(ledgers.closes[0])
        # The coordinator hashes one nonce for each farmer at once.
        planted = set(contract.planted)
        self.active = [farmer for farmer in pool.turns(contract.index) if farmer in planted]
        queue = len(self.active) / pool.settings.works_per_ledger
        self.drain = self.now + BLOCK_SECONDS - (6 + queue) * pool.ledger_seconds
        self.states = {
            farmer: FarmerState(
                name_of(farmer),
                may_plant=False,
                shares=(Found(luck.spend(farmer, 1.0), 0),),
            )
            for farmer in self.active
        }
        self.in_flight: list[tuple[int, int, int, int]] = []  # ledger, farmer, zeros, ledger when sent
        self.seen = -1

    def play(self, allocate: Allocation) -> float:
        """The whole block. The hashes it took."""
        hashes = 0.0
        while self.now < self.ledgers.closes[self.ledgers.end] and (self.active or self.in_flight):
            ledger = int(np.searchsorted(self.ledgers.closes, self.now, side="right")) - 1
            if ledger > self.seen:
                self._see(ledger)
            self._act(ledger)
            tick = self._tick()
            if self.active:
                power = tick * self.pool.hashes_per_second
                allocate(self.luck, self.active, power, self.contract.block.min_zeros, self.pool.least_zeros)
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
        for farmer, state in self.states.items():
            pail = self.contract.pails[farmer]
            if state.pail is None and pail is not None and pail.sequence <= ledger:
                self.states[farmer] = replace(state, pail=pail)
        self.seen = ledger

    def _act(self, ledger: int) -> None:
        """Sends the works that the schedule decides on."""
        for action in decide(self._snapshot(ledger), datetime.fromtimestamp(self.now, UTC), self.pool.settings):
            if not isinstance(action, Submit):
                continue
            farmer = int(action.farmer)
            at = self.ledgers.inclusion(self.pool.rng, self.now)
            self.contract.works += 1
            self.in_flight.append((at, farmer, action.zeros, ledger))
            self.states[farmer] = replace(self.states[farmer], working=True)
            if action.reason != "insurance" and farmer in self.active:
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
            ledger_seconds=pool.ledger_seconds,
            block_seconds=BLOCK_SECONDS,
            previous_block=pool.previous_block,
        )
        states = list(self.states.values())
        return Snapshot(
            chain,
            states,
            (),
            pool.hashes_per_second,
            pool.inclusions[-REMEMBERED:],
            pool.due,
            pool.lost,
            gate=pool.gate,
        )

    def _tick(self) -> float:
        """Seconds until the schedule is asked again: short ones once works are due."""
        if self.now <= self.drain:
            return self.pool.ledger_seconds
        return self.pool.tick_seconds

    def _note_shares(self) -> None:
        for farmer in self.active:
            shares, zeros = self.states[farmer].shares, self.luck.zeros[farmer]
            if zeros > shares[-1].zeros:
                self.states[farmer] = replace(self.states[farmer], shares=(*shares, Found(zeros, 0)))
