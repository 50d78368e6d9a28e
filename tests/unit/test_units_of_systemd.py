"""The units in deploy/: hardened, of separate users, and started by commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from kalepool.__main__ import app
from kalepool.cluster.fleet import SYSTEM_CONFIG
from kalepool.config import Settings

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy").glob("*.service"))

HARDENED = {
    "UMask": "0077",
    "LimitCORE": "0",
    "NoNewPrivileges": "true",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "true",
    "PrivateTmp": "true",
    "ProtectProc": "invisible",
    "ProtectKernelTunables": "true",
    "ProtectKernelModules": "true",
    "ProtectControlGroups": "true",
    "RestrictSUIDSGID": "true",
    "RestrictNamespaces": "true",
    "LockPersonality": "true",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "StateDirectoryMode": "0700",
}

HOLDS_KEYS = {"kalepool-api", "kalepool"}
IN_RAYS_ZONE = {"kalepool-ray-head", "kalepool-coordinator"}


def read(unit: Path) -> dict[str, list[str]]:
    """Every value of each key, whatever its section."""
    found: dict[str, list[str]] = {}
    text = re.sub(r"\\\n\s*", " ", unit.read_text())
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def environment(unit: dict[str, list[str]]) -> dict[str, str]:
    return dict(entry.split("=", 1) for line in unit.get("Environment", []) for entry in line.split())


def test_all_are_known() -> None:
    assert {unit.stem for unit in UNITS} == HOLDS_KEYS | IN_RAYS_ZONE


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_hardened(path: Path) -> None:
    unit = read(path)
    assert {key: unit.get(key) for key in HARDENED} == {key: [value] for key, value in HARDENED.items()}
    assert unit["User"] not in ([], ["root"]) and "DynamicUser" not in unit
    (folder,) = unit["StateDirectory"]
    given = environment(unit)
    assert given.get("KALEPOOL_DATA_DIR", f"/var/lib/{folder}") == f"/var/lib/{folder}", "it can write there alone"
    known = {f"KALEPOOL_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in given if name.startswith("KALEPOOL_")} <= known


def test_what_holds_keys_and_what_is_in_rays_zone_are_different_users_with_different_files() -> None:
    units = {path.stem: read(path) for path in UNITS}
    for what in ("User", "StateDirectory"):
        keys, zone = ({value for name in names for value in units[name][what]} for names in (HOLDS_KEYS, IN_RAYS_ZONE))
        assert keys.isdisjoint(zone)
    files = {name: set(unit.get("EnvironmentFile", [])) for name, unit in units.items()}
    assert files["kalepool-api"].isdisjoint(files["kalepool-coordinator"])
    for name in IN_RAYS_ZONE:
        assert not re.search(r"MASTER_KEY|/var/lib/kalepool(?!-ray)", (ROOT / "deploy" / f"{name}.service").read_text())


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_there_is(path: Path) -> None:
    (line,) = read(path)["ExecStart"]
    words = shlex.split(line)
    if words[:2] == ["/bin/sh", "-c"]:
        words = shlex.split(words[2].replace("$$", "$").removeprefix("exec "))
    program = Path(words[0])
    assert program.parent == Path("/opt/kalepool/.venv/bin")
    if program.name == "ray":
        from ray.scripts.scripts import start

        config = f"--system-config=$(cat /opt/kalepool/{Path('kalepool/cluster/ray.json')})"
        assert words[1] == "start" and config in words and SYSTEM_CONFIG
        given = start.make_context("start", [word for word in words[2:] if word != config]).params
        assert given["head"] and given["block"] and not given["include_dashboard"]
        assert given["temp_dir"] == "/var/lib/kalepool-ray/r", "Ray opens its folder to all: in one that is closed"
        return
    assert program.name == "kalepool"
    group = typer.main.get_command(app)
    _, command, rest = group.resolve_command(group.make_context("kalepool", words[1:2]), words[1:])  # pyright: ignore[reportAttributeAccessIssue]
    assert command is not None and command.make_context(words[1], list(rest)).command is command


def test_the_files_named_in_the_books_are_there() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    named = set(re.findall(r"deploy/([\w-]+\.service)", text))
    assert named == {path.name for path in UNITS}
