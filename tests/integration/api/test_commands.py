"""The commands that ask a running API: what an operator did with curl before."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalepool.commands.pool import ask_api
from kalepool.database import Database
from kalepool.errors import ConfigError
from kalepool.postgres import Postgres
from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from tests.support.command_line import Done
from tests.support.receiver import receiving
from tests.support.served import served

pytestmark = pytest.mark.anyio


class Commands:
    """Runs commands as an operator does, against the API that is served."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "DATABASE_", "PG"))
        }
        self._folder, self._variables = folder, kept | variables
        self._running: list[asyncio.subprocess.Process] = []

    async def __call__(self, *arguments: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kalepool", *arguments, cwd=self._folder, env=self._variables,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._running.append(process)
        output, errors = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, output.decode(), errors.decode())

    async def json(self, *arguments: str):
        done = await self(*arguments, "--json")
        assert done.status == 0, done.errors
        return json.loads(done.output)

    def kill(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()


@pytest.fixture
async def commands(farm, tmp_path: Path) -> AsyncIterator[Commands]:
    async with served(farm.settings) as (url, server):
        farm.ctx = server._app.state.context
        made = Commands(
            tmp_path,
            {
                "KALEPOOL_API_URL": url,
                "KALEPOOL_RPC_URL": farm.devnet.url,
                "KALEPOOL_LEDGER_SECONDS": "0.1",
                "DATABASE_URL": farm.database_url,
                "KALEPOOL_MASTER_KEY_FILE": str(farm.settings.data_dir / "master.key"),
            },
        )
        yield made
        made.kill()


@pytest.mark.slow(6, "a command at a time")
async def test_pause_until_it_is_safe_to_stop(farm, commands: Commands) -> None:
    (farmer,) = await farm.add_farmers(1)
    await plant.plant(farm.ctx, 0, farm.pooler_id)
    pausing = asyncio.create_task(commands("pause", "--wait", "--reason", "upgrade"))
    while not pausing.done() and not await farm.rows("SELECT true FROM pool_switches WHERE planting_paused"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    assert not pausing.done(), "a stake waits for its work"
    worked = await work.work(farm.ctx, 0, farm.pooler_id, [Submission(farmer.farmer_id, await farm.nonce(farmer, 0))])
    assert worked.accepted
    paused = await asyncio.wait_for(pausing, 60)
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
    changed = await commands.json("farmer", "set", str(farmer.farmer_id), "--stake-percentage", "0.25")
    assert changed["stake_percentage"] == 0.25 and changed["stake_most_stroops"] is None
    limited = await commands.json("farmer", "set", str(farmer.farmer_id), "--stake-most", "2.5")
    assert (limited["stake_percentage"], limited["stake_most_stroops"]) == (0.25, "25000000")
    assert "25.0%, at most 2.5" in (await commands("farmer", "list")).output
    (planted,) = (await plant.plant(farm.ctx, 0, farm.pooler_id)).planted
    assert planted.stake_stroops == 25_000_000, "and not the quarter of 100 KALE"

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


@pytest.mark.slow(7, "a command at a time")
async def test_webhooks_are_made_tried_and_deleted(farm, commands: Commands) -> None:
    async with receiving() as receiver:
        farm.ctx.settings = farm.settings.model_copy(update={"webhook_origins": receiver.url.rpartition("/")[0]})
        made = await commands.json("webhook", "add", receiver.url, "--type", "payout", "--type", "harvest")
        assert (await commands("webhook", "test", made["webhook_id"])).output == "It was taken.\n"
        receiver.head = "500 Oh"
        failed = await commands("webhook", "again", made["webhook_id"], receiver.taken[0].json["id"])
        assert (failed.status, failed.output) == (1, "It was not taken: HTTP status 500\n")
        [row] = await commands.json("webhook", "list")
        assert (row["types"], row["waiting"], row["trouble"]) == (["harvest", "payout"], 1, "HTTP status 500")
        assert "waiting" in (await commands("webhook", "deliveries", made["webhook_id"])).output
        unsure = await commands("webhook", "delete", made["webhook_id"])  # nobody says yes
        assert unsure.status == 1 and "What waits for it is not sent" in unsure.output
        assert (await commands.json("webhook", "delete", made["webhook_id"], "--yes"))["deleted"]
        refused = await commands("webhook", "add", "http://10.0.0.1/")
        assert refused.status == 2 and "KALEPOOL_WEBHOOK_ORIGINS" in refused.errors


async def test_the_doctor_blames_the_key_and_not_the_database(farm, commands: Commands) -> None:
    await farm.add_farmers(1)
    (farm.settings.data_dir / "master.key").write_text("ab" * 32)
    said = (await commands("doctor")).output
    assert re.search(r"^wrong +seals +the secrets .*\n +put that key's master\.key back", said, re.MULTILINE), said
    assert re.search(r"^ok +database +answers", said, re.MULTILINE), said


async def test_an_api_of_another_pool_is_named_as_that(farm, postgres: Postgres) -> None:
    """It knows nobody's key of this database: `401` alone told nothing."""
    async with (
        served(farm.settings) as (url, _),
        Database.open(postgres.create_database("other", template="base")) as db,
    ):
        with pytest.raises(ConfigError, match=r"the API at http://\S+ is another pool's: .* set KALEPOOL_API_URL"):
            await ask_api(farm.settings.model_copy(update={"api_url": url}), db, "GET", "/operator/fees")
