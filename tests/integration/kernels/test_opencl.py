"""The OpenCL backend, every form of its program, on PoCL: the processor as a card."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import kernels
from kernels import Best, KernelError, Template, driver, machine
from kernels.model import SlicePace
from tests.support.backwards import lanes_leading_to
from tests.support.random_searches import require_agreement

pytest.importorskip("pyopencl")
pytest.importorskip("pocl_binary_distribution", reason="PoCL's wheel is for Linux on x86-64")

from kernels import card_text, opencl
from tests.support import pocl

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "tests/conformance/hash.json").read_text())
CPU = machine.cpu_backends()[0]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    os.environ["POCL_CACHE_DIR"] = str(tmp_path_factory.mktemp("pocl"))
    pocl.offer()
    yield machine.opencl_cards()[0].device
    pocl.withdraw()


@pytest.fixture(scope="module", params=opencl.FORMS, ids=lambda form: f"{64 // form.parts}-{form.ternary}")
def built(device: object, request: pytest.FixtureRequest) -> opencl.Card:
    return opencl.Card(device, request.param)


@pytest.fixture
def card(built: opencl.Card, monkeypatch: pytest.MonkeyPatch) -> Iterator[opencl.Card]:
    """The card with one form of the program, which the backend `opencl` has to take."""
    monkeypatch.setattr(opencl, "fastest", lambda device: built)
    forget()
    yield built
    forget()


def forget() -> None:
    opencl.load.cache_clear()
    driver._load.cache_clear()


def template_of(vector: dict[str, str]) -> Template:
    farmer = base64.b32decode(vector["farmer"])[1:33]
    return Template(int(vector["index"]), bytes.fromhex(vector["entropy"]), farmer)


@pytest.mark.usefixtures("card")
def test_recorded_hashes() -> None:
    for vector in VECTORS["hash"]:
        nonce, prefix = int(vector["nonce"]), int(vector["hash"][:16], 16)
        assert kernels.search(template_of(vector), nonce, 1, backend="opencl") == Best(vector["zeros"], nonce)
        # The kernel's digest and the recorded one agree to the last bit of their first 64.
        assert kernels.find(template_of(vector), nonce, 1, prefix + 1, backend="opencl") == nonce
        assert prefix == 0 or kernels.find(template_of(vector), nonce, 1, prefix, backend="opencl:0") is None


@pytest.mark.usefixtures("card")
def test_recorded_searches() -> None:
    for vector in VECTORS["search"]:
        best = Best(vector["best_zeros"], int(vector["best_nonce"]))
        template, start, count = template_of(vector), int(vector["start"]), vector["count"]
        assert kernels.search(template, start, count, backend="opencl") == best
        assert kernels.search(template, start, count, best.zeros, backend="opencl", threads=3) is None


@pytest.mark.usefixtures("card")
def test_200_random_jobs() -> None:
    require_agreement("opencl", CPU, 3000)


@pytest.mark.parametrize("low", [0, 5, 77, 2**32 - 1])
@pytest.mark.parametrize("prefix", [0, 1, 0xF, 0x0123456789ABCDEF])
def test_digests_no_search_would_meet(
    card: opencl.Card, monkeypatch: pytest.MonkeyPatch, low: int, prefix: int
) -> None:
    """A prefix of our choice, sixteen zeros among them, at a low word of our choice: the permutation run backwards."""
    lanes = lanes_leading_to(prefix, low)
    monkeypatch.setattr(opencl, "_words", lambda template, high, parts: opencl.words_of(lanes, parts))
    template = Template(1, bytes(32), low.to_bytes(16, "big") + prefix.to_bytes(16, "big"))  # another one every time

    def found(start: int, count: int, limit: int, lowest: bool) -> list[tuple[int, int]]:
        results = card._launch(template, 0, start, count, limit, lowest)
        return [(place, start + int(offset)) for place, offset in enumerate(results[:-1]) if offset != 2**32 - 1]

    start = max(low - 300, 0) if prefix < 2**32 else low  # no other nonce comes below the prefix by chance
    missing = (prefix.bit_length() + 3) // 4
    assert found(start, low + 1 - start, prefix, True) == [(0, low)]
    assert found(start, low + 1 - start, prefix, False) == [(missing, low)]
    if start < low:
        assert found(start, low - start, prefix, True) == []
    if prefix:
        assert found(low, 1, prefix - 1, True) == []


@pytest.mark.usefixtures("device")
def test_it_stops_soon_and_no_launch_holds_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of the processors that are the card here: others may use them, too."""
    most = 0.05 * (os.cpu_count() or 1)
    launches: list[float] = []
    launch = opencl.Card._launch

    def timed(*arguments: object) -> object:
        began = time.process_time()
        results = launch(*arguments)  # pyright: ignore[reportArgumentType]
        launches.append(time.process_time() - began)
        return results

    driver.load_backend("opencl")
    monkeypatch.setattr(opencl.Card, "_launch", timed)
    template, start = Template(3, bytes(range(32)), bytes(32)), 2**32 * 9 - 1000
    lags = []
    for _ in range(3):
        stop, asked = threading.Event(), list[float]()

        def ask(stop: threading.Event = stop, asked: list[float] = asked) -> None:
            asked.append(time.process_time())
            stop.set()

        timer = threading.Timer(0.15, ask)
        timer.start()
        progress = kernels.search_until(template, start, 2**62, backend="opencl", stop=stop)
        lags.append(time.process_time() - asked[0])
        timer.join()
        assert kernels.search(template, start, progress.tried, backend=CPU, threads=2) == progress.best
    assert min(lags) < most
    assert len(launches) > 3 and sorted(launches)[len(launches) // 2] < most


def test_a_launch_is_sized_for_the_card_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cards that search together, the slow one gets small slices: they are not those of the fast one."""
    template = Template(0, bytes(32), bytes(32))

    asked: list[list[int]] = [[], []]
    clock = threading.local()  # each card's own: what others do meanwhile costs neither of them time
    monkeypatch.setattr(driver, "time", SimpleNamespace(perf_counter=lambda: getattr(clock, "now", 0.0)))

    class Cards:
        paces = (SlicePace(0.025, 1000, 1000), SlicePace(0.025, 1000, 1000))

        def scans(self, template: Template, threads: int) -> list[object]:
            def scan(card: int, start: int, count: int) -> None:
                asked[card].append(count)
                seconds = count * (25e-6, 1e-6)[card]
                clock.now = getattr(clock, "now", 0.0) + seconds
                time.sleep(seconds)  # so that both have their part

            return [lambda start, count, limit, lowest, card=card: scan(card, start, count) for card in range(2)]

    run = driver._Run(template, 0, 300_000, 15, None, None)
    run.drive(Cards(), 1)  # pyright: ignore[reportArgumentType]
    slow, fast = asked
    assert sum(slow) + sum(fast) == 300_000
    assert max(slow) <= 2000 < 10_000 < max(fast)


def test_a_driver_that_builds_wrong_programs_is_not_used(device: object, monkeypatch: pytest.MonkeyPatch) -> None:
    right = card_text.opencl_c

    def wrong(parts: int, **options: object) -> str:
        return right(parts).replace("number = 1;", "number = 3;")

    monkeypatch.setattr(card_text, "opencl_c", wrong)
    with pytest.raises(KernelError, match="builds a wrong program"):
        opencl.fastest(device)
    forget()
    with pytest.raises(KernelError, match=r"OpenCL does not work here: .*: its driver builds a wrong program"):
        kernels.search(Template(0, bytes(32), bytes(32)), 0, 1, backend="opencl")
    monkeypatch.delenv("KALEPOOL_BACKEND", raising=False)
    assert driver.load_backend() is driver.load_backend(CPU), "the processor goes on without the card"
    forget()


@pytest.mark.usefixtures("device")
def test_a_card_that_is_not_there() -> None:
    assert list(kernels.devices()) == ["opencl:0"]
    with pytest.raises(KernelError, match="has the opencl cards 0 to 0"):
        kernels.search(Template(0, bytes(32), bytes(32)), 0, 1, backend="opencl:1")


TWO_CARDS = """
from tests.support import pocl
pocl.offer()
import kernels
from kernels import driver, opencl
opencl.FORMS = opencl.FORMS[1:2]
assert list(kernels.devices()) == ["opencl:0", "opencl:1"], kernels.devices()
template = kernels.Template(1, bytes(32), bytes(32))
cards = driver.load_backend("opencl").cards
turns = [0, 0]
for number, card in enumerate(cards):
    def counted(*arguments, number=number, launch=card._launch):
        turns[number] += 1
        return launch(*arguments)
    card._launch = counted
best = kernels.search(template, 0, 1_000_000, backend="portable")
assert kernels.search(template, 0, 1_000_000, backend="opencl") == best
assert min(turns) > 1, turns
assert kernels.search(template, 0, 3000, backend="opencl:1") == kernels.search(template, 0, 3000, backend="python")
print("agreed")
"""


@pytest.mark.slow(6, "a process that compiles for two cards")
def test_several_cards_share_a_search(tmp_path: Path) -> None:
    environment = os.environ | {"POCL_DEVICES": "pthread pthread", "POCL_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_CARDS], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert (done.returncode, done.stdout) == (0, "agreed\n"), done.stderr


def test_a_processor_is_no_card_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KALEPOOL_OPENCL_CPU", raising=False)
    machine.opencl_cards.cache_clear()
    assert not [card for card in machine.opencl_cards() if "pthread" in card.name]
    machine.opencl_cards.cache_clear()
