"""Compiled kernels on disk: quick to come by, never stale, never another machine's, whoever writes at the same time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kernels

PACKAGE = Path(kernels.__file__).parent
BACKEND = kernels.backends()[0] if kernels.backends()[0] != "cuda" else kernels.backends()[1]

# Prints what bringing up a backend cost, in CPU seconds, after the import of numba.
START = """
import json, sys, time
import numba
began = time.process_time()
import kernels
from kernels import driver
loaded = driver.load_backend(sys.argv[1])
seconds = time.process_time() - began
best = kernels.search(kernels.Template(1, bytes(32), bytes(32)), 0, 100_000, backend=sys.argv[1])
print(json.dumps({"seconds": seconds, "loaded": loaded.kernel._cache.hits, "best": [best.zeros, best.nonce]}))
"""
EXPECTED = [4, 58195]


def launch(cache: Path, backend: str = BACKEND, package: Path = PACKAGE, **more: str) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(package.parent)} | more
    command = [sys.executable, "-c", START, backend]
    return subprocess.Popen(command, env=environment, cwd=cache.parent, stdout=subprocess.PIPE, text=True)


def started(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    answer = json.loads(output)
    assert answer["best"] == EXPECTED
    return answer


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.mark.slow(6, "kernels are compiled, which takes seconds each")
def test_cold_and_warm_starts_and_a_damaged_file(tmp_path: Path) -> None:
    cold = started(launch(tmp_path / "cache"))
    assert (cold["loaded"], len(files(tmp_path / "cache"))) == (0, 1)
    assert cold["seconds"] < 5
    warm = started(launch(tmp_path / "cache"))
    assert warm["loaded"] == 1
    assert warm["seconds"] < cold["seconds"] / 3
    [file] = files(tmp_path / "cache")
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        file.write_bytes(damaged)
        assert started(launch(tmp_path / "cache"))["loaded"] == 0


@pytest.mark.slow(6, "kernels are compiled, which takes seconds each")
def test_other_sources_another_processor_and_another_backend_share_nothing(tmp_path: Path) -> None:
    cache, copy = tmp_path / "cache", tmp_path / "copy" / "kernels"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = files(copy)
    plain = {"PYTHONDONTWRITEBYTECODE": "1"}
    started(launch(cache, package=copy, **plain))
    # Same size, same time, other text, in another file than the kernel's.
    source = copy / "keccak.py"
    times = source.stat()
    source.write_text(source.read_text().replace("readable", "legible.", 1))
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert started(launch(cache, package=copy, **plain))["loaded"] == 0
    assert started(launch(cache, package=copy, NUMBA_CPU_NAME="generic", **plain))["loaded"] == 0
    assert started(launch(cache, package=copy, backend="portable", **plain))["loaded"] == 0
    assert len(files(cache)) == 4
    assert files(copy) == before  # a package folder that cannot be written is not missed


def test_processes_may_race_to_write(tmp_path: Path) -> None:
    racers = [launch(tmp_path / "cache") for _ in range(3)]
    for racer in racers:
        started(racer)
    assert len(files(tmp_path / "cache")) == 1
    assert started(launch(tmp_path / "cache"))["loaded"] == 1


def test_without_a_folder_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert started(launch(tmp_path / "file"))["loaded"] == 0
