"""A backup of the master key alone brings every wallet back; an older database gives nobody the wallet of another."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from decimal import Decimal

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.chain import Destination
from kalepool.services import farmers, operators, wallets
from kalepool.services.keys import Role, create_key
from kalepool.services.pool_accounts import own_accounts
from tests.integration.conftest import KALE

pytestmark = pytest.mark.anyio

LOST = (
    "DELETE FROM submission_items; DELETE FROM submissions; DELETE FROM api_keys WHERE role = 'farmer'; "
    "DELETE FROM farmers; DELETE FROM accounts; SELECT setval('wallet_numbers', 1, false)"
)
"""All that an older database does not have."""


async def lose(farm) -> None:
    async with await psycopg.AsyncConnection.connect(farm.database_url, autocommit=True) as connection:
        await connection.execute(LOST.encode())


async def test_the_key_alone_brings_every_wallet_back(farm) -> None:
    lost = await farm.add_farmers(3)
    pool = farm.ctx.accounts.payer.public_key
    await lose(farm)
    async with AsyncExitStack() as stack:
        ctx = await farm.restart(stack)
        found = await wallets.find_wallets(ctx.chain, ctx.custody, ctx.database, gap=100)
        assert [wallet.number for wallet in found] == [1, 2, 3]
        assert [wallet.account.address for wallet in found] == [each.custodial_wallet for each in lost]
        assert {wallet.farmer_id for wallet in found} == {None}
        assert {wallet.account.kale_stroops for wallet in found} == {100 * KALE}

        payout = Keypair.random().public_key
        await ctx.chain.fund(payout)
        made = await wallets.bring_back(ctx.custody, ctx.database, found, farm.pooler_id, payout)
        assert len(made) == 3
        again = await wallets.find_wallets(ctx.chain, ctx.custody, ctx.database, gap=100)
        assert [wallet.farmer_id for wallet in again] == made
        assert await wallets.bring_back(ctx.custody, ctx.database, again, farm.pooler_id, payout) == []

        assert await ctx.accounts.ensure() is None
        assert ctx.accounts.payer.public_key == pool, "the pool's own account is itself again"
        assert await farmers.activate(ctx) == 3
        farmer = await farmers.find_farmer(ctx.database, made[0])
        assert farmer is not None and farmer.stake_percentage == 0
        ctx.custody.signer(farmer.binding, farmer.secret_sealed).sign(b"x")
        key_id = (await create_key(ctx.database, Role.OPERATOR)).key_id
        assert len(await operators.open_gaps(ctx)) == 4, "found by themselves, and never looked at"
        await operators.acknowledge_gaps(ctx, key_id, "the database was lost")
        new = await farmers.register(ctx, farm.pooler_id, payout, Decimal("0.1"))
        assert new.farmer.custodial_wallet not in {wallet.account.address for wallet in found}


async def test_an_older_database_gives_nobody_the_wallet_of_another(farm) -> None:
    """Two farmers of one wallet: what the first sends to it, the second withdraws."""
    lost = await farm.add_farmers(2, kale_stroops=0)
    await lose(farm)
    new = await farmers.register(farm.ctx, farm.pooler_id, Keypair.random().public_key, Decimal("0.1"))
    assert new.farmer.custodial_wallet not in {each.custodial_wallet for each in lost}


async def test_accounts_made_under_an_earlier_master_key_are_taken_up_again(farm) -> None:
    from kalepool.custody import rotate

    before = await own_accounts(farm.ctx.database, farm.ctx.custody, farm.ctx.chain, 5)
    await rotate(farm.settings, farm.ctx.database)
    await lose(farm)
    async with AsyncExitStack() as stack:
        ctx = await farm.restart(stack)
        after = await own_accounts(ctx.database, ctx.custody, ctx.chain, 5)
        assert [row.address for row in after] == [row.address for row in before]
        assert await ctx.accounts.ensure() is None


async def test_numbers_of_a_newer_database_are_passed_over(farm) -> None:
    ctx = farm.ctx
    first = await wallets.new_wallet(ctx.chain, ctx.custody, ctx.database, farm.pooler_id, Destination("G"))
    await wallets.skip_numbers(ctx.database)
    second = await wallets.new_wallet(ctx.chain, ctx.custody, ctx.database, farm.pooler_id, Destination("G"))
    assert first.address == ctx.custody.addresses("farmer/1")[0]
    assert second.address == ctx.custody.addresses(f"farmer/{2 + wallets.SKIPPED}")[0]
    assert wallets.SKIPPED < wallets.GAP, "or the wallets behind would not be found"


async def test_the_command_brings_them_back(farm) -> None:
    (lost,) = await farm.add_farmers(1)
    await lose(farm)

    async def recover(*options: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KALEPOOL_")},
            "KALEPOOL_ENV_FILE": "",
            "KALEPOOL_NETWORK": "devnet",
            "KALEPOOL_RPC_URL": farm.devnet.url,
            "KALEPOOL_DATA_DIR": str(farm.settings.data_dir),
            "DATABASE_URL": farm.database_url,
        }
        command = [sys.executable, "-m", "kalepool", "custody", "recover", "--pooler", "ours", *options]
        done = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        said, _ = await done.communicate()
        assert done.returncode == 0, said
        return said.decode()

    said = await recover()
    assert f"1  {lost.custodial_wallet}  100 KALE, " in said and "1 to be brought back" in said
    assert await farm.rows("SELECT count(*) FROM farmers") == [(0,)]
    payout = Keypair.random().public_key
    assert "1 farmers brought back" in await recover("--payout-wallet", payout, "--yes")
    assert await farm.rows("SELECT custodial_wallet, payout_wallet FROM farmers") == [(lost.custodial_wallet, payout)]
