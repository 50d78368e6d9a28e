"""Containers for tests: podman in a mount namespace, with images and networks of its own.

Needs root, podman, netavark, aardvark-dns and debootstrap (apt-get install --no-install-recommends podman netavark
aardvark-dns crun debootstrap), and Debian's and Python's package servers. Without them the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORE = (ROOT / "build" / "containers").resolve()
"""Images stay here from one run to the next: a base and three stages are 3 GB."""

PROGRAMS = ("podman", "netavark", "aardvark-dns", "debootstrap", "unshare", "nsenter", "ip")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

CONFIGURATION = """\
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{store}/networks"
"""


@dataclass(frozen=True)
class Podman:
    """Runs podman in the namespaces of the process `holder`. Images are built in the machine's network, which has
    packages; what runs has bridges, names and filters of its own, which end with the tests."""

    holder: int
    environment: dict[str, str]

    def __call__(self, *arguments: str, check: bool = True, seconds: float = 900.0, errors: bool = False) -> str:
        """What it prints, with `errors` to standard error. Raises AssertionError with what it says where it fails."""
        spaces = ["-m"] if arguments[0] == "build" else ["-m", "-n"]
        command = ["nsenter", *spaces, "-t", str(self.holder), f"--wdns={ROOT}", "podman", *self._places, *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert not check or done.returncode == 0, (
            f"podman {' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        )
        return (done.stdout + done.stderr * errors).strip()

    @property
    def _places(self) -> Sequence[str]:
        store = f"{STORE}/storage"
        return ["--storage-driver=overlay", f"--root={store}", f"--runroot={store}/run", f"--tmpdir={store}/tmp"]


def _missing() -> str | None:
    if os.getuid():
        return "containers are tested as root"
    found = {
        program: shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/lib/podman") for program in PROGRAMS
    }
    lacking = [program for program, path in found.items() if path is None]
    return f"containers cannot be tested without {', '.join(lacking)}" if lacking else None


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """What is left running ends with the tests."""
    if reason := _missing():
        pytest.skip(reason)
    STORE.mkdir(parents=True, exist_ok=True)
    settings = STORE / "containers.conf"
    settings.write_text(CONFIGURATION.format(store=STORE))
    # crun wants a machine whose control groups are all of version 2: this namespace shows it one.
    # What is known of networks is of this run alone.
    script = (
        "ip link set lo up; umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && "
        "mkdir -p /run/containers && mount -t tmpfs none /run/containers && exec sleep 3600"
    )
    with subprocess.Popen(["unshare", "-m", "-n", "sh", "-c", script]) as holder:
        run = Podman(holder.pid, {**os.environ, "CONTAINERS_CONF": str(settings)})
        try:
            time.sleep(0.5)
            _clear(run)
            yield run
        finally:
            _clear(run)
            for pid in _name_servers(holder.pid):
                os.kill(pid, signal.SIGTERM)
            holder.kill()


def _name_servers(holder: int) -> list[int]:
    """Those of podman that serve this run's networks."""
    note = Path("/proc", str(holder), "root", "run/containers/networks/aardvark-dns/aardvark.pid")
    return [int(note.read_text())] if note.exists() else []


def _clear(run: Podman) -> None:
    for _ in range(3):  # those that others depend on go last
        if left := run("ps", "-aq", check=False).split():
            run("rm", "-f", "-v", *left, check=False)
    for kind in ("volume", "network"):
        names = [name for name in run(kind, "ls", "-q", check=False).split() if name != "podman"]
        if names:
            run(kind, "rm", "-f", *names, check=False)


@pytest.fixture(scope="session")
def base(podman: Podman) -> str:
    """A Debian 12 like docker.io/library/debian:bookworm-slim, made from Debian's packages. It trusts whom this machine
    trusts, which may have a proxy of its own."""
    name = "localhost/debian:bookworm"
    if podman("images", "-q", name):
        return name
    folder = STORE / "debian"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", str(folder)], check=True, capture_output=True, timeout=600
    )
    shutil.copy(AUTHORITIES, folder / "etc/machine-authorities.crt")
    archive = STORE / "debian.tar"
    subprocess.run(["tar", "-C", str(folder), "-cf", str(archive), "."], check=True)
    changes = [f"--change=ENV {name}=/etc/machine-authorities.crt" for name in ("PIP_CERT", "SSL_CERT_FILE")]
    podman("import", *changes, str(archive), name)
    shutil.rmtree(folder)
    archive.unlink()
    return name
