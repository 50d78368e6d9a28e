"""Plant, work, harvest in any order: what must always hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalepool.contract_errors import (
    ContractError,
    FarmPausedError,
    GapCountTooLowError,
    HarvestNotReadyError,
    PailExistsError,
    PlantAmountTooLowError,
    ZeroCountTooLowError,
)
from kalepool.errors import AssetContractError
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.protocol.model import (
    FARM_BLOCK,
    FARM_INDEX,
    I128_MAX,
    U32_MAX,
    Block,
    Pail,
    TrapError,
    block_key,
    pail_key,
)
from kalepool.protocol.replay import MemoryWorld, WorldState
from kalepool.protocol.rewards import forecast

FARMERS = [
    "GBQHTQ7NTSKHVTSVM6EHUO3TU4P4BK2TAAII25V2TT2Q6OWXUJWEKALE",
    "GDBRH6DA2F7GRYVUYXKAUJBJ3BXSIKYC2W2FRBS3LXEQPFL4Y343ZO2X",
    "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAITA4",
]
OWNER = "GCAJRXMRU2XASYWXDDROOBGRVSKBMQDT2RFQUOPZ27PDUDJ7DGL6SUQ4"
ASSET = "CCFS24LW5AQEULAQ3WE3CB2TGUQDERKDVA5KMWZL7OC57H7P2SOXYTLR"


class Farm:
    """A contract in a memory world, with the ledger moved by hand."""

    def __init__(self) -> None:
        self.world = MemoryWorld(WorldState(100, 10_000, balances=dict.fromkeys(FARMERS, 10**9)), 17_280)
        self.sequence, self.timestamp = 100, 10_000
        self.call("__constructor", farmer=OWNER, asset=ASSET)

    def wait(self, ledgers: int) -> None:
        self.sequence += ledgers
        self.timestamp += 5 * ledgers

    def call(self, method: str, **args: Any) -> Any:
        return self.world.invoke(self.sequence, self.timestamp, method, args).value

    @property
    def index(self) -> int:
        return self.world.read(FARM_INDEX) or 0

    @property
    def block(self) -> Block:
        block = self.world.read(block_key(self.index))
        assert block is not None
        return block

    def pail(self, farmer: str) -> Pail:
        pail = self.world.read(pail_key(farmer, self.index))
        assert pail is not None
        return pail

    def work(self, farmer: str, nonce: int) -> int:
        block = self.world.read(block_key(self.index))
        digest = hash_work(self.index, nonce, block.entropy if block else bytes(32), farmer)
        return self.call("work", farmer=farmer, hash=digest, nonce=nonce)

    def nonce_with(self, farmer: str, zeros: int) -> int:
        entropy = self.block.entropy
        return next(n for n in range(10**6) if count_zeros(hash_work(self.index, n, entropy, farmer)) == zeros)


def test_a_whole_cycle_pays_the_forecast() -> None:
    farm = Farm()
    for farmer in FARMERS:
        farm.call("plant", farmer=farmer, amount=1_000)
    farm.wait(10)
    assert farm.work(FARMERS[0], 1) == 10
    with pytest.raises(HarvestNotReadyError):
        farm.call("harvest", farmer=FARMERS[0], index=0)
    worked = farm.pail(FARMERS[0])
    farm.wait(60)
    farm.call("plant", farmer=FARMERS[1], amount=0)  # starts block 1
    final = farm.world.read(block_key(0))
    assert final is not None and farm.index == 1
    expected = forecast(final, worked, 0, farm.index)
    assert expected.final and final.staked_total == 2_000  # of the two that never worked
    before = farm.world.state().balances[FARMERS[0]]
    assert farm.call("harvest", farmer=FARMERS[0], index=0) == expected.reward_stroops
    assert farm.world.state().balances[FARMERS[0]] == before + expected.reward_stroops + 1_000


def test_the_next_block_has_this_ones_bounds_and_last_hash() -> None:
    farm = Farm()
    farm.wait(60)
    for farmer, amount in zip(FARMERS, (7, 9, 8), strict=True):
        farm.call("plant", farmer=farmer, amount=amount)
    farm.wait(3)
    first = farm.nonce_with(FARMERS[0], 1)
    farm.work(FARMERS[0], first)
    farm.wait(4)
    last = farm.nonce_with(FARMERS[1], 0)
    farm.work(FARMERS[1], last)
    digest = hash_work(farm.index, last, farm.block.entropy, FARMERS[1])
    farm.wait(60)
    farm.call("plant", farmer=FARMERS[0], amount=1)
    assert farm.index == 2
    block = farm.block
    assert (block.min_gap, block.max_gap, block.min_zeros, block.max_zeros) == (3, 7, 0, 1)
    assert (block.min_stake, block.max_stake, block.entropy) == (7, 9, digest)
    assert block.staked_total == 1
    collecting = farm.world.read(FARM_BLOCK)
    assert collecting is not None and (collecting.min_stake, collecting.max_stake) == (1, 1)


@pytest.mark.parametrize("evicted", [False, True])
def test_the_last_index_of_all_ends_planting(evicted: bool) -> None:
    """No block follows 2^32 - 1: the plant that would start one traps and stakes nothing, also where it was evicted."""
    farm = Farm()
    farm.world.write(FARM_INDEX, U32_MAX)
    farm.wait(0 if evicted else 60)
    before = farm.world.state()
    with pytest.raises(TrapError, match=str(U32_MAX)):
        farm.call("plant", farmer=FARMERS[0], amount=1_000)
    after = farm.world.state()
    assert (after.entries, after.balances) == (before.entries, before.balances)


def test_an_improved_work_takes_the_new_gap_on_both_sides() -> None:
    """So the total keeps the first work's gap, and the pail is paid for the second's."""
    farm = Farm()
    farm.world.write(block_key(0), Block(10_000, 1, 0, 0, 50, 1_000, 4, bytes(32), 0, 0))
    farm.call("plant", farmer=FARMERS[0], amount=500)
    farm.wait(1)
    farm.work(FARMERS[0], farm.nonce_with(FARMERS[0], 0))
    assert farm.block.normalized_total == 1 + 500 + 1
    farm.wait(39)
    with pytest.raises(ZeroCountTooLowError):
        farm.work(FARMERS[0], farm.nonce_with(FARMERS[0], 0))
    farm.work(FARMERS[0], farm.nonce_with(FARMERS[0], 2))
    assert (farm.pail(FARMERS[0]).gap, farm.pail(FARMERS[0]).zeros) == (40, 2)
    assert farm.block.normalized_total == 1 + 500 + 500


def test_refusals_in_the_contracts_order() -> None:
    farm = Farm()
    farm.call("plant", farmer=FARMERS[0], amount=1)
    farm.call("pause")
    with pytest.raises(PlantAmountTooLowError):  # before the pause
        farm.call("plant", farmer=FARMERS[0], amount=-1)
    with pytest.raises(FarmPausedError):  # before the pail that exists
        farm.call("plant", farmer=FARMERS[0], amount=1)
    with pytest.raises(GapCountTooLowError):  # before the hash is looked at
        farm.call("work", farmer=FARMERS[0], hash=bytes(32), nonce=0)
    farm.call("unpause")
    with pytest.raises(PailExistsError):  # before the burn that cannot be
        farm.call("plant", farmer=FARMERS[0], amount=10**30)


def test_a_plant_that_fails_starts_no_block() -> None:
    farm = Farm()
    farm.wait(60)
    before = farm.world.state()
    with pytest.raises(AssetContractError):
        farm.call("plant", farmer=FARMERS[0], amount=10**9 + 1)
    assert farm.world.state() == replace(before, sequence=160, timestamp=10_300)


def test_overflow_traps() -> None:
    farm = Farm()
    farm.world.write(block_key(0), replace(farm_block(farm), staked_total=I128_MAX))
    with pytest.raises(TrapError):
        farm.call("plant", farmer=FARMERS[0], amount=1)


def farm_block(farm: Farm) -> Block:
    block = farm.world.read(FARM_BLOCK)
    assert block is not None
    return block


farmers = st.sampled_from(FARMERS)
steps = st.one_of(
    st.tuples(st.just("plant"), farmers, st.sampled_from([-1, 0, 1, 1_000, 10**8, 2 * 10**9])),
    st.tuples(st.just("work"), farmers, st.integers(0, 50)),
    st.tuples(st.just("harvest"), farmers, st.integers(-2, 0)),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([0, 1, 2, 30, 60])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_whatever_is_called(calls: list[tuple[str, str, int]]) -> None:
    """A failure changes nothing; the supply moves by burns and mints alone; a pail's gap and zeros only grow."""
    farm = Farm()
    for method, farmer, number in calls:
        before = farm.world.state()
        try:
            if method == "wait":
                farm.wait(number)
            elif method == "plant":
                farm.call("plant", farmer=farmer, amount=number)
            elif method == "work":
                farm.work(farmer, number)
            elif farm.index + number >= 0:
                farm.call("harvest", farmer=farmer, index=farm.index + number)
        except (ContractError, AssetContractError):
            assert replace(farm.world.state(), sequence=0, timestamp=0) == replace(before, sequence=0, timestamp=0)
            continue
        after = farm.world.state()
        paid = sum(after.balances.values()) - sum(before.balances.values())
        assert {"plant": paid <= 0, "harvest": paid >= 0}.get(method, paid == 0)
        for key, pail in after.entries.items():
            old = before.entries.get(key)
            if isinstance(pail, Pail) and old is not None and old != pail:
                assert method == "work" and (old.zeros is None or (pail.zeros > old.zeros and pail.gap >= old.gap))
        block = after.entries.get(block_key(farm.index))
        if block is not None:
            unworked = [p.stake for p in after.entries.values() if isinstance(p, Pail) and p.zeros is None]
            assert block.normalized_total >= 0 and 0 <= block.staked_total <= sum(unworked)
