"""Every backend this machine has, against the recorded answers and the readable hash."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import Best, Template, cpu, driver, keccak
from kernels.vector import Layout
from tests.support.backwards import lanes_leading_to

VECTORS = json.loads((Path(__file__).parents[2] / "conformance/hash.json").read_text())
COMPILED = [name for name in kernels.backends() if name != "python" and not kernels.is_of_cards(name)]
WORD = 2**64 - 1


def template_of(vector: dict[str, str]) -> Template:
    farmer = base64.b32decode(vector["farmer"])[1:33]
    return Template(int(vector["index"]), bytes.fromhex(vector["entropy"]), farmer)


@pytest.mark.parametrize("backend", kernels.backends())
def test_recorded_hashes(backend: str) -> None:
    for vector in VECTORS["hash"]:
        nonce, prefix = int(vector["nonce"]), int(vector["hash"][:16], 16)
        best = kernels.search(template_of(vector), nonce, 1, backend=backend)
        assert best == Best(vector["zeros"], nonce)
        # The kernel's digest and the recorded one agree to the last bit of their first 64.
        assert kernels.find(template_of(vector), nonce, 1, prefix + 1, backend=backend) == nonce
        assert prefix == 0 or kernels.find(template_of(vector), nonce, 1, prefix, backend=backend) is None


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("backend", kernels.backends())
def test_recorded_searches(backend: str, threads: int) -> None:
    for vector in VECTORS["search"]:
        if backend == "python" and vector["count"] > 500:
            continue
        best = Best(vector["best_zeros"], int(vector["best_nonce"]))
        template, start = template_of(vector), int(vector["start"])
        assert kernels.search(template, start, vector["count"], backend=backend, threads=threads) == best
        assert kernels.search(template, start, vector["count"], best.zeros, backend=backend, threads=threads) is None


# Starts around the places where a range meets the end of a window, of a vector or of all nonces.
starts = st.one_of(
    st.integers(0, WORD),
    st.builds(lambda high, back: (high << 32) - back, st.integers(1, 2**32), st.integers(1, 90)),
    st.integers(0, 40),
)


@settings(max_examples=40, deadline=None)
@given(
    index=st.integers(0, 2**32 - 1),
    entropy=st.binary(min_size=32, max_size=32),
    farmer=st.binary(min_size=32, max_size=32),
    start=starts,
    count=st.integers(0, 80),
    above=st.integers(-1, 3),
    below_bits=st.integers(54, 64),
    threads=st.integers(1, 2),
)
def test_random_jobs_on_all_backends(
    index: int, entropy: bytes, farmer: bytes, start: int, count: int, above: int, below_bits: int, threads: int
) -> None:
    template = Template(index, entropy, farmer)
    count = min(count, WORD + 1 - start)
    digests = {nonce: keccak.hash_nonce(index, nonce, entropy, farmer) for nonce in range(start, start + count)}
    scores = [(-keccak.leading_zeros(digest), nonce) for nonce, digest in digests.items()]
    top = min(scores, default=(1, 0))
    best = Best(-top[0], top[1]) if -top[0] > above else None
    below = 2**below_bits - 3
    first = next((nonce for nonce, digest in digests.items() if int.from_bytes(digest[:8], "big") < below), None)
    for backend in COMPILED:
        assert kernels.search(template, start, count, above, backend=backend, threads=threads) == best, backend
        assert kernels.find(template, start, count, below, backend=backend, threads=threads) == first, backend


def test_all_backends_agree_on_long_ranges() -> None:
    numbers = random.Random(11)
    for _ in range(3):
        template = Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        start = (numbers.getrandbits(32) << 32) - numbers.randrange(100_000)
        found = {kernels.search(template, start, 150_001, backend=backend, threads=2) for backend in COMPILED}
        assert len(found) == 1


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("low", [0, 5, 77, 2**32 - 1])
@pytest.mark.parametrize("prefix", [0, 1, 0xF, 0x0123456789ABCDEF])
def test_digests_no_search_would_meet(backend: str, low: int, prefix: int) -> None:
    """A prefix of our choice, sixteen zeros among them, at a low word of our choice: the permutation run backwards."""
    lanes = lanes_leading_to(prefix, low)
    loaded = cpu.load(backend)
    window = cpu._Window(lanes, loaded.layout)
    start = max(low - 300, 0) if prefix < 2**32 else low  # no other nonce comes below the prefix by chance
    for lowest in (True, False):
        found = loaded.kernel(window.lanes, window.words, start, low + 1 - start, prefix, lowest)
        assert found == (low, prefix)
    assert loaded.kernel(window.lanes, window.words, start, low - start, prefix, True)[0] == 2**32
    if prefix:
        assert loaded.kernel(window.lanes, window.words, low, 1, prefix - 1, True)[0] == 2**32


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", kernels.backends())
def test_stops_soon_and_says_how_far_it_came(backend: str, threads: int) -> None:
    """Each thread ends the slice that it is at: by the processor's clock, which does not tell how busy the machine is;
    of cards by the wall's."""
    template = Template(3, bytes(range(32)), bytes(32))
    driver.load_backend(backend)
    clock = time.perf_counter if kernels.is_of_cards(backend) else time.process_time
    start = 2**32 * 9 - 1000
    lags, progress = [], None
    for _ in range(3):
        stop = threading.Event()
        asked: list[float] = []

        def ask(stop: threading.Event = stop, asked: list[float] = asked) -> None:
            asked.append(clock())
            stop.set()

        timer = threading.Timer(0.05, ask)
        timer.start()
        progress = kernels.search_until(template, start, 2**62, backend=backend, threads=threads, stop=stop)
        lags.append(clock() - asked[0])
        timer.join()
        assert progress.tried > 0
    if progress and backend != "python":
        assert kernels.search(template, start, progress.tried, backend=COMPILED[0], threads=2) == progress.best
    assert min(lags) < 0.05 * threads


def test_hashing_leaves_the_interpreter_free() -> None:
    """While a search runs, Python goes on: it counts far more often than the search hands the GIL back."""
    template, stop = Template(3, bytes(32), bytes(32)), threading.Event()
    kernels.search(template, 0, 1, backend=COMPILED[0])
    searcher = threading.Thread(
        target=kernels.search_until,
        args=(template, 0, 2**40),
        kwargs={"backend": COMPILED[0], "stop": stop},
    )
    began, turns = time.thread_time(), 0
    searcher.start()
    while time.thread_time() - began < 0.1:
        turns += 1
    stop.set()
    searcher.join()
    assert turns > 10_000


def test_a_short_layout_finds_what_others_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """NEON's without SHA-3 instructions, compiled for this machine."""
    with monkeypatch.context() as patched:
        patched.setattr(cpu, "layout", lambda name: Layout(128, 4, short=True))
        short, known = cpu._CpuBackend("neon"), driver._load
    monkeypatch.setattr(driver, "_load", lambda name: short if name == "short" else known(name))
    for each in VECTORS["hash"]:
        nonce, prefix = int(each["nonce"]), int(each["hash"][:16], 16)
        assert kernels.find(template_of(each), nonce, 1, prefix + 1, backend="short") == nonce
        assert prefix == 0 or kernels.find(template_of(each), nonce, 1, prefix, backend="short") is None
    for each in VECTORS["search"]:
        best = Best(each["best_zeros"], int(each["best_nonce"]))
        assert kernels.search(template_of(each), int(each["start"]), each["count"], backend="short") == best
    numbers = random.Random(11)
    for _ in range(20):
        template = Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        start = (numbers.getrandbits(32) << 32) - numbers.randrange(20_000)  # over a change of the high word
        searched = template, start, 40_001
        assert kernels.search(*searched, backend="short", threads=2) == kernels.search(*searched, backend=COMPILED[0])
