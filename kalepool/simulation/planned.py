"""How the pool stakes and whom it plants in simulated blocks: the plans of `kalepool.policy.planting`, block after
block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kalepool.policy.foresight import Rivals
from kalepool.policy.planting import PlantingPlan, PlantingQuestion, plan_block
from kalepool.policy.price_gate import PriceGate
from kalepool.policy.schedule import miss_probability
from kalepool.policy.stake import stake_of
from kalepool.protocol.model import Block
from kalepool.protocol.rewards import block_reward
from kalepool.simulation.block import BLOCK_SECONDS
from kalepool.simulation.player import Pool

SEARCH_PART = 0.93


class Planned:
    """Plans by what the farmers may stake at most, in stroops, and by what fees and KALE are worth.

    Before block `gated_from` everybody is planted: so two that differ by their gate alone begin alike.
    """

    def __init__(self, ceilings: Sequence[int], gate: PriceGate, gated_from: int = 0) -> None:
        self.ceilings, self.gate, self.gated_from = ceilings, gate, gated_from
        self.plans: list[PlantingPlan] = []

    def __call__(self, block: Block, pool: Pool) -> list[int | None]:
        turns = pool.turns(pool.index)
        plan = plan_block(
            PlantingQuestion(
                index=pool.index,
                block=block,
                ceilings=[self.ceilings[farmer] for farmer in turns],
                rivals=Rivals.foresee(list(pool.seen), block),
                gate=self.gate if pool.index >= self.gated_from else replace(self.gate, price=None),
                hashes=pool.hashes_per_second * BLOCK_SECONDS * SEARCH_PART,
                miss=miss_probability(pool.due, pool.lost, pool.settings),
                pot=block_reward(pool.index),
            )
        )
        self.plans.append(plan)
        pool.least_zeros = plan.least_zeros
        planted = set(turns[: plan.places])
        return [
            stake_of(plan.stake_stroops, ceiling) if farmer in planted else None
            for farmer, ceiling in enumerate(self.ceilings)
        ]
