"""Every setting in words, its value as far as it may be shown: for `kalepool settings`, docs, the operators' page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from kalepool.config import Heading, Settings

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
        "web_auth_id",
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
class ShownSetting:
    """A setting with its value, without what may be secret. `is_set`: somebody gave it."""

    heading: str
    name: str
    value: str
    is_set: bool
    meaning: str


def of(settings: Settings) -> list[ShownSetting]:
    """All of them as this process has them, in the order of config.py."""
    found = []
    for option in options():
        value = getattr(settings, option.field)
        text = option.default if value is None else shown(value)
        is_set = option.field in settings.model_fields_set
        found.append(ShownSetting(option.heading, option.name, text, is_set, option.meaning))
    return found


def options() -> Iterator[Option]:
    """Every setting in the order of config.py."""
    heading = ""
    for field, info in Settings.model_fields.items():
        heading = next((mark.text for mark in info.metadata if isinstance(mark, Heading)), heading)
        name, *others = names_of(field, info)
        default = ELSE.get(field, NONE) if info.default is None else text_of(info.default)
        meaning = " ".join((info.description or "").split())
        yield Option(field, name, tuple(others), heading, default, info.default is not None, _allowed(info), meaning)


def names_of(field: str, info: FieldInfo) -> list[str]:
    """As it is called in the environment, the name that counts first in front."""
    if isinstance(info.validation_alias, AliasChoices):
        return [str(choice) for choice in info.validation_alias.choices]
    return [f"KALEPOOL_{field.upper()}"]


def text_of(value: object) -> str:
    """As one writes it into `.env`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(value: object) -> str:
    """A value that somebody gave, without what may be secret: of an address only the host, which says where it is."""
    if isinstance(value, SecretStr):
        return HIDDEN
    text = text_of(value)
    if "://" not in text:
        before, at, host = text.rpartition("@")
        return f"{HIDDEN}{at}{host}" if before and not isinstance(value, Path) else text
    if len(several := text.replace(",", " ").split()) > 1:
        return ",".join(shown(each) for each in several)
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
