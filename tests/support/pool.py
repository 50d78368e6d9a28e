"""A whole pool in a folder of its own: the processes a user's `kalepool up` would start."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx2

from kalepool.chain import Chain
from kalepool.config import Settings
from kalepool.database import Database, migrate
from kalepool.up.demo import ensure_farmers, ensure_pooler
from kalepool.up.folder import DataFolder
from kalepool.up.parts import DatabaseUrls, Parts
from kalepool.up.supervisor import Service, Supervisor
from tests.support.ports import free_port


@dataclass
class Pool:
    """A running pool: PostgreSQL, devnet and API; the coordinator once it is started."""

    parts: Parts
    supervisor: Supervisor
    database: Database
    urls: DatabaseUrls
    pooler_id: UUID
    key: str
    metrics_port: int
    client: httpx2.AsyncClient

    def start_coordinator(self) -> Service:
        service = self.parts.coordinator(self.urls.coordinator, self.key)
        self.supervisor.add(service)
        return service

    async def metrics(self) -> dict[str, float]:
        """The coordinator's metrics without labels, by name."""
        text = (await self.client.get(f"http://127.0.0.1:{self.metrics_port}/metrics")).text
        lines = (line.split() for line in text.splitlines() if line and not line.startswith("#") and "{" not in line)
        return {name: float(value) for name, value in lines}


@contextlib.asynccontextmanager
async def running_pool(
    farmers: int,
    ledger_seconds: float,
    block_seconds: int,
    ray_address: str | None = None,
    *,
    relayer: bool = False,
    rivals: int = 0,
) -> AsyncIterator[Pool]:
    """Starts all but the coordinator, and has `farmers` farmers active. Everything ends with the context. `relayer`:
    the devnet serves Stellar Channels, and faults, and the pool has it pay. `rivals`: others who plant."""
    url = f"http://127.0.0.1:{free_port()}"
    served = {"rpc_url": url, "friendbot_url": f"{url}/friendbot", "relayer_url": f"{url}/channels"}
    with tempfile.TemporaryDirectory(prefix="kalepool-bench-") as name:
        settings = Settings.load(
            data_dir=Path(name),
            network="devnet",
            ledger_seconds=ledger_seconds,
            block_seconds=block_seconds,
            ray_address=ray_address,
            api_port=free_port(),
            channel_accounts=50,
            requests_per_minute=100_000,  # all that ask have one address
            metrics_port=(metrics_port := free_port()),
            **(served | {"relayer_key": "bench"} if relayer else {}),
        )
        with DataFolder(settings.data_dir) as folder:
            supervisor = Supervisor(print)
            try:
                parts = Parts.plan(settings, folder)
                service, urls = parts.postgres()
                supervisor.adopt(service)
                await migrate(urls.migrate)
                supervisor.add(parts.devnet(rivals, *(("--channels", "--faults") if relayer else ())))
                await _answers(parts.rpc_url)
                supervisor.add(parts.api(urls.api))
                await _answers(f"{parts.api_url}/info")
                async with (
                    Database.open(urls.api) as database,
                    Chain(parts.network, fee_cap_stroops=settings.fee_cap_stroops) as chain,
                    httpx2.AsyncClient(timeout=30) as client,
                ):
                    pooler_id, key = await ensure_pooler(database, settings)
                    await ensure_farmers(database, chain, parts.api_url, pooler_id, farmers, print)
                    yield Pool(parts, supervisor, database, urls, pooler_id, key, metrics_port, client)
            finally:
                supervisor.stop_all()


async def _answers(url: str) -> None:
    async with asyncio.timeout(60), httpx2.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if (await client.get(url)).status_code < 500:
                    return
            await asyncio.sleep(0.1)
