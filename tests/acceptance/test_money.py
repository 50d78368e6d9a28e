"""Where the money goes, on a whole pool: ten farmers, two external miners that really mine, and the house. What each
miner's account has received follows from the network's transactions and the public share logs alone, to the stroop.

By hand, with the times that `kalepool up` has:

    KALEPOOL_MONEY_BLOCKS=12 KALEPOOL_MONEY_SECONDS=60 python -m pytest -s tests/acceptance/test_money.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx2
import pytest
from stellar_sdk import Asset

from tests.support.installed import Home
from tests.support.money_proof import Ledgers, Logs, paid_through

BLOCKS = int(os.environ.get("KALEPOOL_MONEY_BLOCKS", "2"))
BLOCK_SECONDS = int(os.environ.get("KALEPOOL_MONEY_SECONDS", "12"))
LEDGER_SECONDS = 1.0 if BLOCK_SECONDS >= 60 else 0.5

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.timeout(120 + (BLOCKS + 12) * BLOCK_SECONDS * 2),
]

TERMS = {
    "KALEPOOL_MINER_REGISTRATION": "open",
    "KALEPOOL_PAYOUT_THRESHOLD_STROOPS": "10000000",
    "KALEPOOL_FEE_COLLECT_STROOPS": "1",
}


def found(home: Home, pool: subprocess.Popen[str]) -> dict[str, Any]:
    """Where the pool is, once it runs."""
    note = home.data / "up.json"
    while not note.exists():
        assert pool.poll() is None, "it ended"
        time.sleep(0.2)
    running = json.loads(note.read_text())
    while True:
        try:
            if httpx2.get(f"{running['api_url']}/info").is_success:
                return running
        except httpx2.TransportError:
            assert pool.poll() is None, "it ended"
        time.sleep(0.2)


def house(home: Home) -> int:
    """The pool's own worker."""
    while True:
        workers = [pid for pid, title in home.titles().items() if "ray::Worker" in title]
        if workers:
            return workers[0]
        time.sleep(0.5)


@contextmanager
def part_time(pid: int, part: float) -> Iterator[None]:
    """Lets a process search for a part of each second: a slow machine, and others have the cores."""
    ended = threading.Event()

    def turn() -> None:
        with suppress(ProcessLookupError):
            while not ended.is_set():
                os.kill(pid, signal.SIGCONT)
                ended.wait(part)
                os.kill(pid, signal.SIGSTOP)
                ended.wait(1 - part)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        yield
    finally:
        ended.set()
        turning.join()


@pytest.mark.slow(120, "eight blocks of 12 s, until two of them are closed and paid")
def test_what_miners_received_follows_from_the_chain_and_the_share_logs(home: Home) -> None:
    times = ["--ledger-seconds", str(LEDGER_SECONDS), "--block-seconds", str(BLOCK_SECONDS)]
    with ExitStack() as stack:
        log = stack.enter_context((home.data.parent / "up.log").open("w+"))
        pool = home.start("up", "--farmers", "10", *times, variables=TERMS, stdout=log, stderr=log)
        stack.callback(pool.wait)
        stack.callback(pool.kill)
        running = found(home, pool)
        url = running["api_url"]
        rpc = stack.enter_context(httpx2.Client(base_url=running["rpc_url"], timeout=30))
        http = stack.enter_context(httpx2.Client(base_url=url, timeout=60))
        network = http.get("/info").json()["network"]
        kale = Asset(network["asset_code"], network["asset_issuer"])
        ledgers, logs = Ledgers(rpc, network["passphrase"]), Logs(http)

        accounts: dict[str, str] = {}
        for name, part in (("one", 0.2), ("two", 0.1)):
            wallet = ledgers.make_payee(running["friendbot_url"], kale).public_key
            new = http.post("/miner/register", json={"name": name, "payout_wallet": wallet}).json()
            accounts[new["miner_id"]] = wallet
            key = {"KALEPOOL_API_KEY": new["api_key"]}
            miner = home.start("mine", "--url", url, "--threads", "1", variables=key, stdout=log, stderr=log)
            stack.callback(miner.wait)
            stack.callback(miner.kill)
            stack.enter_context(part_time(miner.pid, part))
        stack.enter_context(part_time(house(home), 0.3))

        first, through, checked, verified = None, None, set[int](), set[int]()
        while first is None or through is None or through < first + BLOCKS - 1:
            assert pool.poll() is None, log.read()
            time.sleep(1)
            ledgers.read(kale)
            first, newest = min(ledgers.rewards, default=None), max(ledgers.rewards, default=None)
            if newest is None or newest in checked:
                continue
            assert home.kalepool("books", "check").startswith("The books are right"), f"after block {newest}"
            checked.add(newest)
            through = paid_through(ledgers, logs, accounts, kale)
            for index in sorted(set(range(first or 0, (through or -1) + 1)) - verified):
                said = json.loads(home.kalepool("verify-credits", str(index), "--url", url, "--json"))
                assert (said["differs"], said["unproven"]) == ([], []), said
                verified.add(index)
            print(f"block {newest} harvested, paid through {through}, since {first}; the books are right", flush=True)

    got = {miner: ledgers.received[account] for miner, account in accounts.items()}
    print(f"received, in stroops: {got}; books right after {len(checked)} blocks, credits of {len(verified)} verified")
    assert all(amount > 10_000_000 for amount in got.values()) and len(set(got.values())) == 2
    assert len(verified) >= BLOCKS and len(checked) >= BLOCKS
