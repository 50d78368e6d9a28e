"""A disk that is full is said at once, with the reason: a database that only answers is not well."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from kalepool.config import Settings
from kalepool.database import Database, migrate
from kalepool.errors import DatabaseFullError
from kalepool.postgres import Postgres
from kalepool.services.health import Component, Health, disk_room
from kalepool.up.pulse import NotServingError, ask_database

pytestmark = pytest.mark.anyio

SMALL_BYTES = 160_000_000


def looking(database: Database, folder: Path) -> Health:
    settings = Settings.load(data_dir=folder, min_free_mb=20, _env_file=None)
    ctx: Any = SimpleNamespace(database=database, settings=settings)
    return Health(ctx)


async def look(health: Health, name: str) -> Component:
    return await health._look(name, getattr(health, f"_{name}"))


async def test_a_database_without_room_answers_and_is_down(database_url: str, tmp_path: Path) -> None:
    """Where the server may write nothing more, as on a full disk: temporary files are refused first."""
    async with Database.open(database_url) as database:
        assert (await look(looking(database, tmp_path), "database")).state == "up"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        await connection.execute(f'ALTER DATABASE "{name}" SET temp_file_limit = 0'.encode())
    async with Database.open(database_url) as database:
        assert await database.fetch_one("select_paused"), "it answers"
        with pytest.raises(DatabaseFullError, match="temp_file_limit"):
            await database.write()
        seen = await look(looking(database, tmp_path), "database")
        assert (seen.state, seen.detail) == ("down", "the database cannot write: its disk is full")
        with pytest.raises(NotServingError, match="its disk is full"):
            await ask_database(database_url)


async def test_little_room_is_told_before_there_is_none(tmp_path: Path) -> None:
    settings = Settings.load(data_dir=tmp_path / "not" / "made" / "yet", min_free_mb=0, _env_file=None)
    room = await disk_room(settings)
    assert 0 < room.free_bytes <= room.total_bytes and not room.is_low
    short = settings.model_copy(update={"min_free_mb": room.total_bytes // 1_000_000 + 1})
    assert (await disk_room(short)).is_low


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_fills_up_is_seen_and_seen_to_be_free_again(small_disk: Path) -> None:
    with Postgres.start(small_disk / "postgres") as server:
        url = server.create_database("kalepool")
        await migrate(url)
        async with Database.open(url) as database:
            health = looking(database, small_disk)
            assert [(await look(health, name)).state for name in ("database", "disk")] == ["up", "up"]
            filler = small_disk / "filler"
            with filler.open("wb") as file:
                file.write(b"\0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
            assert await database.fetch_one("select_paused"), "it answers"
            full = await look(health, "database")
            assert (full.state, full.detail) == ("down", "the database cannot write: its disk is full")
            room = await look(health, "disk")
            assert room.state == "down" and room.detail.startswith("0.0 of 0.2 GB free, KALEPOOL_MIN_FREE_MB wants 20")
            filler.unlink()
            assert [(await look(health, name)).state for name in ("database", "disk")] == ["up", "up"]
