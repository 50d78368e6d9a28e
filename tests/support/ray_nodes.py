"""A Ray cluster of several nodes on this machine, for tests."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from kalepool.cluster.fleet import SYSTEM_CONFIG

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_ENABLE_AUTO_CONNECT": "0"}
"""Clusters ask for a token, as those of users do. A process reads Ray's settings once: all clusters that one test
process talks to have to agree on them."""


@contextlib.contextmanager
def ray_nodes(count: int = 0) -> Iterator[Any]:
    """A head without cores to search on, and `count` nodes of one core. Ends with everything under it."""
    os.environ.update(TOKEN, RAY_USAGE_STATS_ENABLED="0")
    from ray.cluster_utils import Cluster  # after its environment is set

    Path("/tmp/ray").mkdir(exist_ok=True)  # it notes its address there, whatever its own folder is
    with tempfile.TemporaryDirectory(prefix="kp-", ignore_cleanup_errors=True) as folder:
        head = {
            "num_cpus": 0,
            "temp_dir": f"{folder}/r",
            "include_dashboard": False,
            "_system_config": dict(SYSTEM_CONFIG),
        }
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(count):
                cluster.add_node(num_cpus=1, wait=False)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            cluster.shutdown()


def kill_node(node: Any) -> None:
    """kill -9 of a node's Ray daemons and of every process under them: as if the machine had lost its power."""
    daemons = [process.process.pid for group in node.all_processes.values() for process in group]
    family = [psutil.Process(pid) for pid in daemons if psutil.pid_exists(pid)]
    for process in [child for parent in family for child in parent.children(recursive=True)] + family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
