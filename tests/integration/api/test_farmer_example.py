"""examples/farmer.py signs in against a pool on a devnet, as its text says."""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from stellar_sdk import Keypair

from kalepool.services import farmers
from tests.support.served import served

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[3] / "examples" / "farmer.py"


async def run(url: str, secret: str) -> tuple[int | None, str, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        url,
        env=os.environ | {"KALEPOOL_WALLET_SECRET": secret},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await child.communicate()
    return child.returncode, out.decode(), errors.decode()


async def test_a_farmer_signs_in_with_nothing_but_the_sdk(farm) -> None:
    wallet, stranger = Keypair.random(), Keypair.random()
    for each in (wallet, stranger):
        await farm.ctx.chain.fund(each.public_key)
    made = await farmers.register(farm.ctx, farm.pooler_id, wallet.public_key, Decimal("0.1"))
    await farm.rows("UPDATE poolers SET open = true")
    async with served(farm.settings) as (url, _):
        status, out, errors = await run(url, wallet.secret)
        assert status == 0, errors
        assert out.split()[:3] == [str(made.farmer.farmer_id), "registered", made.farmer.custodial_wallet]
        status, out, errors = await run(url, stranger.secret)
        assert status == 0 and f"at {farm.pooler_id} ours" in out, errors
    status, _, errors = await run("pool.example", wallet.secret)
    assert status == 1 and "python examples/farmer.py http" in errors
