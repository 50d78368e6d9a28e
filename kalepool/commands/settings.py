"""`kalepool settings`: every setting with its value, where that comes from, its default and what it does."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from kalepool.config import Settings, env_file, names_in
from kalepool.networks import NETWORKS
from kalepool.services.signin import addresses
from kalepool.shown_settings import HIDDEN, NONE, OF_NETWORK, Option, names_of, options, shown, text_of
from kalepool.up.folder import find_running

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Given:
    """A setting's value, as far as it may be shown, and where that comes from."""

    value: str
    source: str


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list, for programs.")] = False,
) -> None:
    """Show every setting: its value, where that comes from, its default and what it does. Secrets stay hidden."""
    given = read()
    if as_json:
        rows = [{**asdict(option), **asdict(given[option.field])} for option in options()]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    heading = ""
    for option in options():
        if option.heading != heading:
            heading = option.heading
            typer.echo(f"# {heading}\n")
        typer.echo(_block(option, given[option.field]) + "\n")


def read() -> dict[str, Given]:
    """Every setting's value, by its field. Raises ConfigError where any is wrong."""
    loaded = Settings.load()
    file = env_file()
    lines = {name.upper(): place for place, name in names_in(file)} if file else {}
    environment = {name.upper() for name in os.environ}
    derived = _derived(loaded)
    found: dict[str, Given] = {}
    for field, info in Settings.model_fields.items():
        value = getattr(loaded, field)
        if field in loaded.model_fields_set:
            source = _source(names_of(field, info), environment, lines, file)
            found[field] = Given(shown(value), source)
        elif field in derived:
            found[field] = derived[field]
        else:
            found[field] = Given(NONE if value is None else text_of(value), "default")
    return found


def _source(names: list[str], environment: set[str], lines: Mapping[str, str], file: Path | None) -> str:
    for name in names:
        if name in environment:
            return "environment" if name == names[0] else f"environment, {name}"
    return next((lines[name] for name in names if name in lines), str(file))


def _derived(loaded: Settings) -> dict[str, Given]:
    """What settings without a value come to."""
    found: dict[str, Given] = {}
    network = NETWORKS[loaded.network]
    for field, name in OF_NETWORK.items():
        if (value := getattr(network, name)) is not None:
            found[field] = Given(text_of(value), f"derived from KALEPOOL_NETWORK={loaded.network}")
    running = find_running(loaded.data_dir)
    if running is not None and running.network == loaded.network:
        for field in ("rpc_url", "friendbot_url", "api_url", "ledger_seconds", "block_seconds"):
            if (value := getattr(running, field)) is not None:
                found[field] = Given(shown(value), "the `kalepool up` that runs here")
    if "api_url" not in found:
        found["api_url"] = Given(shown(loaded.own_api_url), "derived from KALEPOOL_API_HOST and KALEPOOL_API_PORT")
    url = shown(addresses(loaded)[0])
    domain = url.partition("://")[2].partition("/")[0] or HIDDEN
    found["public_url"] = Given(url, "derived from KALEPOOL_API_URL")
    found["home_domain"] = Given(domain, "derived from KALEPOOL_PUBLIC_URL")
    if loaded.master_key is None:
        found["master_key_file"] = Given(str(loaded.data_dir / "master.key"), "derived from KALEPOOL_DATA_DIR")
    return found


def _block(option: Option, given: Given) -> str:
    """A setting in lines of at most WIDTH columns, but for long values: they can be copied."""
    of = [f"source: {given.source}"]
    if given.source != "default":
        of.append(f"default: {option.default}")
    if option.allowed:
        of.append(f"allowed: {option.allowed}")
    lines = [f"{option.name}={'' if given.value == NONE else given.value}"]
    for text in ("; ".join(of), option.meaning):
        lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines)
