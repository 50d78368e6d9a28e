"""The command line: mistakes in one line, and the commands that need no running pool."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from kalepool.commands import status
from tests.support.command_line import Run, command_line


@pytest.fixture
def kalepool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    with command_line(tmp_path, monkeypatch, capsys) as run:
        yield run


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
        (["up"], {"KALEPOOL_NETWORK": "testnet", "KALEPOOL_RPC_URL": "https://…"}, 2, "_RPC_URL: no web"),
        (["up"], {"KALEPOOL_FRIENDBOT_URL": "bot.example/hunter2"}, 2, "KALEPOOL_FRIENDBOT_URL"),
        (["miner", "add", " "], {}, 2, "is no name:"),
        (["pooler", "add", ""], {}, 2, "is no name:"),
        (["operator", "add", ""], {}, 2, "is no name:"),
        (["farmer", "add", "G", "--name", "a\nb"], {}, 2, "is no name:"),
        (["restore", "nothing.dump"], {}, 2, "there is no file nothing.dump"),
        (["logs", "ap"], {}, 2, "no log of ap"),
        (["pause"], {"KALEPOOL_API_URL": "http://127.0.0.1:1"}, 2, "no pool here"),
        (["up", "--rivals", "3"], {"KALEPOOL_RPC_URL": "http://127.0.0.1:1"}, 2, "--rivals"),
        (["mine", "--url", "http://127.0.0.1:1", "--key", "k", "--threads", "100000"], {}, 2, "--threads"),
        (["bench", "--seconds", "inf"], {}, 2, "--seconds"),
        (["up", "--data-dir", "/dev/null/x"], {}, 2, "data folder /dev/null/x cannot be used (Not a directory): "),
        (["up"], {"KALEPOOL_BACKEND": "avx1024"}, 2, "KALEPOOL_BACKEND=avx1024: this machine has"),
        (["up"], {"KALEPOOL_POSTGRES_BIN": "/nowhere"}, 2, "there is no /nowhere/postgres: set KALEPOOL_POSTGRES_BIN"),
        (["up"], {"KALEPOOL_DATA_DIR": ""}, 2, "KALEPOOL_DATA_DIR=: empty: write a path"),
        (["move", "hunter2"], {}, 2, "kalepool move: that is no address of a database"),
        (["move", "postgresql://me:hunter2@127.0.0.1:1/pool"], {}, 1, "does not answer (pool at 127.0.0.1): "),
        (["backup", "."], {"DATABASE_URL": "postgresql://127.0.0.1:1/pool"}, 2, "kalepool backup: . is a folder"),
        (["backup", "no/x"], {"DATABASE_URL": "postgresql://127.0.0.1:1/pool"}, 2, "no/x cannot be written: No such"),
        (["devnet", "--port", "70000"], {}, 2, "Invalid value '70000' for '--port'"),
        (["devnet", "replay", "nothing.json"], {}, 1, "kalepool devnet replay: cannot read trace nothing.json"),
        (["simulate", "--hashrate", "9999T"], {}, 2, "kalepool simulate: --hashrate '9999T' is no hashrate"),
        (["simulate", "--price", "inf"], {}, 2, "Invalid value 'inf' for '--price'"),
        (["pooler", "add", "north", "--max-farmers", "99999999999"], {}, 2, "'99999999999' for '--max-farmers'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(
    kalepool: Run, arguments: list[str], variables: dict[str, str], status: int, said: str
) -> None:
    done = kalepool(*arguments, **variables)
    assert done.status == status, done.errors
    assert said in done.errors and done.errors.count("\n") == 1
    assert "Traceback" not in done.errors and "hunter2" not in done.errors


def test_an_api_without_its_database_says_so_and_ends(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/pool"
    command = [sys.executable, "-m", "kalepool", "api"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"DATABASE_URL": url}, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 3 and '"event": "the database does not answer (pool at 127.0.0.1)' in said, said
    assert "Traceback" not in said and "hunter2" not in said


def test_database_poolers_and_keys_without_a_running_pool(kalepool: Run, tmp_path: Path) -> None:
    """Each command starts the embedded server for itself and ends it again."""
    applied = kalepool("migrate").output
    assert applied.startswith("applied 0001_pool.sql\n") and "migration_applied" not in applied, "told once"
    assert kalepool("migrate").output == "nothing to do\n"
    chainless = kalepool("books", "check")
    assert chainless.status == 2 and "no RPC server for devnet: start `kalepool up`, or set" in chainless.errors
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
        assert ("without a payout wallet" in made.errors) == (command[0] == "miner")
    assert json.loads(kalepool("compensation", "list", "--json").output) == []
    unknown = kalepool("compensation", "pay", str(UUID(int=1)), "--yes")
    assert unknown.status == 2 and "no compensation" in unknown.errors
    twin = kalepool("miner", "add", "rig")
    assert twin.status == 2 and "is called 'rig' already: choose another name" in twin.errors
    refused = kalepool("miner", "add", "other", "--payout-wallet", "G123")
    assert refused.status == 2 and refused.errors.count("\n") == 1
    rotated = kalepool("custody", "rotate")
    assert rotated.output.startswith("0 secrets sealed again\nKeep a copy of ")
    assert (tmp_path / "data" / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_backup_is_put_back_elsewhere(kalepool: Run, tmp_path: Path) -> None:
    assert kalepool("migrate").status == 0
    assert kalepool("pooler", "add", "north").status == 0
    (key,) = [json.loads(kalepool("operator", "add", "me", "--json").output)["key_id"]]
    wrote = kalepool("backup", "pool.dump")
    assert wrote.status == 0 and "It holds no master key" in wrote.output, wrote.errors
    assert Path("pool.dump").stat().st_mode & 0o777 == 0o600
    again = kalepool("backup", "pool.dump")
    assert again.status == 2 and "is there already" in again.errors

    elsewhere = {"KALEPOOL_DATA_DIR": str(tmp_path / "elsewhere")}
    back = kalepool("restore", "pool.dump", **elsewhere)
    assert back.status == 0 and "was put back" in back.output, back.errors
    poolers = json.loads(kalepool("pooler", "list", "--json", **elsewhere).output)
    assert [pooler["name"] for pooler in poolers] == ["north"]
    assert [row["key_id"] for row in json.loads(kalepool("operator", "list", "--json", **elsewhere).output)] == [key]

    refused = kalepool("restore", "pool.dump", **elsewhere)
    assert refused.status == 2 and "there is a database already" in refused.errors
    Path("broken.dump").write_bytes(Path("pool.dump").read_bytes()[:2000])
    broken = kalepool("restore", "broken.dump", "--replace", "--yes", **elsewhere)
    assert broken.status == 1 and "pg_restore failed" in broken.errors
    assert "north" in kalepool("pooler", "list", **elsewhere).output, "nothing was lost"
    assert kalepool("restore", "pool.dump", "--replace", "--yes", **elsewhere).status == 0


def test_the_doctor_names_what_is_wrong_and_the_way_out(kalepool: Run, tmp_path: Path) -> None:
    assert kalepool("migrate").status == 0
    assert kalepool("custody", "rotate").status == 0
    chain = {"KALEPOOL_NETWORK": "testnet", "KALEPOOL_RPC_URL": "http://127.0.0.1:1"}
    found = kalepool("doctor", "--json", KALEPOOL_API_URL="http://127.0.0.1:1", **chain)
    states = {finding["what"]: finding["state"] for finding in json.loads(found.output)}
    assert found.status == 1
    assert (states["database"], states["master key"], states["chain"], states["api"]) == ("ok", "ok", "wrong", "wrong")

    (tmp_path / "data" / "master.key").chmod(0o644)
    said = kalepool("doctor", KALEPOOL_API_URL="http://127.0.0.1:1", **chain).output
    assert re.search(r"^wrong +master key .*\n +put the file back", said, re.MULTILINE), said


def test_status_waits_for_no_silent_chain(kalepool: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PATIENCE_SECONDS", 1.0)
    assert kalepool("migrate").status == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret-key"
        began = time.monotonic()
        done = kalepool("status", KALEPOOL_RPC_URL=url)
    assert time.monotonic() - began < 30, "the database's start and end are among it"
    assert done.status == 1 and "this is what the database knows" in done.output
    assert done.errors.count("\n") == 1 and "127.0.0.1 did not answer within 1 s" in done.errors
    assert "secret-key" not in done.errors


def test_what_did_not_start_leaves_the_data_folder_to_another_network(kalepool: Run, tmp_path: Path) -> None:
    first = kalepool("up", KALEPOOL_NETWORK="mainnet")
    assert first.status == 2 and "no RPC server for mainnet: set KALEPOOL_RPC_URL" in first.errors
    assert not (tmp_path / "data" / "network").exists()
