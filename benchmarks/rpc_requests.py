"""How many requests a second does a pool of N farmers send its RPC server? `python -m benchmarks.rpc_requests [N …]`,
10, 50 and 200 unless told otherwise; `--limit R …` sets KALEPOOL_RPC_REQUESTS_PER_SECOND, 0 none, a line for each.

A devnet with ledgers of 5 s behind a server that counts, a PostgreSQL, the API's own services with all its chores, and
the coordinator's watch of the chain, in one process. In each of two blocks of a minute all farmers are planted when it
begins, harvested for the block before, and worked from 25 s before its end, all at once, in the middle between two
ledgers: more than a pool does that sends works one by one. Prints the most requests in any second, of which methods
they were, and when works landed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

from stellar_sdk import Keypair

from kalepool.api.webhook_shapes import shaped
from kalepool.chain import Chain, ChainReader
from kalepool.config import Settings
from kalepool.coordinator.state import State
from kalepool.coordinator.watch import ChainWatch
from kalepool.custody import load_custody
from kalepool.database import Database, migrate
from kalepool.devnet.testing import running_devnet
from kalepool.postgres import Postgres
from kalepool.services import farmers, poolers, upkeep
from kalepool.services.context import Context
from kalepool.services.farming import harvest, plant, work
from kalepool.services.farming.work import Submission
from tests.support.rpc_fronts import Front, Manner, fronts

LEDGER_SECONDS = 5.0
BLOCK_SECONDS = 60
WORKS_BEFORE_END_SECONDS = 25
BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """Of one pool. Seconds: from the call to its answer, the longest of all blocks. `left`: between the ledger of the
    last work and the block's end, the least of all blocks."""

    farmers: int
    limit: float | None
    most: int
    methods: Counter[str]
    requests: int
    planted_seconds: float
    worked_seconds: float
    harvested_seconds: float
    left: float
    unworked: int


async def until(ctx: Context, at: float) -> None:
    await asyncio.sleep(max(at - (await ctx.chain.now()).timestamp(), 0.0))


async def run(stack: AsyncExitStack, folder: Path, url: str, count: int, limit: float | None) -> Line:
    devnet = await stack.enter_async_context(running_devnet(ledger_seconds=LEDGER_SECONDS, block_seconds=BLOCK_SECONDS))
    (front,) = await stack.enter_async_context(fronts(devnet.node, Manner.WELL))
    more: dict[str, Any] = {} if limit is None else {"rpc_requests_per_second": limit}
    settings = Settings(
        network="devnet",
        rpc_url=front.url,
        friendbot_url=devnet.friendbot_url,
        ledger_seconds=LEDGER_SECONDS,
        block_seconds=BLOCK_SECONDS,
        farmer_deposit_stroops=0,
        channel_accounts=max(20, count // 3),
        plant_batch=max(count, 50),
        pooler_farmers=count,
        data_dir=folder,
        database_url=url,  # pyright: ignore[reportArgumentType]
        _env_file=None,  # pyright: ignore[reportCallIssue]
        **more,
    )
    database = await stack.enter_async_context(Database.open(url))
    setup = settings.model_copy(update={"rpc_url": devnet.url, "rpc_requests_per_second": None})
    pooler = await make_farmers(database, setup, devnet.node, count)
    async with AsyncExitStack() as measured:
        chain = await measured.enter_async_context(Chain.of(settings))
        reader = await measured.enter_async_context(ChainReader.of(settings))
        ctx = Context(settings, chain, load_custody(settings), database)
        state = State(block_seconds=BLOCK_SECONDS, nominal_ledger_seconds=LEDGER_SECONDS)
        watch = asyncio.create_task(ChainWatch(reader, state, lambda _: None, lambda: None).run())
        try:
            async with upkeep.running(ctx, shaped):
                return await measure(ctx, pooler, front, devnet.node, count)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def make_farmers(database: Database, settings: Settings, node: Any, count: int) -> Any:
    """With quick ledgers, past the server that counts."""
    node.ledger_seconds = 0.1
    async with Chain.of(settings) as chain:
        ctx = Context(settings, chain, load_custody(settings), database)
        while len(ctx.accounts.channels) < settings.channel_accounts:
            await ctx.accounts.ensure()
        new = await poolers.add_pooler(database, "ours", count)
        made = [
            await farmers.register(ctx, new.pooler_id, Keypair.random().public_key, Decimal("0.1"))
            for _ in range(count)
        ]
        for start in range(0, count, 20):
            await asyncio.gather(*(chain.fund(each.farmer.custodial_wallet) for each in made[start : start + 20]))
        async with asyncio.timeout(120):
            while await database.fetch_all("select_registered_farmers"):
                await farmers.activate(ctx)
                await asyncio.sleep(0.2)
    node.ledger_seconds = LEDGER_SECONDS
    await node.wait_ledger()
    return new.pooler_id


async def measure(ctx: Context, pooler: Any, front: Front, node: Any, count: int) -> Line:
    rows = await ctx.database.fetch_all(
        "select_farmers_of_pooler", row=farmers.Farmer, pooler_id=pooler, statuses=["active"]
    )
    took: dict[str, list[float]] = {"plant": [0.0], "work": [0.0], "harvest": [0.0]}
    left, unworked = float("inf"), 0

    async def timed(name: str, call: Any) -> Any:
        begun = time.monotonic()
        answer = await call
        took[name].append(time.monotonic() - begun)
        return answer

    begun = len(front.requests)
    for _ in range(BLOCKS):
        farm = await ctx.chain.read_farm()
        assert farm.farm_block is not None and farm.index is not None
        await until(ctx, farm.farm_block.timestamp + BLOCK_SECONDS)
        index = farm.index + 1
        planted = await timed("plant", plant.plant(ctx, index, pooler))
        await timed("harvest", harvest.harvest(ctx, pooler))
        print(f"block {index}: planted {len(planted.planted)} of {count}", *planted.failed[:1], flush=True)
        farm = await ctx.chain.read_farm()
        assert farm.farm_block is not None
        ends_at = farm.farm_block.timestamp + BLOCK_SECONDS
        await until(ctx, ends_at - WORKS_BEFORE_END_SECONDS)
        # Or what is sent before the next ledger would depend on how the clocks of ledgers and blocks happen to stand.
        await node.wait_ledger()
        await asyncio.sleep(LEDGER_SECONDS / 2)
        nonces = [Submission(row.farmer_id, 0) for row in rows]
        worked = await timed("work", work.work(ctx, index, pooler, nonces))
        print(f"block {index}: worked {len(worked.accepted)}", *worked.refused[:1], flush=True)
        newest = await ctx.chain.read_ledger()
        last = max(item.ledger or 0 for item in worked.accepted)
        left = min(left, ends_at - newest.closed_at.timestamp() + (newest.sequence - last) * LEDGER_SECONDS)
        unworked += len(planted.planted) - len(worked.accepted)
    most, methods = front.most_in_a_second()
    return Line(
        count,
        ctx.settings.rpc_requests_per_second,
        most,
        methods,
        len(front.requests) - begun,
        max(took["plant"]),
        max(took["work"]),
        max(took["harvest"]),
        left,
        unworked,
    )


async def main(counts: Sequence[int], limits: Sequence[float | None]) -> None:
    lines = []
    for count, limit in product(counts, limits):
        with tempfile.TemporaryDirectory(prefix="kalepool-bench-") as name:
            folder = Path(name)
            with Postgres.start(folder / "data", settings={"fsync": "off"}) as server:
                url = server.create_database("requests")
                await migrate(url)
                async with AsyncExitStack() as stack:
                    lines.append(await run(stack, folder, url, count, limit))
    print(
        "\nfarmers  limit  most/s  requests  planted   worked  harvested  left after last  not worked  busiest second"
    )
    for line in lines:
        methods = ", ".join(f"{number} {method}" for method, number in line.methods.most_common())
        seconds = f"{line.planted_seconds:>5.1f} s {line.worked_seconds:>6.1f} s {line.harvested_seconds:>8.1f} s"
        limit = "none" if line.limit is None else f"{line.limit:g}"
        print(
            f"{line.farmers:>7} {limit:>6} {line.most:>7} {line.requests:>9}  {seconds} {line.left:>14.0f} s "
            f"{line.unworked:>11}  {methods}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("farmers", type=int, nargs="*", default=[10, 50, 200])
    parser.add_argument("--limit", type=float, nargs="+", default=[0.0])
    options = parser.parse_args()
    asyncio.run(main(options.farmers, [limit or None for limit in options.limit]))
