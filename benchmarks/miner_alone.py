"""The miner alone on a fresh machine: how large is it, and how long until its first share counts?

    python -m benchmarks.miner_alone [--runs 5]

Its wheel is installed by pip into a new environment, then it is started with an empty kernel cache, several times, for
a pool that runs beside it on this machine. What pip loads comes from its index or its cache: the network's time is in
the figure as far as there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from tests.support.installed import ROOT, build_wheel
from tests.support.pool import running_pool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="starts with an empty cache (default 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kalepool-bench-") as name:
        folder = Path(name)
        wheel = build_wheel(ROOT / "miner", folder / "wheel")
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", folder / "miner"], check=True)
        made = time.monotonic()
        pip = [folder / "miner/bin/python", "-m", "pip", "install", "--quiet", wheel]
        subprocess.run(pip, check=True)
        print(f"environment {made - began:.1f} s, pip install {time.monotonic() - made:.1f} s")
        site = next((folder / "miner/lib").glob("python*/site-packages"))
        sizes = {path.name: _megabytes(path) for path in site.iterdir()}
        largest = ", ".join(f"{part} {sizes[part]:.0f}" for part in sorted(sizes, key=lambda part: -sizes[part])[:5])
        own = sizes["kalepool"] + sizes["kernels"]
        print(
            f"wheel {wheel.stat().st_size / 1000:.0f} kB; installed {sum(sizes.values()):.0f} MB: {largest}; {own=:.2f}"
        )
        asyncio.run(_first_shares(folder / "miner/bin/kalepool-miner", folder / "cache", options.runs))


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


async def _first_shares(program: Path, cache: Path, runs: int) -> None:
    os.environ |= {"KALEPOOL_MINER_REGISTRATION": "open", "KALEPOOL_INSURANCE": "false"}
    async with running_pool(1, 1.0, 300, "none") as pool:
        pool.start_coordinator()
        answer = await pool.client.post(f"{pool.parts.api_url}/miner/register", json={"name": "fresh"})
        key = answer.raise_for_status().json()["api_key"]
        async with httpx2.AsyncClient(
            base_url=pool.parts.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=70
        ) as miner:
            while (await miner.get("/miner/job", params={"wait": 60})).status_code != 200:  # until a block is planted
                pass
            taken: list[float] = []
            for _ in range(runs):
                shutil.rmtree(cache, ignore_errors=True)
                before = await _accepted(miner)
                began = time.monotonic()
                mine = await asyncio.create_subprocess_exec(
                    *(str(program), "mine", "--url", pool.parts.api_url, "--rig", f"fresh {began}"),
                    env=os.environ | {"KALEPOOL_API_KEY": key, "NUMBA_CACHE_DIR": str(cache)},
                    stdout=subprocess.DEVNULL,
                )
                while await _accepted(miner) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                taken.append(time.monotonic() - began)
                print(f"first share counted after {taken[-1]:.1f} s", flush=True)
                mine.send_signal(signal.SIGINT)
                await mine.wait()
            print(f"median {statistics.median(taken):.1f} s, longest {max(taken):.1f} s (wanted: below 15 s)")


async def _accepted(miner: httpx2.AsyncClient) -> int:
    return (await miner.get("/miner/me")).raise_for_status().json()["shares"].get("accepted", 0)


if __name__ == "__main__":
    main()
