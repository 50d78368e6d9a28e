"""Whatever is sent: a documented answer with a reason, and never a 5xx. Inputs by schemathesis from our own OpenAPI.

KALEPOOL_FUZZ_EXAMPLES: how many an operation.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn

from kalepool.api import create_app
from kalepool.config import Settings
from kalepool.database import new_id
from kalepool.services import poolers
from kalepool.services.keys import Role, create_key
from kalepool.services.mining import miners as mining_accounts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

HOOKS = Path(__file__).with_name("fuzz_hooks.py")
EXAMPLES = int(os.environ.get("KALEPOOL_FUZZ_EXAMPLES", "20"))
HIGHEST = 10**6
PARTS = (("public", "poolers", "keys", "sign-in", "miners"), ("farmers", "operators"))
"""All tags, in parts that go on at the same time."""

# What SEP-10 and SEP-45 want answered with 400 is well-formed all the same; and a contract may not be on the ledger.
CONFIG = """
[[operations]]
include-path = "/auth"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 429, 503]

[[operations]]
include-path = "/auth/contracts"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 422, 429, 503]
"""


@pytest.mark.slow(25, "thousands of requests to every operation")
async def test_no_input_breaks_it(farm, tmp_path: Path) -> None:
    """All checks of schemathesis, over all operations, each with the key of who may do it."""
    app = create_app(settings := without_limits(farm.settings))
    described = {
        tag
        for methods in app.openapi()["paths"].values()
        for each in methods.values()
        if "tags" in each
        for tag in each["tags"]
    }
    assert described == {tag for part in PARTS for tag in part}
    keys, ids = await people(farm, settings)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else every answer waits 40 ms for an ACK
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:  # noqa: ASYNC110  uvicorn says so by a flag only
            await asyncio.sleep(0.05)
        output = await asyncio.gather(*(fuzz(url, tags, keys, ids, tmp_path) for tags in PARTS))
        server.should_exit = True
        await serving
    assert not any(output), "\n".join(output)


def without_limits(settings: Settings) -> Settings:
    """No limits to run into, and chores that leave the processor to the answers."""
    changed = {
        "requests_per_minute": HIGHEST,
        "pooler_requests_per_minute": HIGHEST,
        "miner_shares_per_minute": HIGHEST,
        "farmers_per_wallet": HIGHEST,
        "miner_registration": "open",
        "ledger_seconds": 5,
    }
    return Settings(**(settings.model_dump() | changed), _env_file=None)  # pyright: ignore[reportCallIssue]


async def fuzz(url: str, tags: Sequence[str], keys: dict[str, str], ids: dict[str, str], folder: Path) -> str:
    """Sends examples to every operation of these tags. What is wrong, empty where nothing is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url),
        *(part for tag in tags for part in ("--include-tag", tag)),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color", "--continue-on-failure"),
        *("--generation-database", "none", "--phases", "examples,coverage,fuzzing"),
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "FUZZ_KEYS": json.dumps(keys),
            "FUZZ_IDS": json.dumps(ids),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return "" if process.returncode == 0 else output.decode()


async def people(farm, settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Keys by tag, and ids of what there is: a farmer, its pooler, a withdrawal, a compensation, and spares to end."""
    database = farm.ctx.database
    (farmer,) = await farm.add_farmers(1)
    spare = await poolers.add_pooler(database, "spare", 100)
    await farm.rows("UPDATE poolers SET open = true WHERE pooler_id = %s", farm.pooler_id)
    miner, banned = [
        await mining_accounts.register(database, farm.ctx.custody, settings, name) for name in ("one", "two")
    ]
    soon = datetime.now(UTC) + timedelta(hours=1)
    token = await create_key(database, Role.FARMER, subject_wallet=farmer.payout_wallet, expires_at=soon)
    operator, ended = [await create_key(database, Role.OPERATOR) for _ in range(2)]
    withdrawal_id, compensation_id = new_id(), new_id()
    await farm.rows(
        "INSERT INTO withdrawals (withdrawal_id, farmer_id, idempotency_key, asset, amount_stroops, destination, "
        "closed_at, code) VALUES (%s, %s, 'before', 'XLM', 1, '', now(), 'test')",
        *(withdrawal_id, farmer.farmer_id),
    )
    await farm.rows(
        "INSERT INTO pooler_compensations (compensation_id, block_index, pooler_id, farmer_id, fault, code, "
        "stake_stroops, forecast_stroops) VALUES (%s, 9, %s, %s, 'pooler', 'work-missing', 1, 2)",
        *(compensation_id, farm.pooler_id, farmer.farmer_id),
    )
    [(submission_id,)] = await farm.rows("SELECT submission_id FROM submissions LIMIT 1")
    hook = {"webhook_id": new_id(), "event_id": new_id()}
    await database.execute(
        "insert_webhook",
        webhook_id=hook["webhook_id"],
        url="https://receiver.example/kale",
        types=["harvest"],
        secret_sealed=b"",
        role=None,
        subject_id=None,
    )
    await database.execute("insert_webhook_test", **hook, body="{}")
    keys = {tag: operator.key for part in PARTS for tag in part} | {"farmers": token.key, "miners": miner.key}
    # it never ends for a miner
    keys |= {"GET /miner/jobs/stream": operator.key, "POST /miner/invites": operator.key}
    ids = {
        "farmer_id": farmer.farmer_id,
        "pooler_id": farm.pooler_id,
        "miner_id": banned.miner.miner_id,
        "withdrawal_id": withdrawal_id,
        "compensation_id": compensation_id,
        "submission_id": submission_id,
        "key_id": ended.key_id,
        "subject_id": spare.pooler_id,
        **hook,
    }
    return keys, {name: str(value) for name, value in ids.items()}
