"""Rotating the master key over a real database."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from kalepool.config import Settings
from kalepool.custody import Custody, MasterKey, key_file_path, load_custody, open_custody, rotate
from kalepool.database import Database, new_id
from kalepool.errors import ConfigError, CustodyError

pytestmark = pytest.mark.anyio


async def add_farmers(custody: Custody, url: str, count: int) -> dict[UUID, str]:
    pooler, addresses = new_id(), {}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("INSERT INTO poolers (pooler_id, name) VALUES (%s, %s)", (pooler, str(pooler)))
        for number in range(count):
            row = new_id()
            address, sealed, key_id = custody.create_sealed(row, f"test/{pooler}/{number}")
            await connection.execute(
                "INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, "
                "payout_wallet, stake_percentage) VALUES (%s, %s, %s, %s, %s, '', 0)",
                (row, pooler, address, sealed, key_id),
            )
            addresses[row] = address
    return addresses


async def secrets(url: str) -> dict[UUID, tuple[str, bytes, str]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT farmer_id, custodial_wallet, secret_sealed, master_key_id FROM farmers"
        )
        return {row[0]: row[1:] async for row in cursor}


async def test_rotation_seals_everything_under_a_new_key_while_a_process_runs(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = Settings.load(data_dir=tmp_path)
    running = load_custody(settings)
    await add_farmers(running, database_url, 5)
    before = running.master_key_id
    assert await rotate(settings, database) == 5
    after = load_custody(settings).master_key_id
    assert after != before
    for row, (address, sealed, key_id) in (await secrets(database_url)).items():
        assert key_id == after
        assert running.signer(row, address, sealed).sign(b"x")  # it finds the new key by itself
    late = await add_farmers(Custody(*[k for k in keys(settings) if k.key_id == before]), database_url, 1)
    assert late  # sealed by a process that had not noticed yet: the key before is still there
    assert await rotate(settings, database) == 6
    assert await rotate(settings, database) == 6
    assert before in {key.key_id for key in keys(settings)}, "it alone brings back what was made under it"


def keys(settings: Settings) -> list[MasterKey]:
    return [MasterKey.from_hex(line) for line in key_file_path(settings).read_text().split()]


async def test_a_secret_that_does_not_open_stops_the_rotation_whole(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = Settings.load(data_dir=tmp_path)
    custody = load_custody(settings)
    await add_farmers(custody, database_url, 3)
    await add_farmers(Custody(MasterKey.new()), database_url, 1)
    with pytest.raises(CustodyError, match="not here"):
        await rotate(settings, database)
    stored = await secrets(database_url)
    assert sum(key_id == custody.master_key_id for _, _, key_id in stored.values()) == 3
    for row, (address, sealed, key_id) in stored.items():
        if key_id == custody.master_key_id:
            assert load_custody(settings).signer(row, address, sealed).sign(b"x")


async def test_a_lost_master_key_is_asked_for_and_not_replaced(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = Settings.load(data_dir=tmp_path, _env_file=None)
    custody = await open_custody(settings, database)  # nothing is sealed yet: the first key is made
    await add_farmers(custody, database_url, 1)
    path = key_file_path(settings)
    kept = path.read_text()
    path.unlink()
    for starts in (open_custody, rotate):
        with pytest.raises(ConfigError, match=f"put the old master.key at {path}"):
            await starts(settings, database)
        assert not path.exists()
    path.touch(mode=0o600)
    path.write_text(MasterKey.new().secret.hex())
    with pytest.raises(ConfigError, match="is another"):
        await open_custody(settings, database)
    elsewhere = settings.model_copy(update={"master_key": SecretStr(MasterKey.new().secret.hex())})
    with pytest.raises(ConfigError, match="KALEPOOL_MASTER_KEY"):
        await open_custody(elsewhere, database)
    path.write_text(kept)
    assert (await open_custody(settings, database)).master_key_id == custody.master_key_id
