"""`kalepool-miner`: the miner alone, a package of its own (see miner/)."""

from __future__ import annotations

from typing import Annotated

import typer

from kalepool.bench import bench
from kalepool.endings import run, show_version
from kalepool.mine.command import mine

NAME = "kalepool-miner"

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def kalepool_miner(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=lambda wanted: show_version(wanted, NAME),
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Hash KALE for a pool, on every core and card of this machine."""


app.command()(mine)
app.command()(bench)


def main() -> None:
    """Run a command."""
    run(app, NAME)


if __name__ == "__main__":
    main()
