"""A pool on a devnet: the services' Context, with a database and a chain of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.chain import Chain, Destination, Status
from kalepool.config import Settings
from kalepool.custody import change_payout, load_custody
from kalepool.database import Database
from kalepool.devnet.testing import RunningDevnet, running_devnet
from kalepool.networks import DEVNET
from kalepool.protocol.hashing import count_zeros, hash_work
from kalepool.services import farmers, poolers
from kalepool.services.absences import Absences
from kalepool.services.context import Context
from kalepool.services.farmers import Farmer
from kalepool.up.supervisor import Supervisor

ISSUER = Keypair.from_raw_ed25519_seed(sha256(f"{DEVNET.passphrase} / issuer".encode()).digest())
KALE = 10_000_000


@dataclass
class FarmUnderTest:
    """A pool whose ledgers close ten times a second. Time stands still on the ledger unless `pass_time` moves it."""

    devnet: RunningDevnet
    settings: Settings
    database_url: str
    ctx: Context
    pooler_id: UUID
    pooler_key: str
    farmers: list[Farmer] = field(default_factory=list)

    async def restart(self, stack: AsyncExitStack) -> Context:
        """A new Context on the same database and chain, as after a restart of the process."""
        self.ctx = await open_context(stack, self.settings, self.database_url)
        return self.ctx

    async def pass_time(self, seconds: int) -> None:
        """Closes a ledger that is so much later than the last one."""
        await self.devnet.close_ledger(seconds)
        await self.ctx.chain.read_ledger()

    async def end_block(self) -> None:
        await self.pass_time(self.settings.chain.block_seconds)

    async def wait_ledger(self) -> None:
        """Until what was sent before is on the ledger."""
        await self.devnet.node.wait_ledger()

    async def start_block(self, index: int) -> None:
        """Lets somebody else plant first in a block, once it can be."""
        chain = self.ctx.chain
        rival = Keypair.random()
        await chain.fund(rival.public_key)
        deadline = await chain.now() + timedelta(seconds=30)
        prepared = await chain.prepare_plant(rival, 0, pool=self.ctx.accounts.payer, deadline=deadline)
        assert (await chain.submit(prepared)).status is Status.APPLIED
        assert await self.current_index() == index

    async def add_farmers(self, count: int, kale_stroops: int = 100 * KALE, stake: str = "0.1") -> list[Farmer]:
        """Registers farmers, funds them, waits until they are active, and gives them KALE."""
        made = [
            await farmers.register(self.ctx, self.pooler_id, Keypair.random().public_key, Decimal(stake))
            for _ in range(count)
        ]
        await asyncio.gather(*(self.ctx.chain.fund(each.farmer.custodial_wallet) for each in made))
        wanted = {each.farmer.farmer_id for each in made}
        while wanted & {
            row.farmer_id for row in await self.ctx.database.fetch_all("select_registered_farmers", row=Farmer)
        }:
            if not await farmers.activate(self.ctx):  # the API's own chores may be at it
                await self.wait_ledger()
        for each in made if kale_stroops else []:
            await self.give(each.farmer.custodial_wallet, kale_stroops)
        rows = await self.ctx.database.fetch_all(
            "select_farmers_of_pooler", row=Farmer, pooler_id=self.pooler_id, statuses=["active"]
        )
        self.farmers += [row for row in rows if row.farmer_id not in {farmer.farmer_id for farmer in self.farmers}]
        return self.farmers[-count:]

    def as_owner(self) -> AbstractAsyncContextManager[Database]:
        """The database as who owns it opens it, and not as the API."""
        return Database.open(self.database_url, role=None, connections=1)

    async def pay_out_to(self, farmer: Farmer, wallet: str, memo: str | None = None) -> None:
        """Has the farmer's money go to this wallet."""
        async with self.as_owner() as database, database.transaction() as tx:
            await change_payout(
                self.ctx.custody,
                tx,
                farmer.farmer_id,
                wallet,
                payout_memo=memo,
                owner_wallet=farmers.owner_of(Destination(wallet, memo)),
            )

    async def give(self, wallet: str, kale_stroops: int) -> None:
        chain = self.ctx.chain
        deadline = await chain.now() + timedelta(seconds=30)
        prepared = await chain.prepare_payment(ISSUER, wallet, kale_stroops=kale_stroops, deadline=deadline)
        assert (await chain.submit(prepared)).status is Status.APPLIED

    async def current_index(self) -> int:
        return (await self.ctx.chain.read_farm()).index or 0

    async def nonce(self, farmer: Farmer, index: int, zeros: int = 0) -> int:
        """The first nonce with just so many zeros for the farmer in the block, which is on the chain."""
        block = (await self.ctx.chain.read_blocks([index]))[index]
        wallet = farmer.custodial_wallet
        return next(n for n in range(10**6) if count_zeros(hash_work(index, n, block.entropy, wallet)) == zeros)

    async def forget_events(self) -> None:
        """As after a database was restored from a backup made before any block."""
        for table in ("plantings", "works", "harvests"):
            await self.rows(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
            await self.rows(f"DELETE FROM {table}")
            await self.rows(f"ALTER TABLE {table} ENABLE TRIGGER append_only")
        await self.rows("DELETE FROM submission_items WHERE block_index IS NOT NULL")
        await self.rows("DELETE FROM submissions WHERE action IN ('plant', 'work', 'harvest')")

    async def rows(self, query: str, *parameters: object) -> list[tuple]:
        """What the database has, past the services."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []


async def open_context(stack: AsyncExitStack, settings: Settings, database_url: str) -> Context:
    database = await stack.enter_async_context(Database.open(database_url))
    chain = await stack.enter_async_context(Chain.of(settings))
    ctx = Context(settings, chain, load_custody(settings), database)
    ctx.absences = Absences(seconds=0.0, looks=1)  # what is not there is gone: test_absences.py is of the rest
    return ctx


async def open_farm(
    stack: AsyncExitStack,
    database_url: str,
    folder: Path,
    network: AbstractAsyncContextManager[RunningDevnet] | None = None,
    **different: Any,
) -> FarmUnderTest:
    """A pool with funded accounts, a pooler and no farmers yet. `different`: settings that are not as ever."""
    devnet = await stack.enter_async_context(network or running_devnet(ledger_seconds=0.1))
    known: dict[str, Any] = {
        "network": "devnet",
        "rpc_url": devnet.url,
        "friendbot_url": devnet.friendbot_url,
        "ledger_seconds": 0.1,
        "block_seconds": 300,
        "channel_accounts": 5,
        "farmer_deposit_stroops": 0,  # who registers by itself brings XLM only; see test_strangers.py for the rest
        "data_dir": folder,
        "database_url": database_url,
        "_env_file": None,
    }
    settings = Settings(**known | different)
    ctx = await open_context(stack, settings, database_url)
    assert await ctx.accounts.ensure() is None
    new = await poolers.add_pooler(ctx.database, "ours", settings.pooler_farmers)
    return FarmUnderTest(devnet, settings, database_url, ctx, new.pooler_id, new.key)


@pytest.fixture
async def farm(database_url: str, tmp_path: Path) -> AsyncIterator[FarmUnderTest]:
    async with AsyncExitStack() as stack:
        yield await open_farm(stack, database_url, tmp_path)


@pytest.fixture
def said() -> list[str]:
    """What the supervisor told the user."""
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(said.append)
    yield made
    made.kill_all()
