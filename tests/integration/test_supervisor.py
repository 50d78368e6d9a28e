"""Children: started again when they die, ended with all they started, their warnings shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kalepool.errors import ConfigError
from kalepool.processes import is_alive, spawn, wait_until_gone
from kalepool.up import supervisor as module
from kalepool.up.folder import DataFolder, Running, find_running
from kalepool.up.supervisor import MARK, Service, Supervisor

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and prctl")

# Ignores SIGTERM where told to, and leaves a grandchild in a session of its own.
CHILD = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "parent" in sys.argv: print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, flush=True)
print("started", flush=True)
time.sleep(600)
"""


def service(folder: Path, *words: str, name: str = "child") -> Service:
    seconds = 0.3 if "stubborn" in words else 30.0
    log = folder / f"{name}.log"

    def start() -> subprocess.Popen[bytes]:
        return spawn([sys.executable, "-c", CHILD, *words], environment={**os.environ, MARK: str(folder)}, log=log)

    return Service(name, start, log, mark=str(folder), seconds=seconds)


def until(condition: Callable[[], object], supervisor: Supervisor | None = None, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        if supervisor:
            supervisor.check()
        time.sleep(0.02)


def is_started(child: Service, times: int = 1) -> bool:
    return child.log.exists() and child.log.read_text().count("started") >= times


def test_a_dead_child_is_started_again_and_later_each_time(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    child = service(tmp_path)
    supervisor.add(child)
    for times in (1, 2):
        until(lambda times=times: is_started(child, times), supervisor)
        assert child.process
        child.process.kill()
    until(lambda: len(said) == 4, supervisor)
    assert said[0] == "child ended (killed by SIGKILL): started"
    assert "starts again in 0.5 s" in said[1] and "starts again in 1 s" in said[3]
    until(lambda: is_started(child, 3), supervisor)


def test_one_that_never_starts_says_why(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    supervisor.add(Service("broken", lambda: spawn(command, log=log), log))
    until(lambda: supervisor.failed_to_start("broken"))
    assert "exit status 1" in str(supervisor.failed_to_start("broken"))
    assert "no such thing" in str(supervisor.failed_to_start("broken"))


@linux
@pytest.mark.parametrize("words", [("parent",), ("parent", "stubborn")], ids=["polite", "stubborn"])
def test_stopping_ends_a_child_and_all_it_started(
    supervisor: Supervisor, tmp_path: Path, words: tuple[str, ...]
) -> None:
    child = service(tmp_path, *words)
    supervisor.add(child)
    until(lambda: is_started(child))
    grandchild = int(child.log.read_text().split()[0])
    assert child.process and is_alive(grandchild)
    supervisor.stop_all()
    assert child.process.returncode == (-signal.SIGKILL if "stubborn" in words else -signal.SIGTERM)
    assert wait_until_gone([grandchild], 20)


@linux
def test_what_a_dead_child_left_is_ended_before_it_starts_again(supervisor: Supervisor, tmp_path: Path) -> None:
    child = service(tmp_path, "parent")
    supervisor.add(child)
    until(lambda: is_started(child))
    grandchild = int(child.log.read_text().split()[0])
    assert child.process
    child.process.kill()
    until(lambda: child.start_again_at is not None, supervisor)
    assert wait_until_gone([grandchild], 20)


def test_children_end_in_the_opposite_order(supervisor: Supervisor, tmp_path: Path) -> None:
    ended: list[str] = []

    class Noting(Supervisor):
        def _sweep(self, service: Service) -> None:
            ended.append(service.name)

    noting = Noting(lambda _: None)
    for name in ("first", "second"):
        child = service(tmp_path, name=name)
        noting.add(child)
    noting.stop_all()
    assert ended == ["second", "first"]


def test_warnings_are_shown_once_and_old_or_other_lines_never(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    child = service(tmp_path)
    child.log.write_text(json.dumps({"event": "of an earlier run", "level": "error"}) + "\n")
    supervisor.add(child)
    lines = [
        json.dumps({"event": "block_began", "level": "info"}),
        "Traceback, or whatever a library prints",
        json.dumps({"event": "stake_lost", "level": "warning", "block": 7, "at": "now"}),
        json.dumps({"event": "stake_lost", "level": "warning", "block": 8, "at": "now"}),
    ]
    with child.log.open("a") as log:
        log.write("\n".join(lines) + '\n{"event": "half a li')
    supervisor.check()
    with child.log.open("a") as log:
        log.write('ne", "level": "error"}\n')
    supervisor.check()
    assert said == ["child: stake lost block=7", "child: half a line "]


def test_a_log_does_not_grow_for_ever(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_LOG", 10_000)
    code = (
        "import json, time\n"
        "while True: print(json.dumps({'event': 'x' * 500, 'level': 'info'}), flush=True); time.sleep(.01)"
    )
    log = tmp_path / "child.log"
    supervisor.add(Service("child", lambda: spawn([sys.executable, "-c", code], log=log), log))
    largest = 0
    for _ in range(3):
        until(lambda: log.stat().st_size > 5000, supervisor)
        until(lambda: log.stat().st_size < 5000, supervisor)
        largest = max(largest, log.stat().st_size + log.with_suffix(".log.old").stat().st_size)
    assert largest < 1_000_000  # a second of it is 50 kB
    with log.open("ab") as file:  # what comes after is still heard
        file.write(b'\n{"event": "stake_lost", "level": "error"}\n')
    until(lambda: said == ["child: stake lost "], supervisor)


@linux
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    code = "import time; from kalepool.processes import spawn; print(spawn(['sleep', '600']).pid, flush=True)"
    starter = subprocess.Popen([sys.executable, "-c", code + "; time.sleep(600)"], stdout=subprocess.PIPE)
    assert starter.stdout
    pid = int(starter.stdout.readline())
    assert is_alive(pid)
    starter.kill()
    starter.communicate()
    assert wait_until_gone([pid], 20)


# The data folder


def test_a_folder_is_one_processes_at_a_time(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(ConfigError, match=f"process {os.getpid()}"), DataFolder(tmp_path):
        pass
    with DataFolder(tmp_path):
        pass


def test_a_folder_holds_one_networks_history(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        folder.claim_network("devnet")
        folder.claim_network("devnet")
        with pytest.raises(ConfigError, match="devnet"):
            folder.claim_network("mainnet")


CLAIMING_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from kalepool.errors import ConfigError
from kalepool.up import supervisor as module
from kalepool.up.folder import DataFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with DataFolder(Path(sys.argv[1])) as folder:
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))  # three bytes of a file can be written, and no more
    try:
        folder.claim_network("devnet")
    except (ConfigError, OSError) as error:
        print(error)
"""


def test_a_disk_that_is_full_locks_no_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIMING_ON_A_FULL_DISK, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written to" in said
    with DataFolder(tmp_path) as folder:
        folder.claim_network("devnet")
    (tmp_path / "network").write_text("dev")  # as an earlier version left it
    with DataFolder(tmp_path) as folder:
        with pytest.raises(ConfigError, match="dev"):
            folder.claim_network("mainnet")
        folder.claim_network("devnet")
    assert (tmp_path / "network").read_text() == "devnet\n"


def test_a_running_pool_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    running = Running(os.getpid(), "devnet", "http://a", None, "http://b", 1.0, 60)
    assert find_running(tmp_path) is None
    with DataFolder(tmp_path) as folder:
        folder.publish(running)
        assert find_running(tmp_path) == running
        ended = subprocess.Popen(["true"])
        ended.wait()
        folder.publish(Running(ended.pid, "devnet", "http://a", None, "http://b", 1.0, 60))
        assert find_running(tmp_path) is None
        folder.publish(running)
    assert find_running(tmp_path) is None


def test_a_folder_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="data folder"), DataFolder(tmp_path / "file"):
        pass
