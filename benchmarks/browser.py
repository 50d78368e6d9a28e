"""How fast is the search in a browser, beside our own SSE2 backend on the same core?

    python -m benchmarks.browser [--rounds 500] [--core 0]

In Chromium: the module as it is served, other layouts of it, the same search without vectors, and a plain Keccak
without vectors, which does all 24 rounds of every nonce. By turns with the backend `sse2`, all on one core. The turns
are short, and the best of each counts: what else a busy machine does only takes away.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import time
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from playwright.sync_api import sync_playwright

import kernels
from kernels import keccak, vector, wasm
from kernels.vector import I8, I32, I64, Layout
from tests.support.node import HOST

TEMPLATE = kernels.Template(1, bytes(32), bytes(32))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOAD = """
async ([name, module]) => {
  window.searches ??= {};
  const search = await window.load(Uint8Array.from(atob(module), (letter) => letter.charCodeAt(0)));
  window.searches[name] = search;
  search.prepare(1, 0, new Uint8Array(32), new Uint8Array(32));
  const best = search.scan(0, 100000, 0xffffffffffffffffn, false);
  if (best.low !== 58195) throw new Error(`${name} finds ${best.low}`);
}
"""
RUN = """
([name, count]) => {
  const began = performance.now();
  window.searches[name].scan(0, count, 0n, false);
  return (1000 * count) / (performance.now() - began);
}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500, help="turns of each (default 500)")
    parser.add_argument("--core", type=int, default=0, help="the core that all run on (default 0)")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    modules = {
        "served": wasm.build(),
        "lanes": wasm.build(Layout(128, 1)),
        "8 parts": wasm.build(Layout(128, 8)),
        "16 parts": wasm.build(Layout(128, 16)),
        "no vectors": wasm.build(Layout(64, 1), features=""),
        "plain": plain(),
    }
    rates: dict[str, list[float]] = {name: [] for name in ("sse2", *modules)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        # Isolated, a page has a clock of 5 µs in place of 100.
        page.route(
            "http://localhost/",
            lambda route: route.fulfill(
                content_type="text/html",
                body="<p>",
                headers={
                    "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Embedder-Policy": "require-corp",
                },
            ),
        )
        page.goto("http://localhost/")
        page.add_script_tag(type="module", content=HOST.read_text() + "\nwindow.load = load;")
        page.wait_for_function("() => window.load")
        turns: dict[str, Callable[[], float]] = {"sse2": lambda: _sse2(2**14)}
        for name, module in modules.items():
            page.evaluate(LOAD, [name, base64.b64encode(module).decode()])
            count = 2**13 if name in ("plain", "no vectors") else 2**14  # about 2 ms each
            turns[name] = lambda name=name, count=count: page.evaluate(RUN, [name, count])
        for turn in 10 * list(turns.values()):
            turn()
        for _ in range(options.rounds):
            for name, turn in turns.items():
                rates[name].append(turn())
        print(f"Chromium {browser.version}, the best of {options.rounds} turns")
        browser.close()
    best = {name: max(found) for name, found in rates.items()}
    for name, rate in best.items():
        beside = f"{rate / best['sse2']:.2f} × sse2, {rate / best['plain']:.2f} × plain"
        print(f"{name:>12}: {rate / 1e6:6.2f} MH/s, {beside}")


def _sse2(count: int) -> float:
    began = time.perf_counter()
    kernels.search(TEMPLATE, 0, count, 15, backend="sse2")
    return count / (time.perf_counter() - began)


def plain() -> bytes:
    """A module with the same exports that hashes one nonce after the other, each from its first round to its last."""
    module = ir.Module(name="plain")
    pointer = I8.as_pointer()

    def begin(name: str, result: ir.Type, *arguments: ir.Type) -> tuple[Any, Any, Any]:
        function = cast(Any, ir.Function(module, ir.FunctionType(result, arguments), f"kale.{name}"))
        return function, cast(Any, ir.IRBuilder(function.append_basic_block("entry"))), function.args

    score, builder, (state, low) = begin("score", I64, pointer, I64)
    constants = vector.table(module, I64, keccak.ROUND_CONSTANTS)
    ops = vector.Words(builder, Layout(64, 1))
    state = builder.bitcast(state, I64.as_pointer())
    lanes = [ops.splat(builder.load(builder.gep(state, [I32(lane)]))) for lane in range(25)]
    nonce = ops.splat(builder.lshr(builder.bswap(low), I64(32)))
    lanes[keccak.NONCE_LANE] = ops.xor(lanes[keccak.NONCE_LANE], nonce)
    with ops.counted(0, keccak.ROUNDS, *lanes) as (turn, values):
        constant = ops.splat(builder.load(builder.gep(constants, [I32(0), turn])))
        values[:] = [word for [word] in keccak.keccak_round(ops, [[word] for word in values], [constant])]
    builder.ret(builder.bswap(builder.extract_element(values[0], I32(0))))

    scan, builder, (state, low, blocks, limit) = begin("scan", I64, pointer, I64, I64, I64)
    entry, head, done = builder.block, scan.append_basic_block("nonce"), scan.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(I64)
    hit = builder.icmp_unsigned("<=", builder.call(score, [state, builder.add(low, number)]), limit)
    following = builder.add(number, I64(1))
    number.add_incoming(I64(0), entry)
    number.add_incoming(following, head)
    result = builder.select(hit, number, blocks)
    builder.cbranch(builder.or_(hit, builder.icmp_unsigned("==", following, blocks)), done, head)
    builder.position_at_end(done)
    builder.ret(result)

    prepare, builder, (source, *targets) = begin("prepare", ir.VoidType(), pointer, pointer, pointer)
    source, *targets = (builder.bitcast(argument, I64.as_pointer()) for argument in (source, *targets))
    for lane in range(25):
        for target in targets:
            builder.store(builder.load(builder.gep(source, [I32(lane)])), builder.gep(target, [I32(lane)]))
    builder.ret_void()

    nonces, builder, _ = begin("nonces", I32)
    builder.ret(I32(1))
    functions = {"scan": scan, "score": score, "prepare": prepare, "nonces": nonces}
    return wasm.compiled(module, functions, "", effort=3)  # with less it is slower


if __name__ == "__main__":
    main()
