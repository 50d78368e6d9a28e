"""The cluster on a real Ray of several nodes: they join, die and are isolated as promised."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from kalepool.cluster.fleet import RayHandle, connect
from kalepool.cluster.members import Member
from kalepool.cluster.messages import code_version
from kalepool.cluster.placement import WorkerPlace
from kalepool.errors import ConfigError
from tests.support.ray_nodes import kill_node

from .conftest import job, searching

pytestmark = [pytest.mark.anyio, pytest.mark.ray]


@pytest.mark.slow(20, "two nodes and three workers start")
async def test_nodes_join_and_die_while_the_search_goes_on(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_MASTER_KEY", "5e" * 32)
    first = ray_cluster.add_node(num_cpus=1, env_vars={"KALEPOOL_API_KEY": "left in a shell", "DATABASE_URL": "too"})
    async with searching(ray_cluster.address) as run:
        run.cluster.publish(job(1, 3))
        await run.until(lambda: len(run.hosts(3)) == 1, 30)
        (member,) = run.cluster.members.values()
        assert member.hello.code_version == code_version()
        await _check_isolation(member.handle)

        # A node that joins in mid-block searches, too.
        began = time.monotonic()
        second = ray_cluster.add_node(num_cpus=1)
        added_at = time.monotonic()
        await run.until(lambda: len(run.hosts(3)) == 2, 30)
        print(
            f"a node joined: {added_at - began:.1f} s to start it, searching {time.monotonic() - added_at:.1f} s later"
        )

        # Another block stops every old job.
        began = time.monotonic()
        run.cluster.publish(job(2, 4))
        await run.until(lambda: len(run.hosts(4)) == 2, 30)
        print(f"another block: all at it after {time.monotonic() - began:.2f} s")
        seen = len(run.reports)
        await run.until(lambda: len(run.reports) >= seen + 4, 30)
        assert all(report.index == 4 for _, report in run.reports[seen:])

        # A node that loses its power costs no more than itself.
        began = time.monotonic()
        gone = second.node_id
        kill_node(second)
        await run.until(lambda: {place.node_id for place in run.cluster.members} == {first.node_id}, 30)
        print(f"a node killed: noticed after {time.monotonic() - began:.1f} s")
        await run.until(lambda: gone not in {place.node_id for place in run.cluster.members}, 30)
        seen = len(run.reports)
        await run.until(lambda: len(run.reports) >= seen + 2, 30)

        # A worker that dies alone is replaced in its place.
        (member,) = run.cluster.members.values()
        os.kill(member.hello.pid, signal.SIGKILL)
        await run.until(lambda: any(m.hello.pid != member.hello.pid for m in run.cluster.members.values()), 30)
    ray_cluster.worker_nodes.discard(second)


async def _check_isolation(handle: Any) -> None:
    """A worker's process knows no secret, and has loaded nothing that could handle one."""
    assert isinstance(handle, RayHandle)
    look = handle._actor.__ray_call__.remote(_look_around)
    modules, environment = json.loads(await look)
    assert not [name for name in environment if name.startswith(("KALEPOOL_", "DATABASE_URL"))]
    forbidden = (
        "stellar_sdk",
        "psycopg",
        "nacl",
        "fastapi",
        "kalepool.custody",
        "kalepool.database",
        "kalepool.config",
    )
    assert not [name for name in modules if name.startswith(forbidden)]


def _look_around(_: object) -> bytes:
    return json.dumps([sorted(sys.modules), sorted(os.environ)]).encode()


@contextlib.contextmanager
def one_node(ray_cluster: Any) -> Iterator[None]:
    """With a core to search on, for as long as a test needs it."""
    node = ray_cluster.add_node(num_cpus=1)
    try:
        yield
    finally:
        ray_cluster.remove_node(node)


@contextlib.contextmanager
def driven(ray_cluster: Any) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A coordinator's process, and its workers'. It is killed at the end."""
    driver = textwrap.dedent(
        """
        import asyncio, sys
        sys.path.insert(0, sys.argv[2])
        from tests.integration.cluster.conftest import job, searching

        async def main():
            async with searching(sys.argv[1]) as run:
                run.cluster.publish(job(1, 3))
                await run.until(lambda: bool(run.hosts(3)), 60)
                print("pids", *(member.hello.pid for member in run.cluster.members.values()), flush=True)
                await asyncio.sleep(3600)

        asyncio.run(main())
        """
    )
    command = [sys.executable, "-c", driver, ray_cluster.address, str(Path.cwd())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            told = next(line for line in process.stdout if line.startswith("pids "))
            yield process, [psutil.Process(int(pid)) for pid in told.split()[1:]]
        finally:
            process.kill()


def test_workers_die_with_their_driver_and_the_next_one_starts_clean(ray_cluster: Any) -> None:
    with one_node(ray_cluster):
        with driven(ray_cluster) as (_, workers):
            pass
        _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


@pytest.mark.slow(21, "a worker waits for 10 s until it takes its coordinator for frozen")
async def test_workers_of_a_frozen_driver_make_room_for_the_next_ones(ray_cluster: Any) -> None:
    with one_node(ray_cluster), driven(ray_cluster) as (process, workers):
        process.send_signal(signal.SIGSTOP)
        async with searching(ray_cluster.address) as run:  # there is one core
            run.cluster.publish(job(2, 4))
            began = time.monotonic()
            await run.until(lambda: bool(run.hosts(4)), 30)
            print(f"the next worker searches {time.monotonic() - began:.1f} s after the first one's driver froze")
        assert not [worker for worker in workers if worker.is_running()]


async def test_a_card_gets_a_worker_of_its_own(ray_cluster: Any) -> None:
    """With Numba's simulator as the card. A worker that joined has hashed on it."""
    node = ray_cluster.add_node(num_cpus=0, num_gpus=1, env_vars={"NUMBA_ENABLE_CUDASIM": "1"})
    place = WorkerPlace(node.node_id, "", "cuda", 0, 1)
    async with searching(ray_cluster.address) as run:

        def cards() -> list[Member]:
            return [member for member in run.cluster.members.values() if member.place.kind == "cuda"]

        await run.until(lambda: bool(cards()), 60)
        (card,) = cards()
        assert replace(card.place, host="") == place
        assert (card.hello.backend, card.hello.threads) == ("cuda", 1)


async def test_no_cluster_at_the_address() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster"):
        async with connect("127.0.0.1:1", cpus=0, gpus=0):
            pass


@pytest.mark.slow(20, "Ray tries for so long with the wrong token")
def test_a_cluster_that_has_another_token_says_so(ray_cluster: Any) -> None:
    """In a process of its own: Ray reads the token once."""
    driver = textwrap.dedent(
        """
        import asyncio, sys
        from kalepool.cluster.fleet import connect
        from kalepool.errors import ConfigError

        async def main():
            try:
                async with connect(sys.argv[1], cpus=0, gpus=0):
                    print("connected")
            except ConfigError as error:
                print("told:", error)

        asyncio.run(main())
        """
    )
    tried = subprocess.run(
        [sys.executable, "-c", driver, ray_cluster.address],
        env={**os.environ, "RAY_AUTH_TOKEN": "1" * 64},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "told: the Ray cluster at" in tried.stdout and "another token" in tried.stdout, tried


HOOKED = """
import asyncio, os, sys
from pathlib import Path
from kalepool.cluster.fleet import connect
from kalepool.errors import ConfigError

def hook():
    Path(sys.argv[2]).touch()

sys.modules["hooked"] = sys.modules["__main__"]

async def main():
    try:
        async with connect(sys.argv[1], cpus=0, gpus=0):
            print("connected")
    except ConfigError as error:
        print("told:", error)

asyncio.run(main())
"""


def test_a_cluster_names_no_function_that_is_called_here(ray_cluster: Any, tmp_path: Path) -> None:
    """Whoever has Ray's token can write what Ray has every process call that connects."""
    from ray._private.ray_constants import KV_NAMESPACE_TRACING

    head = ray_cluster.head_node.get_gcs_client()
    head.internal_kv_put(b"tracing_startup_hook", b"hooked:hook", True, KV_NAMESPACE_TRACING)
    try:
        command = [sys.executable, "-c", HOOKED, ray_cluster.address, str(tmp_path / "called")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        head.internal_kv_del(b"tracing_startup_hook", False, KV_NAMESPACE_TRACING)
    assert "told: " in done.stdout and "everybody call 'hooked:hook'" in done.stdout, done
    assert not (tmp_path / "called").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's part, which needs root")
async def test_another_user_cannot_have_ray_write_over_a_file(tmp_path: Path) -> None:
    """Ray opens its folder to everybody, and its daemon writes debug_state.txt through a link every 10 s."""
    async with connect(None, cpus=0, gpus=0):
        from ray._private.worker import _global_node

        assert _global_node is not None
        session = Path(_global_node.get_session_dir_path())
        assert (session / "logs").stat().st_mode & 0o002, "Ray has become careful: what keeps others out can go"
        attack = ["ln", "-sf", str(tmp_path / "master.key"), str(session / "logs" / "debug_state.txt")]
        nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        done = await asyncio.to_thread(subprocess.run, attack, capture_output=True, text=True, check=False, **nobody)
        assert "Permission denied" in str(done.stderr) and done.returncode, "nobody put a link where Ray writes"
        way = [folder for folder in session.parents if folder.is_relative_to(tempfile.gettempdir())]
        private = [folder for folder in way if folder.stat().st_mode & 0o777 == 0o700]
        assert private and private[0].stat().st_uid == os.getuid()
