"""`kalepool settings`: every setting with its value, where that comes from, its default and what it does."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import typer
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from kalepool.config import Heading, Settings, env_file, names_in
from kalepool.networks import NETWORKS
from kalepool.services.signin import addresses
from kalepool.up.folder import find_running

WIDTH = 100
HIDDEN = "(hidden)"
NONE = "none"

OF_NETWORK = {"network_passphrase": "passphrase"} | {
    name: name
    for name in (
        "rpc_url",
        "contract_id",
        "asset_code",
        "asset_issuer",
        "asset_contract_id",
        "tractor_id",
        "friendbot_url",
        "ledger_seconds",
        "block_seconds",
    )
}
"""Settings that have the chosen network's value where they have none, and what it is called there."""

ELSE = {
    "database_url": "the embedded server's",
    "coordinator_database_url": "DATABASE_URL",
    "migrate_database_url": "DATABASE_URL",
    "api_url": "http:// with KALEPOOL_API_HOST and KALEPOOL_API_PORT",
    "public_url": "KALEPOOL_API_URL",
    "home_domain": "the host of KALEPOOL_PUBLIC_URL",
    "master_key_file": "master.key in KALEPOOL_DATA_DIR",
} | dict.fromkeys(OF_NETWORK, "the network's")
"""What is taken for a setting that has no value, where that is something."""


@dataclass(frozen=True, slots=True)
class Option:
    """What there is to know of a setting before it is set. `heading` is the one it stands under.

    `default` is a value if it `has_default`; else it says in words what is taken where the setting has none.
    """

    field: str
    name: str
    other_names: tuple[str, ...]
    heading: str
    default: str
    has_default: bool
    allowed: str
    meaning: str


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


def options() -> Iterator[Option]:
    """Every setting in the order of config.py."""
    heading = ""
    for field, info in Settings.model_fields.items():
        heading = next((mark.text for mark in info.metadata if isinstance(mark, Heading)), heading)
        name, *others = _names(field, info)
        default = ELSE.get(field, NONE) if info.default is None else _text(info.default)
        meaning = " ".join((info.description or "").split())
        yield Option(field, name, tuple(others), heading, default, info.default is not None, _allowed(info), meaning)


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
            source = _source(_names(field, info), environment, lines, file)
            found[field] = Given(_shown(value), source)
        elif field in derived:
            found[field] = derived[field]
        else:
            found[field] = Given(NONE if value is None else _text(value), "default")
    return found


def _names(field: str, info: FieldInfo) -> list[str]:
    """As it is called in the environment, the name that counts first in front."""
    if isinstance(info.validation_alias, AliasChoices):
        return [str(choice) for choice in info.validation_alias.choices]
    return [f"KALEPOOL_{field.upper()}"]


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
            found[field] = Given(_text(value), f"derived from KALEPOOL_NETWORK={loaded.network}")
    running = find_running(loaded.data_dir)
    if running is not None and running.network == loaded.network:
        for field in ("rpc_url", "friendbot_url", "api_url", "ledger_seconds", "block_seconds"):
            if (value := getattr(running, field)) is not None:
                found[field] = Given(_shown(value), "the `kalepool up` that runs here")
    if "api_url" not in found:
        found["api_url"] = Given(_shown(loaded.own_api_url), "derived from KALEPOOL_API_HOST and KALEPOOL_API_PORT")
    url = _shown(addresses(loaded)[0])
    domain = url.partition("://")[2].partition("/")[0] or HIDDEN
    found["public_url"] = Given(url, "derived from KALEPOOL_API_URL")
    found["home_domain"] = Given(domain, "derived from KALEPOOL_PUBLIC_URL")
    if loaded.master_key is None:
        found["master_key_file"] = Given(str(loaded.data_dir / "master.key"), "derived from KALEPOOL_DATA_DIR")
    return found


def _text(value: object) -> str:
    """As one writes it into `.env`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
    """A value that somebody gave, without what may be secret: of an address only the host, which says where it is."""
    if isinstance(value, SecretStr):
        return HIDDEN
    text = _text(value)
    if "://" not in text:
        before, at, host = text.rpartition("@")
        return f"{HIDDEN}{at}{host}" if before and not isinstance(value, Path) else text
    if len(several := text.replace(",", " ").split()) > 1:
        return ",".join(_shown(each) for each in several)
    try:
        parts = urlsplit(text)
        place = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return HIDDEN
    if not place:
        return HIDDEN
    has_more = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{place}" + (f"/… {HIDDEN}" if has_more else "")


def _allowed(info: FieldInfo) -> str:
    """What values it takes, in words; empty where anything goes."""
    bounds: dict[str, object] = {}
    choices = ""
    for mark in _marks([info.annotation, *info.metadata]):
        if isinstance(mark, str):
            choices = mark
            continue
        bounds |= {name: getattr(mark, name) for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
    if {"ge", "le"} <= bounds.keys():
        return f"{bounds['ge']} to {bounds['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    within = " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items())
    return " or ".join(said for said in (choices, within) if said)


def _marks(hints: Iterable[Any]) -> Iterator[Any]:
    """The bounds in a field's type, however deep, and its choices in words."""
    for hint in hints:
        if get_origin(hint) is Literal:
            yield "one of " + ", ".join(map(str, get_args(hint)))
        elif isinstance(hint, type) and issubclass(hint, StrEnum):
            yield "one of " + ", ".join(hint)
        elif hint is bool:
            yield "true or false"
        elif isinstance(hint, FieldInfo):
            yield from _marks(hint.metadata)
        elif get_args(hint):
            yield from _marks((*get_args(hint), *getattr(hint, "__metadata__", ())))
        else:
            yield hint


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
