"""NUMA nodes: found in what Linux tells of them, here a made-up tree, and searched on by a process each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kalepool.mine.engines import KernelEngine, choose_engines
from kernels import KernelError, SearchStoppedError, Template, numa
from kernels.numa import NodeProcess

TEMPLATE = Template(41, bytes(32), b"x" * 32)


def tree(folder: Path, **nodes: str) -> Path:
    """As /sys/devices/system/node."""
    for name, cores in nodes.items():
        (folder / name).mkdir()
        (folder / name / "cpulist").write_text(cores + "\n")
    for other in ("power", "nodes"):
        (folder / other).mkdir()
    (folder / "online").write_text("0-1\n")
    return folder


@pytest.mark.parametrize(
    ("nodes", "allowed", "expected"),
    [
        ({"node0": "0-1,4", "node1": "2-3,5-6"}, range(99), [(0, 1, 4), (2, 3, 5, 6)]),
        ({"node10": "3", "node2": "0-2"}, range(99), [(0, 1, 2), (3,)]),
        ({"node0": "0-3", "node1": ""}, range(99), [(0, 1, 2, 3)]),  # memory alone
        ({"node0": "0-3", "node1": "4-7"}, {2, 5, 6}, [(2,), (5, 6)]),  # a container's part
        ({"node0": "0-3", "node1": "4-7"}, {0, 1}, [(0, 1)]),
        ({"node0": "rubbish"}, range(99), []),
        ({}, range(99), []),
    ],
)
def test_nodes_are_what_linux_tells(tmp_path: Path, nodes: dict[str, str], allowed, expected) -> None:
    assert numa.nodes(tree(tmp_path, **nodes), allowed) == expected


def test_a_system_that_does_not_tell_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numa.nodes(tmp_path / "nothing") == []
    monkeypatch.delattr(os, "sched_getaffinity")
    assert numa.nodes() == []


@given(st.integers(0, 5000), st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_threads_go_by_cores(threads: int, sizes: list[int]) -> None:
    shares = numa.share(threads, [range(size) for size in sizes])
    assert sum(shares) == threads
    assert all(abs(got - threads * size / sum(sizes)) < 1 for got, size in zip(shares, sizes, strict=True))


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """This machine's cores as if they were on two nodes; with one core, that one twice."""
    cores = sorted(os.sched_getaffinity(0))
    halves = cores[: max(len(cores) // 2, 1)], cores[len(cores) // 2 :]
    folder = tree(tmp_path, **{f"node{n}": ",".join(map(str, half)) for n, half in enumerate(halves)})
    monkeypatch.setattr(numa, "NODES", folder)
    return [tuple(half) for half in halves]


@pytest.fixture
def node() -> Iterator[NodeProcess]:
    made = NodeProcess([min(os.sched_getaffinity(0))], 2)
    yield made
    made.end()


def test_a_search_there_is_a_search_here(node: NodeProcess) -> None:
    here = kernels.search(TEMPLATE, 5, 3000, backend="python")
    answer, seconds = node.call(0, "search_until", TEMPLATE, 5, 3000, -1, backend="python")
    assert (answer.best, answer.tried) == (here, 3000) and seconds > 0
    assert os.sched_getaffinity(node.process.pid) == set(node.cores)
    with pytest.raises(KernelError, match="backend 'none' does not exist"):
        node.call(1, "find", TEMPLATE, 0, 5, 1, backend="none")
    with pytest.raises(KernelError, match="ValueError: count"):
        node.call(1, "find", TEMPLATE, 0, -5, 1)


def test_it_stops_when_it_is_told_to(node: NodeProcess) -> None:
    node.call(1, "search_until", TEMPLATE, 0, 10, backend="python")  # it is there
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(SearchStoppedError) as stopped:
        node.call(1, "find", TEMPLATE, 0, 2**40, 1, stop=stop, backend="python")
    assert 0.2 <= time.monotonic() - began < 30 and stopped.value.progress.tried > 0
    answer, _ = node.call(1, "search_until", TEMPLATE, 0, 10, backend="python")
    assert answer.tried == 10, "the next call is not stopped by the last one's"


def test_a_process_that_was_killed_is_named(node: NodeProcess) -> None:
    node.process.kill()
    with pytest.raises(KernelError, match="has ended"):
        node.call(0, "search_until", TEMPLATE, 0, 10, backend="python")


def test_it_ends_with_whoever_started_it(node: NodeProcess) -> None:
    for connection in node._connections:
        connection.close()
    assert node.process.wait(60) == 0


def test_a_miner_has_a_process_on_each_node(two_nodes: list[tuple[int, ...]]) -> None:
    engines = [engine for engine in choose_engines("python", 4, None) if isinstance(engine, KernelEngine)]
    assert [(engine.cores, engine.threads) for engine in engines] == [(node, 2) for node in two_nodes]
    [engine] = choose_engines("python", 1, None)
    assert isinstance(engine, KernelEngine) and engine.cores == two_nodes[0]
    try:
        assert engine.measure() > 100
        assert engine.process is not None and os.sched_getaffinity(engine.process.process.pid) == set(engine.cores)
    finally:
        assert engine.process is not None
        engine.process.end()


def test_one_node_is_searched_on_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numa, "NODES", tree(tmp_path, node0="0-4095"))
    [engine] = choose_engines("python", 3, None)
    assert isinstance(engine, KernelEngine) and (engine.threads, engine.cores) == (3, ())
