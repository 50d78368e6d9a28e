"""`kalepool bench` as its users call it, and the kernels as a package of their own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kernels

ROOT = Path(kernels.__file__).parents[1]
# A miner that prints its rate now and then, as kale-miner does, and never ends by itself.
PEER = """
import sys, time
print("[CPU] Mining batch: 0")
while True:
    print(f"[CPU] Hash Rate: {100 * int(sys.argv[1])}.00 KH/s", flush=True)
    time.sleep(0.2)
"""


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kalepool", "bench", "--seconds", "0.05", "--runs", "2", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COLUMNS": "120"}, capture_output=True, text=True, timeout=90
    )


@pytest.mark.slow(8, "every backend of this machine is measured for a while")
def test_table_json_plot_and_a_peer(tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(PEER)
    peer = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'peer.py'))} {{threads}}"
    backends = [name for name in kernels.backends() if not kernels.is_of_cards(name)]
    chosen = [backends[0], "python"]
    options = [option for name in chosen for option in ("--backend", name)]
    results, plot = tmp_path / "results.json", tmp_path / "plot.png"
    done = bench(*options, "--threads", "2", "--peer", peer, "--json", str(results), "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text())
    rows = {row["backend"]: row for row in found["results"]}
    assert list(rows) == [*chosen, "peer"]
    for row in rows.values():
        assert row["threads"] == 2
        assert len(row["runs"]) == 2
        assert min(row["runs"]) <= row["hashes_per_second"] <= max(row["runs"])
    assert rows["peer"]["runs"] == [200_000, 200_000]
    assert rows[backends[0]]["hashes_per_second"] > 20 * rows["python"]["hashes_per_second"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    ratio = rows[backends[0]]["hashes_per_second"] / 200_000
    assert backends[0] in done.stdout and f"{ratio:.2f}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "abacus"], "backend 'abacus' does not exist on this machine: it has "),
        (["--backend", "python", "--threads", "1", "--peer", "/no/such/miner"], "cannot start the peer"),
        (["--backend", "python", "--threads", "1", "--peer", "echo hello"], "printed no 'Hash Rate"),
        (["--backend", "python", "--threads", "1", "--peer", "echo Hash Rate: 0 MH/s"], "printed no 'Hash Rate"),
        (["--backend", "python", "--threads", "1", "--peer", "echo Hash Rate: 1.2.3 MH/s"], "printed no 'Hash Rate"),
        (["--backend", "python", "--threads", "1", "--peer", "printf '\\377\\376'"], "printed no 'Hash Rate"),
        (["--backend", "python", "--threads", "1", "--peer", "miner 'x"], "--peer: "),
        (["--json", "/no/such/folder/x.json"], "cannot be written"),
        (["--plot", "/no/such/folder/x.png"], "cannot be written"),
        (["--seconds", "inf"], "--seconds"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_kernels_install_by_themselves(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-c",
        "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))",
        str(tmp_path),
    ]
    subprocess.run(build, cwd=ROOT / "kernels", check=True, capture_output=True)
    [wheel] = tmp_path.glob("kalepool_kernels-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys, kernels; template = kernels.Template(1, bytes(32), bytes(32)); "
        "assert kernels.search(template, 0, 100_000) == kernels.Best(4, 58195); "
        "assert not any(name.partition('.')[0] == 'kalepool' for name in sys.modules); print(kernels.__file__)"
    )
    environment = os.environ | {"PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(site / "kernels" / "__init__.py")
