"""The search for browsers, WebAssembly and WebGPU, against the recorded answers and the CPU's backends."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kernels
from kernels import Best, Template, card_text, driver, keccak, machine, wasm
from kernels.vector import Layout
from tests.support.backwards import lanes_leading_to
from tests.support.node import HOST, NodeBackend, running
from tests.support.random_searches import require_agreement

VECTORS = json.loads((Path(__file__).parents[2] / "conformance/hash.json").read_text())
CPU = machine.cpu_backends()[0]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def module() -> bytes:
    return wasm.build()


@pytest.fixture(scope="module", params=["vectors", "lanes", "plain"])
def process(request: pytest.FixtureRequest) -> Iterator[NodeBackend]:
    if request.param == "plain":
        built = wasm.build(Layout(64, 1), features="")
    elif request.param == "lanes":
        built = wasm.build(Layout(128, 1))
    else:
        built = request.getfixturevalue("module")
    with running(built) as backend:
        yield backend


@pytest.fixture
def backend(process: NodeBackend, monkeypatch: pytest.MonkeyPatch) -> str:
    known = driver._load
    monkeypatch.setattr(driver, "_load", lambda name: process if name == "wasm" else known(name))
    return "wasm"


def template_of(vector: dict[str, str]) -> Template:
    farmer = base64.b32decode(vector["farmer"])[1:33]
    return Template(int(vector["index"]), bytes.fromhex(vector["entropy"]), farmer)


def test_recorded_hashes(backend: str) -> None:
    for vector in VECTORS["hash"]:
        nonce, prefix = int(vector["nonce"]), int(vector["hash"][:16], 16)
        assert kernels.search(template_of(vector), nonce, 1, backend=backend) == Best(vector["zeros"], nonce)
        # The module's digest and the recorded one agree to the last bit of their first 64.
        assert kernels.find(template_of(vector), nonce, 1, prefix + 1, backend=backend) == nonce
        assert prefix == 0 or kernels.find(template_of(vector), nonce, 1, prefix, backend=backend) is None


def test_recorded_searches(backend: str) -> None:
    for vector in VECTORS["search"]:
        best = Best(vector["best_zeros"], int(vector["best_nonce"]))
        template, start, count = template_of(vector), int(vector["start"]), vector["count"]
        assert kernels.search(template, start, count, backend=backend) == best
        assert kernels.search(template, start, count, best.zeros, backend=backend) is None


def test_200_random_jobs(backend: str) -> None:
    require_agreement(backend, CPU, 2000)


Job = tuple[Template, int, int, int, bool]  # and start, count, limit, lowest of a scan


def jobs_of_a_page() -> list[Job]:
    """The recorded hashes and searches, and 200 random jobs, as scans."""
    jobs: list[Job] = []
    for vector in VECTORS["hash"]:
        nonce, prefix = int(vector["nonce"]), int(vector["hash"][:16], 16)
        jobs += [(template_of(vector), nonce, 1, limit, True) for limit in (prefix, max(prefix - 1, 0), 2**64 - 1)]
    for vector in VECTORS["search"]:
        start = int(vector["start"])
        count = min(vector["count"], 2**32 - start % 2**32)
        jobs.append((template_of(vector), start, count, 2**64 - 1, False))
    numbers = random.Random(3)
    for job in range(200):
        template = Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        low = (numbers.randrange(2**32), 2**32 - numbers.randrange(1, 90), numbers.randrange(40))[job % 3]
        count = min(numbers.randrange(1, 2000), 2**32 - low)
        start = numbers.getrandbits(32) << 32 | low
        jobs.append((template, start, count, 2 ** numbers.randrange(50, 65) - 1, bool(job & 1)))
    return jobs


IN_A_PAGE = """
async ([module, jobs, text, constants]) => {
  let search = await window.load(Uint8Array.from(atob(module), (letter) => letter.charCodeAt(0)));
  if (text) search = await window.loadGpu(search, text, constants);
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
  const answers = [];
  for (const [index, high, entropy, farmer, low, count, limit, lowest, words] of jobs) {
    search.prepare(index, high, bytes(entropy), bytes(farmer));
    if (words) search.device.queue.writeBuffer(search.data, 0, Uint32Array.from(words));
    const hit = await search.scan(low, count, BigInt(limit), lowest);
    answers.push(hit && [hit.low, hit.prefix.toString()]);
  }
  return answers;
}
"""


def in_a_page(module: bytes, asked: list[list[Any]], *flags: str, text: str = "") -> list[list[Any] | None]:
    """What a page in Chromium answers; the search is on a card if there is a text for it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", *flags]
        )
        page = browser.new_page()
        # WebGPU is for pages that are safe, which those of this machine are.
        page.route("http://localhost/", lambda route: route.fulfill(content_type="text/html", body="<p>"))
        page.goto("http://localhost/")
        script = HOST.read_text() + "\nwindow.load = load;\nwindow.loadGpu = loadGpu;"
        page.add_script_tag(type="module", content=script)
        page.wait_for_function("() => window.load")
        if text and not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
            pytest.skip("this Chromium has no WebGPU adapter, not even in software")
        encoded = base64.b64encode(module).decode()
        answers = page.evaluate(IN_A_PAGE, [encoded, asked, text, card_text.WGSL_CONSTANTS])
        browser.close()
    return answers


def asked_of(job: Job) -> list[Any]:
    template, start, count, limit, lowest = job
    words = [template.index, start >> 32, template.entropy.hex(), template.farmer.hex()]
    return [*words, start % 2**32, count, str(limit), lowest]


def expected_of(job: Job) -> list[Any] | None:
    template, start, count, limit, lowest = job
    hit = driver.load_backend(CPU).scans(template, 1)[0](start, count, limit, lowest)
    return [hit[0] % 2**32, str(hit[1])] if hit else None


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.slow(6, "a browser starts")
def test_in_a_browser(module: bytes) -> None:
    jobs = jobs_of_a_page()
    assert in_a_page(module, [asked_of(job) for job in jobs]) == [expected_of(job) for job in jobs]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.slow(30, "a browser starts, and its card is software")
def test_on_a_card_in_a_browser(module: bytes) -> None:
    jobs = jobs_of_a_page()
    asked, expected = [asked_of(job) for job in jobs], [expected_of(job) for job in jobs]
    lows = (0, 5, 77, 2**32 - 1)
    for low in lows:  # digests that no search would meet: only where they are can be told
        for prefix in (0, 1, 0xF, 0x0123456789ABCDEF):
            words = [word for lane in lanes_leading_to(prefix, low) for word in keccak.split(lane, 2)]
            start = max(low - 300, 0) if prefix < 2**32 else low
            for lowest in (False, True):
                job = Template(1, bytes(32), bytes(32)), start, low + 1 - start, prefix, lowest
                asked.append([*asked_of(job), words])
    answers = in_a_page(
        module, asked, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", text=card_text.wgsl()
    )
    assert answers[: len(jobs)] == expected
    assert [answer and answer[0] for answer in answers[len(jobs) :]] == [low for low in lows for _ in range(8)]


def test_what_cannot_be_exported_is_said() -> None:
    calls = wasm.binding.parse_assembly("declare void @other()\ndefine void @scan() { call void @other() ret void }")
    target = wasm.binding.Target.from_triple(wasm.TRIPLE).create_target_machine("generic", "", 0, "static")
    calls.triple = wasm.TRIPLE
    with pytest.raises(ValueError, match="imports 1 functions: it must bring all it calls"):
        wasm._exported(target.emit_object(calls), ["scan"])
