"""What the page costs who looks, and the API.

weight   each kind of page in Chromium as on a slow phone (a core of a quarter of this machine's speed, 150 ms to the
         pool, 1.6 Mbit/s): bytes over the network, and when something is seen first, the median of several loads.
viewers  so many open pages, with the stream of changes that browsers ask for: the API's processor time, beside that of
         the same pool with nobody looking.

A whole pool as `kalepool up` starts it: PostgreSQL, devnet, API, local Ray, coordinator; 50 farmers, blocks of 60 s.

    python -m benchmarks.page [weight] [viewers] [--farmers 50] [--loads 7] [--viewers 1000] [--seconds 30]

Exits with 1 where a page is above 200 kB or seen after 1 s, or the viewers cost half a core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser

from kalepool.view.moment import read_blocks
from kalepool.view.pages import read_block
from tests.support.browsing import CHROMIUM, chromium
from tests.support.pool import Pool, running_pool

RUNS = ("weight", "viewers")
MOST_BYTES, MOST_MS, MOST_CORES = 200_000, 1000.0, 0.5

SLOWER = 4
PHONE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
"""A slow phone: what DevTools calls Slow 4G, by a core of a quarter of the speed."""

VIEWERS_OF_ADDRESS = 50
"""What the API lets one address have: this machine is many, 127.0.1.1 and so on."""


@dataclass(frozen=True)
class Load:
    """One load of a page: bytes over the network, headers too, and milliseconds until something was seen; of these,
    until the first byte came (the pool's part, and the network's latency)."""

    bytes: int
    first_ms: float
    byte_ms: float


async def load(browser: Browser, url: str) -> Load:
    """In a new window, with nothing kept from before."""
    context = await browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2)
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", PHONE)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    came: dict[str, float] = {}
    session.on("Network.loadingFinished", lambda told: came.update({told["requestId"]: told["encodedDataLength"]}))
    await page.goto(url, wait_until="load")
    await page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    first: Any = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    byte: Any = await page.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
    await context.close()
    return Load(round(sum(came.values())), first, byte)


async def weigh(pool: Pool, loads: int) -> list[str]:
    """Prints a line a page; what is above its limit."""
    url = pool.parts.api_url
    newest = (await read_blocks(pool.database, None))[-1].block_index
    block = await read_block(pool.database, newest)
    assert block is not None
    paths = {"pool": "/", "block": f"/block/{newest}", "farmer": f"/farmer/{block.farmers[0].farmer_id}"}
    wrong = []
    async with chromium() as browser:
        for name, path in paths.items():
            found = [await load(browser, url + path) for _ in range(loads)]
            size, first = max(each.bytes for each in found), statistics.median(each.first_ms for each in found)
            byte = statistics.median(each.byte_ms for each in found)
            least = min(each.first_ms for each in found)
            said = (
                f"first contentful paint {first:5.0f} ms (the quickest {least:5.0f}), its first byte at {byte:4.0f} ms"
            )
            print(f"{name:<8} {size / 1000:6.1f} kB, {said}", flush=True)
            if size > MOST_BYTES or first > MOST_MS:
                wrong.append(f"{name}: {size} bytes, {first:.0f} ms")
    return wrong


async def look(url: str, number: int, came: list[int]) -> None:
    """One open page's stream, over a bare connection of an address of its own fifty."""
    parts = urlsplit(url)
    here = f"127.0.{1 + number // VIEWERS_OF_ADDRESS // 250}.{1 + number // VIEWERS_OF_ADDRESS % 250}"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(here, 0))
    writer.write(f"GET /events HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    try:
        while some := await reader.read(65536):
            came[number] += len(some)
    finally:
        writer.close()


async def view(pool: Pool, viewers: int, seconds: float) -> list[str]:
    """Prints what the API takes of a core, with nobody looking and with so many; what is above its limit."""
    pid = pool.supervisor.pid("api")
    alone = await cores(pid, seconds)
    came = [0] * viewers
    tasks = [asyncio.create_task(look(pool.parts.api_url, number, came)) for number in range(viewers)]
    while not all(came):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    before = sum(came)
    watched = await cores(pid, seconds)
    told = (sum(came) - before) / seconds / viewers
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(f"nobody   {alone:.2f} cores")
    more = f"{watched - alone:.2f} more; each is told {told / 1000:.2f} kB a second"
    print(f"{viewers} viewers  {watched:.2f} cores: {more}")
    return [f"{viewers} viewers: {watched - alone:.2f} cores"] if watched - alone > MOST_CORES else []


async def cores(pid: int, seconds: float) -> float:
    """What a process takes of a core, over so long."""
    before, began = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run(options: argparse.Namespace) -> list[str]:
    """Starts the pool, waits until a block is over, and measures."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(running_pool(options.farmers, 1.0, 60))
        pool.start_coordinator()
        while not any(block.harvested for block in await read_blocks(pool.database, None)):
            pool.supervisor.check()
            await asyncio.sleep(1)
        if "viewers" in options.runs:
            wrong += await view(pool, options.viewers, options.seconds)
        if "weight" in options.runs:
            wrong += await weigh(pool, options.loads)
    return wrong


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; all by default")
    parser.add_argument("--farmers", type=int, default=50)
    parser.add_argument("--loads", type=int, default=7, help="of each page")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="that the API is watched for")
    options = parser.parse_args()
    options.runs = options.runs or list(RUNS)
    if unknown := set(options.runs) - set(RUNS):
        parser.error(f"there is no run {unknown.pop()!r}: there are {', '.join(RUNS)}")
    if "weight" in options.runs and CHROMIUM is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wrong = asyncio.run(run(options))
    for each in wrong:
        print(f"above its limit: {each}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
