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
from typing import Any

import psycopg
import pytest
from stellar_sdk import Keypair

from kalepool.postgres import Postgres
from kalepool.processes import wait_until_gone
from tests.support.installed import Home, Installed

pytestmark = [pytest.mark.acceptance, pytest.mark.ray]
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

FARMERS = 10
FAST = ["--ledger-seconds", "0.5", "--block-seconds", "15"]


def up(home: Home, *options: str, **popen: Any) -> subprocess.Popen[bytes]:
    return home.start("up", *FAST, *options, **popen)


class Screen:
    """A run in a terminal of its own; collects what it shows."""

    def __init__(self, home: Home, *options: str) -> None:
        self.terminal, inner = pty.openpty()
        self.process = up(home, *options, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
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
def lasting(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> Iterator[Home]:
    """One data folder for two tests, which run in order: the second goes on where the first ended."""
    with Home.opened(tmp_path_factory.mktemp("up"), installed) as home:
        yield home


def chain_ledger(home: Home) -> int:
    """The highest ledger that an event of this pool names."""
    with Postgres.start(home.data / "postgres") as server, psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT max(ledger) FROM harvests").fetchone()
    return row[0] if row else 0


def operators_keys(home: Home) -> int:
    with Postgres.start(home.data / "postgres") as server, psycopg.connect(server.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM api_keys WHERE role = 'operator' AND revoked_at IS NULL"
        ).fetchone()
    return row[0] if row else 0


@linux
@pytest.mark.slow(40, "two blocks of 15 s, and the first start of all")
def test_two_blocks_from_nothing_are_planted_worked_harvested_and_add_up(lasting: Home) -> None:
    run = up(lasting, "--blocks", "2", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = run.communicate(timeout=200)[0].decode()
    assert run.returncode == 0, output
    assert wait_until_gone(lasting.left(), 20), "something outlived it"
    assert re.search(r"^API: http://127\.0\.0\.1:\d+/docs$", output, re.MULTILINE)
    assert "\x1b" not in output, "plain lines without a terminal"
    assert operators_keys(lasting) == 0, "the key that registered the demo farmers ended with that"
    blocks = re.findall(r"^│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │", output, re.MULTILINE)
    assert len(blocks) == 2
    assert all([int(n) for n in counts] == [FARMERS] * 3 for _, *counts in blocks), output
    farmers = re.findall(r"^│ demo \d+ +│.*│ +(\w+) │$", output, re.MULTILINE)
    assert farmers == ["yes"] * FARMERS
    assert chain_ledger(lasting) > 0


@linux
@pytest.mark.slow(25, "a dozen commands against a running pool")
def test_the_next_start_goes_on_shows_it_live_and_ends_at_ctrl_c(lasting: Home) -> None:
    ledger_before = chain_ledger(lasting)
    screen = Screen(lasting)
    screen.read_until(lambda text: re.search(r"planted \d+/10", text), 120)
    assert "farmers: 0 of" not in screen.text, "nobody is registered again"
    ledgers = [int(number) for number in re.findall(r"ledger (\d+)", screen.text)]
    assert ledgers and min(ledgers) > ledger_before, "the same chain"

    second = up(lasting, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = second.communicate(timeout=60)[0].decode()
    assert second.returncode == 2
    assert f"in use by another kalepool (process {screen.process.pid})" in output and output.count("\n") == 1

    assert lasting.kalepool("farmer", "list").count(" active ") == FARMERS
    payout = Keypair.random().public_key
    added = lasting.kalepool("farmer", "add", payout, "--stake-percentage", "0.25", "--name", "ann")
    farmer_id, wallet = re.findall(r"(?:farmer_id|custodial_wallet) +(\S+)", added)
    shown = lasting.kalepool("farmer", "show", "ann")
    assert farmer_id in shown and re.search(r"missing +[\d.]+ XLM: send", shown)
    assert re.search(r"status +registered", shown) and re.search(r"stake +25 % of the KALE", shown)
    assert payout in lasting.kalepool("farmer", "leave", wallet, answer="n\n", status=1)
    assert re.search(r"status +registered", lasting.kalepool("farmer", "show", wallet)), "nothing was changed"
    assert f"`kalepool farmer show {farmer_id}`" in lasting.kalepool("farmer", "leave", "ann", answer="y\n")
    deadline = time.monotonic() + 60
    while not re.search(
        r"departed +\S+ \S+ UTC, with nothing to pay out", lasting.kalepool("farmer", "show", farmer_id)
    ):
        assert time.monotonic() < deadline
    assert re.search(r"balance +[\d,.]+ KALE, [\d,.]+ XLM", lasting.kalepool("farmer", "show", "demo 3"))
    status = lasting.kalepool("status")
    assert "demo 10" in status and re.search(r"\d+ s left", status) and "finished" in status

    api = next(pid for pid, title in lasting.titles().items() if " api " in title)
    os.kill(api, signal.SIGKILL)
    screen.read_until(lambda text: "api ended (killed by SIGKILL)" in text and "api starts again" in text, 60)

    screen.press_ctrl_c()
    started = time.monotonic()
    status = screen.process.wait(60)
    took = time.monotonic() - started
    screen.drain()
    assert status == 0 and "Traceback" not in screen.text, screen.text[-3000:]
    assert took < 15
    assert wait_until_gone(lasting.left(), 20), "something outlived it"
