"""The devnet as a process: started and ended by a supervisor, killed, started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from stellar_sdk import Keypair

from kalepool.devnet.testing import running_devnet

pytestmark = pytest.mark.anyio

START_SECONDS = 30


class _Process:
    def __init__(self, process: asyncio.subprocess.Process, url: str, http: aiohttp.ClientSession) -> None:
        self.process, self.url, self._http = process, url, http

    async def call(self, method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._http.post(self.url, json=body) as response:
            return (await response.json())["result"]

    async def fund(self, address: str) -> dict[str, Any]:
        async with self._http.get(f"{self.url}/friendbot", params={"addr": address}) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def end(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        return await asyncio.wait_for(self.process.wait(), START_SECONDS)


@asynccontextmanager
async def _devnet(*options: str) -> AsyncIterator[_Process]:
    command = (sys.executable, "-m", "kalepool", "devnet", "--port", "0", "--ledger-seconds", "0.1", *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        async with aiohttp.ClientSession() as http:
            yield _Process(process, line.decode().strip(), http)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_killed_devnet_goes_on_from_its_last_ledger(tmp_path: Path) -> None:
    key = Keypair.random().public_key
    async with _devnet("--data", str(tmp_path)) as first:
        gift = await first.fund(key)
        seen = await first.call("getLatestLedger")
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
    async with _devnet("--data", str(tmp_path)) as second:
        found = await second.call("getTransaction", hash=gift["hash"])
        assert found["status"] == "SUCCESS" and found["ledger"] == gift["ledger"]
        pagination = {"limit": 1}
        (ledger,) = (await second.call("getLedgers", startLedger=seen["sequence"], pagination=pagination))["ledgers"]
        assert ledger["hash"] == seen["id"]
        assert (await second.call("getLatestLedger"))["sequence"] >= seen["sequence"]
        assert await second.end(signal.SIGTERM) == 0


async def test_it_ends_at_sigint_and_has_no_faults_unless_asked(tmp_path: Path) -> None:
    async with _devnet("--fault", "kind=unavailable,method=getHealth") as devnet, aiohttp.ClientSession() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
        statuses = []
        for _ in range(2):
            async with http.post(devnet.url, json=body) as response:
                statuses.append(response.status)
        assert statuses == [503, 200]
        assert await devnet.end(signal.SIGINT) == 0
    async with running_devnet(faults=False) as plain, aiohttp.ClientSession() as http:
        for path in ("faults", "ledgers"):
            async with http.post(f"{plain.url}/{path}", json={"kind": "drop"}) as response:
                assert response.status == 404
