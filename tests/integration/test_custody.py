"""Rotating the master key over a real database."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from nacl.secret import Aead
from pydantic import SecretStr

from kalepool.config import Settings
from kalepool.custody import (
    Binding,
    Custody,
    MasterKey,
    Purpose,
    bind,
    broken_seals,
    key_file_path,
    load_custody,
    open_custody,
    rotate,
)
from kalepool.database import Database, new_id
from kalepool.errors import ConfigError, CustodyError

pytestmark = pytest.mark.anyio


async def add_farmers(custody: Custody, url: str, count: int) -> dict[UUID, str]:
    pooler, addresses = new_id(), {}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("INSERT INTO poolers (pooler_id, name) VALUES (%s, %s)", (pooler, str(pooler)))
        for _ in range(count):
            row = new_id()
            address, sealed, key_id = custody.create_sealed(row, Purpose.FARMER, str(row), payout_wallet="GHOME")
            await connection.execute(
                "INSERT INTO farmers (farmer_id, pooler_id, custodial_wallet, secret_sealed, master_key_id, "
                "payout_wallet, stake_percentage) VALUES (%s, %s, %s, %s, %s, 'GHOME', 0)",
                (row, pooler, address, sealed, key_id),
            )
            addresses[row] = address
    return addresses


def of(row: UUID, address: str) -> Binding:
    return Binding(row, Purpose.FARMER, address, payout_wallet="GHOME")


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
        assert running.signer(of(row, address), sealed).sign(b"x")  # it finds the new key by itself
    late = await add_farmers(Custody(*[k for k in keys(settings) if k.key_id == before]), database_url, 1)
    assert late  # sealed by a process that had not noticed yet: the key before is still there
    assert await rotate(settings, database) == 6
    assert await rotate(settings, database) == 6
    assert before in {key.key_id for key in keys(settings)}, "it alone brings back what was made under it"


def keys(settings: Settings) -> list[MasterKey]:
    words = key_file_path(settings).read_text().split()
    assert words[:2] == ["bound", "miners"]
    return [MasterKey.from_hex(line) for line in words[2:]]


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
            assert load_custody(settings).signer(of(row, address), sealed).sign(b"x")


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


async def seal_as_before(url: str, master: MasterKey) -> dict[UUID, bytes]:
    """What earlier versions had sealed: each secret for its row alone."""
    custody, found = Custody(master), {}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for row, (address, sealed, key_id) in (await secrets(url)).items():
            seed = custody._keypair(of(row, address), sealed).raw_secret_key()
            found[row] = bytes.fromhex(key_id) + Aead(master.secret).encrypt(seed, aad=row.bytes)
            await connection.execute("UPDATE farmers SET secret_sealed = %s WHERE farmer_id = %s", (found[row], row))
    return found


async def test_old_seals_are_bound_once_and_open_nothing_afterwards(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """The attack: a seal from an old backup is put back, beside the thief's payout wallet."""
    settings = Settings.load(data_dir=tmp_path, _env_file=None)
    path, master = key_file_path(settings), MasterKey.new()
    path.touch(mode=0o600)
    path.write_text(master.secret.hex() + "\n")  # a key file as earlier versions made it
    await add_farmers(Custody(master), database_url, 3)
    old = await seal_as_before(database_url, master)
    assert len(await broken_seals(load_custody(settings), database)) == 3
    custody = await open_custody(settings, database)
    assert await broken_seals(custody, database) == [] and keys(settings) == [master]
    bound = await secrets(database_url)
    await open_custody(settings, database)
    assert await bind(settings, database) == 0 and await secrets(database_url) == bound, "once is enough"
    thieved = next(iter(old))
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "UPDATE farmers SET payout_wallet = 'GTHIEF', secret_sealed = %s WHERE farmer_id = %s",
            (old[thieved], thieved),
        )
    for _ in range(2):  # a restart, a command, a rotation: none of them takes it for an upgrade
        custody = await open_custody(settings, database)
        assert await bind(settings, database) == 0
        assert [binding.row_id for binding in await broken_seals(custody, database)] == [thieved]
    with pytest.raises(CustodyError, match="payout wallet"):
        await rotate(settings, database)


async def test_a_key_from_the_environment_binds_when_it_is_told_to(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """It remembers nothing: so it takes no seal for an old one by itself."""
    master = MasterKey.new()
    settings = Settings.load(data_dir=tmp_path, _env_file=None, master_key=SecretStr(master.secret.hex()))
    await add_farmers(Custody(master), database_url, 2)
    await seal_as_before(database_url, master)
    custody = await open_custody(settings, database)
    (broken, _) = await broken_seals(custody, database)
    with pytest.raises(CustodyError, match="kalepool custody bind"):
        custody.signer(broken, (await secrets(database_url))[broken.row_id][1]).sign(b"x")
    assert await bind(settings, database) == 2
    assert await broken_seals(custody, database) == []
    assert await bind(settings, database) == 0


async def test_miners_are_sealed_once_and_follow_a_rotation(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """The attack: after an upgrade a wallet is changed and its seal taken away, as if nobody had sealed it yet."""
    settings = Settings.load(data_dir=tmp_path, _env_file=None)
    path = key_file_path(settings)
    path.touch(mode=0o600)
    path.write_text(f"bound\n{MasterKey.new().secret.hex()}\n")  # as the version before this made it
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for wallet in ("GONE", "GTWO", None):
            await connection.execute(
                "INSERT INTO miners (miner_id, name, payout_wallet) VALUES (gen_random_uuid(), 'm', %s)", (wallet,)
            )
        assert len(await broken_seals(load_custody(settings), database)) == 2
        custody = await open_custody(settings, database)
        assert await broken_seals(custody, database) == []
        assert await rotate(settings, database) == 0  # no secrets
        assert await broken_seals(load_custody(settings), database) == []
        await connection.execute(
            "UPDATE miners SET payout_wallet = 'GTHIEF', payout_seal = NULL WHERE payout_wallet = 'GONE'"
        )
        for _ in range(2):
            custody = await open_custody(settings, database)
            assert await bind(settings, database) == 0
            assert [binding.address for binding in await broken_seals(custody, database)] == ["GTHIEF"]
        await rotate(settings, database)
        assert [binding.address for binding in await broken_seals(load_custody(settings), database)] == ["GTHIEF"]
