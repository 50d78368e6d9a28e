"""Makes fault after fault on a pool that runs, then has the oracle judge, and shows a table of faults and phases."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from stellar_sdk import Asset

from kalepool.networks import DEVNET
from kalepool.postgres import Postgres
from tests.chaos.cells import BACK_SECONDS, PHASES, Cell, plan, wait_for_phase
from tests.chaos.customers import Customers
from tests.chaos.history import History, Pail
from tests.chaos.oracle import Case, Finding, judge
from tests.chaos.record import Record
from tests.chaos.stage import Stage, StageError, Times, wait_for

ASSET = Asset(DEVNET.asset_code, DEVNET.asset_issuer)
KALE_EACH = 1000
RESERVE_LEDGERS = 6
"""Ledgers that a pool needs at the end of a block, once a fault is over, to hand in every work. Also a part's start."""

SEARCH_SECONDS = 45.0
"""Within which a Ray that was hurt has workers again that hash."""

SETTLE_BLOCKS = 6
WITHDRAWERS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is to do. `seconds`: how long faults are made; `only`: which, by name; `cells`: how many at most."""

    seconds: float
    seed: int
    times: Times
    farmers: int
    ray: bool = False
    miner: bool = True
    only: Sequence[str] = ()
    cells: int | None = None


@dataclass(slots=True)
class Made:
    """A fault that was made. Times are unix seconds; `over_at`: when it was taken back and all parts served again."""

    number: int
    cell: Cell
    block: int
    began_at: float
    over_at: float
    trouble: str = ""


@dataclass(slots=True)
class ChaosReport:
    """What was made and what came of it. `left`: what outlived the pool."""

    options: Options
    folder: Path
    made: list[Made] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    history: History | None = None
    forgiven: dict[Pail, int] = field(default_factory=dict)  # lost stakes that no pool could have spared, in stroops
    withdrawals: tuple[int, int] = (0, 0)

    @property
    def is_broken(self) -> bool:
        return bool(self.findings or self.left or any(made.trouble for made in self.made))

    def block_times(self) -> dict[int, tuple[float, float]]:
        """When each block began and ended on the ledger, unix seconds; the last has no end."""
        began: dict[int, float] = {}
        for each in self.history.transactions if self.history else ():
            for change in each.changes:
                if change.before is None:
                    began.setdefault(change.pail[1], each.closed_at)
        return {index: (start, began.get(index + 1, float("inf"))) for index, start in began.items()}

    def during(self, block: int) -> list[Made]:
        """The faults that a block saw."""
        start, end = self.block_times().get(block, (0.0, 0.0))
        return [made for made in self.made if made.began_at < end and made.over_at > start]


def run(options: Options, console: Console) -> ChaosReport:
    """One pool, from its start until it is judged. StageError where it cannot be brought to its end."""
    folder = Path(tempfile.mkdtemp(prefix="kalepool-chaos-"))
    folder.chmod(0o755)
    report = ChaosReport(options, folder)
    with Stage(folder, options.times, farmers=options.farmers, ray=options.ray) as stage:
        for (wallet,) in stage.ask("SELECT custodial_wallet FROM farmers"):
            stage.give_kale(wallet, KALE_EACH)
        if options.miner:
            stage.start_miner()
        customers = Customers(stage, random.Random(options.seed), options.times.block / 2, ASSET)
        customers.prepare(min(WITHDRAWERS, options.farmers))
        customers.start()
        for made in _make(stage, options):
            report.made.append(made)
            console.print(f"{made.number:>3}  block {made.block:<4} {made.cell.name}  {made.trouble}", highlight=False)
        customers.end()
        report.withdrawals = customers.asked, customers.paid
        stage.mend()
        if not stage.settle(SETTLE_BLOCKS * options.times.block + 30.0):
            report.made[-1].trouble += " nothing settled after it"
        stage.end_extra()
        stage.end()
        devnet = {stage.process("devnet").pid}
        if not wait_for(lambda: not set(stage.left()) - devnet, 20.0):
            report.left = [str(pid) for pid in set(stage.left()) - devnet]
        if (stage.data / "up.json").exists():
            report.left.append("up.json")
        _judge(stage, report)
    if not report.is_broken:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _make(stage: Stage, options: Options) -> Iterator[Made]:
    rng, ends_at = random.Random(options.seed), time.monotonic() + options.seconds
    last = -1
    for number, cell in plan(options.seed, ray=options.ray, clock=stage.has_clock, only=options.only):
        if time.monotonic() > ends_at or (options.cells is not None and number > options.cells):
            return
        block = wait_for_phase(stage, cell.phase, last, 3.0 * options.times.block + 30.0)
        made = Made(number, cell, last if block is None else block, time.time(), time.time())
        if block is None:
            made.trouble = f"no block came to {cell.phase} any more: {stage.last_words()}"
            yield made
            return
        try:
            cell.fault.inflict(stage, rng)
        except StageError as error:
            made.trouble = str(error)
        if not wait_for(stage.serves, BACK_SECONDS):
            made.trouble = f"not all parts serve {BACK_SECONDS:.0f} s after it: {stage.last_words()}"
        made.over_at = time.time()
        if not wait_for(stage.searches, SEARCH_SECONDS):
            made.trouble = f"no worker searches {SEARCH_SECONDS:.0f} s after it: {stage.last_words()}"
        yield made
        seen = stage.ask("SELECT max(block_index) FROM plantings WHERE outcome = 'planted'")
        last = max(block, seen[0][0] if seen and seen[0][0] is not None else block)


def _judge(stage: Stage, report: ChaosReport) -> None:
    with Postgres.start(stage.data / "postgres") as server:
        record = Record.read(server.url())
        report.history = History.read(stage.rpc_url, ASSET, record.own_accounts())
    unsparable = _unsparable(report)
    report.findings = judge(report.history, record, unsparable=unsparable)
    lost = Case(report.history, record, report.history.current_block).lost
    report.forgiven = {pail: stake for pail, stake in lost.items() if pail[1] in unsparable}


def _unsparable(report: ChaosReport) -> set[int]:
    """Blocks whose end came before the pool, whole again, had time to hand its works in."""
    reserve = RESERVE_LEDGERS * report.options.times.ledger
    return {
        block
        for block, (_, end) in report.block_times().items()
        if any(made.began_at < end and made.over_at > end - reserve for made in report.during(block))
    }


# --- what is shown


def show(report: ChaosReport, console: Console) -> None:
    console.print(_table(report))
    lost = [finding for finding in report.findings if finding.block is not None]
    console.print(
        f"{len(report.made)} faults; {len(report.block_times())} blocks; {_transactions(report)} transactions; "
        f"withdrawals asked for {report.withdrawals[0]}, told to be paid {report.withdrawals[1]}",
        highlight=False,
    )
    for block in sorted({block for _, block in report.forgiven}):
        near = ", ".join(f"{made.number} {made.cell.name}" for made in report.during(block))
        stakes = [stake for (_, index), stake in report.forgiven.items() if index == block]
        text = f"block {block}: {len(stakes)} stakes lost, {sum(stakes)} stroops; too late to spare them after {near}"
        console.print(text, markup=False, highlight=False)
    for made in report.made:
        if made.trouble:
            console.print(f"{made.number} {made.cell.name}: {made.trouble}", style="bold red", markup=False)
    for finding in report.findings:
        near = ", ".join(f"{made.number} {made.cell.name}" for made in report.during(finding.block or -1))
        console.print(f"{finding}{f' [faults: {near}]' if near else ''}", style="bold red", markup=False)
    for left in report.left:
        console.print(f"NOT KEPT: nothing is left behind: {left}", style="bold red", markup=False)
    if report.is_broken:
        options = report.options
        console.print(
            f"again: make chaos SECONDS={options.seconds:g} SEED={options.seed}; data and logs: {report.folder}; "
            f"findings of a block: {len(lost)}",
            markup=False,
        )


def _transactions(report: ChaosReport) -> int:
    return len(report.history.transactions) if report.history else 0


def _table(report: ChaosReport) -> Table:
    """A row for each fault, a column for each phase: how often, and what of it did not go as it should."""
    table = Table(title=f"seed {report.options.seed}", title_justify="left")
    table.add_column("fault")
    for phase in PHASES:
        table.add_column(phase)
    broken = {made.number for f in report.findings for made in report.during(-1 if f.block is None else f.block)}
    for name in dict.fromkeys(made.cell.fault.name for made in report.made):
        row = [name]
        for phase in PHASES:
            here = [made for made in report.made if (made.cell.fault.name, made.cell.phase) == (name, phase)]
            row.append("  ".join(_mark(report, made, broken) for made in here))
        table.add_row(*row)
    return table


def _mark(report: ChaosReport, made: Made, broken: set[int]) -> str:
    if made.trouble or made.number in broken:
        return f"[red]{made.number} BROKEN[/red]"
    return f"{made.number} ok {made.over_at - made.began_at:.0f} s"
