"""A pool without a searcher of its own: `kalepool mine` and examples/miner.py do all its hashing over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from kalepool.postgres import Postgres
from tests.support.installed import Home

pytestmark = pytest.mark.acceptance

FARMERS = 4
EXAMPLE = Path(__file__).parents[2] / "examples" / "miner.py"


@pytest.mark.slow(30, "two blocks of 12 s")
def test_miners_alone_get_every_farmer_worked(home: Home) -> None:
    options = ["--farmers", str(FARMERS), "--blocks", "2", "--ledger-seconds", "0.5", "--block-seconds", "12"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    registration = {"KALEPOOL_MINER_REGISTRATION": "open"}
    pool = home.start("up", "--ray-address", "none", *options, variables=registration, **pipes)
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
            answer = httpx2.post(f"{url}/miner/register", json={"name": name}, timeout=60)
            assert answer.status_code == 201, answer.text
            keys.append(answer.json()["api_key"])
        ours, examples = ({"KALEPOOL_API_KEY": key} for key in keys)
        miners.append(home.start("mine", "--url", url, "--threads", "1", variables=ours, **pipes))
        # The example needs two packages that kalepool does not: it runs in the environment of whoever wrote it. It is
        # ended by a signal, which would lose what it has not written yet.
        miners.append(
            subprocess.Popen(
                [sys.executable, str(EXAMPLE), url], env=home.environment(PYTHONUNBUFFERED="1", **examples), **pipes
            )
        )
        output += pool.communicate(timeout=150)[0]
    finally:
        for process in miners:
            process.terminate()
        said = [process.communicate(timeout=60)[0] for process in miners]
        pool.kill()
        pool.wait()
    assert pool.returncode == 0, output  # every planted farmer was worked and harvested
    assert "accepted" in said[0] and '"accepted"' in said[1], said
    with Postgres.start(home.data / "postgres") as server, psycopg.connect(server.url()) as connection:
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
    # Who has it is a matter of turns: with a high min_zeros the power goes to one farmer after the other.
    between = range(first + 1, last)
    assert between and {block for block, _, name in works if name is not None} >= set(between)
    assert {name for (name,) in brought} == {"kalepool mine", "example"}
