"""The pool's plans in simulated blocks of the network as it is: nobody is planted who costs more than it brings, and
one stake for all is never worse than simpler ones. An hour is noisy: two hundredths are no difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kalepool.config import Settings
from kalepool.coordinator.process import rules_of
from kalepool.policy import planting
from kalepool.policy.price_gate import UNPRICED, PriceGate
from kalepool.protocol.model import STROOPS_PER_KALE, Block
from kalepool.simulation import mainnet
from kalepool.simulation.block import Ledgers, SimulatedBlock
from kalepool.simulation.luck import Luck
from kalepool.simulation.mainnet import Reaction
from kalepool.simulation.planned import Planned
from kalepool.simulation.player import Pool, ScheduledBlock, by_schedule
from kalepool.simulation.seasons import WARM_UP_BLOCKS, Setup, Staking, balances, on_mainnet
from kalepool.simulation.summary import Summary, summarise

RULES = rules_of(Settings.model_construct())
FARMERS = 20
HOUR = 12


def search(pool: Pool, ledgers: Ledgers, contract: SimulatedBlock, luck: Luck) -> float:
    return ScheduledBlock(pool, ledgers, contract, luck).play(by_schedule)


def farm(
    staking: Staking, *, gate: PriceGate = UNPRICED, reaction: Reaction = Reaction.SOME, mhs: float = 40
) -> Summary:
    setup = Setup(FARMERS, mhs * 1e6, RULES, reaction, gate=gate)
    return summarise(list(on_mainnet(setup, search, staking, HOUR, 3)))


KALE = STROOPS_PER_KALE
CEILINGS = {
    "one rich": [1_000 * KALE, *[10 * KALE] * (FARMERS - 1)],
    "equal": [10 * KALE] * FARMERS,
    "lognormal": [stroops // 10 for stroops in balances(np.random.default_rng(7), FARMERS)],
}


@pytest.mark.no_cover  # watched line by line it takes three times as long
@pytest.mark.slow(8, "an hour of blocks, nine times three")
@pytest.mark.parametrize("reaction", Reaction)
@pytest.mark.parametrize("ceilings", CEILINGS.values(), ids=CEILINGS)
def test_one_stake_is_never_worse_than_a_part_of_each_balance_or_what_counts_now(
    ceilings: Sequence[int], reaction: Reaction
) -> None:
    def up_to_bound(block: object, pool: Pool) -> list[int]:
        return [min(ceiling, block.max_stake) for ceiling in ceilings]  # type: ignore[attr-defined]

    planned = Planned(ceilings, UNPRICED)
    won = farm(planned, reaction=reaction).won
    part = farm(lambda block, pool: ceilings, reaction=reaction).won
    assert won >= 0.98 * max(part, farm(up_to_bound, reaction=reaction).won)
    if ceilings is CEILINGS["one rich"]:
        assert won >= (1.2 if reaction == Reaction.MOST else 1.25) * part
    assert {plan.places for plan in planned.plans} == {FARMERS}


@pytest.mark.no_cover
def test_a_pool_with_little_power_does_not_hand_rivals_their_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pails without zeros would make the next block's min_zeros 0, and all of the rivals' zeros count."""

    def play() -> tuple[float, set[int]]:
        blocks: list[int] = []
        staking = Planned([10 * KALE] * 50, UNPRICED)

        def seen(block: Block, pool: Pool) -> Sequence[int | None]:
            blocks.append(block.min_zeros)
            return staking(block, pool)

        setup = Setup(50, 1e6, RULES)
        return summarise(list(on_mainnet(setup, search, seen, HOUR, 3))).won, set(blocks[WARM_UP_BLOCKS:])

    won, min_zeros = play()
    assert min_zeros == {5}
    monkeypatch.setattr(planting, "raised_to", lambda floor, farmers, hashes: 0)
    without, min_zeros = play()
    assert min_zeros == {0, 5}
    assert won > 1.05 * without


@pytest.mark.no_cover
@pytest.mark.slow(8, "an hour of blocks, at six prices")
@pytest.mark.parametrize("mhs", [1, 40, 1000])
def test_what_is_left_is_never_less_than_with_all_or_none(mhs: float) -> None:
    def left(price: float, gate: PriceGate) -> tuple[float, float]:
        begins = mainnet.FIRST_INDEX + WARM_UP_BLOCKS
        summary = farm(Planned(CEILINGS["equal"], gate, begins), gate=gate, mhs=mhs)
        return summary.net_xlm(price), summary.sat_out

    everybody = farm(Planned(CEILINGS["equal"], UNPRICED), mhs=mhs)
    for price in (0.002, 0.004, 0.005, 0.0055, 0.05):
        net, sat_out = left(price, PriceGate(mainnet.FEES, price))
        # A hundredth of what all cost, and half a percent of what they bring: by so much the search's luck differs
        # where another order of farmers has the same work found.
        even = 0.01 * FARMERS * mainnet.FEES.pail / KALE + 0.005 * everybody.won * price
        assert net >= max(everybody.net_xlm(price), 0.0) - even
        if price == 0.002:
            assert sat_out == 1 and net == 0, "nobody is planted"
        if price == 0.05:
            assert sat_out == 0, "all are planted"
