"""The worker by itself, with real kernels and threads, without Ray."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kalepool.cluster import worker as worker_module
from kalepool.cluster.messages import Find, WorkerJob, WorkerReport, code_version
from kalepool.cluster.worker import Worker
from kalepool.policy import ranges
from kalepool.policy.ranges import prefix_range
from kalepool.protocol.model import Block
from kernels import keccak

FARMERS = tuple(bytes([number]) * 32 for number in range(1, 6))


def job(
    version: int, index: int, zeros: int = 0, *, farmers: tuple[bytes, ...] = FARMERS, report_zeros: int = 3
) -> WorkerJob:
    block = Block(0, 0, 0, 0, 0, 0, 5, bytes([index]) * 32, 0, 0)
    return WorkerJob(version, index, block, tuple((farmer, zeros) for farmer in farmers), report_zeros, 1e9)


def finds(worker: Worker, seconds: float = 60.0, *, index: int) -> list[Find]:
    """The finds of the next report that has some."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        report = worker.exchange(None, None, 1.0)
        if report.finds and report.index == index:
            return list(report.finds)
    raise AssertionError(f"no find within {seconds} s")


def searches_again(worker: Worker, seconds: float = 60.0) -> bool:
    """Whether it tries nonces within that time."""
    ends_at = time.monotonic() + seconds
    return any(worker.exchange(None, None, 0.1).hashes for _ in iter(lambda: time.monotonic() < ends_at, False))


@pytest.fixture(autouse=True)
def _same_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests run beside this: at the lowest priority a worker would get next to nothing."""
    monkeypatch.setattr(worker_module, "NICENESS", 0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(7, 2)
    yield made
    made.end()


def test_finds_are_true_and_in_the_workers_own_range(worker: Worker) -> None:
    worker.assign(job(1, 3).pack())
    for find in finds(worker, index=3):
        digest = keccak.hash_nonce(3, find.nonce, bytes([3]) * 32, find.farmer)
        assert keccak.leading_zeros(digest) == find.zeros > 0
        assert find.nonce in prefix_range(7)


def test_all_farmers_are_served_before_one_is_served_better(worker: Worker) -> None:
    worker.assign(job(1, 3, report_zeros=1).pack())
    best: dict[bytes, int] = {}
    while len(best) < len(FARMERS):
        best |= {find.farmer: find.zeros for find in finds(worker, index=3)}
    assert min(best.values()) >= 1


def test_news_of_other_finders_are_heeded(worker: Worker) -> None:
    """A farmer who has a lot already gets nothing while others have less."""
    ahead, behind = FARMERS[0], FARMERS[1]
    news = WorkerJob(1, 3, job(1, 3).block, ((ahead, 12), (behind, 0)), 1, 1e9)
    worker.assign(news.pack())
    assert {find.farmer for find in finds(worker, index=3)} == {behind}


def test_another_block_ends_the_old_job_at_once(worker: Worker) -> None:
    worker.assign(job(1, 3, 14).pack())  # nothing to be found
    worker.exchange(None, None, 0.3)
    worker.assign(job(2, 4, report_zeros=0).pack())
    began = time.monotonic()
    assert finds(worker, index=4)
    assert time.monotonic() - began < 10


def test_an_older_job_is_ignored(worker: Worker) -> None:
    worker.assign(job(5, 4).pack())
    worker.assign(job(4, 3).pack())
    assert worker.exchange(None, None, 0.01).index == 4


def test_it_never_waits_while_it_has_a_job(worker: Worker) -> None:
    worker.assign(job(1, 3, 14).pack())
    worker.exchange(None, None, 0.2)
    report = worker.exchange(None, None, 1.0)
    assert report.hashes > 0 or searches_again(worker)
    assert (
        report.busy_seconds / (report.seconds * 2) > 0.5
    )  # waiting for work would show; the rest is what a loaded machine took


def test_without_farmers_it_waits(worker: Worker) -> None:
    worker.assign(job(1, 3, farmers=()).pack())
    report = worker.exchange(None, None, 0.1)
    assert (report.hashes, report.busy_seconds) == (0, 0)


def test_a_kernel_that_hangs_is_busy(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who judges its speed must not take it for idle."""
    going_on = threading.Event()

    def hang(*_: Any, **__: Any) -> kernels.Progress:
        going_on.wait()
        return kernels.Progress(None, 1)

    monkeypatch.setattr(kernels, "search_until", hang)
    worker.assign(job(1, 3).pack())
    worker.exchange(None, None, 0.1)
    report = worker.exchange(None, None, 0.3)
    going_on.set()
    assert report.hashes == 0 and report.busy_seconds == pytest.approx(2 * report.seconds, rel=0.1)


def test_a_used_up_range_asks_for_a_serial_and_goes_on_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "COUNTERS", 2**16)
    worker = Worker(7, 1)
    try:
        worker.assign(job(1, 3, 14).pack())
        report = worker.exchange(None, None, 5.0)
        assert report.needs_serial and report.hashes == 2**16
        assert worker.exchange(None, 8, 5.0).hashes == 2**16
    finally:
        worker.end()


def test_a_chain_that_was_set_back_needs_another_serial(worker: Worker) -> None:
    """The same index again may be the same block again, and its nonces were tried."""
    worker.assign(job(1, 4, 14).pack())
    worker.exchange(None, None, 0.05)
    worker.assign(job(2, 3, 14).pack())
    assert worker.exchange(None, None, 5.0).needs_serial
    worker.exchange(None, 9, 0.0)
    assert searches_again(worker)


def test_a_failing_kernel_is_told(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise kernels.KernelError("card fell off the bus")

    monkeypatch.setattr(kernels, "search_until", fail)
    worker.assign(job(1, 3).pack())
    with pytest.raises(kernels.KernelError, match="fell off"):
        worker.exchange(None, None, 5.0)


def test_it_takes_secrets_out_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_MASTER_KEY", "00" * 32)
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("KALEPOOL_BACKEND", "portable")
    Worker(1, 1).end()
    assert "KALEPOOL_MASTER_KEY" not in os.environ and "DATABASE_URL" not in os.environ
    assert os.environ["KALEPOOL_BACKEND"] == "portable"


def test_a_node_may_choose_its_cores_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = next(name for name in kernels.backends() if not kernels.is_of_cards(name))
    for wished, taken in (("portable", "portable"), ("", fastest), ("cuda", fastest)):
        monkeypatch.setenv("KALEPOOL_BACKEND", wished)
        worker = Worker(1, 1)
        worker.end()
        assert worker.hello().backend == taken
    monkeypatch.setenv("KALEPOOL_BACKEND", "abacus")
    with pytest.raises(kernels.KernelError, match="abacus"):
        Worker(1, 1)


def test_hello_says_which_code_it_runs(worker: Worker) -> None:
    hello = worker.hello()
    assert (hello.code_version, hello.threads, hello.pid) == (code_version(), 2, os.getpid())
    assert not kernels.is_of_cards(hello.backend)


@pytest.mark.slow(10, "search gives way to the tests beside it")
@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["join", "die", "exchange", "next block"]), min_size=4, max_size=12))
def test_no_nonce_is_tried_twice_for_a_farmer_in_a_block(events: list[str]) -> None:
    """Whatever joins, dies and restarts: recorded at the kernel's door."""
    tried: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
    lock = threading.Lock()
    real = kernels.search_until

    def recorded(template: kernels.Template, start: int, count: int, *args: Any, **options: Any) -> kernels.Progress:
        progress = real(template, start, count, *args, **options)
        with lock:
            tried.setdefault((template.index, template.farmer), []).append((start, start + progress.tried))
        return progress

    serial, version, index = 40, 1, 3
    workers: list[Worker] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_module.kernels, "search_until", recorded)
        try:
            for event in ["join", *events]:
                if event == "join":
                    serial += 1
                    workers.append(Worker(serial, 2))
                    workers[-1].assign(job(version, index, 14).pack())
                elif event == "die" and workers:
                    workers.pop(0).end()
                elif event == "next block":
                    version, index = version + 1, index + 1
                    for worker in workers:
                        worker.assign(job(version, index, 14).pack())
                else:
                    for worker in workers:
                        assert isinstance(worker.exchange(None, None, 0.02), WorkerReport)
        finally:
            for worker in workers:
                worker.end()
    tried = {(index, farmer): pieces for (index, farmer), pieces in tried.items() if index}  # 0: the warm-up
    for pieces in tried.values():
        pieces.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(pieces))


def test_a_process_on_each_numa_node_searches_for_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr(worker_module.numa, "nodes", lambda: [(core,), (core,)])
    worker = Worker(7, 3)
    try:
        assert [node.lines for node in worker.nodes] == [2, 1] and len({node.process.pid for node in worker.nodes}) == 2
        worker.assign(job(1, 5).pack())
        for find in finds(worker, index=5):
            assert keccak.leading_zeros(keccak.hash_nonce(5, find.nonce, bytes([5]) * 32, find.farmer)) == find.zeros
        spent = [worker.exchange(None, None, 0.3) for _ in range(3)]
        assert sum(report.hashes for report in spent) > 0
        assert 0 < sum(report.working_seconds for report in spent) <= sum(report.busy_seconds for report in spent)
        worker.nodes[1].process.kill()
        with pytest.raises(kernels.KernelError, match="has ended"):
            for _ in range(100):
                worker.exchange(None, None, 0.1)
    finally:
        worker.end()
    assert all(node.process.poll() is not None for node in worker.nodes)
