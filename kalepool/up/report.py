"""The closing table: what was done block by block, what each farmer got, and whether it adds up with the chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from kalepool.live.view import BlockView
from kalepool.units import kale


@dataclass(frozen=True, slots=True)
class Movement:
    """One farmer over the run, by the database's events. Amounts in stroops; `returned`: stakes that came back."""

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


@dataclass(frozen=True, slots=True)
class Line:
    """A farmer's movement beside its balances on the chain before and after, in stroops."""

    movement: Movement
    before: int
    after: int

    @property
    def difference(self) -> int:
        """What the chain moved beyond what the events say: 0 when they agree."""
        move = self.movement
        return self.after - (self.before - move.staked_stroops + move.returned_stroops + move.rewarded_stroops)


@dataclass(frozen=True, slots=True)
class Report:
    """A run's end. `problems` is empty when all is well."""

    blocks: Sequence[BlockView]
    lines: Sequence[Line]
    problems: Sequence[str]


def close(
    blocks: Sequence[BlockView], movements: Sequence[Movement], before: Mapping[str, int], after: Mapping[str, int]
) -> Report:
    """Judge a run by its finished blocks (oldest first) and each farmer's KALE balance before and after, in stroops."""
    lines = [Line(m, before.get(m.custodial_wallet, 0), after.get(m.custodial_wallet, 0)) for m in movements]
    problems = [_block_problem(block) for block in blocks if not block.is_whole]
    problems += [
        f"{line.movement.name or line.movement.custodial_wallet}: the chain's balance differs from the table by "
        f"{kale(line.difference, 7)} KALE"
        for line in lines
        if line.difference
    ]
    return Report(blocks, lines, problems)


def _block_problem(block: BlockView) -> str:
    said = f"block {block.block_index}: {block.planted} planted, {block.worked} worked, {block.harvested} harvested"
    if block.unplanted:
        said += f", {block.unplanted} could not be planted"
    return said + (", given up" if block.status == "given_up" else "")


def blocks_table(report: Report) -> Table:
    """The blocks, for people."""
    table = Table(title="Blocks", title_justify="left")
    for heading in ("block", "planted", "worked", "harvested", "best zeros", "staked", "forecast", "reward (KALE)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for block in report.blocks:
        table.add_row(
            str(block.block_index),
            str(block.planted),
            str(block.worked),
            str(block.harvested),
            "-" if block.best_zeros is None else str(block.best_zeros),
            kale(block.staked_stroops, 7),
            kale(block.forecast_stroops, 7),
            kale(block.rewarded_stroops, 7),
        )
    return table


def farmers_table(report: Report) -> Table:
    """The farmers: balance before, less stakes, with stakes back and rewards, is the balance after."""
    table = Table(title="Farmers: before - staked + back + rewards = balance on the chain (KALE)", title_justify="left")
    for heading in ("farmer", "before", "staked", "back", "rewards", "balance", "adds up"):
        table.add_column(heading, justify="left" if heading == "farmer" else "right", no_wrap=True)
    for line in report.lines:
        move = line.movement
        amounts = (line.before, move.staked_stroops, move.returned_stroops, move.rewarded_stroops, line.after)
        name = move.name or f"{move.custodial_wallet[:8]}…"
        table.add_row(name, *(kale(amount, 7) for amount in amounts), "no" if line.difference else "yes")
    moves = [line.movement for line in report.lines]
    sums = (
        sum(line.before for line in report.lines),
        sum(move.staked_stroops for move in moves),
        sum(move.returned_stroops for move in moves),
        sum(move.rewarded_stroops for move in moves),
        sum(line.after for line in report.lines),
    )
    table.add_section()
    all_well = not any(line.difference for line in report.lines)
    table.add_row("together", *(kale(amount, 7) for amount in sums), "yes" if all_well else "no")
    return table
