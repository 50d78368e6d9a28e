"""The embedded server: starts for anybody, survives kill -9, leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kalepool.errors import DatabaseError
from kalepool.logins import Login
from kalepool.postgres import Postgres, running_url
from kalepool.processes import is_alive, wait_until_gone

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and prctl")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
START = """
import sys, time
from pathlib import Path
from kalepool.postgres import Postgres
server = Postgres.start(Path(sys.argv[1]))
print(server.process.pid, flush=True)
time.sleep(600)
"""


def count_rows(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    return row[0] if row else 0


def test_data_survives_a_stop_and_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Postgres.start(data) as server:
        assert count_rows(server.create_database("kalepool")) == 1
        assert running_url(data) == server.url(login=Login.API)
    assert running_url(data) is None
    with Postgres.start(data) as server:
        assert count_rows(server.url()) == 2
        server.process.kill()
        server.process.wait()
        with Postgres.start(data) as again:
            assert count_rows(again.url()) == 3


def test_it_flushes_to_disk_and_listens_to_nobody_else(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / "data") as server, psycopg.connect(server.url("postgres")) as connection:
        for setting, value in {"fsync": "on", "synchronous_commit": "on", "listen_addresses": ""}.items():
            assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (value,)
        assert server.socket_dir.stat().st_mode & 0o077 == 0


@linux
def test_a_stale_lock_file_naming_a_living_stranger_is_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Postgres.start(data) as server:
        lock = (data / "postmaster.pid").read_text()
        server.process.kill()
        server.process.wait()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        (data / "postmaster.pid").write_text(lock.replace(lock.split()[0], str(stranger.pid), 1))
        with Postgres.start(data) as server:
            assert count_rows(server.create_database("kalepool")) == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / ("x" * 100) / "data") as server:
        assert count_rows(server.create_database("kalepool")) == 1
        assert server.socket_dir.parent == Path("/tmp")
    server.socket_dir.rmdir()


@linux
def test_it_ends_with_the_process_that_started_it_and_the_next_start_works(tmp_path: Path) -> None:
    data = tmp_path / "data"
    starter = subprocess.Popen([sys.executable, "-c", START, str(data)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    pid = int(starter.stdout.readline())
    assert is_alive(pid)
    starter.kill()
    starter.communicate()
    assert wait_until_gone([pid], 30)
    with Postgres.start(data) as server:
        assert count_rows(server.create_database("kalepool")) == 1


@linux
def test_a_second_start_ends_an_old_server_rather_than_share_its_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Postgres.start(data) as old, Postgres.start(data) as new:
        assert old.process.wait(60) is not None
        assert count_rows(new.create_database("kalepool")) == 1


@linux
@root
def test_root_without_user_namespaces_becomes_nobody_and_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that forbids them; through folders that are closed to nobody."""
    refusing = tmp_path / "bin"
    refusing.mkdir()
    (refusing / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (refusing / "unshare").chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "data"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{refusing}:{os.environ['PATH']}")
        with Postgres.start(data) as server:
            assert count_rows(server.create_database("kalepool")) == 1
            assert data.stat().st_uid == 65534
    with Postgres.start(data) as server:  # namespaces are back, the data still is nobody's
        assert count_rows(server.url()) == 2


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Not under tmp_path, which another run of pytest closes to all other users at its start."""
    with tempfile.TemporaryDirectory(prefix="kalepool-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@linux
@root
@pytest.mark.parametrize("user", [1, 12345], ids=["with a name", "a mere number"])
def test_an_ordinary_user_needs_nothing_special_and_root_can_go_on_with_the_data(open_folder: Path, user: int) -> None:
    folder = open_folder / "home"
    folder.mkdir()
    os.chown(folder, user, user)
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    python = [*become, sys.executable, "-c"]
    if subprocess.run([*python, "import kalepool"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("this checkout is closed to other users")
    code = START.replace("time.sleep(600)", "server.create_database('kalepool'); server.stop()")
    done = subprocess.run(
        [*python, code, str(folder / "data")], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    with Postgres.start(folder / "data") as server:
        assert count_rows(server.url()) == 1
        assert (folder / "data").stat().st_uid == user


def test_trouble_is_said_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(DatabaseError, match=r"ended at once.*(shared_buffers|invalid value)"):
        Postgres.start(data, settings={"shared_buffers": "no"})
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseError, match="KALEPOOL_POSTGRES_BIN"):
        Postgres.start(data)
