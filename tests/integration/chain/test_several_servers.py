"""Of several RPC servers one that is well is enough, and none that is not is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from stellar_sdk import Keypair

from kalepool.chain import Chain, ChainReader, Prepared, Status
from kalepool.devnet.testing import RunningDevnet, running_devnet
from kalepool.errors import ConfigError
from kalepool.networks import DEVNET, Network
from kalepool.policy import rpc_servers
from kalepool.policy.rpc_servers import Trouble
from kalepool.services.farming import plant, work
from kalepool.services.farming.work import Submission
from kalepool.services.health import Health
from tests.integration.conftest import open_farm
from tests.support.rpc_fronts import Front, Manner, fronts

pytestmark = pytest.mark.anyio

BLOCK_SECONDS = 8

FAST = 5.0
"""So many times faster than in earnest is all that waits for a server."""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalepool.chain.servers.PATIENCE_SECONDS", 2.0 / FAST)
    pauses = {trouble: seconds / FAST for trouble, seconds in rpc_servers.PAUSE_SECONDS.items()}
    monkeypatch.setattr(rpc_servers, "PAUSE_SECONDS", pauses)
    monkeypatch.setattr(rpc_servers, "HEARD_SECONDS", rpc_servers.HEARD_SECONDS / FAST)


@asynccontextmanager
async def served(*manners: Manner) -> AsyncIterator[tuple[Network, list[Front]]]:
    """Servers of a devnet of six ledgers."""
    async with running_devnet(ledger_seconds=0.1) as devnet, fronts(devnet.node, *manners) as made:
        for _ in range(6):
            await devnet.node.wait_ledger()
        urls = ",".join(front.url for front in made)
        network = replace(DEVNET, rpc_url=urls, friendbot_url=devnet.friendbot_url, ledger_seconds=0.1)
        yield network, made


async def test_the_first_that_is_well_is_asked_and_the_others_are_told_of() -> None:
    bad = (Manner.DEAD, Manner.BEHIND, Manner.PAGE, Manner.SILENT)
    async with served(*bad, Manner.WELL) as (network, made), ChainReader(network) as chain:
        for _ in range(30):
            ledger = await chain.read_ledger()
            assert (await chain.read_farm()).ledger >= ledger.sequence
        servers = chain.servers
        assert servers.place == servers.names[4]
        troubles = [trouble for trouble, _ in servers.troubles().values()]
        assert troubles == [Trouble.SILENT, Trouble.BEHIND, Trouble.UNREADABLE, Trouble.SILENT]
        said = servers.describe()
        assert f"{servers.names[4]} is asked" in said and "ledgers behind" in said
        assert "secret-key" not in said + "".join(servers.names)
        asked = [len(front.requests) for front in made]
        assert max(asked[1:4]) < asked[4] / 3, "what does not answer well is left alone"
        made[0].manner = Manner.WELL
        async with asyncio.timeout(30):
            while servers.place != servers.names[0]:
                await chain.read_ledger()
                await asyncio.sleep(0.02)


async def make_account(chain: Chain, pool: Keypair) -> Prepared:
    deadline = (await chain.read_ledger()).closed_at + timedelta(seconds=60)
    accounts = [(Keypair.random().public_key, 100_000_000)]
    return await chain.prepare_create_accounts(accounts, pool=pool, deadline=deadline)


async def test_one_server_alone_cannot_say_that_a_transaction_is_unknown() -> None:
    """It goes to all, and the first has lost it: the second is asked before it is called expired."""
    manners = (Manner.FORGETFUL, Manner.WELL)
    async with served(*manners) as (network, made), Chain(network, fee_cap_stroops=10_000_000) as chain:
        pool = Keypair.random()
        await chain.fund(pool.public_key)
        prepared = await make_account(chain, pool)
        await chain.submit(replace(prepared, valid_until=(await chain.read_ledger()).closed_at + timedelta(seconds=2)))
        sent = [[name for _, name in front.requests].count("sendTransaction") for front in made]
        assert min(sent) >= 1, "it was sent to both"
        past = prepared.valid_until - timedelta(days=1)
        for _ in range(3):
            await chain.next_ledger(chain.newest_ledger, 2)
        assert (await chain.look_up(prepared.transaction_hash, past)).status is Status.APPLIED
        made[1].manner = Manner.FORGETFUL
        past = (await chain.read_ledger()).closed_at - timedelta(seconds=1)
        unknown = "ab" * 32
        before = [len(front.requests) for front in made]
        assert (await chain.look_up(unknown, past)).status is Status.EXPIRED
        assert [len(front.requests) - count for front, count in zip(made, before, strict=True)] == [1, 1]
        made[1].manner = Manner.DEAD
        await chain.look_up(unknown, past)
        assert (await chain.look_up(unknown, past)).status is Status.EXPIRED, "where one answers, its word counts"


async def test_servers_of_different_chains_are_refused_by_name() -> None:
    """Of another network; and of one that was started anew, with the same passphrase."""
    async with served(Manner.WELL) as (network, made), running_devnet() as anew:
        for _ in range(9):
            await anew.close_ledger(100)
        both = f"{network.rpc_url},{anew.url}/"
        async with ChainReader(replace(network, rpc_url=both)) as chain:
            with pytest.raises(ConfigError, match=r"are of different chains: ledger \d+") as caught:
                await chain.servers.require_one_network()
            assert all(name in str(caught.value) for name in chain.servers.names)
            assert (await chain.read_ledger()).sequence > 5, "the first goes on"
            assert "serves another network" in chain.servers.describe()
        async with ChainReader(replace(network, rpc_url=both, passphrase="Elsewhere")) as chain:
            with pytest.raises(ConfigError, match="serves 'kalepool Devnet"):
                await chain.servers.require_one_network()
        assert not made[0].refused


@pytest.mark.slow(18, "a block in real time, at whose end one server is left")
async def test_a_block_whose_servers_fail_at_its_end_is_worked(database_url: str, tmp_path: Path) -> None:
    """Of four servers one is dead, one three ledgers behind, one answers web pages, and one no more than 20 requests a
    second, where 15 are set: alone with it, a few seconds before the block's end, every farmer planted is worked, and
    nothing twice."""
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet(ledger_seconds=0.25, block_seconds=BLOCK_SECONDS))
        made = await stack.enter_async_context(
            fronts(devnet.node, Manner.DEAD, Manner.BEHIND, Manner.PAGE, Manner.LIMITED, Manner.WELL)
        )

        made[3].per_second = 20  # what leaves evenly may come in a heap, where the machine is busy
        for _ in range(6):
            await devnet.node.wait_ledger()

        @asynccontextmanager
        async def running() -> AsyncIterator[RunningDevnet]:
            yield devnet

        urls = " ".join(front.url for front in made)
        farm = await open_farm(
            stack,
            database_url,
            tmp_path,
            running(),
            rpc_url=urls,
            block_seconds=BLOCK_SECONDS,
            ledger_seconds=0.25,
            rpc_requests_per_second=15,
        )
        farmers = await farm.add_farmers(4)
        chain = farm.ctx.chain
        first = (await chain.read_farm()).farm_block
        assert first is not None
        while (await chain.now()).timestamp() < first.timestamp + BLOCK_SECONDS + 1:
            await farm.wait_ledger()
        await farm.start_block(index := 1)  # block 0 has begun with the network
        planted = await plant.plant(farm.ctx, index, farm.pooler_id)
        assert not planted.failed, planted.failed
        assert len(planted.planted) == 4
        nonces = [Submission(farmer.farmer_id, await farm.nonce(farmer, index)) for farmer in farmers]
        block = (await chain.read_farm()).farm_block
        assert block is not None
        ends_at = block.timestamp + BLOCK_SECONDS
        await asyncio.sleep(max(0.0, ends_at - 6.0 - (await chain.now()).timestamp()))
        for front in (made[1], made[2], made[4]):
            front.manner = Manner.DEAD
        worked = await work.work(farm.ctx, index, farm.pooler_id, nonces)
        assert not worked.refused, worked.refused
        assert len(worked.accepted) == 4
        report = await Health(farm.ctx).report()
        assert report.components["chain"].state == "up"
        assert f"{farm.ctx.chain.servers.names[3]} is asked" in report.components["chain"].detail
        made[4].manner = Manner.WELL
        pails = await farm.ctx.chain.read_pails([(farmer.custodial_wallet, index) for farmer in farmers])
        assert len(pails) == 4 and all(pail.gap is not None for pail in pails.values())
        while (await chain.read_ledger()).closed_at.timestamp() < ends_at:
            await farm.wait_ledger()
        again = await plant.plant(farm.ctx, index + 1, farm.pooler_id)
        assert len(again.planted) == 4
        applied = "SELECT action, count(*) FROM submissions WHERE status = 'applied' AND action IN ('plant', 'work')"
        assert dict(await farm.rows(f"{applied} GROUP BY 1")) == {"plant": 8, "work": 4}
        assert made[3].refused == 0, "the limit that was set was kept"
