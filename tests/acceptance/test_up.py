"""`kalepool up` as a user starts it: the whole pool on one machine, from nothing to the closing table, and its end."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.postgres import Postgres
from kalepool.processes import wait_until_gone

pytestmark = [pytest.mark.acceptance, pytest.mark.ray, pytest.mark.timeout(300)]
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

FARMERS = 10
FAST = ["--ledger-seconds", "0.5", "--block-seconds", "15"]


def environment(data: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KALEPOOL_", "DATABASE_"))}
    return {**kept, "KALEPOOL_API_PORT": "0", "KALEPOOL_DATA_DIR": str(data), "TESTED": str(data)}


def up(data: Path, *options: str, **settings: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kalepool", "up", *FAST, *options]
    return subprocess.Popen(command, env=environment(data), cwd=data.parent, **settings)  # pyright: ignore


def kalepool(data: Path, *arguments: str, answer: str = "", status: int = 0) -> str:
    command = [sys.executable, "-m", "kalepool", *arguments]
    done = subprocess.run(
        command,
        env=environment(data),
        cwd=data.parent,
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def left_of(data: Path) -> list[int]:
    """Everything that a run on this folder started, however far from it: its environment went along."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            started_by_us = b"TESTED=" + os.fsencode(data) + b"\0" in (entry / "environ").read_bytes()
            if started_by_us and (entry / "stat").read_text().rpartition(")")[2][1] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


class Screen:
    """A run in a terminal of its own; collects what it shows."""

    def __init__(self, data: Path, *options: str) -> None:
        self.terminal, inner = pty.openpty()
        self.process = up(data, *options, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        os.set_blocking(self.terminal, False)
        self.text = ""

    def read_until(self, found: Callable[[str], object], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not found(self.text):
            assert time.monotonic() < end and self.process.poll() is None, self.text[-3000:]
            try:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.05)

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)  # what a terminal does with its foreground group

    def drain(self) -> None:
        try:
            while chunk := os.read(self.terminal, 65536):
                self.text += chunk.decode(errors="replace")
        except OSError:
            pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data folder for the tests of this file, which run in order: each goes on where the one before ended."""
    folder = tmp_path_factory.mktemp("up") / "data"
    yield folder
    for pid in left_of(folder):
        os.kill(pid, signal.SIGKILL)


def chain_ledger(data: Path) -> int:
    """The highest ledger that an event of this pool names."""
    with Postgres.start(data / "postgres") as server, psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT max(ledger) FROM harvests").fetchone()
    return row[0] if row else 0


@linux
def test_two_blocks_from_nothing_are_planted_worked_harvested_and_add_up(data: Path) -> None:
    run = up(data, "--blocks", "2", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = run.communicate(timeout=200)[0].decode()
    assert run.returncode == 0, output
    assert wait_until_gone(left_of(data), 2), "something outlived it"
    assert re.search(r"^API: http://127\.0\.0\.1:\d+/docs$", output, re.MULTILINE)
    assert "\x1b" not in output, "plain lines without a terminal"
    blocks = re.findall(r"^│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │", output, re.MULTILINE)
    assert len(blocks) == 2
    assert all([int(n) for n in counts] == [FARMERS] * 3 for _, *counts in blocks), output
    farmers = re.findall(r"^│ demo \d+ +│.*│ +(\w+) │$", output, re.MULTILINE)
    assert farmers == ["yes"] * FARMERS
    assert chain_ledger(data) > 0


@linux
def test_the_next_start_goes_on_shows_it_live_and_ends_at_ctrl_c(data: Path) -> None:
    ledger_before = chain_ledger(data)
    screen = Screen(data)
    screen.read_until(lambda text: re.search(r"planted \d+/10", text), 60)
    assert "farmers: 0 of" not in screen.text, "nobody is registered again"
    ledgers = [int(number) for number in re.findall(r"ledger (\d+)", screen.text)]
    assert ledgers and min(ledgers) > ledger_before, "the same chain"

    second = up(data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = second.communicate(timeout=30)[0].decode()
    assert second.returncode == 2
    assert f"in use by another kalepool (process {screen.process.pid})" in output and output.count("\n") == 1

    assert kalepool(data, "farmer", "list").count(" active ") == FARMERS
    payout = Keypair.random().public_key
    added = kalepool(data, "farmer", "add", payout, "--stake-percentage", "0.25", "--name", "ann")
    farmer_id, wallet = re.findall(r"(?:farmer_id|custodial_wallet) +(\S+)", added)
    shown = kalepool(data, "farmer", "show", "ann")
    assert farmer_id in shown and re.search(r"missing +[\d.]+ XLM: send", shown)
    assert re.search(r"status +registered", shown) and re.search(r"stake +25 % of the KALE", shown)
    assert payout in kalepool(data, "farmer", "leave", wallet, answer="n\n", status=1)
    assert re.search(r"status +registered", kalepool(data, "farmer", "show", wallet)), "nothing was changed"
    assert f"`kalepool farmer show {farmer_id}`" in kalepool(data, "farmer", "leave", "ann", answer="y\n")
    deadline = time.monotonic() + 20
    while not re.search(r"departed +\S+ \S+ UTC, with nothing to pay out", kalepool(data, "farmer", "show", farmer_id)):
        assert time.monotonic() < deadline
    assert re.search(r"balance +[\d,.]+ KALE, [\d,.]+ XLM", kalepool(data, "farmer", "show", "demo 3"))
    status = kalepool(data, "status")
    assert "demo 10" in status and re.search(r"\d+ s left", status) and "finished" in status

    api = next(pid for pid in left_of(data) if b"\0api\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(api, signal.SIGKILL)
    screen.read_until(lambda text: "api ended (killed by SIGKILL)" in text and "api starts again" in text, 20)

    screen.press_ctrl_c()
    started = time.monotonic()
    status = screen.process.wait(20)
    took = time.monotonic() - started
    screen.drain()
    assert status == 0 and "Traceback" not in screen.text, screen.text[-3000:]
    assert took < 10
    assert wait_until_gone(left_of(data), 1), "something outlived it"


@linux
def test_even_kill_9_leaves_nothing_behind(data: Path) -> None:
    run = up(data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout
    for line in run.stdout:
        if line.startswith(b"block "):
            break
    deadline = time.monotonic() + 60
    while not any(b"raylet" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left_of(data)):
        assert time.monotonic() < deadline, "Ray never came"
        time.sleep(0.1)
    run.kill()
    run.communicate()
    # All but Ray's agents are gone at once. Those that were about to start look for its head for half a minute, or two.
    assert wait_until_gone(left_of(data), 90), [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left_of(data)]
