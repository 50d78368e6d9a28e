"""The contract's state and constants, with the contract's own field names.

All amounts are int stroops, all times unix seconds, `gap` counts ledgers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from kalepool.errors import ChainError

BLOCK_INTERVAL = 300
"""Seconds after which a plant starts the next block."""

BLOCK_REWARD = 25_050_000_000
"""Stroops shared out per block before decay: 501 KALE a minute."""

BLOCKS_PER_MONTH = 8_640
BLOCK_SCALE = 10**12
INVERSE_DECAY_RATE = 95 * 10**10
"""What is left of the reward after a month, in BLOCK_SCALE."""

V2_GENESIS_BLOCK = 30_558
"""The block index that decay is counted from."""

TEMPORARY_TTL_LEDGERS = 17_280
"""Ledgers a Block or Pail lives for, its first one included: a day of 5 s ledgers."""

STROOPS_PER_KALE = 10_000_000

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
I128_MIN = -(2**127)
I128_MAX = 2**127 - 1

ZERO_ENTROPY = bytes(32)

T_co = TypeVar("T_co", covariant=True)


class TrapError(ChainError):
    """The contract's VM stopped: a checked arithmetic operation went out of range."""

    code = "trap"


def i128(value: int) -> int:
    """`value` itself, or TrapError where the contract's 128-bit arithmetic would have overflowed."""
    if not I128_MIN <= value <= I128_MAX:
        raise TrapError(f"arithmetic result {value} does not fit an i128")
    return value


@dataclass(frozen=True, slots=True)
class Block:
    """A block's bounds, entropy and totals. FarmBlock, which collects the next block's bounds, is one too."""

    timestamp: int
    min_gap: int
    min_stake: int
    min_zeros: int
    max_gap: int
    max_stake: int
    max_zeros: int
    entropy: bytes
    staked_total: int
    normalized_total: int


@dataclass(frozen=True, slots=True)
class Pail:
    """What one farmer planted in one block. `gap` and `zeros` are None until the first work.

    `sequence` is the ledger of the plant, `stake` is in stroops.
    """

    sequence: int
    gap: int | None
    stake: int
    zeros: int | None


@dataclass(frozen=True, slots=True)
class Key(Generic[T_co]):
    """A contract data key: the symbol, then its arguments. On the chain it is `ScVec[Symbol(name), *args]`.

    The type parameter is the type of the value stored under it.
    """

    name: str
    args: tuple[str | int, ...] = ()

    @property
    def temporary(self) -> bool:
        """Whether it is a temporary ledger entry of its own, with a TTL, and not a part of the contract's instance."""
        return bool(self.args)


FARM_INDEX: Key[int] = Key("FarmIndex")
FARM_BLOCK: Key[Block] = Key("FarmBlock")
FARM_PAUSED: Key[bool] = Key("FarmPaused")
HOMESTEADER: Key[str] = Key("Homesteader")
HOMESTEAD_ASSET: Key[str] = Key("HomesteadAsset")


def block_key(index: int) -> Key[Block]:
    return Key("Block", (index,))


def pail_key(farmer: str, index: int) -> Key[Pail]:
    """`farmer` is a strkey, G… or C…."""
    return Key("Pail", (farmer, index))
