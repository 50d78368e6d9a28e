"""The closing table: what was done block by block, what each farmer got, and whether it adds up with the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from kalepool.units import kale, plain
from kalepool.view.moment import BlockSummary
from kalepool.view.screen import block_cells


@dataclass(frozen=True, slots=True)
class Movement:
    """One farmer over the run, by the database's events. Amounts in stroops; `returned`: stakes that came back.

    `paid_in`, `paid_out`: what the pool paid from and to this wallet besides, as withdrawals and on leaving.
    """

    farmer_id: object
    custodial_wallet: str
    name: str | None
    staked_stroops: int
    rewarded_stroops: int
    returned_stroops: int
    forecast_stroops: int
    planted: int
    worked: int
    harvested: int
    best_zeros: int | None
    paid_in_stroops: int = 0
    paid_out_stroops: int = 0

    @property
    def paid_stroops(self) -> int:
        """What payments made of the balance, taken together."""
        return self.paid_in_stroops - self.paid_out_stroops

    @property
    def moved_stroops(self) -> int:
        """What everything together made of the balance."""
        return self.returned_stroops + self.rewarded_stroops - self.staked_stroops + self.paid_stroops


@dataclass(frozen=True, slots=True)
class Line:
    """A farmer's movement beside its balances on the chain before and after, in stroops."""

    movement: Movement
    before: int
    after: int

    @property
    def difference(self) -> int:
        """What the chain moved beyond what the events say: 0 when they agree."""
        return self.after - self.before - self.movement.moved_stroops


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run's end. `problems` is empty when all is well."""

    blocks: Sequence[BlockSummary]
    lines: Sequence[Line]
    problems: Sequence[str]


def close(
    blocks: Sequence[BlockSummary], movements: Sequence[Movement], before: Mapping[str, int], after: Mapping[str, int]
) -> RunReport:
    """Judge a run by its finished blocks (oldest first) and each farmer's KALE balance before and after, in stroops."""
    lines = [Line(m, before.get(m.custodial_wallet, 0), after.get(m.custodial_wallet, 0)) for m in movements]
    problems = [_block_problem(block) for block in blocks if not block.is_whole]
    problems += [
        f"{line.movement.name or line.movement.custodial_wallet}: the chain's balance differs from the table by "
        f"{kale(line.difference, 7)} KALE: {_likely_cause(line.difference)}"
        for line in lines
        if line.difference
    ]
    return RunReport(blocks, lines, problems)


def with_search(report: RunReport, *, saw_search: bool) -> RunReport:
    """The same, and a problem where nobody ever searched: blocks may be whole without, as on a pool without farmers.
    A work was searched for, though its miner came and went between two looks."""
    if saw_search or any(block.worked for block in report.blocks):
        return report
    said = "nobody searched: no worker came and no miner; the coordinator's log says why"
    return RunReport(report.blocks, report.lines, [*report.problems, said])


def _likely_cause(difference: int) -> str:
    if difference > 0:
        return "somebody paid into the wallet, or harvested a pail of before for it?"
    return "somebody with the wallet's key paid out of it, or planted?"


def _block_problem(block: BlockSummary) -> str:
    said = f"block {block.block_index}: {block.planted} planted, {block.worked} worked, {block.harvested} harvested"
    if block.unplanted:
        said += f", {block.unplanted} could not be planted"
    return said + (", given up" if block.given_up else "")


def blocks_table(report: RunReport) -> Table:
    """The blocks, for people."""
    table = Table(title="Blocks, amounts in KALE", title_justify="left")
    for heading in ("block", "planted", "worked", "harvested", "zeros", "staked", "forecast", "reward"):
        table.add_column(heading, justify="right", no_wrap=True)
    for block in report.blocks:
        table.add_row(str(block.block_index), *block_cells(block))
    return table


def farmers_table(report: RunReport) -> Table:
    """The farmers: balance before, less stakes, with stakes back, rewards and what was paid, is the balance after."""
    paid = any(line.movement.paid_in_stroops or line.movement.paid_out_stroops for line in report.lines)
    sum_of = "before - staked + back + rewards" + (" + paid" if paid else "")
    table = Table(title=f"Farmers: {sum_of} = balance on the chain (KALE)", title_justify="left")
    for heading in ("farmer", "before", "staked", "back", "rewards", *["paid"] * paid, "balance", "adds up"):
        table.add_column(heading, justify="left" if heading == "farmer" else "right", no_wrap=True)

    def amounts(line: Line) -> list[int]:
        move = line.movement
        moved = [move.staked_stroops, move.returned_stroops, move.rewarded_stroops, *[move.paid_stroops] * paid]
        return [line.before, *moved, line.after]

    for line in report.lines:
        name = line.movement.name or f"{line.movement.custodial_wallet[:8]}…"
        table.add_row(
            Text(plain(name)), *(kale(amount) for amount in amounts(line)), "no" if line.difference else "yes"
        )
    table.add_section()
    all_well = not any(line.difference for line in report.lines)
    sums = [sum(column) for column in zip(*map(amounts, report.lines), strict=True)]
    table.add_row("together", *(kale(amount) for amount in sums), "yes" if all_well else "no")
    return table
