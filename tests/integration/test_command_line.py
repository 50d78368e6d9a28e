"""The command line: mistakes in one line, and the commands that need no running pool."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from kalepool.__main__ import main
from kalepool.commands import status


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    output: str
    errors: str


Run = Callable[..., Done]


@pytest.fixture
def kalepool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in this process, which is quick, on a data folder of the test's own."""
    for name in os.environ:
        if name.startswith(("KALEPOOL_", "DATABASE_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KALEPOOL_DATA_DIR", str(tmp_path / "data"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str, **variables: str) -> Done:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", ["kalepool", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, printed.out, printed.err)

    yield run
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "said"),
    [
        (["upp"], {}, 2, "Did you mean 'up'"),
        (["up", "--block", "3"], {}, 2, "--blocks"),
        (["up", "--blocks", "many"], {}, 2, "--blocks"),
        (["up", "--blocks", "0"], {}, 2, "--blocks"),
        (["farmer", "list"], {"DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/pool"}, 1, "does not answer"),
        (["farmer", "list"], {"DATABASE_URL": "postgresql//me:hunter2@host"}, 2, "or DATABASE_URL, is none"),
        (["api"], {}, 2, "set DATABASE_URL, or start `kalepool up`"),
        (["coordinate"], {}, 2, "set DATABASE_URL, or start `kalepool up`"),
        (["migrate"], {"KALEPOOL_NETWORK": "moonnet"}, 2, "KALEPOOL_NETWORK"),
        (["up"], {"KALEPOOL_NETWORK": "mainnet"}, 2, "KALEPOOL_RPC_URL"),
        (["up", "--rivals", "3"], {"KALEPOOL_RPC_URL": "http://127.0.0.1:1"}, 2, "--rivals"),
        (["mine", "--url", "http://127.0.0.1:1", "--key", "k", "--threads", "100000"], {}, 2, "--threads"),
        (["bench", "--seconds", "inf"], {}, 2, "--seconds"),
        (["up", "--data-dir", "/dev/null/x"], {}, 2, "data folder"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(
    kalepool: Run, arguments: list[str], variables: dict[str, str], status: int, said: str
) -> None:
    done = kalepool(*arguments, **variables)
    assert done.status == status, done.errors
    assert said in done.errors and done.errors.count("\n") == 1
    assert "Traceback" not in done.errors and "hunter2" not in done.errors


def test_database_poolers_and_keys_without_a_running_pool(kalepool: Run, tmp_path: Path) -> None:
    """Each command starts the embedded server for itself and ends it again."""
    assert "applied 0001_pool.sql" in kalepool("migrate").output
    assert kalepool("migrate").output == "nothing to do\n"
    added = kalepool("pooler", "add", "north", "--max-farmers", "7")
    assert added.status == 0 and re.search(r"^key +kp_\S{43}$", added.output, re.MULTILINE)
    again = kalepool("pooler", "add", "north")
    assert again.status == 2 and "exists already" in again.errors
    assert kalepool("farmer", "list", "--pooler", "north").status == 0
    missing = kalepool("farmer", "list", "--pooler", "south")
    assert missing.status == 2 and "kalepool pooler add south" in missing.errors
    for command in (["farmer", "show", "me"], ["farmer", "leave", "me", "--yes"]):
        unknown = kalepool(*command)
        assert unknown.status == 2 and "no farmer has the id, custodial wallet or name 'me'" in unknown.errors
    for command in (["miner", "add", "rig"], ["operator", "add", "me"]):
        made = kalepool(*command)
        assert made.status == 0 and re.search(r"^key +kp_\S{43}$", made.output, re.MULTILINE), made.errors
    twin = kalepool("miner", "add", "rig")
    assert twin.status == 2 and "is called 'rig' already: choose another name" in twin.errors
    refused = kalepool("miner", "add", "other", "--payout-wallet", "G123")
    assert refused.status == 2 and refused.errors.count("\n") == 1
    rotated = kalepool("custody", "rotate")
    assert rotated.output == "0 secrets sealed again\n"
    assert (tmp_path / "data" / "master.key").stat().st_mode & 0o777 == 0o600


def test_status_waits_for_no_silent_chain(kalepool: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PATIENCE_SECONDS", 1.0)
    assert kalepool("migrate").status == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret-key"
        began = time.monotonic()
        done = kalepool("status", KALEPOOL_RPC_URL=url)
    assert time.monotonic() - began < 8, "the database's start and end are among it"
    assert done.status == 1 and "this is what the database knows" in done.output
    assert done.errors.count("\n") == 1 and "127.0.0.1 did not answer within 1 s" in done.errors
    assert "secret-key" not in done.errors


def test_what_did_not_start_leaves_the_data_folder_to_another_network(kalepool: Run, tmp_path: Path) -> None:
    first = kalepool("up", KALEPOOL_NETWORK="mainnet")
    assert first.status == 2 and "no RPC server for mainnet: set KALEPOOL_RPC_URL" in first.errors
    assert not (tmp_path / "data" / "network").exists()
