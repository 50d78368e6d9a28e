"""What a pail earns: the contract's integer arithmetic, floor everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from kalepool.contract_errors import BlockInvalidError, WorkMissingError
from kalepool.protocol.model import (
    BLOCK_REWARD,
    BLOCK_SCALE,
    BLOCKS_PER_MONTH,
    INVERSE_DECAY_RATE,
    V2_GENESIS_BLOCK,
    Block,
    Pail,
    i128,
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A pail's expected `reward_stroops` (without its stake, which comes back on top). Exact once `final`."""

    reward_stroops: int
    final: bool


def scale(block: Block) -> int:
    """The points that the best value of one kind (gap, stake or zeros) gets: the largest of the three ranges."""
    return max(block.max_gap - block.min_gap, block.max_stake - block.min_stake, block.max_zeros - block.min_zeros, 1)


def normalise(block: Block, gap: int, stake: int, zeros: int) -> tuple[int, int, int]:
    """The points (gap, stake, zeros) of one pail under the bounds of its block, each at least 1.

    Raises BlockInvalidError when a bound's maximum is below its minimum, TrapError on overflow.
    """
    if block.max_gap < block.min_gap or block.max_stake < block.min_stake or block.max_zeros < block.min_zeros:
        raise BlockInvalidError()
    range_gap = max(block.max_gap - block.min_gap, 1)
    range_stake = max(i128(block.max_stake - block.min_stake), 1)
    range_zeros = max(block.max_zeros - block.min_zeros, 1)
    most = scale(block)
    clamped_gap = min(max(gap, block.min_gap), block.max_gap)
    clamped_stake = min(max(stake, block.min_stake), block.max_stake)
    clamped_zeros = min(max(zeros, block.min_zeros), block.max_zeros)
    return (
        (clamped_gap - block.min_gap) * most // range_gap or 1,
        (clamped_stake - block.min_stake) * most // range_stake or 1,
        (clamped_zeros - block.min_zeros) * most // range_zeros or 1,
    )


@lru_cache(maxsize=64)
def _decayed(months: int) -> int:
    share = BLOCK_SCALE
    for _ in range(months):
        if not share:
            break
        share = share * INVERSE_DECAY_RATE // BLOCK_SCALE
    return BLOCK_REWARD * share // BLOCK_SCALE


def block_reward(index: int) -> int:
    """Stroops that block `index` shares out, stakes of those who never worked not counted."""
    return _decayed(max(index - V2_GENESIS_BLOCK, 0) // BLOCKS_PER_MONTH)


def pot(block: Block, index: int) -> int:
    """All that block `index` shares out, in stroops: its reward and the stakes that never worked."""
    return i128(block_reward(index) + block.staked_total)


def reward(block: Block, pail: Pail, index: int) -> int:
    """What `harvest` returns for this pail: stroops, without the stake.

    Raises WorkMissingError for a pail without work, otherwise as `normalise` does.
    """
    if pail.gap is None or pail.zeros is None:
        raise WorkMissingError()
    points = i128(sum(normalise(block, pail.gap, pail.stake, pail.zeros)))
    return i128(points * pot(block, index) // max(block.normalized_total, 1))


def forecast(block: Block, pail: Pail, index: int, farm_index: int) -> Forecast:
    """The reward of a worked pail as the chain stands. Exact when the block is over, which `farm_index > index` says.

    Before that, later works dilute it and later plants that never work add to it. Raises as `reward` does.
    """
    return Forecast(reward_stroops=reward(block, pail, index), final=farm_index > index)
