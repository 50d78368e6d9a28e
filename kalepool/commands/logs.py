"""`kalepool logs`: what the parts of `kalepool up` wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kalepool.commands.pool import AsJson, read_settings, show_json
from kalepool.errors import ConfigError
from kalepool.units import plain

LOOK_SECONDS = 0.5


def logs(
    part: Annotated[str | None, typer.Argument(help="api, coordinator, postgres, devnet…; all where absent.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many last lines of each.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last lines that each part of `kalepool up` wrote to its log."""
    folder = read_settings().data_dir / "logs"
    files = sorted(folder.glob("*.log"))
    if part is not None:
        files = [file for file in files if file.stem == part]
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log")))
        raise ConfigError(f"no log of {part or 'anything'} in {folder}" + (f": there are {known}" if known else ""))
    last = {file.stem: _last_lines(file, lines) for file in files}
    if as_json:
        show_json(last)
        return
    for name, found in last.items():
        for line in found:
            typer.echo(f"{name + '  ' if len(files) > 1 else ''}{plain(line)}")
    if follow:
        for name, line in _new_lines(files):
            typer.echo(f"{name + '  ' if len(files) > 1 else ''}{plain(line)}")


def _last_lines(file: Path, count: int) -> list[str]:
    return file.read_text("utf-8", "replace").splitlines()[-count:] if count else []


def _new_lines(files: list[Path]) -> Iterator[tuple[str, str]]:
    """What is added from now on. A file that got shorter was cut, and is read from its beginning."""
    places = {file: file.stat().st_size for file in files}
    while True:
        time.sleep(LOOK_SECONDS)
        for file in files:
            size = file.stat().st_size
            begin = places[file] if size >= places[file] else 0
            with file.open("rb") as opened:
                opened.seek(begin)
                whole, end, _ = opened.read(size - begin).rpartition(b"\n")
            places[file] = begin + len(whole) + len(end)
            for line in whole.decode("utf-8", "replace").splitlines():
                yield file.stem, line
