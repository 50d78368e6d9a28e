"""`python -m tests.chaos`: what `make chaos` runs."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from tests.chaos.cells import FAULTS
from tests.chaos.driver import Options, run, show
from tests.chaos.stage import StageError, Times


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long faults are made (300)")
    parser.add_argument("--seed", type=int, default=1, help="the order of faults (1)")
    parser.add_argument("--block-seconds", type=int, default=15)
    parser.add_argument("--ledger-seconds", type=float, default=1.0)
    parser.add_argument("--farmers", type=int, default=6)
    parser.add_argument(
        "--ray", action="store_true", help="search on a Ray of the pool's own, and make faults there too"
    )
    parser.add_argument("--only", action="append", default=[], metavar="FAULT[/PHASE]", help="these and no others")
    parser.add_argument("--list", action="store_true", help="the faults' names")
    given = parser.parse_args()
    if given.list:
        print(*(fault.name for fault in FAULTS), sep="\n")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    options = Options(
        seconds=given.seconds,
        seed=given.seed,
        times=Times(given.ledger_seconds, given.block_seconds),
        farmers=given.farmers,
        ray=given.ray,
        only=given.only,
    )
    try:
        report = run(options, console)
    except (StageError, ValueError) as error:
        console.print(str(error), style="bold red", markup=False)
        return 2
    show(report, console)
    return 1 if report.is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
