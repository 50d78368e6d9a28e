"""`kalepool simulate`: what a day would bring a pool, played through block by block before anything is started."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated

import typer

from kalepool.commands.pool import read_settings
from kalepool.config import Settings
from kalepool.errors import ChainError, InputError
from kalepool.log import configure
from kalepool.protocol.model import STROOPS_PER_KALE, Block
from kalepool.units import STROOPS, counted, kale, rate

DAY_BLOCKS = 284
MOST_HASHES = 1e15
UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


@dataclass(frozen=True, slots=True)
class Present:
    """A network's block as it is now: its bounds, its index, and about how many pails there are."""

    bounds: Block
    index: int
    pails: int


def simulate(
    farmers: Annotated[int, typer.Option(min=1, max=1000, help="How many farmers the pool has.")] = 50,
    hashrate: Annotated[str, typer.Option(help="Hashes a second of all who search for it: 500k, 40M, 1.5G.")] = "40M",
    price: Annotated[
        float | None, typer.Option(min=0, max=1000, help="XLM for a KALE; all are planted without one.")
    ] = None,
    balance: Annotated[float, typer.Option(min=0, max=1e9, help="KALE of each farmer.")] = 100.0,
    blocks: Annotated[int, typer.Option(min=1, max=10_000, help="Blocks to play: 284 are a day.")] = DAY_BLOCKS,
    seed: Annotated[int, typer.Option(min=0, help="Another number, other luck.")] = 0,
) -> None:
    """Say what a day would bring: KALE won, XLM spent, what is left, and who sits out.

    The pool's own decisions are played against some 1,800 others as they were in autumn 2026; where the settings name
    another network than the devnet and its server answers, with the bounds of its present block. It takes seconds.
    """
    configure("warning")
    speed = hashes_per_second(hashrate)
    settings = read_settings()
    present = _present(settings)
    typer.echo("\n".join(_play(settings, present, farmers, speed, price, balance, blocks, seed)))


def hashes_per_second(text: str) -> float:
    """`40M` and the like. InputError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:h/s)?", text.strip().lower())
    speed = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 1 <= speed <= MOST_HASHES:
        raise InputError(f"--hashrate {text!r} is no hashrate: write 500k, 40M or 1.5G, from 1 to 1000T")
    return speed


def _present(settings: Settings) -> Present | None:
    """None where there is no network to ask, or it has no block."""
    if settings.network == "devnet" or settings.chain.rpc_url is None:
        return None
    try:
        return asyncio.run(_read(settings))
    except ChainError as error:
        typer.echo(f"the chain cannot be read ({error}): with the bounds of autumn 2026", err=True)
        return None


async def _read(settings: Settings) -> Present | None:
    from kalepool.chain import ChainReader
    from kalepool.simulation.mainnet import pails_behind

    async with ChainReader.of(settings) as chain:
        farm = await chain.read_farm()
        index = farm.index or 0
        before = (await chain.read_blocks([index - 1])).get(index - 1)
        if farm.block is None or before is None:
            return None
        return Present(farm.block, index, pails_behind(before))


def _play(
    settings: Settings,
    present: Present | None,
    farmers: int,
    speed: float,
    price: float | None,
    balance: float,
    blocks: int,
    seed: int,
) -> list[str]:
    from kalepool.coordinator.process import rules_of
    from kalepool.policy.price_gate import PriceGate
    from kalepool.simulation import mainnet
    from kalepool.simulation.block import Tally
    from kalepool.simulation.planned import Planned
    from kalepool.simulation.player import ScheduledBlock, by_schedule
    from kalepool.simulation.seasons import Setup, on_mainnet
    from kalepool.simulation.summary import spread, summarise
    from kalepool.view.sitting_out import in_words

    world = present or Present(mainnet.BOUNDS, mainnet.FIRST_INDEX, mainnet.PAILS)
    ceiling = int(balance * settings.stake_percentage * STROOPS_PER_KALE)

    def play(gate: PriceGate) -> tuple[Planned, list[Tally]]:
        setup = Setup(
            farmers, speed, rules_of(settings),
            gate=gate, bounds=world.bounds, pails=world.pails, first_index=world.index,
        )  # fmt: skip
        planned = Planned([ceiling] * farmers, gate)
        return planned, list(
            on_mainnet(setup, lambda *block: ScheduledBlock(*block).play(by_schedule), planned, blocks, seed)
        )

    gate = PriceGate(mainnet.FEES, price)
    planned, tallies = play(gate)
    found, fair = summarise(tallies), spread(tallies)
    bounds, whose = world.bounds, f"block {world.index}" if present else "autumn 2026"
    fee = gate.fees.pail / STROOPS
    stakes = sorted(plan.stake_stroops for plan in planned.plans)
    lines = [
        f"{counted(blocks, 'block')}, {counted(farmers, 'farmer')}, {rate(speed)}; "
        f"about {world.pails:,} others with the bounds of {whose}:",
        f"  gap {bounds.min_gap} to {bounds.max_gap}, stake {kale(bounds.min_stake)} to {kale(bounds.max_stake)} KALE, "
        f"zeros {bounds.min_zeros} to {bounds.max_zeros}",
        "",
        f"  won         {found.won * blocks:12,.1f} KALE  {found.won:9.2f} a block",
        f"  spent       {found.spent * blocks:12,.2f} XLM   {found.spent:9.3f} a block, {fee:g} a pail",
    ]
    if price is not None:
        left = found.net_xlm(price)
        lines.append(f"  left        {left * blocks:12,.2f} XLM   {left:9.3f} a block, at {price:g} XLM for a KALE")
    if found.won > 0:
        lines.append(f"  even at     {found.spent / found.won:12.4f} XLM for a KALE")
    if not found.worked:
        at_all = summarise(play(PriceGate(mainnet.FEES, None))[1])
        lines.append(f"  {in_words(planned.plans[-1])}")
        if at_all.won > 0:
            cost = f"{at_all.won * blocks:,.1f} KALE for {at_all.spent * blocks:,.2f} XLM"
            lines.append(f"  all planted {cost}: even at {at_all.spent / at_all.won:.4f} XLM for a KALE")
        return lines
    return [
        *lines,
        f"  sat out     {found.sat_out:12.1%} of pails",
        f"  stake       {kale(stakes[len(stakes) // 2]):>12} KALE, most of the time",
        f"  zeros, gap  {found.zeros:12.2f} {found.gap:.1f}",
        f"  a farmer    {fair.least_kale:12,.1f} to {fair.most_kale:,.1f} KALE",
    ]
