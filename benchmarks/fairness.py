"""Do equal farmers get the same? A whole pool, as `kalepool up` starts it, and what came of it for each farmer.

For each farmer: in how many blocks it had a work past the block's min_zeros, the sum of its zeros past them (up to
max_zeros), its mean gap, and what it was paid. Then how far the least and the most favoured are apart. Read from the
pool's database when the run is over; `kalepool up` itself holds the rewards against the chain.

    KALEPOOL_BACKEND=sse2 python -m benchmarks.fairness [--farmers 8] [--blocks 30] [--block-seconds 15]
        [--ledger-seconds 1] [--rigs N] [--data-dir FOLDER] [--json FILE]

With --rigs the pool has no workers of its own, and N `kalepool mine` of one thread each hash for it over HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import psycopg
from psycopg.rows import class_row

from kalepool.postgres import Postgres

WANTED = "blocks differ by at most 5, rewards by at most 15 %"

FARES = """
SELECT f.metadata->>'name' AS farmer, count(*) AS planted, count(w.zeros) AS worked,
       count(*) FILTER (WHERE w.zeros > b.min_zeros) AS past_min,
       coalesce(sum(least(greatest(w.zeros - b.min_zeros, 0), b.max_zeros - b.min_zeros)), 0)::int AS paying_zeros,
       coalesce(avg(w.gap), 0)::float8 AS mean_gap, coalesce(sum(h.reward_stroops), 0)::float8 / 1e7 AS kale
FROM plantings p
JOIN farmers f USING (farmer_id)
JOIN blocks b USING (block_index)
LEFT JOIN LATERAL (SELECT zeros, gap FROM works w WHERE w.block_index = p.block_index AND w.farmer_id = p.farmer_id
                   AND w.outcome = 'worked' ORDER BY zeros DESC LIMIT 1) w ON true
LEFT JOIN harvests h ON h.block_index = p.block_index AND h.farmer_id = p.farmer_id AND h.outcome = 'harvested'
WHERE p.outcome = 'planted'
GROUP BY f.farmer_id ORDER BY past_min, kale
"""


@dataclass(frozen=True, slots=True)
class Fare:
    """How one farmer fared over the run. `paying_zeros`: past each block's min_zeros and up to its max_zeros."""

    farmer: str
    planted: int
    worked: int
    past_min: int
    paying_zeros: int
    mean_gap: float
    kale: float


@contextmanager
def _rigs(pool: subprocess.Popen[str], count: int) -> Iterator[None]:
    """So many `kalepool mine` for a pool that has begun to say where its API is; its output goes on to ours."""
    assert pool.stdout is not None
    url = None
    for line in pool.stdout:
        print(line, end="", flush=True)
        if found := re.match(r"API: (http://[^/]+)/docs", line):
            url = found[1]
            break
    rigs: list[subprocess.Popen[bytes]] = []
    try:
        if count and url:
            key = httpx2.post(f"{url}/miner/register", json={"name": "fairness"}).raise_for_status().json()["api_key"]
            for number in range(count):
                command = [sys.executable, "-m", "kalepool", "mine", "--url", url, "--rig", str(number)]
                environment = {**os.environ, "KALEPOOL_API_KEY": key}
                rigs.append(subprocess.Popen([*command, "--threads", "1"], env=environment, stdout=subprocess.DEVNULL))
        yield
    finally:
        for rig in rigs:
            rig.terminate()
        for rig in rigs:
            rig.wait()


def run_pool(data_dir: Path, options: argparse.Namespace) -> int:
    """`kalepool up` on this folder, to its end. Its exit status."""
    command = [sys.executable, "-m", "kalepool", "up", "--data-dir", str(data_dir), "--farmers", str(options.farmers)]
    command += ["--blocks", str(options.blocks), "--block-seconds", str(options.block_seconds)]
    command += ["--ledger-seconds", str(options.ledger_seconds)]
    command += ["--ray-address", "none"] * bool(options.rigs)
    environment = {**os.environ, "KALEPOOL_MINER_REGISTRATION": "open"}
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as pool,
        _rigs(pool, options.rigs),
    ):
        assert pool.stdout is not None
        for line in pool.stdout:
            print(line, end="", flush=True)
        return pool.wait()


def read_fares(data_dir: Path) -> Sequence[Fare]:
    """Of all blocks that the pool on this folder planted in."""
    with (
        Postgres.start(data_dir / "postgres") as server,
        psycopg.connect(server.url()) as connection,
        connection.cursor(row_factory=class_row(Fare)) as cursor,
    ):
        return cursor.execute(FARES).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farmers", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--block-seconds", type=int, default=15)
    parser.add_argument("--ledger-seconds", type=float, default=1.0)
    parser.add_argument("--rigs", type=int, default=0, help="external miners' rigs instead of workers of our own")
    parser.add_argument("--data-dir", type=Path, help="keep database, chain and logs here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kalepool-fairness-") as name:
        data_dir = options.data_dir or Path(name)
        status = run_pool(data_dir, options)
        fares = read_fares(data_dir)
    print(f"\n{'farmer':10}{'planted':>8}{'worked':>8}{'past min':>10}{'zeros':>7}{'gap':>7}{'KALE':>12}")
    for fare in fares:
        print(
            f"{fare.farmer:10}{fare.planted:8}{fare.worked:8}{fare.past_min:10}{fare.paying_zeros:7}"
            f"{fare.mean_gap:7.2f}{fare.kale:12.2f}"
        )
    blocks = [fare.past_min for fare in fares]
    zeros = [fare.paying_zeros for fare in fares]
    kale = [fare.kale for fare in fares]
    print(
        f"between the least and the most favoured: {max(blocks) - min(blocks)} blocks past min_zeros "
        f"({min(blocks)} to {max(blocks)}), {max(zeros) - min(zeros)} paying zeros ({min(zeros)} to {max(zeros)}), "
        f"rewards {max(kale) / min(kale) - 1:.1%} ({min(kale):,.0f} to {max(kale):,.0f} KALE)\nwanted: {WANTED}"
    )
    if options.json:
        options.json.write_text(json.dumps([asdict(fare) for fare in fares], indent=1) + "\n")
    raise SystemExit(status)


if __name__ == "__main__":
    main()
