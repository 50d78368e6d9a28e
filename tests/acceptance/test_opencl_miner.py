"""A pool whose only searcher is a card: `kalepool mine --backend opencl`, on PoCL."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from tests.support.pool import Pool, running_pool

pytest.importorskip("pyopencl")
pytest.importorskip("pocl_binary_distribution", reason="PoCL's wheel is for Linux on x86-64")

pytestmark = [pytest.mark.anyio, pytest.mark.acceptance]

ROOT = Path(__file__).parents[2]
MINER = """
import sys
from tests.support import pocl
pocl.offer()
sys.argv[0] = "kalepool"
from kalepool.__main__ import main
main()
"""
WORKED: LiteralString = (
    "SELECT w.block_index FROM works w JOIN shares s USING (block_index, farmer_id, nonce) "
    "JOIN miners m USING (miner_id) WHERE w.outcome = 'worked' AND m.name = 'card'"
)
HARVESTED: LiteralString = "SELECT block_index FROM harvests WHERE outcome = 'harvested'"


async def blocks(pool: Pool, query: LiteralString) -> set[int]:
    async with await psycopg.AsyncConnection.connect(pool.urls.api) as connection:
        return {row[0] for row in await (await connection.execute(query)).fetchall()}


@pytest.mark.slow(40, "blocks of 12 s, until one is harvested")
@pytest.mark.pool
async def test_a_card_mines_a_block_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KALEPOOL_MINER_REGISTRATION", "open")
    monkeypatch.setenv("KALEPOOL_INSURANCE", "false")  # or the coordinator hashes a nonce itself
    async with running_pool(1, 0.5, 12, "none") as pool:
        answer = await pool.client.post(f"{pool.parts.api_url}/miner/register", json={"name": "card"})
        assert answer.status_code == 201, answer.text
        environment = os.environ | {"KALEPOOL_API_KEY": answer.json()["api_key"], "POCL_CACHE_DIR": str(tmp_path)}
        log = tmp_path / "miner.log"
        command = [sys.executable, "-c", MINER, "mine", "--url", pool.parts.api_url, "--backend", "opencl"]
        with log.open("wb") as output:
            miner = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            pool.start_coordinator()
            async with asyncio.timeout(150):
                while not (await blocks(pool, WORKED)) & (await blocks(pool, HARVESTED)):
                    assert miner.returncode is None, log.read_text()
                    await asyncio.sleep(0.5)
        finally:
            miner.terminate()
            await miner.wait()
            print(log.read_text())
        assert "with opencl" in log.read_text()
