"""Clients generated from the API's description compile, and carry a share and a withdrawal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kalepool.services.farming.plant import plant
from kalepool.services.mining import miners
from tests.integration.api.test_farmer_way import add_wallet
from tests.integration.api.test_share_logs import operated
from tests.integration.conftest import KALE
from tests.support.served import served
from tools import clients

pytestmark = pytest.mark.anyio


async def said(*command: Path | str, folder: Path, **secrets: str) -> list[str]:
    """The words of what a program prints."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env=os.environ | secrets,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    return out.decode().split()


@pytest.mark.skipif(not clients.READY.exists(), reason="no generators of clients: `make generators`")
@pytest.mark.slow(30, "both clients are generated and compiled")
async def test_generated_clients_compile_and_carry_a_share_and_a_withdrawal(farm, tmp_path: Path) -> None:
    await asyncio.to_thread(clients.main, str(tmp_path))
    wallet = await add_wallet(farm)
    (farmer,) = await farm.add_farmers(1)
    await farm.pay_out_to(farmer, wallet.public_key)
    await plant(farm.ctx, 0, farm.pooler_id)
    block = (await farm.ctx.chain.read_blocks([0]))[0]
    await operated(farm, 0, block.entropy)  # as its coordinator does
    settings = farm.settings.model_copy(update={"miner_registration": "open"})
    miner = await miners.register(farm.ctx.database, farm.ctx.custody, settings, "generated")
    secrets = {"KALEPOOL_API_KEY": miner.key, "KALEPOOL_WALLET_SECRET": wallet.secret}
    runs = {
        "python": (clients.PYTHON, f"{clients.PROGRAM}.py"),
        "typescript": (clients.NODE, f"built/{clients.PROGRAM}.js"),
    }
    async with served(settings) as (url, _):
        for number, (language, command) in enumerate(runs.items(), 1):
            share, outcome, withdrawal, status, transaction = await said(
                *command, url, folder=tmp_path / language, **secrets
            )
            assert (share, outcome) == ("share", "accepted"), language
            assert (withdrawal, status) == ("withdrawal", "paid"), language
            [(hash_,)] = await farm.rows(
                "SELECT encode(transaction_hash, 'hex') FROM submissions WHERE action = 'payment' "
                "AND status = 'applied' ORDER BY created_at DESC LIMIT 1"
            )
            assert hash_ == transaction
            account = (await farm.ctx.chain.read_accounts([wallet.public_key]))[wallet.public_key]
            assert account.kale_stroops == number * KALE
            [(shares,)] = await farm.rows("SELECT count(*) FROM shares")
            assert shares == number
