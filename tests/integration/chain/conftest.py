"""A devnet, a chain client on it, and people with money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Chain, Channels, Outcome, Prepared, Status
from kalepool.devnet.testing import RunningDevnet, running_devnet
from kalepool.networks import DEVNET, Network
from kalepool.protocol.hashing import hash_work

T = TypeVar("T")
KALE = 10_000_000


@dataclass
class Village:
    """A devnet whose ledgers close only when `drive` closes them, by its own clock."""

    devnet: RunningDevnet
    network: Network
    chain: Chain
    pool: Keypair
    channels: Channels
    farmers: list[Keypair]

    async def drive(self, work: Awaitable[T], seconds: int = 1) -> T:
        """Close a ledger every 30 ms, `seconds` apart by the chain's clock, until `work` is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(8):  # a transaction lives for six ledgers: on a machine that is busy they wait for it
                begun = time.monotonic()
                await asyncio.sleep(0.03)
                if time.monotonic() - begun < 0.04:
                    break
            await self.devnet.close_ledger(seconds)
        return await task

    async def pass_block(self) -> None:
        """The next plant starts a new block."""
        await self.devnet.close_ledger(300)

    async def until(self, seconds: float = 60) -> datetime:
        ledger = await self.chain.read_ledger()
        return ledger.closed_at + timedelta(seconds=seconds)

    async def plant(self, farmer: Keypair, stake: int) -> Outcome:
        deadline = await self.until()
        prepared = await self.chain.prepare_plant(farmer, stake, pool=self.pool, deadline=deadline)
        return await self.chain.submit(prepared)

    async def work(self, farmer: Keypair, nonce: int, channels: Channels | None = None) -> Outcome:
        deadline = await self.until()
        farm = await self.chain.read_farm()
        assert farm.index is not None and farm.block is not None
        digest = hash_work(farm.index, nonce, farm.block.entropy, farmer.public_key)
        async with (channels or self.channels).lend() as channel:
            prepared = await self.chain.prepare_work(
                farmer.public_key, digest, nonce, channel=channel, deadline=deadline
            )
            return await self.chain.submit(prepared)

    async def harvest(self, items: Any) -> tuple[Prepared, Outcome]:
        deadline = await self.until()
        async with self.channels.lend() as channel:
            prepared = await self.chain.prepare_harvest(items, channel=channel, deadline=deadline)
            return prepared, await self.chain.submit(prepared)


def key(name: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(sha256(name.encode()).digest())


async def _settle(village: Village) -> None:
    chain, deadline = village.chain, await village.until(600)
    await chain.fund(village.pool.public_key)
    others = [(farmer.public_key, 50_000_000) for farmer in village.farmers]
    others += [(key(f"channel {number}").public_key, 1_000_000_000) for number in range(len(village.channels))]
    created = await chain.submit(await chain.prepare_create_accounts(others, pool=village.pool, deadline=deadline))
    assert created.status is Status.APPLIED

    async def enrol(farmer: Keypair) -> None:
        trusted = await chain.submit(await chain.prepare_trustline(farmer, pool=village.pool, deadline=deadline))
        assert trusted.status is Status.APPLIED, trusted.error
        await chain.fund(farmer.public_key, kale_stroops=1000 * KALE)

    await asyncio.gather(*(enrol(farmer) for farmer in village.farmers))


@pytest.fixture
async def village() -> AsyncIterator[Village]:
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet())
        network = replace(DEVNET, rpc_url=devnet.url, ledger_seconds=0.2)
        chain = await stack.enter_async_context(Chain(network, fee_cap_stroops=10_000_000, timeout_seconds=1))
        channels = Channels(chain, [key(f"channel {number}") for number in range(3)])
        farmers = [key(f"farmer {number}") for number in range(4)]
        village = Village(devnet, network, chain, key("pool"), channels, farmers)
        await village.drive(_settle(village))
        yield village
