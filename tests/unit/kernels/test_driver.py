"""Ranges, slices, ties and errors of the search, on made-up digests where real ones cannot be had."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import Best, KernelError, Progress, SearchStoppedError, Template, driver, keccak

TEMPLATE = Template(7, bytes(range(32)), bytes(range(1, 33)))


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> dict[int, bytes]:
    """Digests by nonce, for the readable backend to find; any other nonce has none of the zeros."""
    made: dict[int, bytes] = {}
    monkeypatch.setattr(keccak, "hash_nonce", lambda index, nonce, entropy, farmer: made.get(nonce, b"\xff" * 32))
    return made


def zeros(count: int) -> bytes:
    return bytes.fromhex("0" * count + "1" * (64 - count))


def test_most_zeros_then_lowest_nonce(digests: dict[int, bytes]) -> None:
    digests |= {3: zeros(2), 90: zeros(5), 91: zeros(5), 300: zeros(5), 301: zeros(4)}
    assert kernels.search(TEMPLATE, 0, 400, backend="python") == Best(5, 90)
    assert kernels.search(TEMPLATE, 91, 400, backend="python") == Best(5, 91)
    assert kernels.search(TEMPLATE, 0, 400, 4, backend="python") == Best(5, 90)
    assert kernels.search(TEMPLATE, 0, 400, 5, backend="python") is None


@pytest.mark.parametrize("threads", [1, 3])
def test_sixteen_zeros_and_more_are_told_apart(digests: dict[int, bytes], threads: int) -> None:
    digests |= {10: zeros(15), 40: zeros(16), 41: zeros(19), 42: zeros(17), 200: zeros(19), 201: zeros(64)}

    def best(start: int, count: int, above: int = -1) -> Best | None:
        return kernels.search(TEMPLATE, start, count, above, backend="python", threads=threads)

    assert best(0, 40) == Best(15, 10)
    assert best(0, 41) == Best(16, 40)
    assert best(0, 201) == Best(19, 41)
    assert best(0, 201, 18) == Best(19, 41)
    assert best(42, 100, 16) == Best(17, 42)
    assert best(0, 201, 19) is None
    assert best(0, 1000, 19) == Best(64, 201)
    assert best(0, 1000, 64) is None


@settings(max_examples=30, deadline=None)
@given(
    found=st.dictionaries(st.integers(0, 300), st.integers(0, 20), max_size=12),
    start=st.integers(0, 200),
    count=st.integers(0, 150),
    above=st.integers(-1, 20),
    threads=st.integers(1, 4),
)
def test_any_range_on_any_number_of_threads(
    found: dict[int, int], start: int, count: int, above: int, threads: int
) -> None:
    base = 2**32 - 150  # so that some ranges cross the low word's end
    made = {base + nonce: zeros(number) for nonce, number in found.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keccak, "hash_nonce", lambda index, nonce, entropy, farmer: made.get(nonce, b"\xff" * 32))
        got = kernels.search(TEMPLATE, base + start, count, above, backend="python", threads=threads)
    scores = [(-found.get(nonce, 0), base + nonce) for nonce in range(start, start + count)]
    best = min(scores, default=None)
    assert got == (Best(-best[0], best[1]) if best and -best[0] > above else None)


def test_find_gives_the_lowest(digests: dict[int, bytes]) -> None:
    digests |= {50: bytes([0, 9]) + bytes(30), 70: bytes([0, 8]) + bytes(30), 71: bytes(32)}
    bound = 9 << 48

    def find(start: int, count: int, below: int) -> int | None:
        return kernels.find(TEMPLATE, start, count, below, backend="python", threads=2)

    assert find(0, 100, bound + 1) == 50
    assert find(0, 100, bound) == 70
    assert find(0, 70, bound) is None
    assert find(0, 100, 1) == 71
    assert find(5, 1, 2**64) == 5


def test_the_last_nonces_and_empty_ranges() -> None:
    last = 2**64 - 1
    assert kernels.search(TEMPLATE, last, 1, backend="python") == Best(
        keccak.leading_zeros(keccak.hash_nonce(7, last, TEMPLATE.entropy, TEMPLATE.farmer)), last
    )
    assert kernels.search(TEMPLATE, last, 0, backend="python") is None
    assert kernels.find(TEMPLATE, 0, 0, 2**64, backend="python") is None


class StopAfter:
    """A stop flag that is set once it has been looked at so often."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stopped_search_says_exactly_how_far_it_came(threads: int) -> None:
    start = 2**33 - 40
    progress = kernels.search_until(TEMPLATE, start, 2**63, backend="python", threads=threads, stop=StopAfter(6))
    assert 0 < progress.tried < 100_000
    assert progress.best == kernels.search(TEMPLATE, start, progress.tried, backend="python")
    with pytest.raises(SearchStoppedError, match=r"stopped after \d+ of 5000 nonces") as stopped:
        kernels.search(TEMPLATE, start, 5000, backend="python", threads=threads, stop=StopAfter(2))
    assert stopped.value.progress.tried < 5000


def test_a_search_stopped_before_it_began() -> None:
    stop = threading.Event()
    stop.set()
    assert kernels.search_until(TEMPLATE, 0, 10, backend="python", stop=stop) == Progress(None, 0)
    with pytest.raises(SearchStoppedError):
        kernels.find(TEMPLATE, 0, 10, 2**64, backend="python", stop=stop)
    assert kernels.search(TEMPLATE, 0, 0, backend="python", stop=stop) is None


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_a_backend_reaches_the_caller(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    def fail(*_: Any) -> bytes:
        raise MemoryError("none left")

    monkeypatch.setattr(keccak, "hash_nonce", fail)
    with pytest.raises(MemoryError, match="none left"):
        kernels.search(TEMPLATE, 0, 1000, backend="python", threads=threads)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((1, 0, 1), TypeError, "template must be a Template"),
        ((TEMPLATE, 0.0, 1), TypeError, "start must be an int, not float"),
        ((TEMPLATE, True, 1), TypeError, "start must be an int, not bool"),
        ((TEMPLATE, -1, 1), ValueError, "start must be from 0"),
        ((TEMPLATE, 0, 2**64), ValueError, "count must be from 0 to 18446744073709551615"),
        ((TEMPLATE, 1, 2**64 - 1, 3.5), TypeError, "above_zeros must be an int"),
        ((TEMPLATE, 2, 2**64 - 1), ValueError, "goes past the last nonce"),
        ((TEMPLATE, 0, 1, 65), ValueError, "above_zeros must be from -1 to 64, not 65"),
    ],
)
def test_search_refuses_what_does_not_fit(arguments: tuple[Any, ...], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        kernels.search(*arguments, backend="python")


@pytest.mark.parametrize(("below", "error"), [(0, ValueError), (2**64 + 1, ValueError), (1.5, TypeError)])
def test_find_refuses_what_does_not_fit(below: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="below must be"):
        kernels.find(TEMPLATE, 0, 1, below, backend="python")


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((2**32, bytes(32), bytes(32)), ValueError, "index must be from 0 to 4294967295"),
        (("1", bytes(32), bytes(32)), TypeError, "index must be an int, not str"),
        ((1, bytes(31), bytes(32)), ValueError, "entropy must be 32 bytes, not 31"),
        ((1, bytes(32), "0" * 32), TypeError, "farmer must be bytes, not str"),
        ((1, bytearray(32), bytes(32)), TypeError, "entropy must be bytes, not bytearray"),
    ],
)
def test_a_template_refuses_what_does_not_fit(arguments: tuple[Any, ...], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        Template(*arguments)


def test_the_environment_chooses_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEPOOL_BACKEND", "python")
    assert isinstance(driver.load_backend(), driver._PythonBackend)
    monkeypatch.setenv("KALEPOOL_BACKEND", "abacus")
    with pytest.raises(KernelError, match=r"'abacus' does not exist on this machine: it has .*python"):
        kernels.search(TEMPLATE, 0, 1)
    with pytest.raises(KernelError, match="'python:0' does not exist"):
        kernels.search(TEMPLATE, 0, 1, backend="python:0")
    assert kernels.search(TEMPLATE, 0, 1, backend="python") is not None
