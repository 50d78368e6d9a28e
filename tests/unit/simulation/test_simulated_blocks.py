"""Simulated blocks: the contract's arithmetic, the network as it is, and what it costs to take part."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.policy.price_gate import PailFees
from kalepool.policy.schedule import ScheduleSettings
from kalepool.protocol.lifecycle import new_block
from kalepool.protocol.model import STROOPS_PER_KALE, ZERO_ENTROPY, Block
from kalepool.protocol.rewards import normalise
from kalepool.simulation import mainnet
from kalepool.simulation.block import Ledgers, Others, SimulatedBlock, points_of
from kalepool.simulation.luck import Luck
from kalepool.simulation.mainnet import Mainnet, Reaction
from kalepool.simulation.player import Pool, ScheduledBlock, by_schedule
from kalepool.simulation.seasons import Setup, on_mainnet, percent_of
from kalepool.simulation.summary import spread, summarise

RULES: ScheduleSettings = rules_of(Settings.model_construct())
BOUNDS = mainnet.BOUNDS


@pytest.mark.parametrize("most", [6_500_000, 10**13, 20])
def test_points_of_all_the_others_are_those_of_each(most: int) -> None:
    rng = np.random.default_rng(3)
    others = Others(
        rng.integers(0, 2 * most, 200), rng.integers(0, 70, 200), rng.integers(0, 12, 200), rng.random(200) < 0.9
    )
    block = Block(0, 2, most // 10, 5, 55, most, 8, ZERO_ENTROPY, 0, 0)
    each = zip(others.gaps, others.stakes, others.zeros, others.worked, strict=True)
    assert points_of(block, others) == sum(
        sum(normalise(block, int(gap), int(stake), int(zeros))) for gap, stake, zeros, worked in each if worked
    )


@pytest.mark.parametrize("reaction", Reaction)
def test_the_others_make_the_bounds_of_autumn_2026(reaction: Reaction) -> None:
    world, block = Mainnet(np.random.default_rng(0), reaction), BOUNDS
    seen, pails = [], []
    for number in range(60):
        others = world.others(block)
        contract = SimulatedBlock(mainnet.FIRST_INDEX + number, block, 1e9 + 300 * number, [], [], others)
        block = new_block(contract.farm_block, 0)
        seen.append(block)
        pails.append(len(others.stakes))
        assert 11 <= world.late() <= 23
    assert np.mean(pails) == pytest.approx(1800, rel=0.01)
    assert {(block.min_gap, block.max_gap) for block in seen} == {(2, 55)}
    assert {(block.min_zeros, block.max_zeros) for block in seen} == {(5, 8)}
    usual = sum((block.min_stake, block.max_stake) == (0, 6_500_000) for block in seen)
    if reaction == Reaction.MOST:
        assert max(block.max_stake for block in seen[-9:]) == 10 * STROOPS_PER_KALE, "what one raised, all keep up"
    else:
        assert 40 <= usual < 60, "now and then somebody stakes more"


def test_every_transaction_costs_its_fee() -> None:
    fees = PailFees(plant=100, work=10, harvest=1)
    contract = SimulatedBlock(
        mainnet.FIRST_INDEX, BOUNDS, 1e9, [5, None, 5], [0, 0, 0], Mainnet(np.random.default_rng(0)).others(BOUNDS)
    )
    assert contract.planted == [0, 2]
    assert contract.work(0, 20, 6) and contract.work(0, 50, 7) and not contract.work(1, 50, 7)
    contract.works = 3
    tally = contract.tally(0.0, fees)
    assert (tally.planted, tally.worked, tally.lost) == (2, 1, 5)
    assert tally.fees == 2 * 100 + 3 * 10 + 1
    assert tally.paying_zeros == [2, 0, 0] and tally.rewards[0] > 0 == tally.rewards[1]
    assert tally.net_xlm(0.5) == tally.won * 0.5 - tally.fees


def test_the_next_block_begins_late() -> None:
    ledgers = Ledgers(np.random.default_rng(0), 1e9, 5.1, 17.0)
    assert 317 <= ledgers.closes[ledgers.end] - 1e9 < 317 + 6


def test_a_pool_on_mainnet_earns_what_its_pails_are_worth() -> None:
    """And stakes beyond what counts are worth nothing at all: what the common stake is for."""

    def search(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> float:
        return ScheduledBlock(pool, ledgers, contract, luck).play(by_schedule)

    def won(held: list[int]) -> float:
        tallies = list(on_mainnet(Setup(20, 40e6, RULES), search, percent_of(held), 6, 1))
        summary = summarise(tallies)
        assert summary.spent == pytest.approx(20 * 0.008) and summary.sat_out == 0 and summary.worked > 0.99
        equal = spread(tallies)
        assert equal.least_kale > 0 and equal.zeros == equal.most_zeros - equal.least_zeros > 0
        assert math.isclose(summary.net_xlm(0.01), summary.won * 0.01 - summary.spent)
        return summary.won

    equal, one_rich = (
        won([100 * STROOPS_PER_KALE] * 20),
        won([10_000 * STROOPS_PER_KALE, *[100 * STROOPS_PER_KALE] * 19]),
    )
    assert 1.0 < one_rich / 20 < equal / 20 < 1.7, "KALE a pail"
    assert equal > 1.25 * one_rich


def test_a_world_is_the_same_whatever_the_pool_does() -> None:
    worlds = [Mainnet(np.random.default_rng(5)) for _ in range(2)]
    other = Block(0, 2, 0, 5, 55, 10**9, 8, ZERO_ENTROPY, 0, 0)
    first, second = worlds[0].others(BOUNDS), worlds[1].others(other)
    assert (first.gaps == second.gaps).all() and (first.worked == second.worked).all()
    more = second.stakes - first.stakes
    assert (more >= 0).all() and 20 < (more > 0).sum() < 120, "some follow the bounds"
    assert worlds[0].rng.random() == worlds[1].rng.random()


def test_equal_farmers_fare_alike_on_mainnet() -> None:
    """Power that gets five farmers of six one zero more in each block: by position in a list it is always the same."""

    def search(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> float:
        return ScheduledBlock(pool, ledgers, contract, luck).play(by_schedule)

    held = [100 * STROOPS_PER_KALE] * 10
    fared = spread(list(on_mainnet(Setup(10, 8e6, RULES), search, percent_of(held), 60, seed=1)))
    assert fared.zeros <= 4 and fared.rewards < 0.03


def test_more_hashes_than_the_last_record_takes_find_no_other() -> None:
    luck = Luck(np.random.default_rng(1), 1)
    assert luck.spend(0, 1e40) == luck.zeros[0] > 14
    assert luck.to_go(0) == math.inf and luck.spend(0, 1.0) == luck.zeros[0]
