"""What somebody sees who starts a miner wrongly, or ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kalepool.commands.mine import mine
from kalepool.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "examples" / "miner.py"


@pytest.mark.parametrize("url", ["127.0.0.1:8950", "localhost:8950", "ftp://pool.example", "https://", ""])
def test_an_address_without_its_scheme_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="write it as http://"):
        mine(url, "kp_key")


@pytest.mark.parametrize(("arguments", "key"), [([], "kp_key"), (["127.0.0.1:8950"], "kp_key"), (["http://pool"], "")])
def test_the_example_says_how_it_is_used(arguments: list[str], key: str) -> None:
    command = [sys.executable, str(EXAMPLE), *arguments]
    done = subprocess.run(command, env=os.environ | {"KALEPOOL_API_KEY": key}, capture_output=True, text=True)
    assert done.returncode == 1 and "python examples/miner.py http" in done.stderr and "Traceback" not in done.stderr


def test_the_example_ends_quietly_and_says_that_there_is_no_pool() -> None:
    command = [sys.executable, str(EXAMPLE), "http://127.0.0.1:1"]
    with subprocess.Popen(command, env=os.environ | {"KALEPOOL_API_KEY": "kp_key"}, stderr=subprocess.PIPE) as miner:
        tasks, give_up_at = Path(f"/proc/{miner.pid}/task"), time.monotonic() + 30
        while len(list(tasks.iterdir())) < 2 and time.monotonic() < give_up_at:  # its thread is the last it starts
            time.sleep(0.05)
        assert miner.stderr and miner.stderr.readline().startswith(b"no pool at http://127.0.0.1:1:")
        miner.send_signal(signal.SIGINT)
        _, said = miner.communicate(timeout=60)
    assert miner.returncode == 130 and b"Traceback" not in said
