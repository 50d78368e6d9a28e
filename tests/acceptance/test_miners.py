"""A pool without a searcher of its own: `kalepool mine` and examples/miner.py do all its hashing over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg
import pytest

from kalepool.postgres import Postgres

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]

FARMERS = 4
EXAMPLE = Path(__file__).parents[2] / "examples" / "miner.py"


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "DATABASE_"))}
    ours = {"KALEPOOL_API_PORT": "0", "KALEPOOL_DATA_DIR": str(data), "KALEPOOL_MINER_REGISTRATION": "open"}
    return {**kept, **ours, **more}


def test_miners_alone_get_every_farmer_worked(tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ["--farmers", str(FARMERS), "--blocks", "2", "--ledger-seconds", "0.5", "--block-seconds", "12"]
    pool = subprocess.Popen(
        [sys.executable, "-m", "kalepool", "up", "--ray-address", "none", *options],
        env=environment(data),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    miners: list[subprocess.Popen[str]] = []
    output = ""
    try:
        assert pool.stdout is not None
        url = None
        for line in pool.stdout:
            output += line
            if found := re.match(r"API: (http://[^/]+)/docs", line):
                url = found[1]
                break
        assert url is not None, output
        keys = []
        for name in ("kalepool mine", "example"):
            answer = httpx2.post(f"{url}/miner/register", json={"name": name})
            assert answer.status_code == 201, answer.text
            keys.append(answer.json()["api_key"])
        commands = [
            [sys.executable, "-m", "kalepool", "mine", "--url", url, "--threads", "1"],
            [sys.executable, str(EXAMPLE), url],
        ]
        for command, key in zip(commands, keys, strict=True):
            miners.append(
                subprocess.Popen(
                    command,
                    env=environment(data, KALEPOOL_API_KEY=key),
                    cwd=tmp_path,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        output += pool.communicate(timeout=150)[0]
    finally:
        for process in miners:
            process.terminate()
        said = [process.communicate(timeout=10)[0] for process in miners]
        pool.kill()
        pool.wait()
    assert pool.returncode == 0, output  # every planted farmer was worked and harvested
    assert "accepted" in said[0] and '"accepted"' in said[1], said
    with Postgres.start(data / "postgres") as server, psycopg.connect(server.url()) as connection:
        works = connection.execute(
            "SELECT DISTINCT ON (w.block_index, w.farmer_id) w.block_index, w.farmer_id, m.name FROM works w "
            "LEFT JOIN shares s USING (block_index, farmer_id, nonce) LEFT JOIN miners m USING (miner_id) "
            "WHERE w.outcome = 'worked' ORDER BY w.block_index, w.farmer_id, w.zeros DESC"
        ).fetchall()
        planted = connection.execute(
            "SELECT block_index, farmer_id FROM plantings WHERE outcome = 'planted'"
        ).fetchall()
        brought = connection.execute("SELECT DISTINCT m.name FROM shares JOIN miners m USING (miner_id)").fetchall()
    # The coordinator hashes a nonce for every farmer itself, as insurance of its stake: what counts is the best work.
    first, *_, last = sorted({block for block, _ in planted})
    finished = {(block, farmer) for block, farmer in planted if block < last}
    assert {(block, farmer) for block, farmer, _ in works if block < last} == finished
    assert len(finished) >= 2 * FARMERS
    of_miners = [name for block, _, name in works if first < block < last]
    assert len(of_miners) >= FARMERS and set(of_miners) <= {"kalepool mine", "example"}
    assert {name for (name,) in brought} == {"kalepool mine", "example"}
