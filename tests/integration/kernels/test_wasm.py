"""The search in WebAssembly, in Node and in Chromium, against the recorded answers and the CPU's backends."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import kernels
from kernels import Best, Template, driver, keccak, machine, wasm
from kernels.vector import Layout
from tests.support.node import HOST, NodeBackend, running

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
    numbers = random.Random(7)
    for job in range(200):
        template = Template(numbers.getrandbits(32), numbers.randbytes(32), numbers.randbytes(32))
        start = numbers.getrandbits(64)
        if job % 4 == 0:  # around the end of a window, or of all nonces
            start = (numbers.randrange(1, 2**32 + 1) << 32) - numbers.randrange(1, 90)
        if job % 4 == 1:
            start = numbers.randrange(40)
        count = min(numbers.randrange(1, 2000), 2**64 - start)
        above, below = numbers.randrange(-1, 4), 2 ** numbers.randrange(52, 65) - 3
        best = kernels.search(template, start, count, above, backend=backend)
        assert best == kernels.search(template, start, count, above, backend=CPU), (job, start, count, above)
        first = kernels.find(template, start, count, below, backend=backend)
        assert first == kernels.find(template, start, count, below, backend=CPU), (job, start, count, below)


IN_A_PAGE = """
async ([module, templates]) => {
  const search = await window.load(Uint8Array.from(atob(module), (letter) => letter.charCodeAt(0)));
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
  return templates.map(([index, high, entropy, farmer, low, count]) => {
    search.prepare(index, high, bytes(entropy), bytes(farmer));
    const hit = search.scan(low, count, 0xffffffffffffffffn, false);
    return [hit.low, hit.prefix.toString()];
  });
}
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.slow(6, "a browser starts")
def test_in_a_browser(module: bytes) -> None:
    from playwright.sync_api import sync_playwright

    templates = [(template_of(vector), int(vector["nonce"]), 1) for vector in VECTORS["hash"]]
    templates += [(template_of(vector), int(vector["start"]), vector["count"]) for vector in VECTORS["search"]]
    templates = [(template, start, count) for template, start, count in templates if start % 2**32 + count <= 2**32]
    asked = [
        [template.index, start >> 32, template.entropy.hex(), template.farmer.hex(), start % 2**32, count]
        for template, start, count in templates
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.goto("about:blank")
        page.add_script_tag(type="module", content=HOST.read_text() + "\nwindow.load = load;")
        page.wait_for_function("() => window.load")
        answers = page.evaluate(IN_A_PAGE, [base64.b64encode(module).decode(), asked])
        browser.close()
    assert len(answers) > 150
    for (template, start, count), (low, prefix) in zip(templates, answers, strict=True):
        best = kernels.search(template, start, count, backend=CPU)
        assert best is not None and best.nonce == (start >> 32) << 32 | low
        digest = keccak.hash_nonce(template.index, best.nonce, template.entropy, template.farmer)
        assert int(prefix) == int.from_bytes(digest[:8], "big")


def test_what_cannot_be_exported_is_said() -> None:
    calls = wasm.binding.parse_assembly("declare void @other()\ndefine void @scan() { call void @other() ret void }")
    target = wasm.binding.Target.from_triple(wasm.TRIPLE).create_target_machine("generic", "", 0, "static")
    calls.triple = wasm.TRIPLE
    with pytest.raises(ValueError, match="imports 1 functions: it must bring all it calls"):
        wasm._exported(target.emit_object(calls), ["scan"])
