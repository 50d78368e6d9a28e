"""Processes that hold secrets: nobody looks into them, and what they write is for their user alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.support.ports import free_port

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and prctl"),
]

ORDINARY = """
import ctypes, os
def become_ordinary():
    if os.getuid() == 0:  # root may look into everything: not so who it is from here on
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process that was started by this user
"""

API = (
    ORDINARY
    + """
import contextlib, sys
from fastapi import FastAPI
from kalepool.api import server
from kalepool.config import Settings

@contextlib.asynccontextmanager
async def life(app):
    print("opened its keys", flush=True)
    sys.stdin.readline()
    yield

become_ordinary()
app = FastAPI(lifespan=life)
app.state.shared = {}
server.create_app = lambda settings: app
server.serve(Settings.load(api_port=int(sys.argv[1])))
"""
)

LOOK = (
    ORDINARY
    + """
import json, sys
from kalepool.processes import listens
become_ordinary()
pid, seen = int(sys.argv[1]), {}
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{pid}/{name}", "rb").close()
        seen[name] = True
    except OSError:
        seen[name] = False
libc = ctypes.CDLL(None)
seen["attach"] = libc.ptrace(16, pid, None, None) == 0
if seen["attach"]:
    os.waitpid(pid, 0x40000000)
    libc.ptrace(17, pid, None, None)
seen["listens"] = [listens(pid, int(port)) for port in sys.argv[2:]]
print(json.dumps(seen))
"""
)


def look(pid: int, *ports: int) -> dict[str, object]:
    """What another process of the same ordinary user sees of it."""
    command = [sys.executable, "-c", LOOK, str(pid), *map(str, ports)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_no_process_of_its_user_looks_into_the_api_and_up_still_sees_its_port() -> None:
    port = free_port()
    command = [sys.executable, "-c", API, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as api:
        try:
            assert api.stdin and api.stdout and api.stdout.readline() == "opened its keys\n"
            before = look(api.pid, port)
            assert before["environ"] and before["maps"], "this test would see nothing either way"
            assert before["listens"] == [False]
            print("go on", file=api.stdin, flush=True)
            ends_at = time.monotonic() + 30
            while True:
                try:
                    httpx2.get(f"http://127.0.0.1:{port}/docs", timeout=30).raise_for_status()
                    break
                except httpx2.TransportError:
                    assert time.monotonic() < ends_at
                    time.sleep(0.05)
            after = look(api.pid, port, port + 1)
            assert after == {
                "environ": False, "mem": False, "maps": False, "attach": False, "listens": [True, False]
            }  # fmt: skip
        finally:
            api.kill()
    assert look(api.pid, port)["listens"] == [False]


def test_a_process_leaves_no_core_dump_and_no_file_for_others(tmp_path: Path) -> None:
    """Of a command that writes files, whatever the shell's umask and limits are."""
    command = [sys.executable, "-m", "kalepool", "devnet", "--port", "0", "--data", str(tmp_path / "chain")]
    free = {name: value for name, value in os.environ.items() if not name.startswith("KALEPOOL_")}
    with subprocess.Popen(command, env=free, umask=0o022, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            ends_at = time.monotonic() + 30
            while not list((tmp_path / "chain").glob("*")):
                assert time.monotonic() < ends_at and node.poll() is None
                time.sleep(0.05)
            limits = Path(f"/proc/{node.pid}/limits").read_text().splitlines()
            (core,) = (line.split()[4:6] for line in limits if line.startswith("Max core file size"))
            assert core == ["0", "0"]
            made = [tmp_path / "chain", *(tmp_path / "chain").rglob("*")]
            assert [path for path in made if path.stat().st_mode & 0o077] == []
        finally:
            node.kill()
