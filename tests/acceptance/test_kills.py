"""kill -9 of every part of a running pool in mid-block: the database and the chain tell the same story afterwards.
And of the whole: nothing stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
from stellar_sdk import scval
from stellar_sdk import xdr as stellar_xdr

from kalepool.devnet.testing import running_devnet
from kalepool.postgres import Postgres, running_url
from kalepool.processes import wait_until_gone
from kalepool.services.upkeep import FORGOTTEN_BLOCKS
from tests.support.installed import Home

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc"),
]

NOT_READY = (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege)
FARMERS = 5
BLOCK_SECONDS = 16
FAST = ["--ledger-seconds", "0.5", "--block-seconds", "15"]
TIMES = ["--ledger-seconds", "1", "--block-seconds", str(BLOCK_SECONDS)]
# Who is killed, and when, a block each. Ray is still starting in the first.
KILLS = [
    ("devnet", "planted"),
    ("coordinator", "planted"),
    ("api", "planted"),
    ("postgres", "planted"),
    ("api", "working"),
]
LOSSES_AFTER = FORGOTTEN_BLOCKS + 2  # blocks: the pool itself looks for lost pails once a block
EVENTS = [("plant", "plantings", "planted"), ("work", "works", "worked"), ("harvest", "harvests", "harvested")]
COMMANDS = {"api": "api", "coordinate": "coordinator", "devnet": "devnet"}
PHASES = {
    "planted": f"""SELECT p.block_index FROM plantings p
        WHERE p.outcome = 'planted' AND p.block_index > %s
          AND NOT EXISTS (SELECT FROM submission_items i WHERE i.block_index = p.block_index AND i.action = 'work')
        GROUP BY 1 HAVING count(*) = {FARMERS}""",
    "working": """SELECT i.block_index FROM submission_items i
        WHERE i.action = 'work' AND i.status = 'open' AND i.block_index > %s""",
}
Pail = tuple[str, int]  # custodial wallet, block


@dataclass(frozen=True, slots=True)
class Kill:
    """Who was killed in which block, and how long until it ran again."""

    name: str
    block: int
    seconds: float


class Run:
    """A pool of its own, with its parts by name, and looks into its database."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.data = home.data
        self.log = home.data.parent / "output"
        with self.log.open("wb") as output:
            options = [*TIMES, "--farmers", str(FARMERS), "--blocks", str(len(KILLS))]
            self.process = home.start("up", *options, stdout=output, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def parts(self) -> dict[str, int]:
        """Process ids of the children of `kalepool up`, by what they are."""
        found: dict[str, int] = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if words and Path(words[0]).name == "postgres":
                found["postgres"] = child.pid
            elif words[1:3] == ["-m", "kalepool"] and words[3] in COMMANDS:  # else it is just being started
                found[COMMANDS[words[3]]] = child.pid
        return found

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the pool's database; none while it does not answer."""
        url = running_url(self.data / "postgres")
        if url is None:
            return []
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                return connection.execute(query.encode(), parameters).fetchall()
        except (
            psycopg.OperationalError,
            psycopg.errors.UndefinedTable,
            psycopg.errors.InsufficientPrivilege,
        ):  # gone since, or not migrated yet
            return []

    def kill(self, name: str, phase: str, after_block: int) -> Kill:
        """kill -9 of one part once a block after this one is in that phase; returns when it runs again."""
        give_up_at = time.monotonic() + 2 * BLOCK_SECONDS + 30
        while not (blocks := self.ask(PHASES[phase], after_block)):
            assert self.process.poll() is None and time.monotonic() < give_up_at, self.output
            time.sleep(0.05)
        pid = self.parts()[name]
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        while self.parts().get(name, pid) == pid:
            assert self.process.poll() is None and time.monotonic() < killed_at + 60, self.output
            time.sleep(0.02)
        return Kill(name, blocks[0][0], time.monotonic() - killed_at)


@pytest.fixture
def run(home: Home) -> Iterator[Run]:
    running = Run(home)
    yield running
    running.process.kill()
    running.process.wait()


@dataclass(frozen=True, slots=True)
class OnChain:
    """A transaction of the chain's history that calls plant, work or harvest."""

    transaction_hash: str
    ledger: int
    action: str
    applied: bool
    nonce: int | None
    pails: tuple[Pail, ...]


async def chain_history(folder: Path) -> list[OnChain]:
    """Everything the network ever did to pails, as its RPC server tells it, in order."""
    found: list[OnChain] = []
    async with running_devnet(folder) as devnet, httpx2.AsyncClient(timeout=30) as client:

        async def ask(method: str, **params: object) -> dict[str, Any]:
            answer = await client.post(devnet.url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            return answer.json()["result"]

        start: dict[str, Any] = {"startLedger": (await ask("getHealth"))["oldestLedger"]}
        cursor: dict[str, Any] = {}
        while True:
            answer = await ask("getTransactions", **start, pagination={"limit": 200, **cursor})
            if not answer["transactions"]:
                break
            found += [call for each in answer["transactions"] if (call := _on_chain(each)) is not None]
            start, cursor = {}, {"cursor": answer["cursor"]}
    return found


def _on_chain(told: dict[str, Any]) -> OnChain | None:
    envelope = stellar_xdr.TransactionEnvelope.from_xdr(told["envelopeXdr"])
    v1 = envelope.fee_bump.tx.inner_tx.v1 if envelope.fee_bump else envelope.v1
    assert v1 is not None
    call = v1.tx.operations[0].body.invoke_host_function_op
    if call is None or call.host_function.invoke_contract is None or v1.tx.ext.soroban_data is None:
        return None
    function = call.host_function.invoke_contract.function_name.sc_symbol.decode()
    keys = [
        scval.to_native(key.contract_data.key)
        for key in v1.tx.ext.soroban_data.resources.footprint.read_write
        if key.contract_data is not None
    ]
    pails = tuple((key[1].address, key[2]) for key in keys if isinstance(key, list) and key[0] == "Pail")
    nonce = scval.to_native(call.host_function.invoke_contract.args[2]) if function == "work" else None
    assert nonce is None or isinstance(nonce, int)
    return OnChain(told["txHash"], told["ledger"], function, told["status"] == "SUCCESS", nonce, pails)


@dataclass(frozen=True, slots=True)
class Record:
    """What the pool's database says. Hashes are in hex."""

    journal: dict[str, tuple[str, str, int | None]]  # by transaction: action, status, ledger
    events: dict[str, list[tuple[str, Pail]]]  # what was done, by action: transaction and pail
    blocks: dict[int, str]  # status
    compensated: set[Pail]

    @classmethod
    def read(cls, data: Path) -> Record:
        with Postgres.start(data / "postgres") as server, psycopg.connect(server.url()) as connection:

            def rows(query: str) -> list[tuple[Any, ...]]:
                return connection.execute(query.encode()).fetchall()

            journal = rows("SELECT encode(transaction_hash, 'hex'), action, status, ledger FROM submissions")
            events = {
                action: [
                    (transaction, (wallet, block))
                    for transaction, wallet, block in rows(
                        f"SELECT encode(transaction_hash, 'hex'), custodial_wallet, block_index "
                        f"FROM {table} JOIN farmers USING (farmer_id) WHERE outcome = '{outcome}'"
                    )
                ]
                for action, table, outcome in EVENTS
            }
            compensated = rows(
                "SELECT custodial_wallet, block_index FROM pooler_compensations JOIN farmers USING (farmer_id)"
            )
            return cls(
                journal={transaction: (action, status, ledger) for transaction, action, status, ledger in journal},
                events=events,
                blocks=dict(rows("SELECT block_index, status FROM block_operations")),  # pyright: ignore
                compensated={(wallet, block) for wallet, block in compensated},
            )

    def pails(self, action: str) -> set[Pail]:
        return {pail for _, pail in self.events[action]}


def check_nothing_twice(history: list[OnChain]) -> None:
    """No plant, work or harvest is on the chain again after it was applied, not even as one that failed."""
    done: set[tuple[str, Pail, int | None]] = set()
    for call in history:
        intents = {(call.action, pail, call.nonce) for pail in call.pails}
        assert not intents & done, f"{call} was done before"
        if call.applied:
            done |= intents


def check_journal(record: Record, history: list[OnChain]) -> None:
    """Every transaction is written down, closed, and its outcome is the chain's."""
    assert not [row for row in record.journal.values() if row[1] == "open"]
    for call in history:
        expected = (call.action, "applied" if call.applied else "failed", call.ledger)
        assert record.journal.get(call.transaction_hash) == expected, call
    applied = {
        transaction
        for transaction, (action, status, _) in record.journal.items()
        if status == "applied" and action in record.events
    }
    assert applied == {call.transaction_hash for call in history if call.applied}


def check_events(record: Record, history: list[OnChain]) -> None:
    """One event for everything that was done, and none for anything else."""
    for action, events in record.events.items():
        on_chain = [
            (call.transaction_hash, pail)
            for call in history
            if call.applied and call.action == action
            for pail in call.pails
        ]
        assert Counter(events) == Counter(on_chain), action


def check_blocks(record: Record, blocks: set[int]) -> None:
    """Of these blocks every planted pail is worked and harvested, or given up and its loss recorded in due time."""
    planted, worked, harvested = (record.pails(action) for action in ("plant", "work", "harvest"))
    for block in blocks:
        pails = {pail for pail in planted if pail[1] == block}
        assert len(pails) == FARMERS, block
        assert record.blocks[block] == ("finished" if pails <= worked else "given_up"), block
        assert pails & worked <= harvested, block
        lost, recorded = pails - worked, {pail for pail in record.compensated if pail[1] == block}
        assert recorded <= lost, block
        assert recorded == lost or block > max(record.blocks) - LOSSES_AFTER, block


@pytest.mark.slow(95, "a kill in each of five blocks of 16 s")
def test_every_part_dies_in_mid_block_and_database_and_chain_agree(run: Run) -> None:
    kills: list[Kill] = []
    for name, phase in KILLS:
        kills.append(run.kill(name, phase, kills[-1].block if kills else -1))
    status = run.process.wait(BLOCK_SECONDS * 8)
    print(*kills, run.output, sep="\n")
    assert wait_until_gone(run.home.left(), 20), "something outlived it"
    assert run.output.count("(killed by SIGKILL)") == len(KILLS)

    record = Record.read(run.data)
    history = asyncio.run(chain_history(run.data / "devnet"))
    blocks = {kill.block for kill in kills}
    check_nothing_twice(history)
    check_journal(record, history)
    check_events(record, history)
    check_blocks(record, blocks)
    assert status == int(any(record.blocks[block] != "finished" for block in blocks)), run.output


@pytest.mark.slow(80, "Ray's agents may look for their dead head for a minute; this test only waits")
def test_even_kill_9_leaves_nothing_behind(home: Home) -> None:
    run = home.start("up", *FAST, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.stdout
    for line in run.stdout:
        if line.startswith(b"block "):
            break
    deadline = time.monotonic() + 120
    while not any("raylet" in title for title in home.titles().values()):
        assert time.monotonic() < deadline, "Ray never came"
        time.sleep(0.1)
    run.kill()
    run.communicate()
    # All but Ray's agents are gone at once. Those that were about to start look for its head for half a minute, or two.
    assert wait_until_gone(home.left(), 150), home.titles()
