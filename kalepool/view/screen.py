"""The pool as a picture for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kalepool.units import counted, kale, plain, rate
from kalepool.view.moment import ActiveSearcher, BlockSummary, FarmerProgress, Moment, trouble_first
from kalepool.view.verdict import PAUSED, SAFE_TO_STOP, PoolVerdict, judge

BAR_WIDTH = 24
WIDEST = 10_000
STYLES = {"good": "bold green", "busy": "bold cyan", "warn": "bold yellow", "bad": "bold red"}
"""Of a verdict, by its level."""


def render(moment: Moment | None, now: datetime, notices: list[str], *, title: str, height: int) -> Group:
    """The whole picture. `notices`: the latest last. `height`: the terminal's; farmers beyond it are summed up."""
    parts: list[RenderableType] = [Text(title, style="bold")]
    if moment is None:
        parts.append(Text("starting …", style="dim"))
    else:
        blocks = _blocks(moment)
        room = height - len(notices) - sum(len(notice) // 80 for notice in notices) - min(len(moment.blocks), 4) - 13
        parts += [_block(moment, now), _farmers(moment, max(room, 3)), blocks]
    if notices:
        parts.append(Text("\n".join(notices), style="yellow", overflow="fold"))  # an address to send to is among them
    return Group(*parts)


def _block(moment: Moment, now: datetime) -> RenderableType:
    left, whole = moment.seconds_left_at(now), moment.block_seconds
    grid = Table.grid(padding=(0, 3))
    if moment.ledger is None:
        grid.add_row(Text("the chain cannot be read: this is what the database knows", style="bold red"))
    elif left is None:
        grid.add_row("waiting for the first block")
    else:
        grid.add_row(
            Text(f"block {moment.index}", style="bold green"),
            ProgressBar(total=whole, completed=whole - min(left, whole), width=BAR_WIDTH),
            f"{left:.0f} s left",
            f"ledger {moment.ledger}",
            f"max zeros {moment.block.max_zeros}" if moment.block else "",
        )
    searchers = counted(len(moment.workers), "worker")
    if moment.miners:
        searchers += f", {counted(moment.miners, 'miner')}"
    on_chain = [_count("planted", moment.planted, moment.active), _count("worked", moment.worked, moment.planted)]
    counts = Text("   ").join(
        [
            *(on_chain if moment.ledger is not None else []),
            _last_harvest(moment),
            Text(rate(moment.hashes_per_second), style="bold cyan"),
            Text(searchers),
        ]
    )
    verdict = judge(moment)
    parts: list[RenderableType] = [_verdict(verdict), grid, counts]
    if moment.servers:
        parts.append(Text(f"RPC servers: {moment.servers}", style="dim", overflow="fold"))
    if moment.planting_paused and verdict.title not in (PAUSED, SAFE_TO_STOP):
        parts.append(Text("paused by the operator: nothing is planted", style="bold yellow"))
    return Panel(Group(*parts))


def _verdict(verdict: PoolVerdict) -> Text:
    return Text.assemble((verdict.title, STYLES[verdict.level]), ": ", verdict.detail)


def _count(word: str, done: int, of: int) -> Text:
    return Text(f"{word} {done}/{of}", style="green" if done >= of > 0 else "")


def _last_harvest(moment: Moment) -> Text:
    """Of the newest block that is over: this one's harvest cannot have begun."""
    over = moment.last_over
    if over is None:
        return Text("harvested -")
    return Text.assemble(_count("harvested", over.harvested, over.planted), f" of block {over.block_index}")


def _table(*headings: str, left: int = 1) -> Table:
    """A table without lines; the first `left` columns are words, the others numbers. Amounts are KALE."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for number, heading in enumerate(headings):
        justify = "left" if number < left else "right"
        table.add_column(heading, justify=justify, no_wrap=True, min_width=8 if number >= left + 3 else None)
    return table


def _farmers(moment: Moment, room: int) -> Table:
    table = _table("farmer", "zeros", "worked", "gap", "stake", "forecast", "received", "balance")
    shown, rest = moment.farmers, ()
    if len(shown) > room:
        ordered = tuple(sorted(shown, key=trouble_first))
        shown, rest = ordered[: room - 1], ordered[room - 1 :]
    for farmer in shown:
        table.add_row(*_farmer(farmer))
    if rest:
        balance = sum(farmer.balance_stroops or 0 for farmer in rest)
        table.add_row(f"and {len(rest)} more", *[""] * 6, kale(balance), style="dim")
    return table


def _farmer(farmer: FarmerProgress) -> list[RenderableType]:
    def number(value: int | None) -> str:
        return "-" if value is None else str(value)

    state = "" if farmer.status == "active" else f" ({farmer.waits_for if farmer.missing else farmer.status})"
    received = "-" if farmer.received_stroops is None else f"{kale(farmer.received_stroops)} ·{farmer.received_index}"
    return [
        Text(f"{farmer.name}{state}", style="green" if farmer.worked else ""),
        number(farmer.found_zeros),
        number(farmer.worked_zeros),
        number(farmer.gap),
        kale(farmer.stake_stroops),
        kale(farmer.forecast_stroops),
        received,
        kale(farmer.balance_stroops),
    ]


def block_cells(block: BlockSummary) -> list[str]:
    """What became of a block's farmers, and the KALE of it: from `planted` to `reward`."""
    return [
        str(block.planted),
        str(block.worked),
        str(block.harvested),
        "-" if block.best_zeros is None else str(block.best_zeros),
        kale(block.staked_stroops),
        kale(block.forecast_stroops),
        kale(block.rewarded_stroops),
    ]


def _blocks(moment: Moment) -> Table:
    table = _table("block", "planted", "worked", "harvested", "zeros", "staked", "forecast", "reward")
    for block in moment.blocks[:4]:
        table.add_row(f"{block.block_index} {block.status}", *block_cells(block))
    return table


def workers_table(workers: Sequence[ActiveSearcher]) -> Table:
    """Every worker of ours."""
    table = _table("node", "kind", "backend", "threads", "hashrate", "zeros", left=3)
    for worker in workers:
        speed = rate(worker.hashes_per_second)
        said = [Text(plain(text)) for text in (worker.node, worker.kind, worker.backend)]
        table.add_row(*said, str(worker.threads), speed, str(worker.best_zeros))
    return table


def print_whole(console: Console, part: RenderableType) -> None:
    """A table that is wider than the terminal is broken by that, and no amount in it is cut."""
    whole = console.measure(part, options=console.options.update(width=WIDEST)).maximum
    if whole > console.width:
        console = Console(file=console.file, force_terminal=console.is_terminal, width=whole)
    console.print(part)
