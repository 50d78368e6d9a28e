"""Whatever is sent: a documented answer with a reason, and never a 5xx. Inputs by schemathesis from our own OpenAPI."""

import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvicorn

from kalepool.api import create_app
from kalepool.config import Settings
from kalepool.services.keys import create_key

pytestmark = pytest.mark.anyio

HOOKS = Path(__file__).with_name("fuzz_hooks.py")
EXAMPLES = 10


async def test_no_input_breaks_it(farm, tmp_path: Path) -> None:
    """All checks of schemathesis, over all operations of these routers, with valid and invalid inputs."""
    await farm.add_farmers(1)
    # No limits to run into, and chores that leave the processor to the answers.
    much = {"requests_per_minute": 10**6, "pooler_requests_per_minute": 10**6, "ledger_seconds": 5}
    free = Settings(**(farm.settings.model_dump() | much), _env_file=None)  # pyright: ignore[reportCallIssue]
    key = await create_key(farm.ctx.database, "operator")
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = uvicorn.Server(uvicorn.Config(create_app(free), log_config=None, access_log=False, lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:  # noqa: ASYNC110  uvicorn says so by a flag only
            await asyncio.sleep(0.05)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url),
            *("--header", f"Authorization: Bearer {key.key}", "--max-examples", str(EXAMPLES), "--seed", "1"),
            *("--include-tag", "public", "--include-tag", "poolers", "--no-color"),
            *("--generation-database", "none", "--phases", "examples,coverage,fuzzing"),
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "FUZZ_POOLER": str(farm.pooler_id)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        server.should_exit = True
        await serving
    assert process.returncode == 0, output.decode()
