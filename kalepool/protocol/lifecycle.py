"""The contract's functions, check by check in its order, over a small `Host`.

All or nothing is the host's part: when a call raises, the host drops every write, burn and mint it made.
Three kinds of failure stay apart: `ContractError` (the contract said no), `TrapError` (the VM stopped) and whatever the
host raises from `burn` and `mint`, by custom `AssetContractError` (the asset's contract said no).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from kalepool.contract_errors import (
    BlockMissingError,
    FarmBlockMissingError,
    FarmNotPausedError,
    FarmPausedError,
    GapCountTooLowError,
    HarvestNotReadyError,
    HashInvalidError,
    HomesteadExistsError,
    HomesteadMissingError,
    PailExistsError,
    PailMissingError,
    PlantAmountTooLowError,
    ZeroCountTooLowError,
)
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import (
    FARM_BLOCK,
    FARM_INDEX,
    FARM_PAUSED,
    HOMESTEAD_ASSET,
    HOMESTEADER,
    I128_MAX,
    I128_MIN,
    U32_MAX,
    ZERO_ENTROPY,
    Block,
    Key,
    Pail,
    TrapError,
    block_key,
    i128,
    pail_key,
)
from kalepool.protocol.rewards import normalise, reward

T = TypeVar("T")


class Host(Protocol):
    """What a contract call sees of the ledger it runs in."""

    @property
    def sequence(self) -> int:
        """The ledger's sequence number."""
        ...

    @property
    def timestamp(self) -> int:
        """The ledger's close time, unix seconds."""
        ...

    @property
    def block_seconds(self) -> int:
        """BLOCK_INTERVAL on the public networks; a devnet may use a shorter one."""
        ...

    def read(self, key: Key[T]) -> T | None:
        """The live value of `key`; None when it was never written, removed, or its TTL has run out."""
        ...

    def write(self, key: Key[T], value: T) -> None: ...

    def remove(self, key: Key[object]) -> None:
        """Removes `key`; does nothing where it does not exist."""
        ...

    def require_auth(self, address: str) -> None:
        """Raises when `address` did not authorise this call."""
        ...

    def burn(self, address: str, amount: int) -> None:
        """Takes `amount` stroops from the address and destroys them. Raises when the asset contract refuses."""
        ...

    def mint(self, address: str, amount: int) -> None:
        """Makes `amount` stroops for the address. Raises when the asset contract refuses."""
        ...


def _homesteader(host: Host) -> str:
    homesteader = host.read(HOMESTEADER)
    if homesteader is None:
        raise HomesteadMissingError()
    return homesteader


def _require_asset(host: Host) -> None:
    if host.read(HOMESTEAD_ASSET) is None:
        raise HomesteadMissingError()


def _farm_block(host: Host) -> Block:
    farm_block = host.read(FARM_BLOCK)
    if farm_block is None:
        raise FarmBlockMissingError()
    return farm_block


def _bump_index(host: Host, index: int) -> int:
    if index == U32_MAX:
        raise TrapError(f"farm index {index} cannot be bumped")
    host.write(FARM_INDEX, index + 1)
    return index + 1


def new_farm_block(timestamp: int) -> Block:
    """A FarmBlock that has collected nothing: every bound unset, no entropy."""
    return Block(
        timestamp=timestamp,
        min_gap=U32_MAX,
        min_stake=I128_MAX,
        min_zeros=U32_MAX,
        max_gap=0,
        max_stake=I128_MIN,
        max_zeros=0,
        entropy=ZERO_ENTROPY,
        staked_total=0,
        normalized_total=0,
    )


def new_block(farm_block: Block, timestamp: int) -> Block:
    """The block that starts at `timestamp` with the bounds and entropy FarmBlock collected; unset bounds become 0."""
    return replace(
        farm_block,
        timestamp=timestamp,
        min_gap=0 if farm_block.min_gap == U32_MAX else farm_block.min_gap,
        min_stake=0 if farm_block.min_stake == I128_MAX else farm_block.min_stake,
        min_zeros=0 if farm_block.min_zeros == U32_MAX else farm_block.min_zeros,
        max_stake=0 if farm_block.max_stake == I128_MIN else farm_block.max_stake,
        staked_total=0,
        normalized_total=0,
    )


def plant(host: Host, farmer: str, amount: int) -> None:
    """Stakes the farmer's `amount` stroops in the current block. After `block_seconds` this starts the next one."""
    host.require_auth(farmer)
    if amount < 0:
        raise PlantAmountTooLowError()
    if host.read(FARM_PAUSED):
        raise FarmPausedError()
    _require_asset(host)
    index = host.read(FARM_INDEX) or 0
    farm_block = _farm_block(host)

    if host.timestamp >= farm_block.timestamp + host.block_seconds:
        block = new_block(farm_block, host.timestamp)
        farm_block = new_farm_block(host.timestamp)
        index = _bump_index(host, index)
    else:
        existing = host.read(block_key(index))
        if existing is None:
            # Evicted (or index 0, before any block): FarmBlock keeps what it has collected.
            if index > 0:
                index = _bump_index(host, index)
            existing = new_block(farm_block, host.timestamp)
        block = existing

    if host.read(pail_key(farmer, index)) is not None:
        raise PailExistsError()
    block = replace(block, staked_total=i128(block.staked_total + amount))
    if amount > 0:
        host.burn(farmer, amount)
    farm_block = replace(
        farm_block, max_stake=max(farm_block.max_stake, amount), min_stake=min(farm_block.min_stake, amount)
    )
    host.write(pail_key(farmer, index), Pail(sequence=host.sequence, gap=None, stake=amount, zeros=None))
    host.write(block_key(index), block)
    host.write(FARM_BLOCK, farm_block)


def work(host: Host, farmer: str, hash: bytes, nonce: int) -> int:
    """Scores a nonce for the farmer's pail in the current block. Anyone may call it. Returns the gap in ledgers."""
    index = host.read(FARM_INDEX) or 0
    farm_block = _farm_block(host)
    block = host.read(block_key(index))
    if block is None:
        raise BlockMissingError()
    pail = host.read(pail_key(farmer, index))
    if pail is None:
        raise PailMissingError()

    gap = host.sequence - pail.sequence
    if gap < 0:
        raise TrapError(f"ledger {host.sequence} is before the pail's ledger {pail.sequence}")
    if gap == 0:
        raise GapCountTooLowError()
    if hash != hash_work(index, nonce, block.entropy, farmer):
        raise HashInvalidError()
    zeros = count_zeros(hash)

    normalized_total = i128(block.normalized_total + _points(block, gap, pail.stake, zeros))
    staked_total = block.staked_total
    if pail.zeros is None:
        staked_total = i128(staked_total - pail.stake)
    elif zeros <= pail.zeros:
        raise ZeroCountTooLowError()
    else:
        # With the new gap on both sides, as the contract does: what the earlier work's gap added stays in the total.
        normalized_total = i128(normalized_total - _points(block, gap, pail.stake, pail.zeros))

    host.write(pail_key(farmer, index), replace(pail, gap=gap, zeros=zeros))
    host.write(block_key(index), replace(block, normalized_total=normalized_total, staked_total=staked_total))
    host.write(
        FARM_BLOCK,
        replace(
            farm_block,
            entropy=hash,
            max_gap=max(farm_block.max_gap, gap),
            min_gap=min(farm_block.min_gap, gap),
            max_zeros=max(farm_block.max_zeros, zeros),
            min_zeros=min(farm_block.min_zeros, zeros),
        ),
    )
    return gap


def _points(block: Block, gap: int, stake: int, zeros: int) -> int:
    return i128(sum(normalise(block, gap, stake, zeros)))


def harvest(host: Host, farmer: str, index: int) -> int:
    """Pays a worked pail of a past block: mints reward and stake. Anyone may call it. Returns the reward alone."""
    _require_asset(host)
    farm_index = host.read(FARM_INDEX) or 0
    block = host.read(block_key(index))
    if block is None:
        raise BlockMissingError()
    pail = host.read(pail_key(farmer, index))
    if pail is None:
        raise PailMissingError()
    if index >= farm_index:
        raise HarvestNotReadyError()
    reward_stroops = reward(block, pail, index)
    payout = i128(reward_stroops + pail.stake)
    if payout > 0:
        host.mint(farmer, payout)
    host.remove(pail_key(farmer, index))
    return reward_stroops


def constructor(host: Host, farmer: str, asset: str) -> None:
    """Sets the contract up: `farmer` becomes its owner (the homesteader), `asset` is the KALE asset contract."""
    host.require_auth(farmer)
    if host.read(HOMESTEADER) is not None:
        raise HomesteadExistsError()
    host.write(HOMESTEADER, farmer)
    host.write(HOMESTEAD_ASSET, asset)
    host.write(FARM_BLOCK, new_farm_block(host.timestamp))


def pause(host: Host) -> None:
    """Stops planting. The owner's alone."""
    host.require_auth(_homesteader(host))
    if host.read(FARM_PAUSED):
        raise FarmPausedError()
    host.write(FARM_PAUSED, True)


def unpause(host: Host) -> None:
    """Allows planting again. The owner's alone."""
    host.require_auth(_homesteader(host))
    if not host.read(FARM_PAUSED):
        raise FarmNotPausedError()
    host.write(FARM_PAUSED, False)


def remove_block(host: Host, index: int) -> None:
    """Deletes Block(index), whether it exists or not. The owner's alone."""
    host.require_auth(_homesteader(host))
    host.remove(block_key(index))


METHODS: dict[str, Callable[..., int | None]] = {
    "plant": plant,
    "work": work,
    "harvest": harvest,
    "pause": pause,
    "unpause": unpause,
    "remove_block": remove_block,
    "__constructor": constructor,
}
"""By the name the contract exports; arguments in the contract's order, with its names, after the host."""
