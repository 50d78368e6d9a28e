"""The parts of `kalepool up`: what its children are told, and where they listen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kalepool
from kalepool.api import serve
from kalepool.api.server import require_free
from kalepool.config import Settings, local_url
from kalepool.database import Database, migrate
from kalepool.errors import ConfigError
from kalepool.processes import listens, spawn
from kalepool.services.poolers import active_pooler
from kalepool.up import parts as parts_module
from kalepool.up.demo import ensure_pooler
from kalepool.up.folder import DataFolder, Running, find_running
from kalepool.up.parts import Parts, shares_user
from kalepool.up.run import _start_api
from kalepool.up.supervisor import Service, Supervisor

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and prctl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataFolder]:
    """A working directory of its own, without settings from outside."""
    for name in [name for name in os.environ if name.upper().startswith(("KALEPOOL_", "DATABASE_URL"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with DataFolder(tmp_path / "data") as made:
        yield made


def environment_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    given: dict[str, str] = {}

    def look(_: object, *, environment: dict[str, str], **__: object) -> None:
        given.update(environment)

    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "spawn", look)
        service.start()
    return given


LOOK = """
from kalepool.config import Settings
s = Settings.load()
secrets = (s.master_key, s.api_key, s.alert_webhook, s.database_url)
print(s.channel_accounts, s.landing_probability, *map(bool, secrets))
"""


def test_a_child_learns_what_it_needs_of_the_env_file_and_no_more(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(
        f"KALEPOOL_MASTER_KEY={'5e' * 32}\nkalepool_channel_accounts=7\nDATABASE_URL=postgresql://nowhere/db\n"
        "KALEPOOL_ALERT_WEBHOOK=https://secret.example/\nKALEPOOL_API_KEY=kp_old\n"
    )
    Path(".env").chmod(0o600)
    monkeypatch.setenv("kalepool_landing_probability", "0.9")
    monkeypatch.setenv("kalepool_master_key", "5e" * 32)
    parts = Parts.plan(Settings.load(), folder)
    url = "postgresql://here/db"
    for service, known in (
        (parts.api(url), "True False True True"),
        (parts.coordinator(url, "kp_new"), "False True False True"),
        (parts.devnet(0), "False False False False"),
    ):
        given = environment_of(service, monkeypatch)
        seen = subprocess.run([sys.executable, "-c", LOOK], env=given, capture_output=True, text=True, check=True)
        assert seen.stdout.split(" ", 2) == ["7", "0.9", known + "\n"], service.name
        assert ("5e" * 32 in str(given)) == (service.name == "api")


def test_as_many_coordinators_are_started_as_are_wanted_each_with_a_port_of_its_own(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Parts.plan(Settings.load(), folder).coordinators() == ["coordinator"]
    parts = Parts.plan(Settings.load(coordinators=3, metrics_port=9800), folder)
    services = [parts.coordinator("postgresql://here/db", "kp_new", name=name) for name in parts.coordinators()]
    assert [service.name for service in services] == ["coordinator", "coordinator-2", "coordinator-3"]
    assert len({service.log for service in services}) == len({service.mark for service in services}) == 3
    ports = [environment_of(service, monkeypatch)["KALEPOOL_METRICS_PORT"] for service in services]
    assert ports == ["9800", "9801", "9802"]


def test_another_env_file_may_be_named(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("KALEPOOL_PLATFORM_FEE=0.1\n")
    Path("other").write_text("KALEPOOL_PLATFORM_FEE=0.2\n")
    assert Settings.load().platform_fee == 0.1
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "other")
    assert Settings.load().platform_fee == 0.2
    monkeypatch.setenv("KALEPOOL_ENV_FILE", "")
    assert Settings.load().platform_fee == 0.05


def test_where_it_runs_is_for_its_user_alone(folder: DataFolder) -> None:
    note = folder.path / "up.json"
    note.write_text("{}")
    note.chmod(0o644)
    running = Running(os.getpid(), "testnet", "https://rpc.example/key", None, "http://127.0.0.1:1", 5.0, 300)
    folder.publish(running)
    assert note.stat().st_mode & 0o777 == 0o600
    assert json.loads(note.read_text())["rpc_url"] == "https://rpc.example/key" and find_running(folder.path) == running


# Where the API listens


def can_listen(host: str) -> bool:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", ""])
def test_any_address_of_this_machine_will_do(host: str, folder: DataFolder) -> None:
    if host.startswith(":") and not can_listen(host):
        pytest.skip("no IPv6 here")
    settings = Settings.load(api_host=host, api_port=0, public_url="https://pool.example")
    assert Parts.plan(settings, folder).api_port > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "pool.example"])
def test_nobody_else_is_let_in_before_the_pool_knows_its_address(host: str, folder: DataFolder) -> None:
    settings = Settings.load(api_host=host, api_port=0, database_url="postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(ConfigError, match="KALEPOOL_PUBLIC_URL"):
        Parts.plan(settings, folder)
    with pytest.raises(ConfigError, match="KALEPOOL_PUBLIC_URL"):
        serve(settings)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_another_machines_address_is_told(host: str, folder: DataFolder) -> None:
    with pytest.raises(ConfigError, match="KALEPOOL_API_HOST"):
        Parts.plan(Settings.load(api_host=host, public_url="https://pool.example"), folder)


def test_an_address_to_call_it_at() -> None:
    assert local_url("0.0.0.0", 1) == local_url("", 1) == local_url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert local_url("::", 1) == local_url("::1", 1) == "http://[::1]:1"
    assert local_url("pool.example", 1) == "http://pool.example:1"


def test_a_taken_port_is_told_only_where_it_was_chosen(folder: DataFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"on 127.0.0.1:{port} \(Address already in use\): set KALEPOOL_API_PORT"
        ):
            Parts.plan(Settings.load(api_port=port), folder)
        with pytest.raises(
            ConfigError, match=rf"on 127.0.0.1:{port} \(Address already in use\): set .*KALEPOOL_API_PORT"
        ):
            require_free("127.0.0.1", port)
        assert listens(os.getpid(), port)
    require_free("127.0.0.1", port)
    assert not listens(os.getpid(), port)


SERVER = """
import http.server, sys, time
time.sleep(float(sys.argv[2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@linux
def test_who_was_slower_takes_another_port_and_not_the_others_api(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts.plan(Settings.load(api_port=0), folder)
    supervisor = Supervisor(lambda _: None)
    rival = spawn([sys.executable, "-c", SERVER, str(parts.api_port), "0"])

    def api(self: Parts, _: str) -> Service:
        log = folder.logs / "api.log"
        return Service("api", lambda: spawn([sys.executable, "-c", SERVER, str(self.api_port), "1"], log=log), log)

    monkeypatch.setattr(Parts, "api", api)
    try:
        started = asyncio.run(_start_api(parts, "", supervisor))
        assert started.api_port != parts.api_port
        assert listens(supervisor.pid("api"), started.api_port) and listens(rival.pid, parts.api_port)
        # A port that the user chose is not given up; nor does another help who ends for another reason.
        supervisor.stop("api")
        chosen = Parts(Settings.load(api_port=parts.api_port), folder, parts.network, parts.api_port, "run")
        with pytest.raises(ConfigError, match="api ended at once"):
            asyncio.run(_start_api(chosen, "", supervisor))
    finally:
        supervisor.kill_all()
        rival.kill()
        rival.wait()
    assert parts.with_another_port() is None


@pytest.mark.anyio
async def test_the_pools_own_pooler_has_the_limit_that_is_set(
    database: Database, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALEPOOL_POOLER_FARMERS", "7")
    pooler_id, first = await ensure_pooler(database, Settings.load())
    assert (await active_pooler(database, pooler_id)).max_farmers == 7
    monkeypatch.setenv("KALEPOOL_POOLER_FARMERS", "8")  # what was made, or changed by an operator, stays
    again, second = await ensure_pooler(database, Settings.load())
    assert again == pooler_id and first != second
    assert (await active_pooler(database, pooler_id)).max_farmers == 7


def test_the_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    old = tmp_path / "of an older version"
    (old / "logs").mkdir(parents=True)
    for path in (old, tmp_path / "new"):
        path.parent.chmod(0o755)
        with DataFolder(path) as made:
            assert made.path.stat().st_mode & 0o066 == 0, "others neither list it nor write to it"
            assert made.logs.stat().st_mode & 0o077 == 0


# Coordinator, Ray and workers as another user

TAKEN_OVER = """
import json, os, sys
import psycopg
with psycopg.connect(os.environ["KALEPOOL_DATABASE_URL"]) as connection:
    seen = {"logged in as": connection.execute("SELECT current_user").fetchone()[0]}
seen["user"] = [os.getuid(), os.getgroups(), os.environ["HOME"]]
for path in sys.argv[1:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
        seen[path] = "read"
    except PermissionError:
        seen[path] = "refused"
try:
    os.kill(os.getppid(), 0)
    seen["parent"] = "may be ended"
except PermissionError:
    seen["parent"] = "refused"
print(json.dumps(seen))
"""


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, pwd.struct_passwd]]:
    """A data folder and an ordinary user who may pass through it and run a Python with kalepool."""
    if os.getuid() != 0:
        pytest.skip("only root can start processes as another user")
    user = pwd.getpwnam("games")
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(kalepool.__file__).parents[1]), *sys.path[1:]]))
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", "import kalepool, psycopg"], check=False, **as_user).returncode == 0:
                monkeypatch.setattr(sys, "executable", python)
                break
    else:
        pytest.skip("no Python here that another user may run")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name) / "data", user


def test_what_runs_in_ray_reads_neither_key_nor_database_files(
    stranger: tuple[Path, pwd.struct_passwd], folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, user = stranger
    with DataFolder(data) as made:
        made.path.chmod(0o700)  # as under a closed umask
        parts = Parts.plan(Settings.load(api_port=0, ray_user=user.pw_name), made)
        service, urls = parts.postgres()
        try:
            key = made.path / "master.key"
            key.write_text("5e" * 32)
            key.chmod(0o600)
            asyncio.run(migrate(urls.migrate))
            given = environment_of(parts.coordinator(urls.coordinator, "kp_key"), monkeypatch)
            assert not urls.api.startswith(urls.coordinator)
            closed = [key, made.path, made.logs, made.path / "postgres", made.path / "postgres.logins"]
            log = made.logs / "coordinator.log"
            command = [sys.executable, "-c", TAKEN_OVER, *map(str, closed)]
            spawn(command, environment=given, log=log, user=parts.ray_user).wait(30)
            seen = json.loads(log.read_text())
            assert seen == {
                "logged in as": "kalepool_coordinator",
                "user": [user.pw_uid, [], user.pw_dir],
                "parent": "refused",
                **{str(path): "refused" for path in closed},
            }
        finally:
            assert service.process
            service.process.send_signal(signal.SIGINT)
            service.process.wait(60)


def test_a_user_for_ray_that_does_not_separate_is_told(
    stranger: tuple[Path, pwd.struct_passwd], folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, user = stranger
    with DataFolder(data) as made:
        for name, said in (("root", "root is not to be it"), ("nobody-of-that-name", "useradd")):
            with pytest.raises(ConfigError, match=said):
                Parts.plan(Settings.load(api_port=0, ray_user=name), made)
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match="cannot run"):
            patch.setattr(sys, "executable", "/no/such/python")
            Parts.plan(Settings.load(api_port=0, ray_user=user.pw_name), made)
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match="only root"):
            patch.setattr(os, "getuid", lambda: 1000)
            Parts.plan(Settings.load(api_port=0, ray_user=user.pw_name), made)
        data.parent.chmod(0o700)
        with pytest.raises(ConfigError, match="cannot reach"):
            Parts.plan(Settings.load(api_port=0, ray_user=user.pw_name), made)


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({"network": "devnet"}, False),
        ({"network": "testnet"}, True),
        ({"network": "testnet", "ray_user": "games"}, False),
        ({"network": "mainnet", "ray_address": "none"}, False),
    ],
)
def test_who_has_ray_beside_the_key_is_told(given: dict[str, Any], shared: bool, folder: DataFolder) -> None:
    assert shares_user(Settings.load(**given)) is shared
