"""A pool as external miners find it: farmers and an open block, put into the database as the coordinator does."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.config import Settings
from kalepool.custody import Custody, MasterKey
from kalepool.database import Database, new_id
from kalepool.services.mining import Mining, miners

CUSTODY = Custody(MasterKey.new())
"""Seals miners' payout wallets."""


@dataclass
class Field:
    """Farmers of one pooler, and the blocks opened for it."""

    url: str
    pooler_id: UUID
    farmers: dict[UUID, str]  # id -> wallet

    async def execute(self, query: str, *parameters: object) -> list[tuple]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def open_block(self, index: int) -> bytes:
        """Opens a block as the coordinator does, and returns its entropy."""
        entropy = hashlib.sha256(f"block {index}".encode()).digest()
        await self.execute(
            "INSERT INTO block_operations (block_index, pooler_id, entropy, started_at) VALUES (%s, %s, %s, %s)",
            index,
            self.pooler_id,
            entropy,
            datetime.now(UTC),
        )
        return entropy


async def make_field(url: str, farmers: int) -> Field:
    field = Field(url, new_id(), {})
    await field.execute("INSERT INTO poolers (pooler_id, name) VALUES (%s, %s)", field.pooler_id, str(field.pooler_id))
    for number in range(farmers):
        wallet = Keypair.from_raw_ed25519_seed(
            hashlib.sha256(f"{field.pooler_id} {number}".encode()).digest()
        ).public_key
        farmer_id = new_id()
        await field.execute(
            "INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, payout_wallet, "
            "stake_percentage, status) VALUES (%s, %s, %s, '', '', %s, 0.1, 'active')",
            farmer_id,
            field.pooler_id,
            wallet,
            wallet,
        )
        field.farmers[farmer_id] = wallet
    return field


@pytest.fixture
async def field(database_url: str) -> Field:
    return await make_field(database_url, farmers=4)


@pytest.fixture
def settings() -> Settings:
    return Settings.load(miner_registration="open", block_seconds=300)


@pytest.fixture
async def mining(field: Field, database: Database, settings: Settings) -> AsyncIterator[Mining]:
    """Mining with block 41 open."""
    await field.open_block(41)
    async with Mining.open(database, settings) as mining:
        yield mining


@pytest.fixture
async def miner_id(mining: Mining, database: Database, settings: Settings) -> UUID:
    return (await miners.register(database, CUSTODY, settings, "tester")).miner.miner_id
