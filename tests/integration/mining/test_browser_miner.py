"""The page that mines, in a real Chromium, for a pool that is served: by WebAssembly, and by WebGPU in software."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Page, async_playwright
from stellar_sdk import Keypair

from kalepool.database import Database
from kalepool.services.mining import miners
from tests.integration.mining.test_api import Pool, serving, settings_of
from tests.support.browsing import CHROMIUM, needs_chromium

pytestmark = pytest.mark.anyio

CARD = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
HIDE = """
(hidden) => {
  const get = () => (hidden ? "hidden" : "visible");
  Object.defineProperty(document, "visibilityState", { configurable: true, get });
  document.dispatchEvent(new Event("visibilitychange"));
  return performance.timeOrigin + performance.now();
}
"""
BATTERY = """
const battery = Object.assign(new EventTarget(), { charging: false });
navigator.getBattery = async () => battery;
window.plug = (charging) => {
  battery.charging = charging;
  battery.dispatchEvent(new Event("chargingchange"));
};
"""
"""A laptop's, that is plugged in and out."""

KEPT = """
async () => JSON.stringify([
  { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, await indexedDB.databases(),
  await caches.keys(), history.state,
])
"""


@asynccontextmanager
async def opened(pool: Pool, *flags: str, script: str = "", **context: Any) -> AsyncIterator[Page]:
    """The page in a browser of its own, which runs the script first. At the end: nothing of it has failed, and it has
    asked nobody else."""
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", *flags]
        )
        page = await (await browser.new_context(**context)).new_page()
        await page.add_init_script(script)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(pool.url) else wrong.append(asked.url))
        await page.goto(pool.url + "/mine/browser")
        yield page
        await browser.close()
    assert wrong == []


async def says(page: Page, which: str) -> None:
    await page.wait_for_selector(f"#mine-status[data-is={which}]", timeout=30_000)


async def stands(page: Page) -> float:
    """When it last hashed, by the page's clock in ms, once it hashes no more: what is under way ends first."""
    for _ in range(30):
        last = float(await page.get_attribute("#mine-status", "data-hashed-at") or 0)
        await asyncio.sleep(0.3)
        if float(await page.get_attribute("#mine-status", "data-hashed-at") or 0) == last:
            return last
    raise AssertionError("it goes on")


async def start(page: Page, key: str, device: str) -> None:
    await page.fill("#key", key)
    if await page.is_visible("#devices"):
        await page.check(f"input[value={device}]")
    await page.fill("#cores", "1")
    await page.click("#go")


async def key_of(pool: Pool) -> str:
    async with await pool.miner() as miner:
        return miner.headers["Authorization"].removeprefix("Bearer ")


async def test_policies_let_a_worker_alone_compile(field, database: Database, database_url: str, tmp_path: Path):
    async with serving(settings_of(database_url, tmp_path), field, database) as pool, pool.client() as anybody:
        shown = await anybody.get("/mine/browser")
        policy = shown.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "worker-src 'self'" in policy and "unsafe" not in policy
        assert '<input id="key" type="text"' in shown.text  # without a name: a form that is sent leaves it out
        worker = await anybody.get("/static/mine/worker.js")
        assert worker.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
        )
        modules = await asyncio.gather(*(anybody.get("/static/mine/search.wasm") for _ in range(3)))
        assert {module.headers["Content-Type"] for module in modules} == {"application/wasm"}
        assert modules[0].content.startswith(b"\0asm") and len({module.content for module in modules}) == 1
        assert (await anybody.get("/static/mine/..%2fpage.js")).status_code == 404


@needs_chromium
@pytest.mark.slow(15, "a browser starts, and mines for a while")
async def test_a_browser_mines(field, database: Database, database_url: str, tmp_path: Path):
    await field.open_block(41)
    settings = settings_of(database_url, tmp_path, miner_share_seconds=0.2)
    async with serving(settings, field, database) as pool:
        key = await key_of(pool)
        async with opened(pool, viewport={"width": 1280, "height": 900}) as page:
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            await asyncio.sleep(0.3)
            assert [url for url in asked if "/static/icon" not in url] == [] and page.workers == [], (
                "it starts by a click"
            )
            await start(page, key, "cores")
            await says(page, "mining")
            await page.wait_for_function("() => Number(document.getElementById('accepted').innerText) >= 3")
            [(shares, hashes)] = await field.execute("SELECT count(*), sum(credited_hashes) FROM shares")
            assert shares >= 3 and hashes >= 3 * 4096, "credited"
            assert await page.inner_text("#refused") == "0"
            assert len(page.workers) == 1 and await page.inner_text("#block") == "41"
            stream = next(url for url in asked if "/jobs/stream" in url)
            assert float(httpx2.URL(stream).params["hashes_per_second"]) > 1e5
            assert httpx2.URL(stream).params["rig"].startswith("browser-")

            # Hidden, it stops after the piece that is under way, and goes on when it is seen again.
            stopped_after = []
            for _ in range(3):
                hidden_at = await page.evaluate(HIDE, True)
                await says(page, "hidden")
                stopped_after.append(await stands(page) - hidden_at)
                await page.evaluate(HIDE, False)
                await says(page, "mining")
            print(f"stopped {[round(ms) for ms in stopped_after]} ms after it was hidden")
            assert min(stopped_after) < 1000  # a piece takes 20 ms of a core that nobody else uses
            await page.uncheck("#hidden_stops")
            await page.evaluate(HIDE, True)
            await says(page, "mining")

            # A stream that breaks is asked for again.
            connections = len([url for url in asked if "/jobs/stream" in url])
            pool.break_connections()
            await field.open_block(42)
            await page.wait_for_function("() => document.getElementById('block').innerText === '42'", timeout=40_000)
            assert len([url for url in asked if "/jobs/stream" in url]) > connections

            assert key not in await page.evaluate(KEPT)
            assert not [url for url in asked if key in url]
            await page.click("#go")
            await says(page, "stopped")
            await page.wait_for_function("() => document.getElementById('rate').innerText === '0 H/s'")
            async with asyncio.timeout(30):  # the browser tells of a worker's end when it likes
                while page.workers:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

            # SOLO: for a farmer that is paid to the same wallet; what is no farmer's name is not sent at all.
            farmer_id, wallet = next(iter(field.farmers)), Keypair.random().public_key
            await field.execute("UPDATE farmers SET payout_wallet = %s WHERE farmer_id = %s", wallet, farmer_id)
            owner = await miners.register(database, pool.app.state.context.custody, settings, "owner", wallet)
            await page.click("#solo-more summary")
            await page.fill("#solo", "my farmer?")
            await start(page, owner.key, "cores")
            await says(page, "no-farmer")
            await page.fill("#solo", str(farmer_id))
            await page.click("#go")
            await page.wait_for_function("() => document.getElementById('block').innerText === '42 SOLO'")
            brought = "SELECT DISTINCT solo, farmer_id FROM shares WHERE miner_id = %s"
            async with asyncio.timeout(60):
                while not (found := await field.execute(brought, owner.miner.miner_id)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert found == [(True, farmer_id)]


@needs_chromium
@pytest.mark.slow(10, "a browser starts, and mines for a while")
async def test_on_battery_it_mines_by_wish_alone(field, database: Database, database_url: str, tmp_path: Path):
    await field.open_block(41)
    async with serving(settings_of(database_url, tmp_path), field, database) as pool:
        key = await key_of(pool)
        async with opened(pool, script=BATTERY) as page:
            hashed_at = "Number(document.getElementById('mine-status').dataset.hashedAt || 0)"
            assert await page.is_visible("#battery") and await page.is_checked("#battery_stops")
            await start(page, key, "cores")
            await says(page, "battery")
            await asyncio.sleep(0.3)
            assert await page.evaluate(hashed_at) == 0, "nothing was hashed"
            await page.evaluate("plug(true)")
            await says(page, "mining")
            await page.wait_for_function(f"() => {hashed_at} > 0")
            await page.evaluate("plug(false)")
            await says(page, "battery")
            last = await stands(page)
            await page.uncheck("#battery_stops")
            await says(page, "mining")
            await page.wait_for_function(f"() => {hashed_at} > {last}")
            await page.check("#battery_stops")
            await says(page, "battery")


@needs_chromium
@pytest.mark.slow(6, "a browser starts")
async def test_a_wrong_key_is_said_in_the_readers_language(
    field, database: Database, database_url: str, tmp_path: Path
):
    async with (
        serving(settings_of(database_url, tmp_path), field, database) as pool,
        opened(pool, locale="de-DE", viewport={"width": 390, "height": 844}) as page,
    ):
        await page.click("#go")
        await says(page, "no-key")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await start(page, "kp_" + "x" * 43, "cores")
        await says(page, "refused")
        assert (await page.inner_text("#mine-status")).startswith("Angehalten: bitte zuerst anmelden: ")


@needs_chromium
@pytest.mark.slow(20, "a browser starts, whose card is software")
async def test_a_card_in_a_browser_mines(field, database: Database, database_url: str, tmp_path: Path):
    await field.open_block(41)
    settings = settings_of(database_url, tmp_path, miner_share_seconds=0.2)
    async with serving(settings, field, database) as pool:
        key = await key_of(pool)
        async with opened(pool, *CARD) as page:
            if not await page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
                pytest.skip("this Chromium has no WebGPU adapter, not even in software")
            await start(page, key, "card")
            await page.wait_for_function("() => Number(document.getElementById('accepted').innerText) >= 2")
            assert await page.inner_text("#with") == "graphics card" and await page.inner_text("#refused") == "0"
            await page.click("#go")
            # What is faster is chosen: a core, where the card is software on the same one.
            await start(page, key, "auto")
            await says(page, "mining")
            cores, card = [
                float(await page.get_attribute("#mine-status", f"data-{of}") or 0) for of in ("cores", "card")
            ]
            assert cores > 0 and card > 0
            assert (await page.inner_text("#with") == "graphics card") == (card > cores)
