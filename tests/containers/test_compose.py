"""The images are built, and what compose.yaml says is run: a block is planted, worked and harvested."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from kalepool.up.demo import demo_wallet

from .compose import PROJECT, Compose, read
from .conftest import ROOT, Podman

pytestmark = [pytest.mark.container, pytest.mark.timeout(1800)]

STAGES = ("pool", "worker", "miner")
FARMERS = 2
OPEN = "import urllib.request as r; r.urlopen("
BLOCK_SECONDS = 30


@pytest.fixture(scope="module")
def images(podman: Podman, base: str) -> dict[str, int]:
    """Their sizes in bytes, each with all it stands on."""
    file = ["-f", "deploy/Dockerfile", "--ignorefile=deploy/Dockerfile.dockerignore", f"--build-arg=BASE={base}"]
    for stage in STAGES:
        podman(
            "build", "--isolation=chroot", "--network=host", *file, f"--target={stage}", f"--tag=kalepool/{stage}", "."
        )
    podman(
        "build", "--isolation=chroot", "-f", "tests/containers/database.Dockerfile", f"--build-arg=BASE={base}",
        "--tag=docker.io/library/postgres:18", ".",
    )  # fmt: skip
    sizes = {stage: int(podman("inspect", "--format={{.Size}}", f"kalepool/{stage}")) for stage in STAGES}
    print(", ".join(f"{stage}: {size / 1e6:.0f} MB" for stage, size in sizes.items()))
    return sizes


@pytest.fixture(scope="module")
def compose(podman: Podman, images: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """All of it, running."""
    place = tmp_path_factory.mktemp("compose")
    folder = shutil.copytree(ROOT / "deploy", place / "deploy")
    place.chmod(0o711)
    subprocess.run([folder / "make-secrets"], check=True)
    assert not [file for file in (folder / "secrets").iterdir() if file.stat().st_mode & 0o077]
    shutil.copy(folder / "pool.env.example", folder / "pool.env")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KALEPOOL_BLOCK_SECONDS", str(BLOCK_SECONDS))
        patch.setenv("KALEPOOL_LEDGER_SECONDS", "1")
        whole = read(folder / "compose.yaml", folder / "compose.devnet.yaml")
    for service in whole["services"].values():
        service.pop("ports", None)  # another's may be in use on this machine
    running = Compose(podman, folder, whole)
    try:
        running.up()
        yield running
    finally:
        print(running.logs())


def test_a_block_is_planted_searched_worked_and_harvested(compose: Compose) -> None:
    for number in range(FARMERS):
        payout = demo_wallet(number).public_key
        added = json.loads(
            compose.execute("api", "kalepool", "farmer", "add", payout, "--name", f"demo {number}", "--json")
        )
        compose.execute(
            "api", "python3", "-c", f"{OPEN}'http://devnet:8000/friendbot?addr={added['custodial_wallet']}')"
        )
    give_up_at = time.monotonic() + 6 * BLOCK_SECONDS
    while True:
        said = compose.execute("api", "kalepool", "status")
        rows = re.findall(r"^\d+ finished +(\d+) +(\d+) +(\d+) +(\d+)", said, re.M)
        if [row for row in rows if row[:3] == (str(FARMERS),) * 3 and int(row[3]) > 0] and re.search(
            r"\b1 workers?\b", said
        ):
            break
        assert time.monotonic() < give_up_at, f"{said}\n{compose.logs()}"
        time.sleep(2.0)


def test_one_coordinator_is_killed_and_the_other_leads(podman: Podman, compose: Compose) -> None:
    """With its Ray node, as a machine loses power. No stake is lost by it, and the killed one comes back."""

    def rows(query: str) -> list[str]:
        psql = ("psql", "-h", "/tmp", "-U", "postgres", "-d", "kalepool", "-Atc")
        return compose.execute("database", *psql, query).splitlines()

    def until(done: Callable[[], object], seconds: float) -> float:
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < seconds, f"{rows(there)} {rows(leads)}\n{compose.logs()}"
            time.sleep(0.5)
        return time.monotonic() - began

    place = "split_part(place, '/', 1)"
    there = f"SELECT DISTINCT {place} FROM coordinators WHERE seen_at > now() - interval '5 s' ORDER BY 1"
    leads = f"SELECT {place} FROM coordinator_leases WHERE expires_at > now()"
    both = ["coordinator", "coordinator-2"]
    until(lambda: rows(there) == both, 60)
    [killed] = rows(leads)
    [other] = {*both} - {killed}
    [begun] = rows("SELECT max(block_index) FROM block_operations")
    podman("stop", "--time=0", compose.container(killed))  # SIGKILL, and it stays away: else it may lead again itself
    led = until(lambda: rows(leads) == [other], 30)
    podman("start", compose.container(killed))
    back = until(lambda: rows(there) == both, 60)
    searched = until(
        lambda: re.search(r"\b1 workers?\b", compose.execute("api", "kalepool", "status")), 2 * BLOCK_SECONDS
    )
    print(f"{other} led {led:.1f} s after {killed} was killed, had workers {back + searched:.1f} s later")
    worked = f"SELECT count(*) FROM works WHERE outcome = 'worked' AND block_index > {begun}"
    until(lambda: int(rows(worked)[0]) >= 2 * FARMERS, 4 * BLOCK_SECONDS)
    assert rows(leads) == [other]
    assert rows(f"SELECT block_index FROM pooler_compensations WHERE block_index >= {begun}") == []


def test_no_process_is_roots_and_workers_reach_the_head_alone(compose: Compose) -> None:
    for name in compose.services.keys() - {"setup"}:
        assert compose.execute(name, "id", "-u") in ("10001", "999")
    for host, port in (("database", 5432), ("api", 8737), ("devnet", 8000)):
        reach = f"import socket; socket.create_connection(('{host}', {port}), 3)"
        with pytest.raises(AssertionError, match=r"gaierror|timed out|Unreachable|Errno"):
            compose.execute("worker", "python3", "-c", reach)


def test_the_miners_image_mines(podman: Podman, images: dict[str, int], compose: Compose) -> None:
    """At the pool that the tests before left running."""
    key = json.loads(compose.execute("api", "kalepool", "miner", "add", "box", "--json"))["key"]
    inner = f"--network={PROJECT}_inner"
    command = ("mine", "--url", "http://api:8737", "--threads", "1")
    podman("run", "-d", "--name=miner", inner, "--read-only", "--tmpfs=/tmp", f"--env=KALEPOOL_API_KEY={key}",
           "kalepool/miner", *command)  # fmt: skip
    give_up_at = time.monotonic() + 90
    while not re.search(r"accepted [1-9]", said := podman("logs", "miner", errors=True)):
        assert time.monotonic() < give_up_at, said
        time.sleep(1.0)
