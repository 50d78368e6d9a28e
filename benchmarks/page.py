"""What the pages cost who looks, and the API.

weight   each kind of page in Chromium as on a slow phone, which is told in the first line: bytes over the network, the
         first byte, and when something is seen first, medians of several loads with nothing cached, and `again` with
         the pool's files kept from before. Beside it what that can be reckoned from on a machine that is busy: trips,
         bytes on the critical path, processor time of the API and of the page's main thread until then. Nothing is
         mined meanwhile: the coordinator is stopped before.
viewers  so many open pages, with the stream of changes that browsers ask for: the API's processor time, beside that of
         the same pool with nobody looking.

A whole pool as `kalepool up` starts it: PostgreSQL, devnet, API, local Ray, coordinator; 60 farmers, blocks of 60 s.
With --still nothing is mined before either: pages without blocks, within half a minute.

    python -m benchmarks.page [weight] [viewers] [--farmers 60] [--loads 7] [--viewers 1000] [--seconds 30] [--still]

Exits with 1 where a page is above 200 kB or seen after 1 s (by what is reckoned where the machine is busy), or the
viewers cost half a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from playwright.async_api import Browser, Page

from kalepool.api.cookies import SESSION
from kalepool.api.routes.operating import UNDER
from kalepool.database import new_id
from kalepool.services import browsing
from kalepool.services.keys import SIGN_IN, Role, create_key
from kalepool.view.moment import read_blocks
from tests.support.browsing import CHROMIUM, chromium
from tests.support.pool import Pool, running_pool

RUNS = ("weight", "viewers")
MOST_BYTES, MOST_MS, MOST_CORES = 200_000, 1000.0, 0.5

SLOWER = 4
"""The phone's core, by one of this machine's: what DevTools and Lighthouse call a mid-range phone."""

LATENCY_MS, DOWN, UP = 150, 1.6e6, 750e3
PHONE = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": DOWN / 8, "uploadThroughput": UP / 8}
"""What DevTools and Lighthouse call Slow 4G: milliseconds from a request to its answer, bits a second. Connecting (TCP,
TLS) is not part of it: it takes two or three latencies more, once."""

RUN = "ThreadControllerImpl::RunTask"
TRACED = ["toplevel", "loading", "blink.user_timing", "devtools.timeline"]

BLOCKING = """
() => performance.getEntriesByType("resource")
  .filter((each) => each.renderBlockingStatus === "blocking")
  .reduce((sum, each) => sum + each.transferSize, 0)
"""

NAVIGATION = """
() => { const [it] = performance.getEntriesByType("navigation"); return [it.transferSize, it.responseStart]; }
"""

BUSY = 0.75
"""Of its cores: with more programs that run at the same time, paints are late by what they take. A pool that
mined a moment ago is still in the mean of a minute."""
QUIET_SECONDS = 90.0

ASKED = 20
"""Times a page is asked for, to have the API's processor time for it."""

VIEWERS_OF_ADDRESS = 50
"""What the API lets one address have: this machine is many, 127.0.1.1 and so on."""


@dataclass(frozen=True)
class Load:
    """One load of a page with nothing kept from before, as on the phone: bytes over the network, headers too, and
    milliseconds until the first byte and until something was seen; again_ms: of a second visit, its files kept."""

    bytes: int
    byte_ms: float
    first_ms: float
    again_ms: float


@dataclass(frozen=True)
class Work:
    """What a page's paint takes, by counts that another program on the machine does not change much. main_ms: processor
    time of the page's main thread until something was seen, on this machine. critical_bytes: of the HTML and of what
    blocks the paint. trips: requests one after another until then. api_ms: processor time of the API for one page."""

    main_ms: float
    critical_bytes: int
    trips: int
    api_ms: float

    @property
    def reckoned_ms(self) -> float:
        """When the phone sees something: latencies, bytes, the API's time and four times the main thread's, one after
        another."""
        return self.trips * LATENCY_MS + self.critical_bytes * 8000 / DOWN + self.api_ms + SLOWER * self.main_ms


@dataclass(frozen=True)
class Place:
    """A page to weigh. `secret`: of the cookie of who is signed in there."""

    path: str
    secret: str = ""


async def window(browser: Browser, url: str, secret: str) -> Page:
    """In a new window, with nothing kept from before."""
    context = await browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2, locale="en-GB")
    if secret:
        await context.add_cookies([{"name": SESSION, "value": secret, "url": url, "sameSite": "Strict"}])
    return await context.new_page()


async def load(browser: Browser, url: str, place: Place) -> Load:
    """As the phone does."""
    page = await window(browser, url, place.secret)
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", PHONE)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    came: dict[str, float] = {}
    session.on("Network.loadingFinished", lambda told: came.update({told["requestId"]: told["encodedDataLength"]}))
    await page.goto(url + place.path, wait_until="load")
    first = await paint(page)
    _, byte = await page.evaluate(NAVIGATION)
    size = round(sum(came.values()))
    await page.goto(url + place.path, wait_until="load")
    again = await paint(page)
    await page.context.close()
    return Load(size, byte, first, again)


async def paint(page: Page) -> float:
    """When something was seen, in milliseconds; waits until then."""
    while True:
        found: Any = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
        if found is not None:
            return found
        await asyncio.sleep(0.02)


async def main_thread(browser: Browser, url: str, place: Place) -> tuple[float, int, int]:
    """(milliseconds of the main thread until something was seen, critical bytes, trips), by a load on no phone."""
    page = await window(browser, url, place.secret)
    await browser.start_tracing(page=page, categories=TRACED)
    await page.goto(url + place.path, wait_until="load")
    first = await paint(page)
    html, byte = await page.evaluate(NAVIGATION)
    blocking: Any = await page.evaluate(BLOCKING)
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    await page.context.close()
    return until_paint(events, (first - byte) / 1000), html + blocking, 1 + bool(blocking)


def until_paint(events: Sequence[dict[str, Any]], seconds: float) -> float:
    """Milliseconds that the main thread worked, of a trace, within so many seconds before the first contentful paint:
    since the first byte. What it does before is done while the network is waited for."""
    paint = max((each for each in events if each["name"] == "firstContentfulPaint"), key=lambda each: each["ts"])
    began, where = paint["ts"] - seconds * 1e6, (paint["pid"], paint["tid"])
    tasks = (each for each in events if each["name"] == RUN and (each["pid"], each["tid"]) == where)
    return sum(each.get("tdur", 0) for each in tasks if began <= each["ts"] < paint["ts"]) / 1000


async def api_ms(pool: Pool, place: Place) -> float:
    """Processor time of the API for one page, in milliseconds."""
    cookies = {SESSION: place.secret} if place.secret else {}
    async with httpx2.AsyncClient(
        base_url=pool.parts.api_url, cookies=cookies, headers={"Accept": "text/html"}
    ) as http:
        (await http.get(place.path)).raise_for_status()
        pid = pool.supervisor.pid("api")
        before = cpu_seconds(pid)
        for _ in range(ASKED):
            await http.get(place.path)
        return 1000 * (cpu_seconds(pid) - before) / ASKED


async def places(pool: Pool) -> dict[str, Place]:
    """Each kind of page, and who is signed in there."""
    database = pool.database
    [farmer, *_] = await database.fetch_all("select_farmers_called", called="", farmer_id=await _first_farmer(pool))
    miner_id = new_id()
    await database.fetch_one("insert_miner", miner_id=miner_id, name="bench", payout_wallet=None)
    keys = {
        "farmer": await create_key(database, Role.FARMER, subject_wallet=farmer["payout_wallet"], label=SIGN_IN),
        "miner": await create_key(database, Role.MINER, subject_id=miner_id),
        "operator": await create_key(database, Role.OPERATOR),
    }
    secrets = {
        who: (await browsing.begin(database, key.key_id, seconds=3600, instead_of=None)).secret
        for who, key in keys.items()
    }
    found = {"pool": Place("/")}
    if blocks := await read_blocks(database, None):
        found["block"] = Place(f"/block/{blocks[-1].block_index}")
    return found | {
        "farmer": Place(f"/farmer/{farmer['farmer_id']}"),
        "miner": Place(f"/miner/{miner_id}"),
        "books": Place("/books"),
        "farm": Place("/farm"),
        "my farm": Place(f"/farm/{farmer['farmer_id']}", secrets["farmer"]),
        "mine": Place("/mine"),
        "my miner": Place(f"/mine/{miner_id}", secrets["miner"]),
        "browser": Place("/mine/browser"),
        "operator": Place("/operator", secrets["operator"]),
        "journal": Place(f"{UNDER}/journal", secrets["operator"]),
        "farmers": Place(f"{UNDER}/farmers", secrets["operator"]),
        "keys": Place(f"{UNDER}/keys", secrets["operator"]),
    }


async def _first_farmer(pool: Pool) -> UUID:
    answer = await pool.client.get(f"{pool.parts.api_url}/farmers", headers={"Authorization": f"Bearer {pool.key}"})
    return UUID(answer.raise_for_status().json()["items"][0]["farmer_id"])


async def weigh(pool: Pool, loads: int, only: Sequence[str] = ()) -> list[str]:
    """Prints a line a page; what is above its limit."""
    url = pool.parts.api_url
    print(
        f"profile: {LATENCY_MS} ms from request to answer, {DOWN / 1e6:g} Mbit/s down, {UP / 1e3:g} kbit/s up, "
        f"connected already; a core {SLOWER} times slower than one of this machine ({processor()}, "
        f"load {os.getloadavg()[0]:.1f}); 390 x 844, nothing cached; medians of {loads} loads"
    )
    print(
        f"{'page':<10}{'kB':>7}{'first byte':>12}{'paint':>8}{'quickest':>10}{'again':>8}  |"
        f"{'reckoned':>9} = trips x {LATENCY_MS} + critical kB + API ms + {SLOWER} x main thread ms"
    )
    busy = os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
    print(f"this machine is {'busy: what is reckoned counts' if busy else 'quiet enough: what is measured counts'}")
    wrong = []
    async with chromium() as browser:
        for name, place in (await places(pool)).items():
            if only and name not in only:
                continue
            await load(browser, url, place)  # templates and statements are prepared
            found = [await load(browser, url, place) for _ in range(loads)]
            traced = [await main_thread(browser, url, place) for _ in range(loads)]
            main_ms = statistics.median(each[0] for each in traced)
            work = Work(main_ms, traced[-1][1], traced[-1][2], await api_ms(pool, place))
            size, first = max(each.bytes for each in found), statistics.median(each.first_ms for each in found)
            print(
                f"{name:<10}{size / 1000:7.1f}{statistics.median(each.byte_ms for each in found):12.0f}{first:8.0f}"
                f"{min(each.first_ms for each in found):10.0f}"
                f"{statistics.median(each.again_ms for each in found):8.0f}  |{work.reckoned_ms:9.0f}   {work.trips}"
                f"{work.critical_bytes / 1000:9.1f} kB{work.api_ms:7.1f} ms{work.main_ms:8.1f} ms",
                flush=True,
            )
            if size > MOST_BYTES or (work.reckoned_ms if busy else first) > MOST_MS:
                wrong.append(f"{name}: {size} bytes, {first:.0f} ms, reckoned {work.reckoned_ms:.0f} ms")
    return wrong


def processor() -> str:
    """This machine's, by name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} cores {models[0]}" if models else "an unknown processor"


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
        coordinator = None if options.still else pool.start_coordinator()
        if coordinator is not None:
            while not any(block.harvested for block in await read_blocks(pool.database, None)):
                pool.supervisor.check()
                await asyncio.sleep(1)
        if "viewers" in options.runs:
            wrong += await view(pool, options.viewers, options.seconds)
        if "weight" in options.runs:
            if coordinator is not None:
                pool.supervisor.stop(coordinator.name)
                await asyncio.sleep(QUIET_SECONDS)
            wrong += await weigh(pool, options.loads, options.only)
    return wrong


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; all by default")
    parser.add_argument("--farmers", type=int, default=60)
    parser.add_argument("--loads", type=int, default=7, help="of each page")
    parser.add_argument("--only", action="append", default=[], metavar="PAGE", help="of the pages, again for another")
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="that the API is watched for")
    parser.add_argument("--still", action="store_true", help="nothing is mined before")
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
