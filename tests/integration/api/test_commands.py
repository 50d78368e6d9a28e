"""The commands that ask a running API: what an operator did with curl before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from tests.support.command_line import Done, Run, command_line
from tests.support.served import served

pytestmark = pytest.mark.anyio


class Commands:
    """Runs commands against the API that is served, in a thread of their own."""

    def __init__(self, run: Run, variables: dict[str, str]) -> None:
        self._run, self._variables = run, variables

    async def __call__(self, *arguments: str) -> Done:
        return await asyncio.to_thread(self._run, *arguments, **self._variables)

    async def json(self, *arguments: str):
        done = await self(*arguments, "--json")
        assert done.status == 0, done.errors
        return json.loads(done.output)


@pytest.fixture
async def commands(
    farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Commands]:
    async with served(farm.settings) as (url, server):
        farm.ctx = server._app.state.context
        variables = {
            "KALEPOOL_API_URL": url,
            "KALEPOOL_RPC_URL": farm.devnet.url,
            "KALEPOOL_LEDGER_SECONDS": "0.1",
            "DATABASE_URL": farm.database_url,
        }
        with command_line(tmp_path, monkeypatch, capsys) as run:
            yield Commands(run, variables)


@pytest.mark.slow(6, "a command at a time")
async def test_pause_until_it_is_safe_to_stop(farm, commands: Commands) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    pausing = asyncio.create_task(commands("pause", "--wait", "--reason", "upgrade"))
    while not await farm.rows("SELECT FROM pool_switches WHERE planting_paused"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)
    assert not pausing.done(), "a stake waits for its work"
    await farm.end_block()
    await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    paused = await asyncio.wait_for(pausing, 20)
    assert paused.status == 0 and paused.output.endswith("It is safe to stop now.\n"), paused
    assert "Paused" in (await commands("status")).output
    assert (await commands.json("resume")) == {"planting_paused": False}
    assert await farm.rows("SELECT action FROM operator_actions ORDER BY action_id") == [
        ("pause-planting",),
        ("resume-planting",),
    ]


@pytest.mark.slow(8, "a command at a time")
async def test_what_operators_did_with_curl(farm, commands: Commands) -> None:
    (farmer,) = await farm.add_farmers(1)
    assert (await commands.json("pooler", "open", "ours"))["open"] is True
    assert (await commands.json("pooler", "close", "ours"))["open"] is False
    changed = await commands.json("farmer", "set", str(farmer.farmer_id), "0.25")
    assert changed["stake_percentage"] == 0.25

    added = await commands.json("miner", "add", "rig")
    assert [row["miner_id"] for row in await commands.json("miner", "list")] == [added["miner_id"]]
    other = await commands.json("miner", "key", "rig")
    unsure = await commands("key", "revoke", other["key_id"])  # nobody says yes
    assert unsure.status == 1 and "Whoever uses it is refused" in unsure.output
    assert (await commands("key", "revoke", other["key_id"], "--yes")).status == 0
    left = await commands.json("key", "list", "--role", "miner")
    assert len(left) == 1 and left[0]["key_id"] != other["key_id"]
    unknown = await commands("miner", "show", "rag")
    assert unknown.status == 2 and "see `kalepool miner list`" in unknown.errors
