"""deploy/ray-node: a coordinator beside a node of Ray outlives it, and ends before it. Ray itself: tests/containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "ray-node"
PROGRAM = """#!/bin/bash
trap 'echo "{name} ends" >> "{log}"; exit 0' TERM
echo $$ > "{log}.{name}"
echo "{name} begins" >> "{log}"
while :; do sleep 0.05; done
"""


@pytest.mark.skipif(sys.platform != "linux", reason="for containers")
def test_a_coordinator_outlives_its_node_and_is_ended_before_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("ray", "coordinator"):
        program = tmp_path / name
        program.write_text(PROGRAM.format(name=name, log=log))
        program.chmod(0o755)

    def start() -> subprocess.Popen[bytes]:
        log.write_text("")
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RAY_NODE_HOST": "localhost"}
        return subprocess.Popen([SCRIPT, "driver", "head:6379", "coordinator"], env=environment, start_new_session=True)

    def until_said(*expected: str) -> None:
        """In this order but for the first two, which begin side by side."""
        end = time.monotonic() + 10
        while [*sorted((said := log.read_text().splitlines())[:2]), *said[2:]] != list(expected):
            assert time.monotonic() < end, said
            time.sleep(0.02)

    def kill(name: str) -> None:
        os.kill(int(Path(f"{log}.{name}").read_text()), signal.SIGKILL)

    node = start()
    try:
        both = ("coordinator begins", "ray begins")
        until_said(*both)
        kill("ray")
        until_said(*both, "ray begins")
        assert node.poll() is None, "the coordinator goes on"
        node.send_signal(signal.SIGTERM)
        assert node.wait(10) == 0
        until_said(*both, "ray begins", "coordinator ends", "ray ends")

        node = start()
        until_said(*both)
        kill("coordinator")
        assert node.wait(10) == 128 + signal.SIGKILL, "so that the container is started again"
        until_said(*both, "ray ends")
    finally:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
