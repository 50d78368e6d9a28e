"""How long it takes to plan and pay many miners: `python -m benchmarks.payouts [MINERS]`, 10,000 unless told otherwise.

A devnet, a PostgreSQL and the pool's own code, in one process but for the database. Prints processor seconds of this
process (the devnet's work among them) and of the database, and the wall time, ledgers included.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import psycopg
from stellar_sdk import Keypair, Operation
from stellar_sdk.operation import ChangeTrust

from kalepool.chain import Chain, Status, building
from kalepool.config import Settings
from kalepool.custody import Binding, Purpose, load_custody
from kalepool.database import Database, migrate, new_id
from kalepool.devnet.testing import running_devnet
from kalepool.networks import DEVNET
from kalepool.postgres import Postgres
from kalepool.services.books import held, ledgers
from kalepool.services.context import Context
from kalepool.services.mining import payouts

ISSUER = Keypair.from_raw_ed25519_seed(sha256(f"{DEVNET.passphrase} / issuer".encode()).digest())
KALE = 10_000_000
EARNED = 20 * KALE
LEDGER_SECONDS = 0.2


def database_seconds(server: int) -> float:
    """Processor seconds of a PostgreSQL server and its children so far, those that ended among them."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid, parent = int(path.parent.name), int(fields[1])
        if server in (pid, parent):
            ticks += sum(map(int, fields[11:15] if pid == server else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def make_accounts(chain: Chain, funder: Keypair, accounts: Sequence[Keypair]) -> None:
    """Accounts with a KALE trustline: made a hundred at a time, trusting as many as an envelope takes signatures of."""
    sequence = (await chain.read_accounts([funder.public_key]))[funder.public_key].sequence

    async def send(operations: Sequence[Operation], others: Sequence[Keypair] = ()) -> None:
        nonlocal sequence
        sequence += 1
        fee = 200 * len(operations)
        inner = building.envelope(funder.public_key, sequence, operations, chain.network.passphrase, fee_stroops=fee)
        until = await chain.now() + timedelta(seconds=60)
        prepared = building.signed(
            inner, funder, action="test", payer=None, bid_stroops=200, ledger=0, valid_until=until, others=others
        )
        outcome = await chain.submit(prepared)
        assert outcome.status is Status.APPLIED, outcome

    for start in range(0, len(accounts), 100):
        await send([building.create_account(each.public_key, 2 * KALE) for each in accounts[start : start + 100]])
    for start in range(0, len(accounts), 19):
        some = accounts[start : start + 19]
        await send([ChangeTrust(chain.asset, source=each.public_key) for each in some], some)


def wallet_of(miner: UUID, address: str) -> Binding:
    return Binding(miner, Purpose.MINER, address, payout_wallet=address)


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kalepool-bench-") as name:
        folder = Path(name)
        with Postgres.start(folder / "data", settings={"fsync": "off"}) as server:
            url = server.create_database("payouts")
            await migrate(url)
            async with AsyncExitStack() as stack:
                await run(stack, folder, url, int((folder / "data" / "postmaster.pid").read_text().split()[0]), count)


async def run(stack: AsyncExitStack, folder: Path, url: str, server: int, count: int) -> None:
    devnet = await stack.enter_async_context(running_devnet(ledger_seconds=LEDGER_SECONDS))
    settings = Settings(
        network="devnet",
        rpc_url=devnet.url,
        friendbot_url=devnet.friendbot_url,
        ledger_seconds=LEDGER_SECONDS,
        channel_accounts=1,
        data_dir=folder,
        database_url=url,  # pyright: ignore[reportArgumentType]
        _env_file=None,  # pyright: ignore[reportCallIssue]
    )
    database = await stack.enter_async_context(Database.open(url))
    chain = await stack.enter_async_context(Chain.of(settings))
    ctx = Context(settings, chain, load_custody(settings), database)
    await ctx.accounts.ensure()
    treasury = await ctx.accounts.ensure_treasury()
    assert treasury is not None
    accounts = [Keypair.random() for _ in range(count)]
    funders = [Keypair.random() for _ in range(-(-count * 2 // 9000))]  # friendbot gives 10,000 XLM
    size = -(-count // len(funders))
    print(f"making {count} accounts …", flush=True)
    for each in funders:
        await chain.fund(each.public_key)
    await asyncio.gather(
        *(make_accounts(chain, each, accounts[n * size : (n + 1) * size]) for n, each in enumerate(funders))
    )
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        ids = [new_id() for _ in accounts]
        cursor.executemany(
            "INSERT INTO miners (miner_id, name, payout_wallet, payout_seal) VALUES (%s, 'm', %s, %s)",
            [
                (miner, each.public_key, ctx.custody.seal(wallet_of(miner, each.public_key)))
                for miner, each in zip(ids, accounts, strict=True)
            ],
        )
        cursor.execute(
            "SELECT post_transfers(array_agg('test/' || m), array_agg('corrected'::text), array_agg('operator'::text), "
            "array_agg('miner/' || m), array_agg(%s::numeric), array_agg(NULL::bigint), array_agg(NULL::bigint), "
            "array_agg(NULL::bytea), array_agg(NULL::text)) FROM unnest(%s::uuid[]) m",
            (EARNED, ids),
        )
    deadline = await chain.now() + timedelta(seconds=60)
    gift = await chain.prepare_payment(ISSUER, treasury.public_key, kale_stroops=EARNED * count, deadline=deadline)
    assert (await chain.submit(gift)).status is Status.APPLIED
    await held.look(ctx)

    wall, own, theirs = time.perf_counter(), time.process_time(), database_seconds(server)
    paid = await payouts.pay(ctx)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    theirs = database_seconds(server) - theirs
    assert paid == count, paid
    await held.look(ctx)
    assert not await held.differences(database) and not await ledgers.faults(database)
    print(f"{paid} miners planned and paid in {-(-paid // payouts.MOST)} transactions")
    print(f"processor  {own:6.1f} s, the devnet's among them")
    print(f"database   {theirs:6.1f} s")
    print(f"wall       {wall:6.1f} s, ledgers included")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
